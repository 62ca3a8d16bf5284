// Which part of the pods or claims a quota is about. Pure.
// Source: kubernetes pkg/quota/v1/evaluator/core/{pods,persistent_volume_claims}.go.
import type {
  PersistentVolumeClaim,
  Pod,
  PodAffinityTerm,
  ResourceQuotaSpec,
  ScopedResourceSelectorRequirement,
} from '../../api/core.ts';
import { podQosClass } from '../qos.ts';

/** The scopes and the scope selector of a quota, in one form. */
export function scopesOf({
  scopes = [],
  scopeSelector,
}: ResourceQuotaSpec): ScopedResourceSelectorRequirement[] {
  return [
    ...scopes.map((scopeName) => ({ scopeName, operator: 'Exists' })),
    ...(scopeSelector?.matchExpressions ?? []),
  ];
}

export function podMatchesScope(scope: ScopedResourceSelectorRequirement, { spec }: Pod): boolean {
  const isTerminating = (spec.activeDeadlineSeconds ?? -1) >= 0;
  switch (scope.scopeName) {
    case 'Terminating':
      return isTerminating;
    case 'NotTerminating':
      return !isTerminating;
    case 'BestEffort':
      return podQosClass(spec) === 'BestEffort';
    case 'NotBestEffort':
      return podQosClass(spec) !== 'BestEffort';
    case 'PriorityClass':
      return matchesNames(scope, [spec.priorityClassName ?? '']);
    case 'CrossNamespacePodAffinity':
      return affinityTerms(spec).some(
        ({ namespaces = [], namespaceSelector }) =>
          namespaces.length > 0 || namespaceSelector !== undefined,
      );
    default:
      return false;
  }
}

export function claimMatchesScope(
  scope: ScopedResourceSelectorRequirement,
  { spec, status }: PersistentVolumeClaim,
): boolean {
  if (scope.scopeName !== 'VolumeAttributesClass') return false;
  return matchesNames(scope, [
    spec.volumeAttributesClassName ?? '',
    status?.currentVolumeAttributesClassName ?? '',
    status?.modifyVolumeStatus?.targetVolumeAttributesClassName ?? '',
  ]);
}

/** '' is no name. */
function matchesNames(
  { operator, values = [] }: ScopedResourceSelectorRequirement,
  all: readonly string[],
): boolean {
  const names = all.filter((name) => name !== '');
  switch (operator) {
    case 'Exists':
      return names.length > 0;
    case 'DoesNotExist':
      return names.length === 0;
    case 'In':
      return names.some((name) => values.includes(name));
    case 'NotIn':
      return names.length === 0 || names.some((name) => !values.includes(name));
    default:
      return false;
  }
}

function affinityTerms({ affinity }: Pod['spec']): PodAffinityTerm[] {
  return [affinity?.podAffinity, affinity?.podAntiAffinity].flatMap((one) => [
    ...(one?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(one?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ podAffinityTerm }) => podAffinityTerm,
    ),
  ]);
}
