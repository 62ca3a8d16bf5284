// What a write adds to the quotas of its namespace, or why it does not fit. Pure.
// Source: kubernetes apiserver pkg/admission/plugin/resourcequota/controller.go (CheckRequest).
import type { ResourceQuota } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import {
  addAmounts,
  amountIn,
  namesAbove,
  onlyNamed,
  showAmounts,
  surplusOf,
  withoutZeroAmounts,
  type Amounts,
} from '#kube/machinery/quota/amounts.ts';
import { evaluatorOf, type QuotaEvaluator } from '#kube/machinery/quota/evaluators.ts';
import { isInScope } from '#kube/machinery/quota/usage.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionAttributes } from '../chain.ts';

/** The object of a write is there: only creates and updates are charged. */
export type ChargedWrite = AdmissionAttributes & { readonly object: KubeObject };

/**
 * The quotas as they are with this write, `quotas` itself if nothing changes. Throws 403 when one
 * of them does not allow it.
 */
export function chargeQuotas(
  quotas: readonly ResourceQuota[],
  write: ChargedWrite,
  nowMs: number,
): readonly ResourceQuota[] {
  const evaluator = evaluatorOf(write.resource);
  let isChanged = false;
  const charged = quotas.map((quota) => {
    const more = additionTo(quota, write, { evaluator, nowMs });
    if (Object.keys(more).length === 0) return quota;
    isChanged = true;
    return withUsage(quota, write, more);
  });
  return isChanged ? charged : quotas;
}

interface Measure {
  readonly evaluator: QuotaEvaluator;
  readonly nowMs: number;
}

/** What the write adds to this quota's amounts; empty when it has nothing to do with it. */
function additionTo(
  quota: ResourceQuota,
  { object, oldObject, ...write }: ChargedWrite,
  { evaluator, nowMs }: Measure,
): Amounts {
  const { hard = {}, used = {} } = quota.status ?? {};
  const names = evaluator.names(Object.keys(hard));
  if (names.length === 0 || !isInScope(quota, evaluator, object)) return {};
  const refuse = (why: string) => forbidden(write.resource, write.name, why);
  const { name } = quota.metadata;
  const missing = evaluator.missing?.(names, object);
  if (missing !== undefined) throw refuse(`failed quota: ${name}: ${missing}`);
  if (names.some((one) => amountIn(used, one) === undefined))
    throw refuse(
      `status unknown for quota: ${name}, resources: ${[...names].toSorted().join(',')}`,
    );
  const usage = evaluator.usage(object, nowMs);
  // Before, the object may have been outside of the quota: then all of it is new to it.
  const wasCharged = oldObject !== undefined && isInScope(quota, evaluator, oldObject);
  const more = wasCharged ? surplusOf(usage, evaluator.usage(oldObject, nowMs)) : usage;
  return onlyNamed(withoutZeroAmounts(more), names);
}

function withUsage(quota: ResourceQuota, write: ChargedWrite, more: Amounts): ResourceQuota {
  const { hard = {}, used = {} } = quota.status ?? {};
  const usage = addAmounts(used, more);
  const exceeded = namesAbove(onlyNamed(usage, Object.keys(more)), hard);
  // What a status says has happened already.
  if (exceeded.length > 0 && write.subresource !== 'status') {
    const [requested, before, limited] = [more, used, hard].map((amounts) =>
      showAmounts(onlyNamed(amounts, exceeded)),
    );
    throw forbidden(
      write.resource,
      write.name,
      `exceeded quota: ${quota.metadata.name}, requested: ${requested}, used: ${before}, limited: ${limited}`,
    );
  }
  return { ...quota, status: { ...quota.status, used: usage } };
}
