// An app's storage as its settings show it, and the template's volumes after a change. Only what the
// form has words for is shown and changed; every other mount stays as it is. Pure.
import type {
  ConfigMap,
  Container,
  PersistentVolumeClaim,
  Volume,
  VolumeMount,
} from '#kube/api/core.ts';
import {
  claimOf,
  emptyVolume,
  isData,
  sourceOf,
  type VolumeEntry,
  volumeName,
} from './deploy-form.ts';
import { claimFor } from './kept-data.ts';
import { isMadeFor, ownLabels } from './ownership.ts';
import { mainContainer, type Workload } from './workload.ts';

interface Shown {
  readonly mount: VolumeMount;
  readonly volume: Volume;
  readonly entry: VolumeEntry;
}

/** `configMaps`: those of the app's namespace. */
export function storageOf(workload: Workload, configMaps: readonly ConfigMap[]): VolumeEntry[] {
  return shownMounts(workload, configMaps).map(({ entry }) => entry);
}

function shownMounts(workload: Workload, configMaps: readonly ConfigMap[]): Shown[] {
  const volumes = workload.spec?.template?.spec?.volumes ?? [];
  return (mainContainer(workload)?.volumeMounts ?? []).flatMap((mount): Shown[] => {
    const volume = volumes.find(({ name }) => name === mount.name);
    const { mountPath, subPath } = mount;
    if (volume?.hostPath !== undefined && subPath === undefined) {
      const entry = { ...emptyVolume('folder'), mountPath, hostPath: volume.hostPath.path };
      return [{ mount, volume, entry }];
    }
    if (volume?.persistentVolumeClaim !== undefined && subPath === undefined) {
      const { claimName } = volume.persistentVolumeClaim;
      const entry = { ...emptyVolume('data'), mountPath, claimName, isExisting: true };
      return [{ mount, volume, entry }];
    }
    if (volume?.emptyDir !== undefined && subPath === undefined)
      return [{ mount, volume, entry: { ...emptyVolume('scratch'), mountPath } }];
    const config = ownConfig(workload, configMaps);
    if (config === undefined || volume?.configMap?.name !== config.metadata.name) return [];
    if (subPath === undefined) return [];
    const text = config.data?.[subPath] ?? '';
    return [
      { mount, volume, entry: { ...emptyVolume('config'), mountPath, fileName: subPath, text } },
    ];
  });
}

function ownConfig(workload: Workload, configMaps: readonly ConfigMap[]): ConfigMap | undefined {
  const { name } = workload.metadata;
  return configMaps.find(
    ({ metadata }) => metadata.name === configName(name) && isMadeFor(name, metadata),
  );
}

function configName(app: string): string {
  return `${app}-config`;
}

export interface StoragePatch {
  readonly volumes: readonly Volume[];
  readonly volumeMounts: readonly VolumeMount[];
}

/** Undefined when nothing about mounts changes. */
export function storagePatch(
  workload: Workload,
  wanted: readonly VolumeEntry[],
  configMaps: readonly ConfigMap[],
): StoragePatch | undefined {
  const shown = shownMounts(workload, configMaps);
  const { name: app } = workload.metadata;
  const before = shown.map(({ entry }) => entry);
  if (sameMounts(app, before, wanted)) return undefined;
  const spec = workload.spec?.template?.spec;
  const main = mainContainer(workload);
  const foreign = (main?.volumeMounts ?? []).filter(
    (mount) => !shown.some((one) => one.mount === mount),
  );
  const volumes = [...(spec?.volumes ?? [])];
  const free = [...shown];
  const mounts = wanted.map((entry): VolumeMount => {
    const at = free.findIndex(({ entry: old }) => isSameSource(app, old, entry));
    const [kept] = at === -1 ? [] : free.splice(at, 1);
    if (kept !== undefined) return mountOf(entry, kept.volume.name, kept.mount);
    return mountOf(entry, volumeFor(entry, workload, volumes));
  });
  const volumeMounts = [...foreign, ...mounts];
  const used = new Set(
    [
      ...volumeMounts,
      ...others(spec, main).flatMap((container) => container.volumeMounts ?? []),
    ].map(({ name }) => name),
  );
  const shownVolumes = new Set(shown.map(({ volume }) => volume.name));
  return {
    volumeMounts,
    volumes: volumes.filter(({ name }) => used.has(name) || !shownVolumes.has(name)),
  };
}

type PodSpec = NonNullable<NonNullable<Workload['spec']>['template']>['spec'];

function others(spec: PodSpec, main: Container | undefined): Container[] {
  return [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].filter(
    (container) => container !== main,
  );
}

/** Texts may differ: they live in the ConfigMap, not in the template. */
function sameMounts(app: string, a: readonly VolumeEntry[], b: readonly VolumeEntry[]): boolean {
  return (
    a.length === b.length &&
    a.every((entry, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        isSameSource(app, entry, other) &&
        entry.mountPath === other.mountPath
      );
    })
  );
}

function isSameSource(app: string, a: VolumeEntry, b: VolumeEntry): boolean {
  if (a.kind !== b.kind) return false;
  switch (a.kind) {
    case 'data':
      return claimOf(app, a) === claimOf(app, b);
    case 'folder':
      return a.hostPath === b.hostPath;
    case 'scratch':
      return a.mountPath === b.mountPath;
    case 'config':
      return a.fileName === b.fileName;
  }
}

function mountOf(entry: VolumeEntry, name: string, old?: VolumeMount): VolumeMount {
  const { mountPath } = entry;
  return { ...old, name, mountPath, ...(entry.kind === 'config' && { subPath: entry.fileName }) };
}

/** The name of a volume for the entry, added to `volumes` unless one of its kind can serve. */
function volumeFor(entry: VolumeEntry, workload: Workload, volumes: Volume[]): string {
  const config = configName(workload.metadata.name);
  const known =
    entry.kind === 'config'
      ? volumes.find(({ configMap }) => configMap?.name === config)
      : undefined;
  if (known !== undefined) return known.name;
  const base = volumeName(entry.kind);
  let name = base;
  for (let number = 1; volumes.some((one) => one.name === name); number++)
    name = `${base}-${number}`;
  if (entry.kind === 'config') volumes.push({ name, configMap: { name: config } });
  else volumes.push({ name, ...sourceOf(workload.metadata.name, entry) });
  return name;
}

/** Data that the app does not keep yet. */
function newData(workload: Workload, wanted: readonly VolumeEntry[]): VolumeEntry[] {
  const { name: app } = workload.metadata;
  const kept = shownMounts(workload, []).filter(({ entry }) => isData(entry));
  const known = kept.map(({ entry }) => entry.claimName);
  return wanted.filter((entry) => isData(entry) && !known.includes(claimOf(app, entry)));
}

/** Claims that must be there before the app is changed. Those it leaves stay, with what is in them. */
export function claimsToMake(
  workload: Workload,
  wanted: readonly VolumeEntry[],
): PersistentVolumeClaim[] {
  const { name: app, namespace = 'default' } = workload.metadata;
  const names = newData(workload, wanted)
    .filter(({ isExisting }) => !isExisting)
    .map((entry) => claimOf(app, entry));
  return [...new Set(names)].map((name) => claimFor(app, { namespace, name }));
}

/** Two versions of an app must not write to the same data; what a person chose before stays. */
export function mustPause(workload: Workload, wanted: readonly VolumeEntry[]): boolean {
  return workload.kind === 'Deployment' && newData(workload, wanted).length > 0;
}

export type ConfigWrite =
  | { readonly verb: 'create'; readonly config: ConfigMap }
  | { readonly verb: 'patch'; readonly name: string; readonly patch: object };

/**
 * Texts that are new or changed. Files that nothing mounts any more stay in the ConfigMap: an
 * earlier version that is brought back finds them there.
 */
export function configWrite(
  workload: Workload,
  wanted: readonly VolumeEntry[],
  configMaps: readonly ConfigMap[],
): ConfigWrite | undefined {
  const config = ownConfig(workload, configMaps);
  const changed = wanted.filter(
    ({ kind, fileName, text }) => kind === 'config' && config?.data?.[fileName] !== text,
  );
  if (changed.length === 0) return undefined;
  const data = Object.fromEntries(changed.map(({ fileName, text }) => [fileName, text]));
  const { name, namespace = 'default' } = workload.metadata;
  if (config === undefined) {
    const metadata = { name: configName(name), namespace, labels: ownLabels(name) };
    return { verb: 'create', config: { apiVersion: 'v1', kind: 'ConfigMap', metadata, data } };
  }
  const { resourceVersion } = config.metadata;
  return { verb: 'patch', name: configName(name), patch: { metadata: { resourceVersion }, data } };
}
