// PersistentVolumeClaims: storage somebody wants.
// Differs: a refused change of the spec is not shown as a difference.
// Source: kubernetes pkg/registry/core/persistentvolumeclaim/strategy.go,
// pkg/apis/core/{v1/defaults.go,validation/validation.go}.
import type { PersistentVolumeClaim, PersistentVolumeClaimSpec } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import { compareQuantities, validateQuantity } from '#kube/machinery/quantity.ts';
import { holdOf } from '#kube/machinery/volume-move.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { canonicalize } from '../quantities.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { check } from '../text-rules.ts';
import {
  validateAccessModes,
  validateClassName,
  validatePositive,
  validateNonNegativeQuantity,
  validateVolumeMode,
} from './claim-rules.ts';

export const persistentVolumeClaimStrategy: Strategy<PersistentVolumeClaim> = {
  validateName: dns1123SubdomainName,
  applyDefaults: applyClaimDefaults,
  prepareForCreate(claim) {
    claim.status = { phase: 'Pending' };
    joinDataSources(claim.spec);
  },
  prepareForUpdate: ({ spec }) => joinDataSources(spec),
  validate: ({ spec }) => validateClaimSpec(spec, field('spec')),
  validateUpdate: validateClaimUpdate,
  generationFields: 'none',
};

export const persistentVolumeClaimStatus: StatusSubresource<PersistentVolumeClaim> = {
  type: 'status',
  validateUpdate({ status }) {
    const { accessModes = [], capacity = {} } = status ?? {};
    return [
      ...(status?.phase === 'Bound' && accessModes.length === 0
        ? [required(field('status', 'accessModes'), '')]
        : []),
      ...Object.entries(capacity).flatMap(([name, quantity]) =>
        validateNonNegativeQuantity(quantity, field('status', 'capacity').key(name)),
      ),
    ];
  },
};

/** Also of the claims in a StatefulSet's templates. */
export function applyClaimDefaults(claim: PersistentVolumeClaim): void {
  claim.status ??= {};
  claim.status.phase ||= 'Pending';
  claim.spec ??= {};
  claim.spec.volumeMode ??= 'Filesystem';
  claim.spec.resources ??= {};
  canonicalize(claim.spec.resources.requests);
  canonicalize(claim.spec.resources.limits);
  canonicalize(claim.status.capacity);
  canonicalize(claim.status.allocatedResources);
}

/** Two names of one field, as long as neither leaves the namespace. */
function joinDataSources(spec: PersistentVolumeClaimSpec): void {
  const { dataSource, dataSourceRef } = spec;
  if (dataSource !== undefined && dataSourceRef === undefined)
    spec.dataSourceRef = { ...dataSource };
  if (dataSource !== undefined || dataSourceRef === undefined) return;
  const { namespace, ...local } = dataSourceRef;
  if ((namespace ?? '') === '') spec.dataSource = local;
}

function validateClaimSpec(spec: PersistentVolumeClaimSpec, path: FieldPath): FieldError[] {
  const { accessModes = [], selector, resources = {}, dataSource, dataSourceRef } = spec;
  const storage = resources.requests?.['storage'];
  const storagePath = path.child('resources').key('storage');
  return [
    ...(accessModes.length === 0
      ? [required(path.child('accessModes'), 'at least 1 access mode is required')]
      : []),
    ...(selector === undefined ? [] : validateLabelSelector(selector, path.child('selector'))),
    ...validateAccessModes(accessModes, path.child('accessModes')),
    ...(storage === undefined
      ? [required(storagePath, '')]
      : validatePositive(storage, storagePath)),
    ...validateClassName(spec.storageClassName, path.child('storageClassName')),
    ...validateVolumeMode(spec.volumeMode, path.child('volumeMode')),
    ...(dataSource === undefined ? [] : validateSource(dataSource, path.child('dataSource'))),
    ...(dataSourceRef === undefined
      ? []
      : validateSource(dataSourceRef, path.child('dataSourceRef'))),
    ...validateClassName(spec.volumeAttributesClassName, path.child('volumeAttributesClassName')),
  ];
}

interface DataSource {
  readonly apiGroup?: string;
  readonly kind?: string;
  readonly name?: string;
}

function validateSource(
  { apiGroup = '', kind = '', name = '' }: DataSource,
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  if (name === '') errors.push(required(path.child('name'), ''));
  if (kind === '') errors.push(required(path.child('kind'), ''));
  if (apiGroup === '' && kind !== 'PersistentVolumeClaim') errors.push(invalid(path, kind, ''));
  if (apiGroup !== '')
    errors.push(...check(path.child('apiGroup'), apiGroup, isDns1123Subdomain(apiGroup)));
  return errors;
}

function validateClaimUpdate(
  next: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
): FieldError[] {
  const path = field('spec');
  const isBound = next.status?.phase === 'Bound';
  const size = next.spec.resources?.requests?.['storage'];
  const oldSize = old.spec.resources?.requests?.['storage'];
  const errors: FieldError[] = [];
  // Differs: a claim whose data is moved gets the copy. No pod of it starts meanwhile.
  const isHeld = holdOf(old) !== undefined && holdOf(next) === holdOf(old);
  const movable = isHeld ? { ...next.spec, volumeName: old.spec.volumeName } : next.spec;
  if (!deepEqual(frozenPart(movable, old.spec, isBound), frozenPart(old.spec, old.spec, isBound)))
    errors.push(
      forbidden(
        path,
        'spec is immutable after creation except resources.requests and ' +
          'volumeAttributesClassName for bound claims',
      ),
    );
  const capacity = old.status?.capacity?.['storage'] ?? '0';
  const isComparable = [size, oldSize, capacity].every((q) => validateQuantity(q) === undefined);
  if (isComparable && size !== undefined && oldSize !== undefined)
    if (compareQuantities(size, oldSize) < 0 && compareQuantities(size, capacity) <= 0)
      errors.push(
        forbidden(
          path.child('resources', 'requests', 'storage'),
          'field can not be less than status.capacity',
        ),
      );
  return [
    ...errors,
    ...validateImmutable(next.spec.volumeMode, old.spec.volumeMode, path.child('volumeMode')),
  ];
}

/** What may not change: a volume and a class can be given once, the size when it is bound. */
function frozenPart(
  spec: PersistentVolumeClaimSpec,
  old: PersistentVolumeClaimSpec,
  isBound: boolean,
): object {
  const { volumeAttributesClassName: _, volumeName, storageClassName, resources, ...rest } = spec;
  const { storage: _storage, ...requests } = resources?.requests ?? {};
  return {
    ...rest,
    volumeName: (old.volumeName ?? '') === '' ? '' : volumeName,
    storageClassName: old.storageClassName === undefined ? undefined : storageClassName,
    resources: isBound ? { ...resources, requests } : resources,
  };
}
