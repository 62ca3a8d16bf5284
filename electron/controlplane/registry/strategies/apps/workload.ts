// What Deployment, ReplicaSet, DaemonSet and ReplicationController have in common: their template
// makes pods that run for ever, and their counts are never negative.
// Source: kubernetes pkg/apis/apps/validation/validation.go.
import type { PodTemplateSpec } from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { IntOrString } from '#kube/api/scalars.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import type { LabelMatcher } from '#kube/machinery/selector.ts';
import type { ScaleSubresource } from '../../resource.ts';
import { validatePodTemplate } from '../pod/validation.ts';
import {
  isEmptySelector,
  matcherOf,
  validateLabelSelector,
  validateSelected,
} from '../selector-rules.ts';
import { check, checkNonNegative, immutableMessage, isPercent } from '../text-rules.ts';

/** `kind` is the word in the message about deadlines. */
export function validateForeverTemplate(
  template: PodTemplateSpec | undefined,
  path: FieldPath,
  kind: string,
): FieldError[] {
  if (template === undefined) return [required(path, '')];
  const { restartPolicy, activeDeadlineSeconds } = template.spec ?? {};
  const errors = validatePodTemplate(template, path);
  if (restartPolicy !== 'Always')
    errors.push(notSupported(path.child('spec', 'restartPolicy'), restartPolicy ?? '', ['Always']));
  if (activeDeadlineSeconds !== undefined)
    errors.push(
      forbidden(
        path.child('spec', 'activeDeadlineSeconds'),
        `activeDeadlineSeconds in ${kind} is not Supported`,
      ),
    );
  return errors;
}

/** Selector and template of Deployments and ReplicaSets. */
export function validateSelection(
  spec: { readonly selector?: LabelSelector; readonly template?: PodTemplateSpec },
  path: FieldPath,
): FieldError[] {
  const { selector, template } = spec;
  const at = path.child('selector');
  const errors = selector === undefined ? [required(at, '')] : validateLabelSelector(selector, at);
  if (selector !== undefined && isEmptySelector(selector))
    errors.push(invalid(at, selector, 'empty selector is invalid for deployment'));
  const matcher = matcherOf(selector);
  if (matcher === undefined) return [...errors, invalid(at, selector, 'invalid label selector')];
  return [...errors, ...validateMatchedTemplate(matcher, template, path, 'ReplicaSet')];
}

export function validateMatchedTemplate(
  matcher: LabelMatcher,
  template: PodTemplateSpec | undefined,
  path: FieldPath,
  kind: string,
): FieldError[] {
  const at = path.child('template');
  return [
    ...(template === undefined ? [] : validateSelected(matcher, template, at)),
    ...validateForeverTemplate(template, at, kind),
  ];
}

export function validateImmutableSelector(
  next: LabelSelector | undefined,
  old: LabelSelector | undefined,
): FieldError[] {
  if (deepEqual(next, old)) return [];
  return [invalid(field('spec', 'selector'), next, immutableMessage)];
}

/** maxSurge and the like: a count, or a share of the replicas. */
export function validateIntOrPercent(path: FieldPath, value: IntOrString): FieldError[] {
  return typeof value === 'string'
    ? check(path, value, isPercent(value))
    : checkNonNegative(path, value);
}

export function validateAtMostAll(path: FieldPath, value: IntOrString): FieldError[] {
  const isTooMuch =
    typeof value === 'string' && isPercent(value).length === 0 && Number.parseInt(value, 10) > 100;
  return isTooMuch ? [invalid(path, value, 'must not be greater than 100%')] : [];
}

export function isZero(value: IntOrString): boolean {
  return Number.parseInt(`${value}`, 10) === 0;
}

interface ReplicaCounts {
  readonly replicas?: number;
  readonly fullyLabeledReplicas?: number;
  readonly updatedReplicas?: number;
  readonly readyReplicas?: number;
  readonly availableReplicas?: number;
  readonly unavailableReplicas?: number;
  readonly observedGeneration?: number;
}

/** None negative, none above the replicas there are. */
export function validateReplicaCounts(status: ReplicaCounts = {}): FieldError[] {
  const path = field('status');
  const { replicas = 0, readyReplicas = 0, availableReplicas = 0 } = status;
  const errors = allCounts.flatMap((name) => checkNonNegative(path.child(name), status[name]));
  for (const name of partialCounts)
    if ((status[name] ?? 0) > replicas)
      errors.push(
        invalid(path.child(name), status[name], 'cannot be greater than status.replicas'),
      );
  if (availableReplicas > readyReplicas)
    errors.push(
      invalid(
        path.child('availableReplicas'),
        availableReplicas,
        'cannot be greater than readyReplicas',
      ),
    );
  return errors;
}

const partialCounts = [
  'fullyLabeledReplicas',
  'updatedReplicas',
  'readyReplicas',
  'availableReplicas',
] as const;

const allCounts = [
  'replicas',
  ...partialCounts,
  'unavailableReplicas',
  'observedGeneration',
] as const;

interface Scalable extends KubeObject {
  spec: { replicas?: number };
  status?: { replicas?: number };
}

export function scaleOf<T extends Scalable>(
  getSelector: (object: T) => string,
): ScaleSubresource<T> {
  return {
    type: 'scale',
    getSpecReplicas: (object) => object.spec.replicas ?? 1,
    setSpecReplicas(object, replicas) {
      object.spec.replicas = replicas;
    },
    getStatusReplicas: (object) => object.status?.replicas ?? 0,
    getSelector,
  };
}
