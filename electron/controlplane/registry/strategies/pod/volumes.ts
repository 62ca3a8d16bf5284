// Volumes of a pod: one source each, and the sources the agent knows in detail.
// Left out: the details of cloud and network file systems (their sources are only counted).
// Source: kubernetes pkg/apis/core/validation/validation.go ValidateVolumes.
import type {
  DownwardAPIVolumeFile,
  HostPathVolumeSource,
  KeyToPath,
  ProjectedVolumeSource,
  Volume,
} from '#kube/api/core.ts';
import {
  duplicate,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Label } from '#kube/machinery/names.ts';
import { validateQuantity } from '#kube/machinery/quantity.ts';
import { isNegative } from '../quantities.ts';
import { asGiven, check } from '../text-rules.ts';
import { validateFieldRef, validateResourceFieldRef } from './env.ts';

const fileModeMessage = 'must be a number between 0 and 0777 (octal), both inclusive';

export interface VolumeCheck {
  readonly errors: FieldError[];
  /** What containers may mount. */
  readonly legal: ReadonlyMap<string, Volume>;
}

export function validateVolumes(volumes: readonly Volume[], path: FieldPath): VolumeCheck {
  const errors: FieldError[] = [];
  const legal = new Map<string, Volume>();
  for (const [index, volume] of volumes.entries()) {
    const at = path.index(index);
    const { name = '' } = asGiven(volume);
    const found = validateSource(volume, at);
    if (name === '') found.push(required(at.child('name'), ''));
    else found.push(...check(at.child('name'), name, isDns1123Label(name)));
    if (legal.has(name)) found.push(duplicate(at.child('name'), name));
    if (found.length === 0) legal.set(name, volume);
    else errors.push(...found);
  }
  return { errors, legal };
}

/** The sources, in the order Kubernetes looks at them. */
const sourceOrder = [
  'emptyDir',
  'hostPath',
  'gitRepo',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'secret',
  'nfs',
  'iscsi',
  'glusterfs',
  'flocker',
  'persistentVolumeClaim',
  'rbd',
  'cinder',
  'cephfs',
  'quobyte',
  'downwardAPI',
  'fc',
  'flexVolume',
  'configMap',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'storageos',
  'projected',
  'scaleIO',
  'csi',
  'ephemeral',
  'image',
] as const satisfies readonly (keyof Volume)[];

function validateSource(volume: Volume, path: FieldPath): FieldError[] {
  const given = sourceOrder.filter((source) => volume[source] !== undefined);
  if (given.length === 0) return [required(path, 'must specify a volume type')];
  return given.flatMap((source, index) =>
    index === 0
      ? validateDetails(volume, source, path.child(source))
      : [forbidden(path.child(source), 'may not specify more than 1 volume type')],
  );
}

function validateDetails(
  volume: Volume,
  source: (typeof sourceOrder)[number],
  path: FieldPath,
): FieldError[] {
  switch (source) {
    case 'emptyDir':
      return validateSizeLimit(volume, path);
    case 'hostPath':
      return validateHostPath(volume, path);
    case 'secret': {
      const { secretName = '', defaultMode, items } = volume.secret ?? {};
      return [
        ...(secretName === '' ? [required(path.child('secretName'), '')] : []),
        ...validateMode(defaultMode, path.child('defaultMode')),
        ...validateItems(items, path.child('items')),
      ];
    }
    case 'configMap': {
      const { name = '', defaultMode, items } = volume.configMap ?? {};
      return [
        ...(name === '' ? [required(path.child('name'), '')] : []),
        ...validateMode(defaultMode, path.child('defaultMode')),
        ...validateItems(items, path.child('items')),
      ];
    }
    case 'persistentVolumeClaim':
      return (volume.persistentVolumeClaim?.claimName ?? '') === ''
        ? [required(path.child('claimName'), '')]
        : [];
    case 'nfs':
      return validateNfs(volume, path);
    case 'downwardAPI':
      return [
        ...validateMode(volume.downwardAPI?.defaultMode, path.child('defaultMode')),
        ...(volume.downwardAPI?.items ?? []).flatMap((file) => validateDownwardFile(file, path)),
      ];
    case 'projected':
      return validateProjected(volume.projected ?? {}, path);
    default:
      return [];
  }
}

function validateSizeLimit({ emptyDir }: Volume, path: FieldPath): FieldError[] {
  const { sizeLimit } = emptyDir ?? {};
  if (sizeLimit === undefined) return [];
  const isLegal = validateQuantity(sizeLimit) === undefined && !isNegative(sizeLimit);
  if (isLegal) return [];
  return [forbidden(path.child('sizeLimit'), 'SizeLimit field must be a valid resource quantity')];
}

const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];

export function validateHostPath(
  { hostPath }: Pick<Volume, 'hostPath'>,
  path: FieldPath,
): FieldError[] {
  const { path: hostPathText = '', type = '' } = asGiven<HostPathVolumeSource>(
    hostPath ?? { path: '' },
  );
  if (hostPathText === '') return [required(path.child('path'), '')];
  const errors = check(path.child('path'), hostPathText, backstepMessages(hostPathText));
  if (!hostPathTypes.includes(type))
    errors.push(notSupported(path.child('type'), type, hostPathTypes));
  return errors;
}

export function validateNfs({ nfs }: Pick<Volume, 'nfs'>, path: FieldPath): FieldError[] {
  const { server = '', path: exported = '' } = nfs ?? {};
  const errors = server === '' ? [required(path.child('server'), '')] : [];
  if (exported === '') errors.push(required(path.child('path'), ''));
  if (!exported.startsWith('/'))
    errors.push(invalid(path.child('path'), exported, 'must be an absolute path'));
  return errors;
}

function validateMode(mode: number | undefined, path: FieldPath): FieldError[] {
  return mode !== undefined && (mode < 0 || mode > 0o777)
    ? [invalid(path, mode, fileModeMessage)]
    : [];
}

function validateItems(items: readonly KeyToPath[] | undefined, path: FieldPath): FieldError[] {
  return (items ?? []).flatMap(
    ({ key = '', path: filePath = '', mode }: Partial<KeyToPath>, index) => {
      const at = path.index(index);
      return [
        ...(key === '' ? [required(at.child('key'), '')] : []),
        ...(filePath === '' ? [required(at.child('path'), '')] : []),
        ...check(at.child('path'), filePath, localPathMessages(filePath)),
        ...validateMode(mode, at.child('mode')),
      ];
    },
  );
}

const downwardFields = [
  'metadata.annotations',
  'metadata.labels',
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
];

function validateDownwardFile(file: DownwardAPIVolumeFile, path: FieldPath): FieldError[] {
  const { path: filePath = '' } = asGiven(file);
  const { fieldRef, resourceFieldRef, mode } = file;
  const errors = filePath === '' ? [required(path.child('path'), '')] : [];
  errors.push(...check(path.child('path'), filePath, localPathMessages(filePath)));
  if (fieldRef !== undefined) {
    errors.push(...validateFieldRef(fieldRef, downwardFields, path.child('fieldRef')));
    if (resourceFieldRef !== undefined)
      errors.push(
        invalid(
          path,
          'resource',
          'fieldRef and resourceFieldRef can not be specified simultaneously',
        ),
      );
  } else if (resourceFieldRef !== undefined) {
    const at = path.child('resourceFieldRef');
    if ((resourceFieldRef.containerName ?? '') === '')
      errors.push(required(at.child('containerName'), ''));
    else errors.push(...validateResourceFieldRef(resourceFieldRef, at));
  } else errors.push(required(path, 'one of fieldRef and resourceFieldRef is required'));
  return [...errors, ...validateMode(mode, path.child('mode'))];
}

function validateProjected(volume: ProjectedVolumeSource, path: FieldPath): FieldError[] {
  const errors = validateMode(volume.defaultMode, path.child('defaultMode'));
  const paths = new Set<string>();
  function claim(filePath: string, value: string): void {
    if (filePath === '') return;
    if (paths.has(filePath)) errors.push(invalid(path, value, 'conflicting duplicate paths'));
    paths.add(filePath);
  }
  for (const [index, source] of (volume.sources ?? []).entries()) {
    const at = path.child('sources').index(index);
    for (const kind of ['secret', 'configMap'] as const) {
      const { name = '', items } = source[kind] ?? {};
      if (source[kind] === undefined) continue;
      if (name === '') errors.push(required(at.child(kind, 'name'), ''));
      errors.push(...validateItems(items, at.child(kind, 'items')));
      for (const item of items ?? []) claim(item.path, name);
    }
    for (const file of source.downwardAPI?.items ?? []) {
      errors.push(...validateDownwardFile(file, at.child('downwardAPI')));
      claim(file.path, file.path);
    }
    const given = Object.values(source).filter((part: unknown) => part !== undefined);
    if (given.length > 1)
      errors.push(forbidden(at, 'may not specify more than 1 volume type per source'));
  }
  return errors;
}

/** Relative, and never upwards. */
export function descendingPathMessages(path: string): string[] {
  return [...(path.startsWith('/') ? ['must be a relative path'] : []), ...backstepMessages(path)];
}

export function backstepMessages(path: string): string[] {
  return path.split('/').includes('..') ? ["must not contain '..'"] : [];
}

/** Names starting with two dots are the kubelet's own. */
export function localPathMessages(path: string): string[] {
  const messages = descendingPathMessages(path);
  if (path.startsWith('..') && !path.split('/').includes('..'))
    messages.push("must not start with '..'");
  return messages;
}
