// Which failures of pods end a job, and which successes make it complete.
// Source: kubernetes pkg/apis/batch/validation/validation.go.
import type {
  JobSpec,
  PodFailurePolicyOnExitCodesRequirement,
  PodFailurePolicyOnPodConditionsPattern,
  PodFailurePolicyRule,
  SuccessPolicyRule,
} from '#kube/api/batch.ts';
import {
  duplicate,
  invalid,
  invalidForm,
  notSupported,
  required,
  tooLong,
  tooMany,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isQualifiedName } from '#kube/machinery/names.ts';
import { asGiven, check, checkNonNegative } from '../text-rules.ts';
import { IndexesError, countIndexes } from './job-indexes.ts';

const maxRules = 20;
const maxPatterns = 20;
const maxExitCodes = 255;
const maxIndexesLength = 64 * 1024;
const actions = ['Count', 'FailIndex', 'FailJob', 'Ignore'];
const operators = ['In', 'NotIn'];
const conditionStatuses = ['False', 'True', 'Unknown'];

export function validatePodFailurePolicy(spec: JobSpec, path: FieldPath): FieldError[] {
  const rules = spec.podFailurePolicy?.rules ?? [];
  const at = path.child('rules');
  const errors = rules.length > maxRules ? [tooMany(at, rules.length, maxRules)] : [];
  return [
    ...errors,
    ...rules.flatMap((rule, index) => validateFailureRule(spec, rule, at.index(index))),
  ];
}

function validateFailureRule(
  spec: JobSpec,
  rule: PodFailurePolicyRule,
  path: FieldPath,
): FieldError[] {
  const { action = '', onExitCodes, onPodConditions = [] } = asGiven(rule);
  const at = path.child('action');
  const errors = choice(at, action, actions);
  if (action === 'FailIndex' && spec.backoffLimitPerIndex === undefined)
    errors.push(invalid(at, action, 'requires the backoffLimitPerIndex to be set'));
  if (onExitCodes !== undefined)
    errors.push(...validateExitCodes(onExitCodes, spec, path.child('onExitCodes')));
  if (onPodConditions.length > 0)
    errors.push(...validatePatterns(onPodConditions, path.child('onPodConditions')));
  if (onExitCodes !== undefined && onPodConditions.length > 0)
    errors.push(
      invalidForm(path, 'specifying both OnExitCodes and OnPodConditions is not supported'),
    );
  if (onExitCodes === undefined && onPodConditions.length === 0)
    errors.push(invalidForm(path, 'specifying one of OnExitCodes and OnPodConditions is required'));
  return errors;
}

/** Missing ones are told what there is, in Go's form of a list. */
function choice(path: FieldPath, value: string, supported: readonly string[]): FieldError[] {
  if (value === '') {
    const list = supported.map((entry) => JSON.stringify(entry)).join(' ');
    return [required(path, `valid values: [${list}]`)];
  }
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}

function validatePatterns(
  patterns: readonly PodFailurePolicyOnPodConditionsPattern[],
  path: FieldPath,
): FieldError[] {
  const errors = patterns.length > maxPatterns ? [tooMany(path, patterns.length, maxPatterns)] : [];
  for (const [index, pattern] of patterns.entries()) {
    const { type = '', status = '' } = asGiven(pattern);
    const at = path.index(index);
    errors.push(...check(at.child('type'), type, isQualifiedName(type)));
    errors.push(...choice(at.child('status'), status, conditionStatuses));
  }
  return errors;
}

function validateExitCodes(
  requirement: PodFailurePolicyOnExitCodesRequirement,
  { template }: JobSpec,
  path: FieldPath,
): FieldError[] {
  const { operator = '', containerName, values = [] } = asGiven(requirement);
  const at = path.child('values');
  const errors = choice(path.child('operator'), operator, operators);
  const { containers = [], initContainers = [] } = asGiven(template.spec ?? { containers: [] });
  const isKnown = [...containers, ...initContainers].some(({ name }) => name === containerName);
  if (containerName !== undefined && !isKnown)
    errors.push(
      invalid(
        path.child('containerName'),
        containerName,
        'must be one of the container or initContainer names in the pod template',
      ),
    );
  if (values.length === 0) errors.push(invalid(at, values, 'at least one value is required'));
  if (values.length > maxExitCodes) errors.push(tooMany(at, values.length, maxExitCodes));
  for (const [index, value] of values.entries()) {
    if (operator === 'In' && value === 0)
      errors.push(invalid(at.index(index), value, 'must not be 0 for the In operator'));
    if (values.indexOf(value) < index) errors.push(duplicate(at.index(index), value));
  }
  if (values.some((value, index) => index > 0 && (values[index - 1] ?? value) > value))
    errors.push(invalid(at, values, 'must be ordered'));
  return errors;
}

export function validateSuccessPolicy(spec: JobSpec, path: FieldPath): FieldError[] {
  if (spec.completionMode !== 'Indexed')
    return [invalid(path, spec.successPolicy, 'requires indexed completion mode')];
  const rules = spec.successPolicy?.rules ?? [];
  const at = path.child('rules');
  const errors: FieldError[] = [];
  if (rules.length === 0)
    errors.push(
      required(at, 'at least one rules must be specified when the successPolicy is specified'),
    );
  if (rules.length > maxRules) errors.push(tooMany(at, rules.length, maxRules));
  for (const [index, rule] of rules.entries())
    errors.push(...validateSuccessRule(rule, spec.completions ?? 0, at.index(index)));
  return errors;
}

function validateSuccessRule(
  { succeededCount, succeededIndexes }: SuccessPolicyRule,
  completions: number,
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  let indexCount = 0;
  if (succeededCount === undefined && succeededIndexes === undefined)
    errors.push(
      required(path, 'at least one of succeededCount or succeededIndexes must be specified'),
    );
  if (succeededIndexes !== undefined) {
    const at = path.child('succeededIndexes');
    if (succeededIndexes.length > maxIndexesLength) errors.push(tooLong(at, maxIndexesLength));
    try {
      indexCount = countIndexes(succeededIndexes, completions);
    } catch (error) {
      if (!(error instanceof IndexesError)) throw error;
      const detail = `error parsing succeededIndexes: ${error.message}`;
      errors.push(invalid(at, succeededIndexes, detail));
    }
  }
  if (succeededCount !== undefined) {
    const at = path.child('succeededCount');
    const atMost = (limit: number, what: string) =>
      succeededCount > limit
        ? [
            invalid(
              at,
              succeededCount,
              `must be less than or equal to ${limit} (the number of ${what})`,
            ),
          ]
        : [];
    errors.push(...checkNonNegative(at, succeededCount));
    errors.push(...atMost(completions, 'specified completions'));
    if (succeededIndexes !== undefined)
      errors.push(...atMost(indexCount, 'indexes in the specified succeededIndexes field'));
  }
  return errors;
}
