// Judges nodes by their heartbeats: silent for 40 seconds, and their conditions become Unknown,
// they are tainted, and their pods no longer count as ready. Eviction itself is taint-eviction.ts.
// Who comes late to look was asleep or cut off itself, heard nobody meanwhile, and judges nobody by it.
// Source: kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go.
import type { Lease } from '#kube/api/coordination.ts';
import type { Node, NodeCondition, Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Informer } from '#kube/client/informer.ts';
import { leases, nodes, pods } from '#kube/client/resources.ts';
import { getCondition, setCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { isShuttingDown } from '#kube/machinery/node-shutdown.ts';
import { type ControllerDeps, recorderFor, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { nodeIndex, nodeIndexer } from '../pod-gc.ts';
import { isPodReady, isPodTerminal } from '../pod-state.ts';
import { isAsleep, restartsUntilMs, shutDownReason, taintsFor } from './taints.ts';

/** Without a heartbeat for this long a node is lost. */
export const gracePeriodMs = 40_000;
/** Every living node is looked at when its grace ends. So much later, it was us who stood still. */
export const lateMs = 8_000;
const leaseNamespace = 'kube-node-lease';
const heartbeatConditions = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

export function createNodeLifecycleController(deps: ControllerDeps): RunnableController {
  return new NodeLifecycleController(deps);
}

class NodeLifecycleController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #recorder: EventRecorder;
  readonly #nodes: Informer<Node>;
  readonly #leases: Informer<Lease>;
  readonly #pods: Informer<Pod>;
  readonly #controller: Controller;
  /** Node → when we last saw a sign of life, by our own clock: theirs may be wrong. */
  readonly #heartbeats = new Map<string, number>();

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#recorder = recorderFor(deps, 'node-controller');
    this.#nodes = deps.informers.informer(nodes);
    this.#leases = deps.informers.informer(leases, { namespace: leaseNamespace });
    this.#pods = deps.informers.informer(pods, { indexers: nodeIndexer });
    this.#controller = new Controller({
      name: 'node-lifecycle-controller',
      clock: deps.clock,
      logger: deps.logger,
      reconcile: (name) => this.#reconcile(name),
    });
    this.#controller.watchWith(this.#nodes, {
      onAdd: (node) => this.#nodeChanged(node, true),
      onUpdate: (old, node) => this.#nodeChanged(node, heartbeatOf(old) !== heartbeatOf(node)),
      onDelete: (node) => {
        this.#heartbeats.delete(node.metadata.name);
        this.#enqueueAll();
      },
    });
    this.#controller.watchWith(this.#leases, {
      onAdd: ({ metadata }) => this.#beat(metadata.name),
      onUpdate: (old, lease) => {
        if (old.spec.renewTime !== lease.spec.renewTime) this.#beat(lease.metadata.name);
      },
    });
    // A pod bound to a dead node, or reported ready by nobody, is marked too.
    this.#controller.watch(this.#pods, (pod) => {
      const node = this.#nodes.lister.get('', pod.spec.nodeName ?? '');
      return node !== undefined && !isNodeReady(node) && isPodReady(pod)
        ? [node.metadata.name]
        : [];
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #nodeChanged(node: Node, isHeartbeat: boolean): void {
    if (isHeartbeat) this.#beat(node.metadata.name);
    this.#enqueueAll();
  }

  /** Whether anyone may be evicted depends on all nodes. */
  #enqueueAll(): void {
    for (const { metadata } of this.#nodes.lister.list()) this.#controller.enqueue(metadata.name);
  }

  #beat(name: string): void {
    this.#heartbeats.set(name, this.#deps.clock.monotonicMs());
  }

  async #reconcile(name: string): Promise<ReconcileResult> {
    const node = this.#nodes.lister.get('', name);
    if (node === undefined) return {};
    const { clock } = this.#deps;
    const sinceMs = this.#heartbeats.get(name) ?? clock.monotonicMs();
    this.#heartbeats.set(name, sinceMs);
    const leftMs = sinceMs + gracePeriodMs - clock.monotonicMs();
    if (leftMs < -lateMs && isHeard(node)) return this.#beginAnew();
    const judged = leftMs <= 0 ? await this.#markUnknown(node) : node;
    if (judged === undefined) return {};
    await this.#taint(judged);
    if (!isNodeReady(judged)) await this.#markPodsNotReady(judged);
    // A lost node tells us itself when it is back; a living one is looked at when its time is up, and one that
    // restarts when it should have done so.
    const waitMs = leftMs > 0 ? leftMs : restartsUntilMs(judged) - clock.now();
    return waitMs > 0 ? { requeueAfterMs: waitMs } : {};
  }

  /** Everybody gets a whole grace to be heard of. */
  #beginAnew(): ReconcileResult {
    this.#deps.logger.info('Stood still, and gives all nodes time to be heard of');
    for (const name of this.#heartbeats.keys()) this.#beat(name);
    return { requeueAfterMs: gracePeriodMs };
  }

  /** Undefined when the node is gone. */
  async #markUnknown(node: Node): Promise<Node | undefined> {
    const { client, clock } = this.#deps;
    const conditions = unknownConditions(node, clock.now());
    if (deepEqual(conditions, node.status?.conditions)) return node;
    const wasReady = isNodeReady(node);
    const next = { ...node, status: { ...node.status, conditions } };
    const updated = await client.updateStatus(nodes, next).catch(ignoreNotFound);
    if (updated !== undefined && wasReady) {
      const message = `Node ${node.metadata.name} status is now: NodeNotReady`;
      this.#recorder.event(nodeReference(node), 'Normal', 'NodeNotReady', message);
    }
    return updated;
  }

  async #taint(node: Node): Promise<void> {
    const { client, clock } = this.#deps;
    const mayEvict = this.#nodes.lister.list().some(isNodeReady);
    const taints = taintsFor(node, mayEvict, clock.now());
    if (deepEqual(taints, node.spec.taints ?? [])) return;
    const { name, resourceVersion, uid } = node.metadata;
    const patch = { metadata: { resourceVersion, uid }, spec: { taints } };
    await client.patch(nodes, { name }, patch).catch(ignoreNotFound);
  }

  async #markPodsNotReady(node: Node): Promise<void> {
    const { client, clock } = this.#deps;
    for (const pod of this.#pods.lister.byIndex(nodeIndex, node.metadata.name)) {
      if (!isPodReady(pod) || isPodTerminal(pod)) continue;
      const { namespace, name, uid } = pod.metadata;
      const now = rfc3339(clock.now());
      const next = {
        ...getCondition(pod.status?.conditions, 'Ready'),
        type: 'Ready',
        status: 'False',
      };
      const conditions = setCondition(pod.status?.conditions, next, now);
      const patch = { metadata: { uid }, status: { conditions } };
      const options = { subresource: 'status' };
      const marked = await client
        .patch(pods, { namespace, name }, patch, options)
        .catch(ignoreNotFound);
      if (marked !== undefined)
        this.#recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
    }
  }
}

export function isNodeReady(node: Node): boolean {
  return getCondition(node.status?.conditions, 'Ready')?.status === 'True';
}

/** It was not given up yet. */
function isHeard(node: Node): boolean {
  return getCondition(node.status?.conditions, 'Ready')?.status !== 'Unknown';
}

const silentReason = {
  reason: 'NodeStatusUnknown',
  message: 'Kubelet stopped posting node status.',
};
const asleepReason = {
  reason: 'NodeAsleep',
  message: 'The machine was put to sleep; its pods wait until it wakes up.',
};

const shutDown = {
  reason: shutDownReason,
  message: 'The machine was shut down in order; its pods wait three minutes for it to be back.',
};

function whySilent(node: Node): { readonly reason: string; readonly message: string } {
  if (isAsleep(node)) return asleepReason;
  const ready = getCondition(node.status?.conditions, 'Ready');
  return isShuttingDown(ready) ? shutDown : silentReason;
}

function unknownConditions(node: Node, nowMs: number): NodeCondition[] {
  const now = rfc3339(nowMs);
  const conditions = [...(node.status?.conditions ?? [])];
  const why = whySilent(node);
  for (const type of heartbeatConditions) {
    const at = conditions.findIndex((condition) => condition.type === type);
    const current = conditions[at];
    if (current === undefined)
      conditions.push({
        type,
        status: 'Unknown',
        lastHeartbeatTime: node.metadata.creationTimestamp,
        lastTransitionTime: now,
        reason: 'NodeStatusNeverUpdated',
        message: 'Kubelet never posted node status.',
      });
    else if (current.status !== 'Unknown')
      conditions[at] = {
        ...current,
        status: 'Unknown',
        lastTransitionTime: now,
        ...why,
      };
  }
  return conditions;
}

/** Changes whenever the kubelet posts its status. */
function heartbeatOf(node: Node): string | undefined {
  return getCondition(node.status?.conditions, 'Ready')?.lastHeartbeatTime;
}

/** Events about nodes carry the name as uid, by which `kubectl describe node` finds them. */
function nodeReference({ metadata }: Node): { kind: string; name: string; uid: string } {
  return { kind: 'Node', name: metadata.name, uid: metadata.name };
}
