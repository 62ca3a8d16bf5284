// Where a pod may run: tolerations, node affinity, spread constraints, gates; and taints of nodes.
// Affinity to other pods is in affinity.ts.
// Source: kubernetes pkg/apis/core/validation/validation.go.
import type {
  NodeAffinity,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodSchedulingGate,
  Taint,
  Toleration,
  TopologySpreadConstraint,
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
import { isDns1123Subdomain, isLabelValue, isQualifiedName } from '#kube/machinery/names.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check } from '../text-rules.ts';
import { validateLabelKeys, validateWeight } from './affinity.ts';

const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

export function validateTolerations(
  tolerations: readonly Toleration[],
  path: FieldPath,
): FieldError[] {
  return tolerations.flatMap((toleration, index) => {
    const at = path.index(index);
    const { key = '', operator = '', value = '', effect = '', tolerationSeconds } = toleration;
    const errors = key === '' ? [] : check(at.child('key'), key, isQualifiedName(key));
    if (key === '' && operator !== 'Exists')
      errors.push(
        invalid(
          at.child('operator'),
          operator,
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    if (tolerationSeconds !== undefined && effect !== 'NoExecute')
      errors.push(
        invalid(
          at.child('effect'),
          effect,
          "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
      );
    errors.push(...validateTolerationValue(operator, value, at.child('operator')));
    if (effect !== '' && !taintEffects.includes(effect))
      errors.push(notSupported(at.child('effect'), effect, taintEffects));
    return errors;
  });
}

function validateTolerationValue(operator: string, value: string, path: FieldPath): FieldError[] {
  if (operator === '' || operator === 'Equal') {
    const messages = isLabelValue(value);
    return messages.length === 0 ? [] : [invalid(path, value, messages.join(';'))];
  }
  if (operator !== 'Exists') return [notSupported(path, operator, ['Equal', 'Exists'])];
  return value === ''
    ? []
    : [invalid(path, value, "value must be empty when `operator` is 'Exists'")];
}

export function validateTaints(taints: readonly Taint[], path: FieldPath): FieldError[] {
  const seen = new Set<string>();
  return taints.flatMap((taint, index) => {
    const at = path.index(index);
    const { key = '', value = '', effect = '' } = asGiven(taint);
    const errors = check(at.child('key'), key, isQualifiedName(key));
    const messages = isLabelValue(value);
    if (messages.length > 0) errors.push(invalid(at.child('value'), value, messages.join(';')));
    if (effect === '') errors.push(required(at.child('effect'), ''));
    else if (!taintEffects.includes(effect))
      errors.push(notSupported(at.child('effect'), effect, taintEffects));
    const id = `${effect}/${key}`;
    if (seen.has(id)) {
      const error = duplicate(at, taint);
      const detail = 'taints must be unique by key and effect pair';
      errors.push({ ...error, message: `${error.message}: ${detail}` });
    }
    seen.add(id);
    return errors;
  });
}

export function validateNodeAffinity(
  affinity: NodeAffinity | undefined,
  path: FieldPath,
): FieldError[] {
  const must = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const mayPath = path.child('preferredDuringSchedulingIgnoredDuringExecution');
  const errors =
    must === undefined
      ? []
      : validateNodeSelector(must, path.child('requiredDuringSchedulingIgnoredDuringExecution'));
  const preferred = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  for (const [index, term] of preferred.entries()) {
    const at = mayPath.index(index);
    const { weight = 0, preference = {} } = asGiven(term);
    errors.push(...validateWeight(weight, at.child('weight')));
    errors.push(...validateTerm(preference, at.child('preference')));
  }
  return errors;
}

export function validateNodeSelector(selector: NodeSelector, path: FieldPath): FieldError[] {
  const terms = selector.nodeSelectorTerms ?? [];
  const at = path.child('nodeSelectorTerms');
  if (terms.length === 0) return [required(at, 'must have at least one node selector term')];
  return terms.flatMap((term, index) => validateTerm(term, at.index(index)));
}

function validateTerm(term: NodeSelectorTerm, path: FieldPath): FieldError[] {
  const { matchExpressions = [], matchFields = [] } = term;
  return [
    ...matchExpressions.flatMap((requirement, index) =>
      validateExpression(requirement, path.child('matchExpressions').index(index)),
    ),
    ...matchFields.flatMap((requirement, index) =>
      validateFieldRequirement(requirement, path.child('matchFields').index(index)),
    ),
  ];
}

function validateExpression(
  { key = '', operator, values = [] }: Partial<NodeSelectorRequirement>,
  path: FieldPath,
): FieldError[] {
  const at = path.child('values');
  const errors: FieldError[] = [];
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0)
        errors.push(required(at, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0)
        errors.push(
          forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        );
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1)
        errors.push(required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      break;
    default:
      errors.push(invalid(path.child('operator'), operator, 'not a valid selector operator'));
  }
  errors.push(...check(path.child('key'), key, isQualifiedName(key)));
  for (const [index, value] of values.entries())
    errors.push(...check(at.index(index), value, isLabelValue(value)));
  return errors;
}

function validateFieldRequirement(
  { key = '', operator, values = [] }: Partial<NodeSelectorRequirement>,
  path: FieldPath,
): FieldError[] {
  const errors: FieldError[] = [];
  if (operator !== 'In' && operator !== 'NotIn')
    errors.push(invalid(path.child('operator'), operator, 'not a valid selector operator'));
  else if (values.length !== 1)
    errors.push(
      required(
        path.child('values'),
        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
      ),
    );
  if (key !== 'metadata.name')
    return [...errors, invalid(path.child('key'), key, 'not a valid field selector key')];
  const wrong = values.flatMap((value, index) =>
    check(path.child('values').index(index), value, isDns1123Subdomain(value)),
  );
  return [...errors, ...wrong];
}

export function validateSchedulingGates(
  gates: readonly PodSchedulingGate[],
  path: FieldPath,
): FieldError[] {
  const seen = new Set<string>();
  return gates.flatMap(({ name = '' }: Partial<PodSchedulingGate>, index) => {
    const errors = check(path.index(index), name, isQualifiedName(name));
    if (seen.has(name)) errors.push(duplicate(path.index(index), name));
    seen.add(name);
    return errors;
  });
}

const scheduleActions = ['DoNotSchedule', 'ScheduleAnyway'];

export function validateSpreadConstraints(
  constraints: readonly TopologySpreadConstraint[],
  path: FieldPath,
): FieldError[] {
  return constraints.flatMap((constraint, index) => {
    const at = path.index(index);
    const { maxSkew = 0, topologyKey = '', whenUnsatisfiable = '' } = asGiven(constraint);
    const errors: FieldError[] = [];
    if (maxSkew <= 0)
      errors.push(invalid(at.child('maxSkew'), maxSkew, 'must be greater than zero'));
    if (topologyKey === '') errors.push(required(at.child('topologyKey'), 'can not be empty'));
    if (!scheduleActions.includes(whenUnsatisfiable))
      errors.push(notSupported(at.child('whenUnsatisfiable'), whenUnsatisfiable, scheduleActions));
    const isRepeated = constraints
      .slice(index + 1)
      .some((o) => o.topologyKey === topologyKey && o.whenUnsatisfiable === whenUnsatisfiable);
    if (isRepeated)
      errors.push(
        duplicate(
          at.child('{topologyKey, whenUnsatisfiable}'),
          `{${topologyKey}, ${whenUnsatisfiable}}`,
        ),
      );
    return [...errors, ...validateCounted(constraint, at)];
  });
}

/** Which nodes and pods a constraint counts. */
function validateCounted(constraint: TopologySpreadConstraint, path: FieldPath): FieldError[] {
  const { minDomains, whenUnsatisfiable, labelSelector, matchLabelKeys = [] } = constraint;
  const errors: FieldError[] = [];
  const at = path.child('minDomains');
  if (minDomains !== undefined && minDomains <= 0)
    errors.push(invalid(at, minDomains, 'must be greater than zero'));
  if (minDomains !== undefined && whenUnsatisfiable !== 'DoNotSchedule') {
    const why = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`;
    errors.push(invalid(at, minDomains, why));
  }
  for (const name of ['nodeAffinityPolicy', 'nodeTaintsPolicy'] as const) {
    const policy = constraint[name];
    if (policy !== undefined && policy !== 'Honor' && policy !== 'Ignore')
      errors.push(notSupported(path.child(name), policy, ['Honor', 'Ignore']));
  }
  const selected = new Set([
    ...Object.keys(labelSelector?.matchLabels ?? {}),
    ...(labelSelector?.matchExpressions ?? []).map(({ key }) => key),
  ]);
  const keysPath = path.child('matchLabelKeys');
  errors.push(...validateLabelKeys(matchLabelKeys, labelSelector, keysPath));
  for (const [index, key] of matchLabelKeys.entries())
    if (selected.has(key))
      errors.push(
        invalid(keysPath.index(index), key, 'exists in both matchLabelKeys and labelSelector'),
      );
  return [...errors, ...validateLabelSelector(labelSelector, path.child('labelSelector'))];
}
