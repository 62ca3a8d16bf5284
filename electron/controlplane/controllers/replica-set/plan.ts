// What a ReplicaSet or ReplicationController does next, and what its status says. Pure.
// Source: kubernetes pkg/controller/replicaset/{replica_set,replica_set_utils}.go.
import type { ReplicaSetCondition } from '#kube/api/apps.ts';
import type { Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { labelsMatcher } from '#kube/machinery/selector.ts';
import { getCondition, removeCondition } from '#kube/machinery/conditions.ts';
import { withCondition } from '../conditions.ts';
import { withoutZeros } from '../counts.ts';
import {
  isPodActive,
  isPodAvailable,
  isPodReady,
  isPodTerminal,
  isPodTerminating,
} from '../pod-state.ts';
import { inDeletionOrder } from './deletion-order.ts';
import type { ReplicaOwner } from './owner.ts';

/** At most this many pods are created or deleted in one reconcile. */
export const burstMax = 500;

export interface ReplicaPlan {
  readonly createCount: number;
  readonly deletePods: readonly Pod[];
}

export interface ReplicaView {
  readonly owner: ReplicaOwner;
  /** All claimed pods, whatever their state. */
  readonly pods: readonly Pod[];
  readonly relatedPods: readonly Pod[];
  readonly nowMs: number;
}

export function planReplicas(view: ReplicaView): ReplicaPlan {
  const active = view.pods.filter(isPodActive);
  const missing = view.owner.replicas - active.length;
  if (missing >= 0) return { createCount: Math.min(missing, burstMax), deletePods: [] };
  const { relatedPods, nowMs } = view;
  const inOrder = inDeletionOrder({ pods: active, relatedPods, nowMs });
  return { createCount: 0, deletePods: inOrder.slice(0, Math.min(-missing, burstMax)) };
}

/** What ReplicaSets and ReplicationControllers have in common. */
export interface ReplicaStatus {
  replicas: number;
  fullyLabeledReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  terminatingReplicas?: number;
  observedGeneration?: number;
  conditions?: ReplicaSetCondition[];
}

/** `failure`: what went wrong with creating or deleting pods in this reconcile. */
export function replicaStatus(
  view: Omit<ReplicaView, 'relatedPods'>,
  plan: ReplicaPlan,
  failure: Error | undefined,
): ReplicaStatus {
  const { owner, pods, nowMs } = view;
  const active = pods.filter(isPodActive);
  const hasTemplateLabels = labelsMatcher(owner.template?.metadata?.labels ?? {});
  const status: ReplicaStatus = {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) => hasTemplateLabels.matches(pod.metadata.labels))
      .length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => isPodAvailable(pod, owner.minReadySeconds, nowMs))
      .length,
    observedGeneration: owner.object.metadata.generation,
  };
  if (owner.countsTerminating)
    status.terminatingReplicas = pods.filter(
      (pod) => isPodTerminating(pod) && !isPodTerminal(pod),
    ).length;
  const conditions = failureConditions(owner.status.conditions, plan, failure, nowMs);
  if (conditions.length > 0) status.conditions = conditions;
  return withoutZeros(status, ['fullyLabeledReplicas', 'readyReplicas', 'availableReplicas']);
}

function failureConditions(
  current: ReplicaSetCondition[] | undefined,
  plan: ReplicaPlan,
  failure: Error | undefined,
  nowMs: number,
): ReplicaSetCondition[] {
  if (failure === undefined) return removeCondition(current, 'ReplicaFailure');
  if (getCondition(current, 'ReplicaFailure') !== undefined) return [...(current ?? [])];
  return withCondition(current, {
    type: 'ReplicaFailure',
    status: 'True',
    lastTransitionTime: rfc3339(nowMs),
    reason: plan.createCount > 0 ? 'FailedCreate' : 'FailedDelete',
    message: failure.message,
  });
}
