// PriorityClasses and RuntimeClasses: names for what pods ask for.
// Source: kubernetes pkg/apis/scheduling/{types.go,validation/validation.go},
// pkg/apis/node/validation/validation.go.
import type { RuntimeClass } from '#kube/api/node.ts';
import type { PriorityClass } from '#kube/api/scheduling.ts';
import { field, forbidden, type FieldError } from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isDns1123Label } from '#kube/machinery/names.ts';
import { validateImmutable, validateLabels } from '#kube/machinery/object-meta.ts';
import type { Strategy } from '../../resource.ts';
import { validateResourceRequirements } from '../pod/resources.ts';
import { validateTolerations } from '../pod/scheduling.ts';
import { canonicalize } from '../quantities.ts';
import { check, checkChoice } from '../text-rules.ts';

const highestUserPriority = 1_000_000_000;
const systemPrefix = 'system-';

/** Made when a cluster starts; nobody else may use the prefix. */
export const systemPriorities: Readonly<Record<string, number>> = {
  'system-node-critical': 2_000_001_000,
  'system-cluster-critical': 2_000_000_000,
};

export const priorityClassStrategy: Strategy<PriorityClass> = {
  validateName: dns1123SubdomainName,
  applyDefaults(priorityClass) {
    priorityClass.value ??= 0;
    priorityClass.preemptionPolicy ??= 'PreemptLowerPriority';
  },
  validate: (priorityClass) => [
    ...validatePriority(priorityClass),
    ...checkChoice(field('preemptionPolicy'), priorityClass.preemptionPolicy, [
      'PreemptLowerPriority',
      'Never',
    ]),
  ],
  validateUpdate: (next, old) => [
    ...(next.value === old.value
      ? []
      : [forbidden(field('value'), 'may not be changed in an update.')]),
    ...validateImmutable(next.preemptionPolicy, old.preemptionPolicy, field('preemptionPolicy')),
  ],
};

function validatePriority({ metadata, value = 0, globalDefault }: PriorityClass): FieldError[] {
  const { name } = metadata;
  if (!name.startsWith(systemPrefix))
    return value > highestUserPriority
      ? [
          forbidden(
            field('value'),
            `maximum allowed value of a user defined priority is ${highestUserPriority}`,
          ),
        ]
      : [];
  const wanted = Object.hasOwn(systemPriorities, name) ? systemPriorities[name] : undefined;
  const problem =
    wanted === undefined
      ? `${name} is not a known system priority class`
      : wanted !== value
        ? `value of ${name} PriorityClass must be ${wanted}`
        : globalDefault === true
          ? `globalDefault of ${name} PriorityClass must be false`
          : undefined;
  if (problem === undefined) return [];
  return [
    forbidden(
      field('metadata', 'name'),
      `priority class names with '${systemPrefix}' prefix are reserved for system use only. ` +
        `error: ${problem}`,
    ),
  ];
}

export const runtimeClassStrategy: Strategy<RuntimeClass> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ overhead }) => canonicalize(overhead?.podFixed),
  validate({ handler = '', overhead, scheduling }: Partial<RuntimeClass>) {
    const at = field('scheduling');
    const { nodeSelector, tolerations = [] } = scheduling ?? {};
    return [
      ...check(field('handler'), handler, isDns1123Label(handler)),
      ...validateResourceRequirements({ limits: overhead?.podFixed ?? {} }, field('overhead')),
      ...validateLabels(nodeSelector, at.child('nodeSelector')),
      ...validateTolerations(tolerations, at.child('tolerations')),
    ];
  },
  validateUpdate: (next, old) => validateImmutable(next.handler, old.handler, field('handler')),
  generationFields: 'none',
};
