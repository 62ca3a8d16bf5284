// What runs where, as the informers tell and as decisions just made assume: an assumed pod holds
// its node's resources from the decision until its binding is seen, or refused.
// No I/O. Source: kubernetes pkg/scheduler/backend/cache/cache.go.
import type { Node, Pod } from '#kube/api/core.ts';
import type { Snapshot } from './framework.ts';
import { NodeInfo, podInfoOf, uidOf, type PodInfo } from './node-info.ts';

export class SchedulerCache {
  readonly #nodes = new Map<string, NodeInfo>();
  /** Pod uid → name of the node it holds resources on. */
  readonly #placed = new Map<string, string>();
  readonly #assumed = new Set<string>();

  /** Valid until something is added: plugins look at it within one synchronous decision. */
  snapshot(): Snapshot {
    const nodes = [...this.#nodes.values()].filter((info) => info.node !== undefined);
    return { nodes: nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
  }

  setNode(node: Node): void {
    this.#info(node.metadata.name).setNode(node);
  }

  removeNode(name: string): void {
    const info = this.#nodes.get(name);
    info?.setNode(undefined);
    this.#dropIfEmpty(name);
  }

  /** A pod that has a node: confirms an assumed one, wherever it really went. */
  setPod(pod: Pod): void {
    this.#assumed.delete(uidOf(pod));
    this.#place(podInfoOf(pod), pod.spec?.nodeName ?? '');
  }

  removePod(pod: Pod): void {
    this.#assumed.delete(uidOf(pod));
    this.#remove(uidOf(pod));
  }

  assume(pod: PodInfo, nodeName: string): void {
    this.#assumed.add(pod.uid);
    this.#place(pod, nodeName);
  }

  /** Gives back what an assumed pod held; nothing if its binding was seen meanwhile. */
  forget(uid: string): void {
    if (this.#assumed.delete(uid)) this.#remove(uid);
  }

  /** Assumed, or seen with a node. */
  isPlaced(uid: string): boolean {
    return this.#placed.has(uid);
  }

  #place(pod: PodInfo, nodeName: string): void {
    this.#remove(pod.uid);
    this.#info(nodeName).addPod(pod);
    this.#placed.set(pod.uid, nodeName);
  }

  #remove(uid: string): void {
    const name = this.#placed.get(uid);
    if (name === undefined) return;
    this.#placed.delete(uid);
    this.#nodes.get(name)?.removePod(uid);
    this.#dropIfEmpty(name);
  }

  #info(name: string): NodeInfo {
    let info = this.#nodes.get(name);
    if (info === undefined) this.#nodes.set(name, (info = new NodeInfo(name)));
    return info;
  }

  /** A node that is gone is remembered while pods name it. */
  #dropIfEmpty(name: string): void {
    const info = this.#nodes.get(name);
    if (info?.node === undefined && info?.pods.size === 0) this.#nodes.delete(name);
  }
}
