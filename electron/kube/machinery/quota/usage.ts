// What a quota has to do with an object, and how much of it is used. Pure.
// Source: kubernetes apiserver pkg/quota/v1/{resources.go,generic/evaluator.go}.
import type { ResourceQuota } from '../../api/core.ts';
import type { KubeObject } from '../../api/object.ts';
import type { Quantity } from '../../api/scalars.ts';
import { sumAmounts } from './amounts.ts';
import type { QuotaEvaluator } from './evaluators.ts';
import { scopesOf } from './scopes.ts';

/** Whether the object is in all of the quota's scopes. */
export function isInScope(
  { spec }: ResourceQuota,
  evaluator: QuotaEvaluator,
  object: KubeObject,
): boolean {
  return scopesOf(spec).every((scope) => evaluator.matchesScope?.(scope, object) === true);
}

/** What the objects of one kind take up of the quota, for each of its names that measures them. */
export function usageOf(
  quota: ResourceQuota,
  evaluator: QuotaEvaluator,
  { objects, nowMs }: { readonly objects: readonly KubeObject[]; readonly nowMs: number },
): Record<string, Quantity> {
  const names = evaluator.names(Object.keys(quota.spec.hard ?? {}));
  const inScope = objects.filter((object) => isInScope(quota, evaluator, object));
  return sumAmounts(
    names,
    inScope.map((object) => evaluator.usage(object, nowMs)),
  );
}
