// The collections that most pages share, joined once: apps and machines with their states. Made at
// the start and provided, so that every page paints from what is already known.
import { type ComputedRef, type InjectionKey, type ShallowRef, computed, inject } from 'vue';
import { assert } from '#kube/base/assert.ts';
import type { Event, Pod } from '#kube/api/core.ts';
import * as kinds from '#kube/client/resources.ts';
import { type App, listApps } from '../state/app.ts';
import { type LoosePod, loosePods } from '../state/loose-pods.ts';
import { describeMachine, type Machine } from '../state/machine.ts';
import { useCluster } from './cluster.ts';
import { useResources } from './resources.ts';

export interface HomeData {
  readonly apps: ComputedRef<readonly App[]>;
  readonly machines: ComputedRef<readonly Machine[]>;
  readonly pods: ShallowRef<readonly Pod[]>;
  readonly loose: ComputedRef<readonly LoosePod[]>;
  readonly events: ShallowRef<readonly Event[]>;
  readonly isLoaded: ComputedRef<boolean>;
}

export const homeDataKey: InjectionKey<HomeData> = Symbol('home-data');

/** Call once, in the root component. */
export function followHome(): HomeData {
  const { host } = useCluster();
  const deployments = useResources(kinds.deployments);
  const daemonSets = useResources(kinds.daemonSets);
  const replicationControllers = useResources(kinds.replicationControllers);
  const pods = useResources(kinds.pods);
  const services = useResources(kinds.services);
  const nodes = useResources(kinds.nodes);
  const events = useResources(kinds.events);
  const apps = computed(() =>
    listApps({
      deployments: deployments.items.value,
      daemonSets: daemonSets.items.value,
      replicationControllers: replicationControllers.items.value,
      pods: pods.items.value,
      services: services.items.value,
      events: events.items.value,
      nodes: nodes.items.value,
      host,
    }),
  );
  const loose = computed(() => loosePods(pods.items.value, apps.value, nodes.items.value));
  const podsByNode = computed(() => Map.groupBy(pods.items.value, ({ spec }) => spec.nodeName));
  const machines = computed(() =>
    nodes.items.value
      .map((node) => describeMachine(node, podsByNode.value.get(node.metadata.name) ?? []))
      .sort((a, b) => a.name.localeCompare(b.name)),
  );
  const all = [deployments, daemonSets, replicationControllers, pods, services, nodes];
  const isLoaded = computed(() => all.every((list) => list.isLoaded.value));
  return { apps, machines, pods: pods.items, loose, events: events.items, isLoaded };
}

export function useHome(): HomeData {
  const home = inject(homeDataKey);
  assert(home, 'no home data was provided');
  return home;
}
