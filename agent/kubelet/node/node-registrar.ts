// Keeps this machine's Node object and Lease: registers, renews the lease every 10 s, writes the
// status when it changed and every 5 min otherwise. A node that somebody deleted registers again.
// Source: kubernetes pkg/kubelet/kubelet_node_status.go, component-helpers node/util/lease.
import type { Lease } from '#kube/api/coordination.ts';
import type { Node, NodeStatus } from '#kube/api/core.ts';
import { delay, rfc3339Micro, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { leases, nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { withoutHeartbeats } from './node-status.ts';
import { messageOf } from '../../error-message.ts';

export interface NodeRegistrarDeps {
  readonly client: RestClient;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
  /** What the node tells of itself from the start. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels: () => Promise<Record<string, string>>;
  readonly status: (previous: NodeStatus | undefined) => Promise<NodeStatus>;
  /** After every status that was written. */
  readonly onWritten: (status: NodeStatus) => void;
  readonly signal: AbortSignal;
}

const heartbeatMs = 10_000;
const unchangedStatusMs = 300_000;
const retryMs = { first: 250, max: 10_000 };
const leaseNamespace = 'kube-node-lease';
const leaseDurationSeconds = 40;

export class NodeRegistrar {
  readonly #deps: NodeRegistrarDeps;
  #node: Node | undefined;
  #lease: Lease | undefined;
  #writtenAtMs = -Infinity;
  #wake = new AbortController();
  #isFailing = false;

  constructor(deps: NodeRegistrarDeps) {
    this.#deps = deps;
  }

  /** Something about the node changed: look now. */
  trigger(): void {
    this.#wake.abort();
  }

  /** Runs until the signal aborts. */
  async run(): Promise<void> {
    const { signal, clock } = this.#deps;
    let waitMs = retryMs.first;
    while (!signal.aborted) {
      const isFine = await this.#beat();
      const pauseMs = isFine ? heartbeatMs : waitMs;
      waitMs = isFine ? retryMs.first : Math.min(waitMs * 2, retryMs.max);
      await delay(clock, pauseMs, AbortSignal.any([signal, this.#wake.signal]));
      if (this.#wake.signal.aborted) this.#wake = new AbortController();
    }
  }

  /** A `null` value removes the annotation. */
  async annotate(annotations: Readonly<Record<string, string | null>>): Promise<void> {
    const { client, nodeName, signal } = this.#deps;
    await client.patch(nodes, { name: nodeName }, { metadata: { annotations } }, { signal });
  }

  async #beat(): Promise<boolean> {
    const { logger, signal } = this.#deps;
    try {
      const node = (this.#node ??= await this.#register());
      await this.#writeStatus(node);
      await this.#renewLease(node);
      if (this.#isFailing) logger.info('Node heartbeats arrive again');
      this.#isFailing = false;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (hasReason(error, 'NotFound') || hasReason(error, 'Conflict')) this.#node = undefined;
      // Once per outage: the API server may be away for long.
      if (!this.#isFailing) logger.warn('Node heartbeat failed', { error: messageOf(error) });
      this.#isFailing = true;
      return false;
    }
  }

  async #register(): Promise<Node> {
    const { client, nodeName, signal, annotations = {} } = this.#deps;
    const labels = await this.#deps.labels();
    const metadata = { name: nodeName, labels, annotations };
    try {
      const node = await client.get(nodes, { name: nodeName }, { signal });
      if (hasAll(node.metadata.labels, labels) && hasAll(node.metadata.annotations, annotations))
        return node;
      const patch = { metadata: { labels, annotations } };
      return await client.patch(nodes, { name: nodeName }, patch, { signal });
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
    }
    this.#writtenAtMs = -Infinity;
    const status = await this.#deps.status(undefined);
    const fresh: Node = { apiVersion: 'v1', kind: 'Node', metadata, spec: {}, status };
    const node = await client.create(nodes, fresh, { signal });
    this.#tellReadiness(undefined, status);
    return node;
  }

  async #writeStatus(node: Node): Promise<void> {
    const { clock, onWritten } = this.#deps;
    const status = await this.#deps.status(node.status);
    const isOld = clock.monotonicMs() - this.#writtenAtMs >= unchangedStatusMs;
    const before = withoutHeartbeats(node.status ?? {});
    if (!isOld && deepEqual(withoutHeartbeats(status), before)) return;
    this.#node = await this.#putStatus(node, status);
    this.#writtenAtMs = clock.monotonicMs();
    this.#tellReadiness(node.status, status);
    onWritten(status);
  }

  /** An event when the node has become Ready, or no longer is. */
  #tellReadiness(before: NodeStatus | undefined, status: NodeStatus): void {
    const { events, nodeName } = this.#deps;
    const isReady = isReadyBy(status);
    if (isReady === isReadyBy(before)) return;
    const reason = isReady ? 'NodeReady' : 'NodeNotReady';
    // By its name as uid: so `kubectl describe node` looks for them.
    const about = { kind: 'Node', name: nodeName, uid: nodeName };
    events.event(about, 'Normal', reason, `Node ${nodeName} status is now: ${reason}`);
  }

  /** Somebody else (labels, taints, annotations) may have written in between. */
  async #putStatus(node: Node, status: NodeStatus): Promise<Node> {
    const { client, nodeName, signal } = this.#deps;
    try {
      return await client.updateStatus(nodes, { ...node, status }, { signal });
    } catch (error) {
      if (!hasReason(error, 'Conflict')) throw error;
      const fresh = await client.get(nodes, { name: nodeName }, { signal });
      return client.updateStatus(nodes, { ...fresh, status }, { signal });
    }
  }

  async #renewLease(node: Node): Promise<void> {
    const { client, clock, nodeName, signal } = this.#deps;
    const ref = { namespace: leaseNamespace, name: nodeName };
    const spec = {
      holderIdentity: nodeName,
      leaseDurationSeconds,
      renewTime: rfc3339Micro(clock.now()),
    };
    try {
      const lease = (this.#lease ??= await client.get(leases, ref, { signal }));
      this.#lease = await client.update(
        leases,
        { ...lease, spec: { ...lease.spec, ...spec } },
        { signal },
      );
    } catch (error) {
      this.#lease = undefined;
      if (!hasReason(error, 'NotFound')) throw error;
      const { uid = '' } = node.metadata;
      const owner = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid };
      const metadata = { ...ref, ownerReferences: [owner] };
      const fresh: Lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
      this.#lease = await client.create(leases, fresh, { signal });
    }
  }
}

function hasAll(
  have: Readonly<Record<string, string>> = {},
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([key, value]) => have[key] === value);
}

function isReadyBy(status: NodeStatus | undefined): boolean {
  return getCondition(status?.conditions, 'Ready')?.status === 'True';
}
