// Removes pods nobody else will: on nodes that no longer exist, being deleted without ever having
// been scheduled, and the oldest finished ones past a bound.
// Source: kubernetes pkg/controller/podgc/gc_controller.go.
import type { Node, Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import type { Informer } from '#kube/client/informer.ts';
import { nodes, parseKey, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { withCondition } from './conditions.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';
import { isPodTerminal, isPodTerminating } from './pod-state.ts';

export const terminatedPodsMax = 12_500;
/** How long a node has to be missing: it may be registering again. */
export const quarantineMs = 40_000;
export const nodeIndex = 'node';

export const nodeIndexer = {
  [nodeIndex]: (pod: Pod): string[] => {
    const node = pod.spec.nodeName ?? '';
    return node === '' ? [] : [node];
  },
};

/** The key of the bound on finished pods; no pod has it, for it lacks a namespace. */
const terminatedKey = 'terminated';

export function createPodGarbageCollector(deps: ControllerDeps): RunnableController {
  return new PodGarbageCollector(deps);
}

class PodGarbageCollector implements RunnableController {
  readonly #client: RestClient;
  readonly #clock: Clock;
  readonly #pods: Informer<Pod>;
  readonly #nodes: Informer<Node>;
  readonly #controller: Controller;
  /** Node name → since when it is missing. */
  readonly #missingSinceMs = new Map<string, number>();

  constructor(deps: ControllerDeps) {
    this.#client = deps.client;
    this.#clock = deps.clock;
    this.#pods = deps.informers.informer(pods, { indexers: nodeIndexer });
    this.#nodes = deps.informers.informer(nodes);
    this.#controller = new Controller({
      name: 'pod-garbage-collector',
      clock: deps.clock,
      logger: deps.logger,
      reconcile: (key) => this.#reconcile(key),
    });
    this.#controller.watch(this.#pods, (pod) => this.#keysOf(pod));
    this.#controller.watchWith(this.#nodes, {
      onAdd: (node) => this.#missingSinceMs.delete(node.metadata.name),
      onDelete: (node) => this.#nodeDeleted(node.metadata.name),
    });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #keysOf(pod: Pod): string[] {
    const keys: string[] = [];
    const { nodeName = '' } = pod.spec;
    const hasNode = nodeName !== '' && this.#nodes.lister.get('', nodeName) !== undefined;
    const isUnscheduled = nodeName === '' && isPodTerminating(pod);
    if (isUnscheduled || (nodeName !== '' && !hasNode))
      keys.push(`${pod.metadata.namespace}/${pod.metadata.name}`);
    if (isPodTerminal(pod)) keys.push(terminatedKey);
    return keys;
  }

  #nodeDeleted(name: string): void {
    for (const pod of this.#pods.lister.byIndex(nodeIndex, name))
      for (const key of this.#keysOf(pod)) this.#controller.enqueue(key);
  }

  async #reconcile(key: string): Promise<ReconcileResult> {
    if (key === terminatedKey) return this.#removeTerminated();
    const { namespace, name } = parseKey(key);
    const pod = this.#pods.lister.get(namespace, name);
    if (pod === undefined) return {};
    const { nodeName = '' } = pod.spec;
    if (nodeName !== '') return this.#removeOrphan(pod, nodeName);
    if (isPodTerminating(pod)) await this.#remove(pod);
    return {};
  }

  async #removeOrphan(pod: Pod, nodeName: string): Promise<ReconcileResult> {
    if (this.#nodes.lister.get('', nodeName) !== undefined) {
      this.#missingSinceMs.delete(nodeName);
      return {};
    }
    const nowMs = this.#clock.now();
    const sinceMs = this.#missingSinceMs.get(nodeName) ?? nowMs;
    this.#missingSinceMs.set(nodeName, sinceMs);
    const leftMs = sinceMs + quarantineMs - nowMs;
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    // The cache may be behind; what happens next can't be taken back.
    const live = await this.#client.get(nodes, { name: nodeName }).catch(ignoreNotFound);
    if (live === undefined) await this.#remove(pod, 'PodGC: node no longer exists');
    return {};
  }

  async #removeTerminated(): Promise<ReconcileResult> {
    const finished = this.#pods.lister.list().filter(isPodTerminal);
    const surplus = finished.length - terminatedPodsMax;
    if (surplus <= 0) return {};
    const byAge = finished.toSorted((a, b) => createdMs(a) - createdMs(b));
    for (const pod of byAge.slice(0, surplus)) await this.#remove(pod);
    return {};
  }

  /** At once: no kubelet will confirm. `why` marks the pod as disrupted first. */
  async #remove(pod: Pod, why?: string): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    if (!isPodTerminal(pod) && why !== undefined) {
      const conditions = withCondition(pod.status?.conditions, {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'DeletionByPodGC',
        message: why,
        lastTransitionTime: rfc3339(this.#clock.now()),
      });
      const patch = { metadata: { uid }, status: { phase: 'Failed', conditions } };
      const options = { subresource: 'status' };
      await this.#client.patch(pods, { namespace, name }, patch, options).catch(ignoreNotFound);
    }
    const options = { gracePeriodSeconds: 0, preconditions: { uid } };
    await this.#client.delete(pods, { namespace, name }, options).catch(ignoreNotFound);
  }
}

function createdMs(pod: Pod): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
}
