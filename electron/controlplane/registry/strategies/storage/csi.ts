// What storage drivers tell the cluster: themselves, where they run, what is free, what is attached.
// Source: kubernetes pkg/apis/storage/{v1/defaults.go,validation/validation.go}.
import type {
  CSIDriver,
  CSIDriverSpec,
  CSINode,
  CSINodeDriver,
  CSIStorageCapacity,
  TokenRequest,
  VolumeAttachment,
  VolumeAttachmentSource,
} from '#kube/api/storage.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  dns1123SubdomainName,
  isDns1123Subdomain,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check, checkNonNegative } from '../text-rules.ts';
import { validateNonNegativeQuantity } from './claim-rules.ts';
import { validateDriverName, validateVolumeSpec } from './persistent-volume.ts';

export const csiDriverStrategy: Strategy<CSIDriver> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.attachRequired ??= true;
    spec.podInfoOnMount ??= false;
    spec.storageCapacity ??= false;
    spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
    if ((spec.volumeLifecycleModes ?? []).length === 0) spec.volumeLifecycleModes = ['Persistent'];
    spec.requiresRepublish ??= false;
    spec.seLinuxMount ??= false;
  },
  validate: ({ spec }) => validateDriverSpec(spec, field('spec')),
  validateUpdate({ spec: next }, { spec: old }) {
    const path = field('spec');
    return [
      ...validateImmutable(next.attachRequired, old.attachRequired, path.child('attachedRequired')),
      ...validateImmutable(next.fsGroupPolicy, old.fsGroupPolicy, path.child('fsGroupPolicy')),
      ...validateImmutable(
        next.volumeLifecycleModes,
        old.volumeLifecycleModes,
        path.child('volumeLifecycleModes'),
      ),
    ];
  },
  generationFields: 'none',
};

const groupPolicies = ['File', 'None', 'ReadWriteOnceWithFSType'];
const lifecycleModes = ['Persistent', 'Ephemeral'];

function validateDriverSpec(spec: CSIDriverSpec, path: FieldPath): FieldError[] {
  const { fsGroupPolicy = '', volumeLifecycleModes = [], tokenRequests = [] } = spec;
  const at = path.child('volumeLifecycleModes');
  return [
    ...(groupPolicies.includes(fsGroupPolicy)
      ? []
      : [notSupported(path.child('fsGroupPolicy'), fsGroupPolicy, groupPolicies)]),
    ...validateTokenRequests(tokenRequests, path.child('tokenRequests')),
    ...volumeLifecycleModes.flatMap((mode) =>
      lifecycleModes.includes(mode) ? [] : [notSupported(at, mode, lifecycleModes)],
    ),
  ];
}

const minTokenSeconds = 600;

function validateTokenRequests(requests: readonly TokenRequest[], path: FieldPath): FieldError[] {
  const seen = new Set<string>();
  return requests.flatMap((request, index) => {
    const { audience = '', expirationSeconds } = asGiven(request);
    const at = path.index(index).child('expirationSeconds');
    if (seen.has(audience)) return [duplicate(path.index(index).child('audience'), audience)];
    seen.add(audience);
    if (expirationSeconds === undefined) return [];
    if (expirationSeconds < minTokenSeconds)
      return [invalid(at, expirationSeconds, 'may not specify a duration less than 10 minutes')];
    return expirationSeconds > 2 ** 32
      ? [invalid(at, expirationSeconds, 'may not specify a duration larger than 2^32 seconds')]
      : [];
  });
}

export const csiNodeStrategy: Strategy<CSINode> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    spec.drivers ??= [];
  },
  validate: ({ spec }) => validateNodeDrivers(spec.drivers, field('spec', 'drivers')),
  validateUpdate: ({ spec: next }, { spec: old }) =>
    old.drivers.flatMap((driver) =>
      next.drivers
        .filter(({ name }) => name === driver.name)
        .filter((other) => !deepEqual(driver, other))
        .map((other) => invalid(field('CSINodeDriver'), other, 'field is immutable')),
    ),
  generationFields: 'none',
};

const maxNodeIdLength = 256;

function validateNodeDrivers(drivers: readonly CSINodeDriver[], path: FieldPath): FieldError[] {
  const seen = new Set<string>();
  return drivers.flatMap((driver, index) => {
    const at = path.index(index);
    const { name = '', nodeID = '', allocatable, topologyKeys = [] } = asGiven(driver);
    const errors = validateDriverName(name, at.child('name'));
    if (nodeID === '') errors.push(required(at.child('nodeID'), ''));
    if (nodeID.length > maxNodeIdLength)
      errors.push(
        invalid(at.child('nodeID'), nodeID, `must be ${maxNodeIdLength} characters or less`),
      );
    errors.push(...checkNonNegative(at.child('allocatable', 'count'), allocatable?.count));
    if (seen.has(name)) errors.push(duplicate(at.child('name'), name));
    seen.add(name);
    for (const [keyIndex, key] of topologyKeys.entries()) {
      if (key === '') errors.push(required(at, key));
      if (topologyKeys.indexOf(key) < keyIndex) errors.push(duplicate(at, key));
      errors.push(...check(at, key, isQualifiedName(key)));
    }
    return errors;
  });
}

export const csiStorageCapacityStrategy: Strategy<CSIStorageCapacity> = {
  validateName: dns1123SubdomainName,
  validate({
    nodeTopology,
    storageClassName = '',
    capacity,
    maximumVolumeSize,
  }: Partial<CSIStorageCapacity>) {
    const sizes = Object.entries({ capacity, maximumVolumeSize });
    return [
      ...(nodeTopology === undefined
        ? []
        : validateLabelSelector(nodeTopology, field('nodeTopology'))),
      ...check(field('storageClassName'), storageClassName, isDns1123Subdomain(storageClassName)),
      ...sizes.flatMap(([name, size]) =>
        size === undefined ? [] : validateNonNegativeQuantity(size, field(name)),
      ),
    ];
  },
  validateUpdate: (next, old) => [
    ...validateImmutable(next.nodeTopology, old.nodeTopology, field('nodeTopology')),
    ...validateImmutable(next.storageClassName, old.storageClassName, field('storageClassName')),
  ],
  generationFields: 'none',
};

export const volumeAttachmentStrategy: Strategy<VolumeAttachment> = {
  validateName: dns1123SubdomainName,
  prepareForCreate(attachment) {
    attachment.status = { attached: false };
  },
  validate({ spec }) {
    const path = field('spec');
    const { attacher = '', nodeName = '', source = {} } = asGiven(spec);
    return [
      ...validateDriverName(attacher, path.child('attacher')),
      ...validateAttachedSource(source, path.child('source')),
      ...check(path.child('nodeName'), nodeName, isDns1123Subdomain(nodeName)),
    ];
  },
  validateUpdate: (next, old) => validateImmutable(next.spec, old.spec, field('spec')),
  generationFields: 'none',
};

export const volumeAttachmentStatus: StatusSubresource<VolumeAttachment> = { type: 'status' };

function validateAttachedSource(source: VolumeAttachmentSource, path: FieldPath): FieldError[] {
  const { inlineVolumeSpec, persistentVolumeName } = source;
  const both = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
  if (inlineVolumeSpec !== undefined && persistentVolumeName !== undefined)
    return [forbidden(path, both)];
  if (inlineVolumeSpec !== undefined)
    return validateVolumeSpec(inlineVolumeSpec, path.child('inlineVolumeSpec'), { isInline: true });
  if (persistentVolumeName === undefined) return [required(path, both)];
  const at = path.child('persistentVolumeName');
  return persistentVolumeName === ''
    ? [required(at, 'must specify non empty persistentVolumeName')]
    : check(at, persistentVolumeName, isDns1123Subdomain(persistentVolumeName));
}
