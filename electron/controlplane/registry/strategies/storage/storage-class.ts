// Classes of storage: who makes volumes, and with which attributes.
// Source: kubernetes pkg/apis/storage/{v1/defaults.go,validation/validation.go}.
import type { TopologySelectorTerm } from '#kube/api/core.ts';
import type { StorageClass, VolumeAttributesClass } from '#kube/api/storage.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  duplicate,
  field,
  forbidden,
  invalid,
  required,
  tooLong,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  byteLength,
  dns1123SubdomainName,
  isLabelValue,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { Strategy } from '../../resource.ts';
import { asGiven, check, checkChoice, checkRequired } from '../text-rules.ts';
import { validateDriverName } from './persistent-volume.ts';

export const storageClassStrategy: Strategy<StorageClass> = {
  validateName: dns1123SubdomainName,
  applyDefaults(storageClass) {
    storageClass.reclaimPolicy ??= 'Delete';
    storageClass.volumeBindingMode ??= 'Immediate';
  },
  validate: (storageClass) => [
    ...checkRequired(field('provisioner'), storageClass.provisioner, (name) =>
      isQualifiedName(name.toLowerCase()),
    ),
    ...validateParameters(storageClass.parameters ?? {}, { isEmptyAllowed: true }),
    ...checkChoice(field('reclaimPolicy'), storageClass.reclaimPolicy, ['Delete', 'Retain']),
    ...checkChoice(field('volumeBindingMode'), storageClass.volumeBindingMode, [
      'Immediate',
      'WaitForFirstConsumer',
    ]),
    ...validateTopologies(storageClass.allowedTopologies ?? []),
  ],
  validateUpdate(next, old) {
    const frozen = ['parameters', 'provisioner', 'reclaimPolicy'] as const;
    const changed = frozen.filter((name) => !deepEqual(next[name] ?? {}, old[name] ?? {}));
    return [
      ...changed.map((name) => forbidden(field(name), `updates to ${name} are forbidden.`)),
      ...validateImmutable(
        next.volumeBindingMode,
        old.volumeBindingMode,
        field('volumeBindingMode'),
      ),
    ];
  },
  generationFields: 'none',
};

const maxParameters = 512;
const maxParametersBytes = 256 * 1024;

function validateParameters(
  parameters: Readonly<Record<string, string>>,
  { isEmptyAllowed }: { readonly isEmptyAllowed: boolean },
): FieldError[] {
  const path = field('parameters');
  const entries = Object.entries(parameters);
  if (entries.length > maxParameters)
    return [
      isEmptyAllowed ? tooLong(path, maxParameters) : tooMany(path, entries.length, maxParameters),
    ];
  if (entries.length === 0 && !isEmptyAllowed)
    return [required(path, 'must contain at least one key/value pair')];
  const errors = entries
    .filter(([key]) => key === '')
    .map(([key]) => invalid(path, key, 'field can not be empty.'));
  const sizeBytes = entries.reduce((sum, [k, v]) => sum + byteLength(k) + byteLength(v), 0);
  return sizeBytes > maxParametersBytes ? [...errors, tooLong(path, maxParametersBytes)] : errors;
}

function validateTopologies(terms: readonly TopologySelectorTerm[]): FieldError[] {
  return terms.flatMap((term, index) => {
    const at = field('allowedTopologies').index(index);
    const isAgain = terms.slice(0, index).some((other) => deepEqual(other, term));
    return [
      ...validateTopologyTerm(term, at),
      ...(isAgain ? [duplicate(at.child('matchLabelExpressions'), '')] : []),
    ];
  });
}

function validateTopologyTerm(
  { matchLabelExpressions = [] }: TopologySelectorTerm,
  path: FieldPath,
): FieldError[] {
  const seen = new Set<string>();
  return matchLabelExpressions.flatMap((requirement, index) => {
    const at = path.child('matchLabelExpressions').index(index);
    const { key = '', values = [] } = asGiven(requirement);
    const errors = seen.has(key) ? [duplicate(at.child('key'), key)] : [];
    seen.add(key);
    if (values.length === 0) errors.push(required(at.child('values'), ''));
    for (const [valueIndex, value] of values.entries()) {
      const valuePath = at.child('values').index(valueIndex);
      if (values.indexOf(value) < valueIndex) errors.push(duplicate(valuePath, value));
      errors.push(...check(valuePath, value, isLabelValue(value)));
    }
    return [...errors, ...check(at.child('key'), key, isQualifiedName(key))];
  });
}

export const volumeAttributesClassStrategy: Strategy<VolumeAttributesClass> = {
  validateName: dns1123SubdomainName,
  validate: ({ driverName, parameters }) => [
    ...validateDriverName(driverName ?? '', field('driverName')),
    ...validateParameters(parameters ?? {}, { isEmptyAllowed: false }),
  ],
  validateUpdate(next, old) {
    const frozen = ['driverName', 'parameters'] as const;
    const changed = frozen.filter((name) => !deepEqual(next[name] ?? {}, old[name] ?? {}));
    return changed.map((name) => forbidden(field(name), `updates to ${name} are forbidden.`));
  },
  generationFields: 'none',
};
