// Deletes pods that don't tolerate a NoExecute taint of their node, at once or when the time they
// tolerate it for is over. Source: kubernetes pkg/controller/tainteviction/taint_eviction.go.
// Differs: a machine that nobody hears of loses no pod whose data lies on it, since that could run nowhere else; and
// what should have been done while nobody looked is put off until machines had time to be heard of.
import type { Node, Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import {
  keyOf,
  nodes,
  parseKey,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from '#kube/client/resources.ts';
import { podClaims } from '#kube/machinery/volume-binding.ts';
import { withCondition } from '../conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { nodeIndex, nodeIndexer } from '../pod-gc.ts';
import { isPodTerminal, isPodTerminating } from '../pod-state.ts';
import { gracePeriodMs, isNodeReady, lateMs } from './node-lifecycle.ts';
import { evictionTimeMs, isPinned, unreachableTaint } from './taints.ts';

export function createTaintEvictionController(deps: ControllerDeps): RunnableController {
  const { client, clock } = deps;
  const recorder = recorderFor(deps, 'taint-eviction-controller');
  const allNodes = deps.informers.informer(nodes);
  const allPods = deps.informers.informer(pods, { indexers: nodeIndexer });
  const claims = deps.informers.informer(persistentVolumeClaims);
  const volumes = deps.informers.informer(persistentVolumes);
  /** Pod's uid → until when it is spared, by our own clock, as nobody looked when it was due. */
  const spared = new Map<string, number>();
  const controller = new Controller({
    name: 'taint-eviction-controller',
    clock,
    logger: deps.logger,
    workers: 5,
    reconcile,
  });
  controller.watchWith(allPods, {
    onAdd: (pod) => controller.enqueue(keyOf(pod)),
    onUpdate(old, pod) {
      const isSame = old.spec.nodeName === pod.spec.nodeName;
      if (!isSame || !deepEqual(old.spec.tolerations, pod.spec.tolerations))
        controller.enqueue(keyOf(pod));
    },
    onDelete: ({ metadata }) => void spared.delete(metadata.uid ?? ''),
  });
  controller.watchWith(claims, {});
  controller.watchWith(volumes, {});
  controller.watchWith(allNodes, {
    onAdd: enqueuePods,
    onUpdate(old, node) {
      if (!deepEqual(old.spec.taints, node.spec.taints)) enqueuePods(node);
    },
  });

  function enqueuePods(node: Node): void {
    for (const pod of allPods.lister.byIndex(nodeIndex, node.metadata.name))
      controller.enqueue(keyOf(pod));
  }

  async function reconcile(key: string): Promise<ReconcileResult> {
    const { namespace, name } = parseKey(key);
    const pod = allPods.lister.get(namespace, name);
    if (pod === undefined || isPodTerminating(pod) || isPodTerminal(pod)) return {};
    const node = allNodes.lister.get('', pod.spec.nodeName ?? '');
    if (node === undefined) return {};
    const dueMs = evictionTimeMs(stays(pod) ? withoutUnreachable(node) : node, pod, clock.now());
    const uid = pod.metadata.uid ?? '';
    if (dueMs === undefined) {
      spared.delete(uid);
      return {};
    }
    const leftMs = dueMs - clock.now();
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const sparedMs = isNodeReady(node) ? 0 : untilHeardOf(uid, -leftMs);
    if (sparedMs > 0) return { requeueAfterMs: sparedMs };
    await evict(pod);
    return {};
  }

  function untilHeardOf(uid: string, overdueMs: number): number {
    const nowMs = clock.monotonicMs();
    if (overdueMs > lateMs && !spared.has(uid)) spared.set(uid, nowMs + gracePeriodMs);
    return (spared.get(uid) ?? nowMs) - nowMs;
  }

  function stays(pod: Pod): boolean {
    const { namespace = '' } = pod.metadata;
    return podClaims(pod).some(({ name }) => {
      const volumeName = claims.lister.get(namespace, name)?.spec.volumeName ?? '';
      return isPinned(volumes.lister.get('', volumeName));
    });
  }

  async function evict(pod: Pod): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${keyOf(pod)}`);
    const conditions = withCondition(pod.status?.conditions, {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'DeletionByTaintManager',
      message: 'Taint manager: deleting due to NoExecute taint',
      lastTransitionTime: rfc3339(clock.now()),
    });
    const patch = { metadata: { uid }, status: { conditions } };
    const options = { subresource: 'status' };
    await client.patch(pods, { namespace, name }, patch, options).catch(ignoreNotFound);
    const preconditions = { uid };
    await client.delete(pods, { namespace, name }, { preconditions }).catch(ignoreNotFound);
  }
  return controller;
}

function withoutUnreachable(node: Node): Node {
  const taints = (node.spec.taints ?? []).filter(({ key }) => key !== unreachableTaint);
  return { ...node, spec: { ...node.spec, taints } };
}
