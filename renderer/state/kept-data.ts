// What apps keep for good: one PersistentVolumeClaim for each folder, that stays when its app goes, moves
// to other machines, and can be taken up again by name. Pure.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { nodeOfVolume } from '#kube/machinery/volume-move.ts';
import type { App } from './app.ts';
import { ownLabels } from './ownership.ts';
import { claimNames } from './volume-move.ts';

/** A claim must ask for some size; a directory of a machine has no other limit than its disk. */
const askedSize = '1Gi';
const nameMax = 200;

export interface KeptData {
  readonly namespace: string;
  /** The claim's. */
  readonly name: string;
  /** The machine that has it; undefined: none yet, or not a directory of one. */
  readonly node: string | undefined;
  /** Its PersistentVolume. */
  readonly volume: string | undefined;
  /** Apps that keep theirs in it. */
  readonly users: readonly string[];
  readonly isGoing: boolean;
}

/** Says whose it is and which folder: `films` and `/var/lib/films` are `films-var-lib-films`. */
export function claimNameFor(app: string, mountPath: string): string {
  const folder = mountPath.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return `${app}-${folder.replaceAll(/^-|-$/g, '') || 'data'}`.slice(0, nameMax).replace(/-$/, '');
}

export function freeName(name: string, taken: readonly string[]): string {
  let free = name;
  for (let number = 2; taken.includes(free); number++) free = `${name}-${number}`;
  return free;
}

export function claimFor(
  app: string,
  { namespace, name }: Pick<KeptData, 'namespace' | 'name'>,
): PersistentVolumeClaim {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace, labels: ownLabels(app) },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: localPath.className,
      resources: { requests: { storage: askedSize } },
    },
  };
}

export function listKeptData(
  claims: readonly PersistentVolumeClaim[],
  volumes: readonly PersistentVolume[],
  apps: readonly Pick<App, 'name' | 'namespace' | 'object'>[],
): KeptData[] {
  const byName = new Map(volumes.map((volume) => [volume.metadata.name, volume]));
  return claims.map(({ metadata, spec }) => {
    const { namespace = '', name } = metadata;
    const volume = byName.get(spec.volumeName ?? '');
    const users = apps.filter(
      (app) => app.namespace === namespace && claimNames(app).includes(name),
    );
    return {
      namespace,
      name,
      node: volume && nodeOfVolume(volume),
      volume: spec.volumeName,
      users: users.map((app) => app.name),
      isGoing: metadata.deletionTimestamp !== undefined,
    };
  });
}

export function findKept(
  all: readonly KeptData[],
  namespace: string,
  name: string,
): KeptData | undefined {
  return all.find((one) => one.namespace === namespace && one.name === name);
}

/** Data of the namespace that the app may take up: nobody else's. */
export function dataToTakeUp(all: readonly KeptData[], namespace: string, app: string): KeptData[] {
  return all.filter(
    (one) => one.namespace === namespace && !one.isGoing && one.users.every((user) => user === app),
  );
}

/** kubectl's way to remove it for good: a claim alone takes no data along. */
export function removalCommands({ namespace, name, volume }: KeptData): string {
  const policy = `kubectl patch pv ${volume} -p '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'`;
  const claim = `kubectl delete pvc ${name} -n ${namespace}`;
  return volume === undefined ? claim : `${policy}\n${claim}`;
}
