// PodDisruptionBudgets: how many pods may be missing when somebody makes room.
// Source: kubernetes pkg/registry/policy/poddisruptionbudget/strategy.go,
// pkg/apis/policy/validation/validation.go.
import type { PodDisruptionBudget, PodDisruptionBudgetSpec } from '#kube/api/policy.ts';
import {
  field,
  invalid,
  notSupported,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { checkNonNegative } from '../text-rules.ts';
import { validateAtMostAll, validateIntOrPercent } from './workload.ts';

const counts = ['disruptionsAllowed', 'currentHealthy', 'desiredHealthy', 'expectedPods'] as const;

export const podDisruptionBudgetStrategy: Strategy<PodDisruptionBudget> = {
  validateName: dns1123SubdomainName,
  prepareForCreate(budget) {
    budget.status = {
      currentHealthy: 0,
      desiredHealthy: 0,
      disruptionsAllowed: 0,
      expectedPods: 0,
    };
  },
  validate: ({ spec }) => validateBudget(spec, field('spec')),
};

export const podDisruptionBudgetStatus: StatusSubresource<PodDisruptionBudget> = {
  type: 'status',
  validateUpdate: ({ status }) =>
    counts.flatMap((name) => checkNonNegative(field('status', name), status?.[name])),
};

const evictionPolicies = ['AlwaysAllow', 'IfHealthyBudget'];

function validateBudget(spec: PodDisruptionBudgetSpec, path: FieldPath): FieldError[] {
  const { minAvailable, maxUnavailable, selector, unhealthyPodEvictionPolicy: policy } = spec;
  const errors: FieldError[] = [];
  if (minAvailable !== undefined && maxUnavailable !== undefined)
    errors.push(invalid(path, spec, 'minAvailable and maxUnavailable cannot be both set'));
  for (const [name, value] of Object.entries({ minAvailable, maxUnavailable })) {
    if (value === undefined) continue;
    errors.push(...validateIntOrPercent(path.child(name), value));
    errors.push(...validateAtMostAll(path.child(name), value));
  }
  errors.push(...validateLabelSelector(selector, path.child('selector')));
  if (policy !== undefined && !evictionPolicies.includes(policy))
    errors.push(notSupported(path.child('unhealthyPodEvictionPolicy'), policy, evictionPolicies));
  return errors;
}
