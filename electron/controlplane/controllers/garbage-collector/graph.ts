// Who owns whom, from every object the server has. Holds metadata only; decides nothing.
// Invariant: `dependents` lists exactly the nodes that name that uid as an owner, whether or not
// the owner itself is known. Source: kubernetes pkg/controller/garbagecollector/graph_builder.go.
import type { OwnerReference } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Resource } from '#kube/client/resources.ts';
import { foregroundFinalizer, orphanFinalizer } from '#kube/machinery/object-meta.ts';

export interface GraphNode {
  readonly resource: Resource;
  readonly uid: string;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly owners: readonly OwnerReference[];
  readonly isBeingDeleted: boolean;
  /** Waits for its dependents to go first. */
  readonly isForeground: boolean;
  /** Wants its dependents to be let go. */
  readonly isOrphaning: boolean;
}

export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  dependentsOf(uid: string): GraphNode[] {
    const nodes: GraphNode[] = [];
    for (const dependent of this.#dependents.get(uid) ?? []) {
      const node = this.#nodes.get(dependent);
      if (node !== undefined) nodes.push(node);
    }
    return nodes;
  }

  set(node: GraphNode): void {
    this.delete(node.uid);
    this.#nodes.set(node.uid, node);
    for (const { uid } of node.owners) {
      const dependents = this.#dependents.get(uid);
      if (dependents === undefined) this.#dependents.set(uid, new Set([node.uid]));
      else dependents.add(node.uid);
    }
  }

  delete(uid: string): void {
    const node = this.#nodes.get(uid);
    if (node === undefined) return;
    this.#nodes.delete(uid);
    for (const owner of node.owners) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
    }
  }
}

export function nodeOf(resource: Resource, { metadata }: KubeObject): GraphNode {
  const finalizers = metadata.finalizers ?? [];
  const isBeingDeleted = metadata.deletionTimestamp !== undefined;
  return {
    resource,
    uid: metadata.uid ?? '',
    namespace: resource.namespaced ? metadata.namespace : undefined,
    name: metadata.name,
    owners: metadata.ownerReferences ?? [],
    isBeingDeleted,
    isForeground: isBeingDeleted && finalizers.includes(foregroundFinalizer),
    isOrphaning: isBeingDeleted && finalizers.includes(orphanFinalizer),
  };
}
