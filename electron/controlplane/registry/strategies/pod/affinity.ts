// Near or far from which other pods a pod wants to be.
// Source: kubernetes pkg/apis/core/validation/validation.go.
import type {
  PodAffinity,
  PodAffinityTerm,
  PodAntiAffinity,
  WeightedPodAffinityTerm,
} from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import {
  forbidden,
  invalid,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import { isDns1123Label, isQualifiedName } from '#kube/machinery/names.ts';
import { validateLabelSelector } from '../selector-rules.ts';
import { asGiven, check } from '../text-rules.ts';

export function validatePodAffinity(
  affinity: PodAffinity | PodAntiAffinity | undefined,
  path: FieldPath,
): FieldError[] {
  const must = affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const may = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const mustPath = path.child('requiredDuringSchedulingIgnoredDuringExecution');
  const mayPath = path.child('preferredDuringSchedulingIgnoredDuringExecution');
  return [
    ...must.flatMap((term, index) => validateTerm(term, mustPath.index(index))),
    ...may.flatMap((term, index) => validateWeighted(term, mayPath.index(index))),
  ];
}

function validateWeighted(
  { weight = 0, podAffinityTerm }: Partial<WeightedPodAffinityTerm>,
  path: FieldPath,
): FieldError[] {
  return [
    ...validateWeight(weight, path.child('weight')),
    ...validateTerm(podAffinityTerm ?? {}, path.child('podAffinityTerm')),
  ];
}

export function validateWeight(weight: number, path: FieldPath): FieldError[] {
  return weight < 1 || weight > 100 ? [invalid(path, weight, 'must be in the range 1-100')] : [];
}

function validateTerm(given: Partial<PodAffinityTerm>, path: FieldPath): FieldError[] {
  const { topologyKey = '', namespaces = [], labelSelector, namespaceSelector } = given;
  const { matchLabelKeys = [], mismatchLabelKeys = [] } = given;
  const keyPath = path.child('topologyKey');
  const mismatchPath = path.child('mismatchLabelKeys');
  return [
    ...validateLabelSelector(asGiven(labelSelector ?? {}), path.child('labelSelector')),
    ...validateLabelSelector(asGiven(namespaceSelector ?? {}), path.child('namespaceSelector')),
    ...namespaces.flatMap((name) => check(path.child('namespace'), name, isDns1123Label(name))),
    ...validateLabelKeys(matchLabelKeys, labelSelector, path.child('matchLabelKeys')),
    ...validateLabelKeys(mismatchLabelKeys, labelSelector, mismatchPath),
    ...mismatchLabelKeys.flatMap((key, index) =>
      matchLabelKeys.includes(key)
        ? [
            invalid(
              mismatchPath.index(index),
              key,
              'exists in both matchLabelKeys and mismatchLabelKeys',
            ),
          ]
        : [],
    ),
    ...(topologyKey === '' ? [required(keyPath, 'can not be empty')] : []),
    ...check(keyPath, topologyKey, isQualifiedName(topologyKey)),
  ];
}

/** Keys whose values are taken from the pod itself, and joined to the selector. */
export function validateLabelKeys(
  keys: readonly string[],
  selector: LabelSelector | undefined,
  path: FieldPath,
): FieldError[] {
  if (keys.length === 0) return [];
  if (selector === undefined)
    return [forbidden(path, 'must not be specified when labelSelector is not set')];
  return keys.flatMap((key, index) => check(path.index(index), key, isQualifiedName(key)));
}
