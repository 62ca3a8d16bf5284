// What the home's apps keep in claims, live, with the machines that have it.
import { type ComputedRef, computed } from 'vue';
import * as kinds from '#kube/client/resources.ts';
import { type KeptData, listKeptData } from '../state/kept-data.ts';
import { useHome } from './home-data.ts';
import { useResources } from './resources.ts';

export function useKeptData(): ComputedRef<readonly KeptData[]> {
  const { apps } = useHome();
  const claims = useResources(kinds.persistentVolumeClaims);
  const volumes = useResources(kinds.persistentVolumes);
  return computed(() => listKeptData(claims.items.value, volumes.items.value, apps.value));
}
