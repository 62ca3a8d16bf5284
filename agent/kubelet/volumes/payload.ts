// Pure: what files a configMap, secret, downwardAPI or projected volume holds.
// Source: kubernetes pkg/volume/{configmap,secret,downwardapi,projected}.
import type {
  DownwardAPIVolumeFile,
  KeyToPath,
  Pod,
  Volume,
  VolumeProjection,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { containerResource, podField, type PodAddresses } from '../container/downward.ts';
import type { PodObjects } from './object-source.ts';

export interface PayloadFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
  /** Undefined: root. */
  readonly userId?: number;
}

/** By relative path. */
export type Payload = ReadonlyMap<string, PayloadFile>;

/** The volume can't be made of what the pod says; the message ends up in a FailedMount event. */
export class VolumeError extends Error {
  override readonly name = 'VolumeError';
}

export interface PayloadInput {
  readonly pod: Pod;
  readonly objects: PodObjects;
  readonly addresses: PodAddresses;
  readonly allocatable: Readonly<Record<string, Quantity>>;
}

const defaultFileMode = 0o644;

/** `canGiveAway`: files can be another user's. Undefined: not a volume of this sort. Throws VolumeError. */
export function volumePayload(
  given: PayloadInput,
  volume: Volume,
  { canGiveAway }: { readonly canGiveAway: boolean },
): Payload | undefined {
  const input = { ...given, canGiveAway };
  const files = new Map<string, PayloadFile>();
  if (volume.configMap !== undefined)
    addConfigMap(input, files, volume.configMap, volume.configMap.defaultMode);
  else if (volume.secret !== undefined) {
    const { secretName, defaultMode } = volume.secret;
    addSecret(input, files, { ...volume.secret, name: secretName }, defaultMode);
  } else if (volume.downwardAPI !== undefined)
    addDownward(input, files, volume.downwardAPI.items, volume.downwardAPI.defaultMode);
  else if (volume.projected !== undefined)
    for (const source of volume.projected.sources ?? [])
      addProjection(input, files, source, volume.projected.defaultMode);
  else return undefined;
  for (const path of files.keys()) checkPath(path);
  return files;
}

type Files = Map<string, PayloadFile>;

interface ObjectProjection {
  readonly name?: string;
  readonly items?: readonly KeyToPath[];
  readonly optional?: boolean;
}

/**
 * For those alone who run the pod, where it says who they are; whatever the volume's mode is.
 * Source: kubernetes pkg/volume/projected/projected.go, pkg/volume/util (FsUserFrom).
 */
function tokenAccess(
  { pod: { spec }, canGiveAway }: { readonly pod: Pod; readonly canGiveAway: boolean },
  defaultMode = defaultFileMode,
): Pick<PayloadFile, 'mode' | 'userId'> {
  const { runAsUser: ofPod, fsGroup } = spec.securityContext ?? {};
  const users = [...(spec.initContainers ?? []), ...spec.containers].map(
    ({ securityContext }) => securityContext?.runAsUser ?? ofPod,
  );
  const [userId] = users;
  if (canGiveAway && userId !== undefined && users.every((one) => one === userId))
    return { mode: 0o600, userId };
  return { mode: fsGroup === undefined ? defaultMode : 0o600 };
}

function addProjection(
  input: PayloadInput & { readonly canGiveAway: boolean },
  files: Files,
  source: VolumeProjection,
  defaultMode: number | undefined,
): void {
  if (source.configMap !== undefined) addConfigMap(input, files, source.configMap, defaultMode);
  else if (source.secret !== undefined) addSecret(input, files, source.secret, defaultMode);
  else if (source.downwardAPI !== undefined)
    addDownward(input, files, source.downwardAPI.items, defaultMode);
  else if (source.serviceAccountToken !== undefined) {
    const token = input.objects.token(source.serviceAccountToken);
    if (token === undefined) throw new VolumeError('there is no service-account token yet');
    const file = { bytes: Buffer.from(token), ...tokenAccess(input, defaultMode) };
    files.set(source.serviceAccountToken.path, file);
  } else {
    const [kind = 'unknown'] = Object.keys(source);
    throw new VolumeError(`projected volume source ${kind} is not supported`);
  }
}

function addConfigMap(
  { pod, objects }: PayloadInput,
  files: Files,
  projection: ObjectProjection,
  defaultMode: number | undefined,
): void {
  const name = projection.name ?? '';
  const object = objects.configMap(name);
  if (object === undefined) {
    if (projection.optional === true) return;
    throw new VolumeError(`configmap "${name}" not found`);
  }
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(object.data ?? {})) data.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(object.binaryData ?? {}))
    data.set(key, Buffer.from(value, 'base64'));
  const where = `configmap ${pod.metadata.namespace}/${name}`;
  addKeys(files, data, { projection, defaultMode, where });
}

function addSecret(
  { pod, objects }: PayloadInput,
  files: Files,
  projection: ObjectProjection,
  defaultMode: number | undefined,
): void {
  const name = projection.name ?? '';
  const object = objects.secret(name);
  if (object === undefined) {
    if (projection.optional === true) return;
    throw new VolumeError(`secret "${name}" not found`);
  }
  const entries = Object.entries(object.data ?? {});
  const data = new Map(entries.map(([key, value]) => [key, Buffer.from(value, 'base64')]));
  const where = `secret ${pod.metadata.namespace}/${name}`;
  addKeys(files, data, { projection, defaultMode, where });
}

function addKeys(
  files: Files,
  data: ReadonlyMap<string, Uint8Array>,
  options: {
    readonly projection: ObjectProjection;
    readonly defaultMode: number | undefined;
    readonly where: string;
  },
): void {
  const { projection, defaultMode = defaultFileMode, where } = options;
  if (projection.items === undefined || projection.items.length === 0) {
    for (const [key, bytes] of data) files.set(key, { bytes, mode: defaultMode });
    return;
  }
  for (const { key, path, mode } of projection.items) {
    const bytes = data.get(key);
    if (bytes !== undefined) files.set(path, { bytes, mode: mode ?? defaultMode });
    else if (projection.optional !== true)
      throw new VolumeError(`${where} references non-existent config key: ${key}`);
  }
}

function addDownward(
  input: PayloadInput,
  files: Files,
  items: readonly DownwardAPIVolumeFile[] | undefined,
  defaultMode = defaultFileMode,
): void {
  for (const { path, mode, fieldRef, resourceFieldRef } of items ?? []) {
    const value =
      fieldRef === undefined
        ? resourceValue(input, resourceFieldRef)
        : podField(input.pod, fieldRef, input.addresses);
    if (value === undefined)
      throw new VolumeError(
        `unsupported fieldPath: ${fieldRef?.fieldPath ?? resourceFieldRef?.resource}`,
      );
    files.set(path, { bytes: Buffer.from(value), mode: mode ?? defaultMode });
  }
}

function resourceValue(
  { pod, allocatable }: PayloadInput,
  ref: DownwardAPIVolumeFile['resourceFieldRef'],
): string | undefined {
  const container = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find(
    (entry) => entry.name === ref?.containerName,
  );
  if (ref === undefined || container === undefined) return undefined;
  return containerResource(container, ref, allocatable);
}

function checkPath(path: string): void {
  const segments = path.split('/');
  if (path.startsWith('/') || segments.includes('..') || segments.includes(''))
    throw new VolumeError(`invalid path: must be relative and not contain '..': ${path}`);
  if (segments[0]?.startsWith('..') === true)
    throw new VolumeError(`invalid path: must not start with '..': ${path}`);
}
