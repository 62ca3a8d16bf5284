// PersistentVolumes: storage there is, of any kind that Kubernetes knows. The details of kinds that
// need a cloud are not looked at.
// Differs: status.lastPhaseTransitionTime is only set at creation, and by whoever writes the status.
// Source: kubernetes pkg/registry/core/persistentvolume/strategy.go,
// pkg/apis/core/{v1/defaults.go,validation/validation.go}.
import type { PersistentVolume, PersistentVolumeSpec } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  tooLong,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { byteLength, dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateNodeSelector } from '../pod/scheduling.ts';
import { backstepMessages, validateHostPath, validateNfs } from '../pod/volumes.ts';
import { canonicalize } from '../quantities.ts';
import { check } from '../text-rules.ts';
import {
  validateAccessModes,
  validateClassName,
  validatePositive,
  validateVolumeMode,
} from './claim-rules.ts';

export const persistentVolumeStrategy: Strategy<PersistentVolume> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec, status }) {
    spec.persistentVolumeReclaimPolicy ||= 'Retain';
    spec.volumeMode ??= 'Filesystem';
    if (spec.hostPath !== undefined) spec.hostPath.type ??= '';
    canonicalize(spec.capacity);
    if (status !== undefined) status.phase ||= 'Pending';
  },
  prepareForCreate(volume) {
    volume.status = {
      phase: 'Pending',
      lastPhaseTransitionTime: volume.metadata.creationTimestamp,
    };
  },
  validate: ({ spec }) => validateVolumeSpec(spec, field('spec')),
  validateUpdate: validateSpecUpdate,
  generationFields: 'none',
};

export const persistentVolumeStatus: StatusSubresource<PersistentVolume> = { type: 'status' };

const sources = [
  'hostPath',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'glusterfs',
  'flocker',
  'nfs',
  'rbd',
  'quobyte',
  'cephfs',
  'iscsi',
  'cinder',
  'fc',
  'flexVolume',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'scaleIO',
  'local',
  'storageos',
  'csi',
] as const satisfies readonly (keyof PersistentVolumeSpec)[];

const reclaimPolicies = ['Delete', 'Recycle', 'Retain'];

/** `isInline`: within a VolumeAttachment, where nobody claims or reclaims it. */
export function validateVolumeSpec(
  spec: PersistentVolumeSpec,
  path: FieldPath,
  { isInline = false } = {},
): FieldError[] {
  const { accessModes = [], capacity = {}, persistentVolumeReclaimPolicy: policy = '' } = spec;
  const errors: FieldError[] = [];
  if (accessModes.length === 0) errors.push(required(path.child('accessModes'), ''));
  errors.push(...validateAccessModes(accessModes, path.child('accessModes')));
  if (!isInline) errors.push(...validateCapacity(capacity, path.child('capacity')));
  if (!isInline && !reclaimPolicies.includes(policy))
    errors.push(notSupported(path.child('persistentVolumeReclaimPolicy'), policy, reclaimPolicies));
  errors.push(
    ...validateAffinity(spec, path.child('nodeAffinity')),
    ...validateSources(spec, path),
  );
  const isRoot = (spec.hostPath?.path ?? '').replaceAll(/\/+/g, '/') === '/';
  if (isRoot && policy === 'Recycle')
    errors.push(
      forbidden(
        path.child('persistentVolumeReclaimPolicy'),
        "may not be 'recycle' for a hostPath mount of '/'",
      ),
    );
  return [
    ...errors,
    ...validateClassName(spec.storageClassName, path.child('storageClassName')),
    ...validateVolumeMode(spec.volumeMode, path.child('volumeMode')),
    ...validateAttributesClass(spec, path),
  ];
}

function validateCapacity(
  capacity: NonNullable<PersistentVolumeSpec['capacity']>,
  path: FieldPath,
): FieldError[] {
  const names = Object.keys(capacity);
  if (names.length === 0) return [required(path, '')];
  return [
    ...(names.length > 1 || names[0] !== 'storage'
      ? [notSupported(path, capacity, ['storage'])]
      : []),
    ...Object.entries(capacity).flatMap(([name, quantity]) =>
      validatePositive(quantity, path.key(name)),
    ),
  ];
}

function validateAffinity({ nodeAffinity }: PersistentVolumeSpec, path: FieldPath): FieldError[] {
  if (nodeAffinity === undefined) return [];
  const at = path.child('required');
  return nodeAffinity.required === undefined
    ? [required(at, 'must specify required node constraints')]
    : validateNodeSelector(nodeAffinity.required, at);
}

function validateSources(spec: PersistentVolumeSpec, path: FieldPath): FieldError[] {
  const given = sources.filter((source) => spec[source] !== undefined);
  if (given.length === 0) return [required(path, 'must specify a volume type')];
  return given.flatMap((source, index) =>
    index === 0
      ? validateSource(spec, source, path.child(source))
      : [forbidden(path.child(source), 'may not specify more than 1 volume type')],
  );
}

function validateSource(
  spec: PersistentVolumeSpec,
  source: (typeof sources)[number],
  path: FieldPath,
): FieldError[] {
  switch (source) {
    case 'hostPath':
      return validateHostPath(spec, path);
    case 'nfs':
      return validateNfs(spec, path);
    case 'local': {
      const { path: local = '' } = spec.local ?? {};
      const at = path.child('path');
      const errors = local === '' ? [required(at, '')] : check(at, local, backstepMessages(local));
      if (spec.nodeAffinity?.required === undefined)
        errors.push(
          required(field('metadata', 'annotations'), 'Local volume requires node affinity'),
        );
      return errors;
    }
    case 'csi': {
      const { driver = '', volumeHandle = '' } = spec.csi ?? {};
      return [
        ...validateDriverName(driver, path.child('driver')),
        ...(volumeHandle === '' ? [required(path.child('volumeHandle'), '')] : []),
      ];
    }
    default:
      return [];
  }
}

const maxDriverNameLength = 63;

export function validateDriverName(name: string, path: FieldPath): FieldError[] {
  if (name === '') return [required(path, '')];
  return [
    ...(byteLength(name) > maxDriverNameLength ? [tooLong(path, maxDriverNameLength)] : []),
    ...check(path, name, isDns1123Subdomain(name.toLowerCase())),
  ];
}

function validateAttributesClass(spec: PersistentVolumeSpec, path: FieldPath): FieldError[] {
  const name = spec.volumeAttributesClassName;
  if (name === undefined) return [];
  const at = path.child('volumeAttributesClassName');
  return [
    ...(name === ''
      ? [required(at, 'an empty string is disallowed')]
      : check(at, name, isDns1123Subdomain(name))),
    ...(spec.csi === undefined
      ? [required(path.child('csi'), 'has to be specified when using volumeAttributesClassName')]
      : []),
  ];
}

function validateSpecUpdate(next: PersistentVolume, old: PersistentVolume): FieldError[] {
  const path = field('spec');
  const sourceOf = ({ spec }: PersistentVolume) =>
    Object.fromEntries(sources.map((source) => [source, spec[source]]));
  const errors: FieldError[] = [];
  if (!deepEqual(sourceOf(next), sourceOf(old)))
    errors.push(
      forbidden(
        path.child('persistentvolumesource'),
        'spec.persistentvolumesource is immutable after creation',
      ),
    );
  errors.push(
    ...validateImmutable(next.spec.volumeMode, old.spec.volumeMode, path.child('volumeMode')),
  );
  const { nodeAffinity } = old.spec;
  if (nodeAffinity !== undefined && !deepEqual(nodeAffinity, next.spec.nodeAffinity))
    errors.push(invalid(path.child('nodeAffinity'), next.spec.nodeAffinity, 'field is immutable'));
  return errors;
}
