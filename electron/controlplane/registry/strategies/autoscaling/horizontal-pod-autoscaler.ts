// HorizontalPodAutoscalers, as they are stored: autoscaling/v2.
// Source: kubernetes pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go,
// pkg/apis/autoscaling/{v2/defaults.go,validation/validation.go}.
import type {
  CrossVersionObjectReference,
  HPAScalingRules,
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerSpec,
} from '#kube/api/autoscaling-v2.ts';
import {
  field,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { dns1123SubdomainName, isPathSegmentName } from '#kube/machinery/names.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { isNegative } from '../quantities.ts';
import { asGiven, checkNonNegative, checkRequired } from '../text-rules.ts';
import { validateMetrics } from './metrics.ts';

export const horizontalPodAutoscalerStrategy: Strategy<HorizontalPodAutoscaler> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec, status }) {
    spec.minReplicas ??= 1;
    if ((spec.metrics ?? []).length === 0) spec.metrics = [defaultMetric()];
    if (spec.behavior !== undefined) {
      fillIn((spec.behavior.scaleUp ??= {}), {
        stabilizationWindowSeconds: 0,
        policies: [
          { type: 'Pods', value: 4, periodSeconds: 15 },
          { type: 'Percent', value: 100, periodSeconds: 15 },
        ],
      });
      fillIn((spec.behavior.scaleDown ??= {}), {
        policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
      });
    }
    if (status !== undefined) status.desiredReplicas ??= 0;
  },
  prepareForCreate(autoscaler) {
    autoscaler.status = { desiredReplicas: 0 };
  },
  validate: ({ spec }) => validateSpec(spec, field('spec')),
  generationFields: 'none',
};

export const horizontalPodAutoscalerStatus: StatusSubresource<HorizontalPodAutoscaler> = {
  type: 'status',
  validateUpdate: ({ status }) =>
    (['currentReplicas', 'desiredReplicas'] as const).flatMap((name) =>
      checkNonNegative(field('status', name), status?.[name]),
    ),
};

function defaultMetric() {
  const target = { type: 'Utilization', averageUtilization: 80 };
  return { type: 'Resource', resource: { name: 'cpu', target } };
}

function fillIn(rules: HPAScalingRules, preset: HPAScalingRules): void {
  rules.selectPolicy ??= 'Max';
  rules.policies ??= preset.policies;
  if (preset.stabilizationWindowSeconds !== undefined)
    rules.stabilizationWindowSeconds ??= preset.stabilizationWindowSeconds;
}

function validateSpec(spec: HorizontalPodAutoscalerSpec, path: FieldPath): FieldError[] {
  const { minReplicas, maxReplicas = 0, metrics = [], behavior = {} } = asGiven(spec);
  const maxPath = path.child('maxReplicas');
  const errors: FieldError[] = [];
  if (minReplicas !== undefined && minReplicas < 1)
    errors.push(
      invalid(path.child('minReplicas'), minReplicas, 'must be greater than or equal to 1'),
    );
  if (maxReplicas < 1) errors.push(invalid(maxPath, maxReplicas, 'must be greater than 0'));
  if (minReplicas !== undefined && maxReplicas < minReplicas)
    errors.push(invalid(maxPath, maxReplicas, 'must be greater than or equal to `minReplicas`'));
  const at = path.child('behavior');
  return [
    ...errors,
    ...validateReference(spec.scaleTargetRef, path.child('scaleTargetRef')),
    ...validateMetrics(metrics, path.child('metrics')),
    ...validateScaling(behavior.scaleUp, at.child('scaleUp')),
    ...validateScaling(behavior.scaleDown, at.child('scaleDown')),
  ];
}

export function validateReference(
  reference: CrossVersionObjectReference | undefined,
  path: FieldPath,
): FieldError[] {
  const { kind, name, apiVersion = '' } = asGiven(reference ?? { kind: '', name: '' });
  const errors = [
    ...checkRequired(path.child('kind'), kind, isPathSegmentName),
    ...checkRequired(path.child('name'), name, isPathSegmentName),
  ];
  if (apiVersion.split('/').length > 2)
    errors.push(
      invalid(
        path.child('apiVersion'),
        apiVersion,
        `unexpected GroupVersion string: ${apiVersion}`,
      ),
    );
  return errors;
}

const selectPolicies = ['Max', 'Min', 'Disabled'];
const policyTypes = ['Pods', 'Percent'];
const maxWindowSeconds = 3600;
const maxPeriodSeconds = 1800;

function validateScaling(rules: HPAScalingRules | undefined, path: FieldPath): FieldError[] {
  if (rules === undefined) return [];
  const { stabilizationWindowSeconds, selectPolicy, policies = [], tolerance } = rules;
  const windowPath = path.child('stabilizationWindowSeconds');
  const errors: FieldError[] = [];
  if (stabilizationWindowSeconds !== undefined && stabilizationWindowSeconds < 0)
    errors.push(
      invalid(windowPath, stabilizationWindowSeconds, 'must be greater than or equal to zero'),
    );
  if (stabilizationWindowSeconds !== undefined && stabilizationWindowSeconds > maxWindowSeconds)
    errors.push(
      invalid(
        windowPath,
        stabilizationWindowSeconds,
        `must be less than or equal to ${maxWindowSeconds}`,
      ),
    );
  if (selectPolicy !== undefined && !selectPolicies.includes(selectPolicy))
    errors.push(notSupported(path.child('selectPolicy'), selectPolicy, selectPolicies));
  const policiesPath = path.child('policies');
  if (policies.length === 0)
    errors.push(required(policiesPath, 'must specify at least one Policy'));
  for (const [index, policy] of policies.entries()) {
    const { type = '', value = 0, periodSeconds = 0 } = asGiven(policy);
    const at = policiesPath.index(index);
    const periodPath = at.child('periodSeconds');
    if (!policyTypes.includes(type)) errors.push(notSupported(at.child('type'), type, policyTypes));
    if (value <= 0) errors.push(invalid(at.child('value'), value, 'must be greater than zero'));
    if (periodSeconds <= 0)
      errors.push(invalid(periodPath, periodSeconds, 'must be greater than zero'));
    if (periodSeconds > maxPeriodSeconds)
      errors.push(
        invalid(periodPath, periodSeconds, `must be less than or equal to ${maxPeriodSeconds}`),
      );
  }
  if (tolerance !== undefined && isNegative(tolerance))
    errors.push(invalid(path.child('tolerance'), tolerance, 'must be greater or equal to zero'));
  return errors;
}
