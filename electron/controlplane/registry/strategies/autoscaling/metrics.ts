// What an autoscaler goes by: one source for each metric, and a target of the right kind.
// Source: kubernetes pkg/apis/autoscaling/validation/validation.go validateMetricSpec.
import type {
  ContainerResourceMetricSource,
  ExternalMetricSource,
  MetricIdentifier,
  MetricSpec,
  MetricTarget,
  ObjectMetricSource,
  PodsMetricSource,
} from '#kube/api/autoscaling-v2.ts';
import {
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isPathSegmentName } from '#kube/machinery/names.ts';
import { parseQuantity } from '#kube/machinery/quantity.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check } from '../text-rules.ts';
import { validateReference } from './horizontal-pod-autoscaler.ts';

/** By the type that names it. */
const sources = {
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
  External: 'external',
  ContainerResource: 'containerResource',
} as const;
type Source = (typeof sources)[keyof typeof sources];
const sourceOrder: readonly Source[] = [
  'object',
  'external',
  'pods',
  'resource',
  'containerResource',
];

export function validateMetrics(metrics: readonly MetricSpec[], path: FieldPath): FieldError[] {
  return metrics.flatMap((metric, index) => validateMetric(metric, path.index(index)));
}

function validateMetric(metric: MetricSpec, path: FieldPath): FieldError[] {
  const { type = '' } = asGiven(metric);
  const typePath = path.child('type');
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(typePath, 'must specify a metric source type'));
  else if (!Object.hasOwn(sources, type))
    errors.push(notSupported(typePath, type, Object.keys(sources).sort()));
  const given = sourceOrder.filter((source) => metric[source] !== undefined);
  const [first] = given;
  if (first !== undefined) errors.push(...validateSource(metric, first, path.child(first)));
  const expected = Object.hasOwn(sources, type) ? sources[type as keyof typeof sources] : undefined;
  if (expected !== undefined && metric[expected] === undefined)
    errors.push(
      required(path.child(expected), 'must populate information for the given metric source'),
    );
  if (given.length === 1) return errors;
  const others = given.filter((source) => source !== expected);
  return [
    ...errors,
    ...others.map((source) =>
      forbidden(path.child(source), 'must populate the given metric source only'),
    ),
  ];
}

function validateSource(metric: MetricSpec, source: Source, path: FieldPath): FieldError[] {
  switch (source) {
    case 'object': {
      const given: Partial<ObjectMetricSource> = metric.object ?? {};
      const { describedObject, metric: identifier, target } = given;
      return [
        ...validateReference(describedObject, path.child('describedObject')),
        ...validateIdentifier(identifier, path.child('metric')),
        ...validateTarget(target, path.child('target')),
        ...validateEither(target, path.child('target'), {
          both: 'averageValue',
          none: 'must set either value or averageValue',
        }),
      ];
    }
    case 'external': {
      const given: Partial<ExternalMetricSource> = metric.external ?? {};
      const { metric: identifier, target } = given;
      return [
        ...validateIdentifier(identifier, path.child('metric')),
        ...validateTarget(target, path.child('target')),
        ...validateEither(target, path.child('target'), {
          both: 'value',
          none: 'must set either a target value for metric or a per-pod target',
        }),
      ];
    }
    case 'pods': {
      const given: Partial<PodsMetricSource> = metric.pods ?? {};
      const { metric: identifier, target } = given;
      return [
        ...validateIdentifier(identifier, path.child('metric')),
        ...validateTarget(target, path.child('target')),
        ...(isPositive(target?.averageValue)
          ? []
          : [
              required(
                path.child('target', 'averageValue'),
                'must specify a positive target averageValue',
              ),
            ]),
      ];
    }
    case 'resource':
      return validateResource(metric.resource ?? {}, path);
    case 'containerResource': {
      const given: Partial<ContainerResourceMetricSource> = metric.containerResource ?? {};
      const { container = '' } = given;
      return [
        ...(container === ''
          ? [required(path.child('container'), 'must specify a container')]
          : check(path.child('container'), container, isPathSegmentName(container))),
        ...validateResource(metric.containerResource ?? {}, path),
      ];
    }
  }
}

function validateResource(
  { name = '', target }: { readonly name?: string; readonly target?: MetricTarget },
  path: FieldPath,
): FieldError[] {
  const { averageUtilization, averageValue } = target ?? {};
  const at = path.child('target');
  const errors = name === '' ? [required(path.child('name'), 'must specify a resource name')] : [];
  errors.push(...validateTarget(target, at));
  if (averageUtilization === undefined && averageValue === undefined)
    errors.push(
      required(
        at.child('averageUtilization'),
        'must set either a target raw value or a target utilization',
      ),
    );
  if (averageUtilization !== undefined && averageValue !== undefined)
    errors.push(
      forbidden(
        at.child('averageValue'),
        'may not set both a target raw value and a target utilization',
      ),
    );
  return errors;
}

function validateEither(
  target: MetricTarget | undefined,
  path: FieldPath,
  where: { readonly both: string; readonly none: string },
): FieldError[] {
  const { value, averageValue } = target ?? {};
  if (value !== undefined && averageValue !== undefined)
    return [forbidden(path.child(where.both), 'may not set both value and averageValue')];
  return value === undefined && averageValue === undefined
    ? [required(path.child('averageValue'), where.none)]
    : [];
}

const targetTypes = ['Utilization', 'Value', 'AverageValue'];

function validateTarget(target: MetricTarget | undefined, path: FieldPath): FieldError[] {
  const { type = '', value, averageValue, averageUtilization } = asGiven(target ?? { type: '' });
  const at = path.child('type');
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(at, 'must specify a metric target type'));
  else if (!targetTypes.includes(type))
    errors.push(invalid(at, type, 'must be either Utilization, Value, or AverageValue'));
  for (const [name, amount] of Object.entries({ value, averageValue }))
    if (amount !== undefined && !isPositive(amount))
      errors.push(invalid(path.child(name), amount, 'must be positive'));
  if (averageUtilization !== undefined && averageUtilization < 1)
    errors.push(
      invalid(path.child('averageUtilization'), averageUtilization, 'must be greater than 0'),
    );
  return errors;
}

function isPositive(amount: MetricTarget['value']): boolean {
  return amount !== undefined && parseQuantity(amount).nanos > 0n;
}

function validateIdentifier(
  identifier: MetricIdentifier | undefined,
  path: FieldPath,
): FieldError[] {
  const { name = '', selector } = asGiven(identifier ?? { name: '' });
  return [
    ...(name === ''
      ? [required(path.child('name'), 'must specify a metric name')]
      : check(path.child('name'), name, isPathSegmentName(name))),
    ...(selector === undefined ? [] : validateLabelSelector(selector, path.child('selector'))),
  ];
}
