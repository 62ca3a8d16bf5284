// Deletes what has lost all its owners, and carries out foreground and orphan deletion.
// Before it acts on an object it reads it, and the owners that matter, from the API: the graph only
// says where to look. Source: kubernetes pkg/controller/garbagecollector.
import type { OwnerReference } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { delay } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import {
  type Discovered,
  type DiscoveredResource,
  discoverResources,
} from '#kube/client/discovery.ts';
import { Informer } from '#kube/client/informer.ts';
import {
  apiServices,
  customResourceDefinitions,
  events,
  type Resource,
} from '#kube/client/resources.ts';
import { TransportError } from '#kube/client/transport.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { foregroundFinalizer, orphanFinalizer } from '#kube/machinery/object-meta.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { type GraphNode, nodeOf, OwnerGraph } from './graph.ts';
import { blockingDependents, type OwnerState, planGarbage } from './plan.ts';

/** Written all the time, owned by nobody, and gone by themselves after an hour. */
const ignored: readonly Resource[] = [events, { ...events, group: 'events.k8s.io' }];
const discoveryRetryMs = 1_000;

export function createGarbageCollector(deps: ControllerDeps): RunnableController {
  return new GarbageCollector(deps);
}

class GarbageCollector implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #graph = new OwnerGraph();
  readonly #controller: Controller;
  /** Looks again at which kinds there are, whenever a definition of one changes. */
  readonly #discovery: Controller;
  /** By apiVersion and kind: how an owner reference is looked up. */
  #resources = new Map<string, Resource>();
  /** By apiVersion and kind. */
  readonly #followed = new Map<string, Followed>();

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#controller = new Controller({
      name: 'garbage-collector',
      clock: deps.clock,
      logger: deps.logger,
      workers: 10,
      maxDelayMs: 60_000,
      reconcile: (uid) => this.#reconcile(uid),
    });
    this.#discovery = new Controller({
      name: 'garbage-collector-discovery',
      clock: deps.clock,
      logger: deps.logger,
      maxDelayMs: 60_000,
      reconcile: async (_key, signal) =>
        this.#follow(await discoverResources(deps.client, signal), signal),
    });
    this.#discovery.watch(deps.informers.informer(customResourceDefinitions), () => ['kinds']);
    this.#discovery.watch(deps.informers.informer(apiServices), ({ spec }) =>
      spec.service === undefined ? [] : ['kinds'],
    );
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#follow(await this.#discover(signal), signal);
    await Promise.all([this.#controller.run(signal), this.#discovery.run(signal)]);
  }

  async #discover(signal: AbortSignal): Promise<Discovered> {
    const { client, clock, logger } = this.#deps;
    while (!signal.aborted) {
      try {
        return await discoverResources(client, signal);
      } catch (error) {
        if (!(error instanceof StatusError) && !(error instanceof TransportError)) throw error;
        if (signal.aborted) break;
        logger.warn('Garbage collection waits for discovery', { error });
        await delay(clock, discoveryRetryMs, signal);
      }
    }
    return { resources: [], unavailable: new Map() };
  }

  #follow({ resources, unavailable }: Discovered, signal: AbortSignal): void {
    if (signal.aborted) return;
    // What can't be asked now is not gone: its kinds stay as they were.
    const isKept = (resource: Resource): boolean => unavailable.has(apiVersionOf(resource));
    const kept = [...this.#resources].filter(([, resource]) => isKept(resource));
    this.#resources = new Map([
      ...kept,
      ...resources.map((resource) => [kindKey(resource), resource] as const),
    ]);
    const wanted = new Map(resources.filter(isFollowed).map((one) => [kindKey(one), one]));
    for (const [key, { informer, stop, resource }] of this.#followed) {
      if (wanted.has(key) || isKept(resource)) continue;
      stop.abort();
      this.#followed.delete(key);
      for (const { metadata } of informer.lister.list()) this.#deleted(metadata.uid ?? '');
    }
    for (const [key, resource] of wanted)
      if (!this.#followed.has(key)) this.#followed.set(key, this.#start(resource, signal));
  }

  /** Its own informers, not the shared ones: they keep metadata and nothing else. */
  #start(resource: Resource, signal: AbortSignal): Followed {
    const informer = new Informer(this.#deps, { resource, transform: metadataOnly });
    const stop = new AbortController();
    signal.addEventListener('abort', () => stop.abort(), { once: true, signal: stop.signal });
    this.#controller.watchWith(informer, {
      onAdd: (object) => this.#changed(nodeOf(resource, object), undefined),
      onUpdate: (_old, object) =>
        this.#changed(nodeOf(resource, object), this.#graph.get(object.metadata.uid ?? '')),
      onDelete: ({ metadata }) => this.#deleted(metadata.uid ?? ''),
    });
    informer.start(stop.signal);
    return { informer, stop, resource };
  }

  #changed(node: GraphNode, old: GraphNode | undefined): void {
    this.#graph.set(node);
    if (node.isForeground || node.isOrphaning) this.#controller.enqueue(node.uid);
    if (node.owners.length > 0) {
      // An owner we don't know may be gone already, or of a kind nobody follows: look at it.
      const isDoubtful = node.owners.some(({ uid }) => {
        const owner = this.#graph.get(uid);
        return owner === undefined || owner.isBeingDeleted;
      });
      if (isDoubtful) this.#controller.enqueue(node.uid);
    }
    if (old === undefined) return;
    // Owners it was let go by may be waiting for that.
    for (const { uid } of old.owners)
      if (this.#graph.get(uid)?.isForeground === true) this.#controller.enqueue(uid);
  }

  #deleted(uid: string): void {
    const node = this.#graph.get(uid);
    this.#graph.delete(uid);
    for (const dependent of this.#graph.dependentsOf(uid)) this.#controller.enqueue(dependent.uid);
    for (const owner of node?.owners ?? [])
      if (this.#graph.get(owner.uid)?.isForeground === true) this.#controller.enqueue(owner.uid);
  }

  async #reconcile(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (node === undefined) return;
    if (node.isOrphaning) return this.#orphanDependents(node);
    if (node.isForeground) return this.#deleteDependentsFirst(node);
    if (node.isBeingDeleted || node.owners.length === 0) return;
    await this.#collect(node);
  }

  async #collect(node: GraphNode): Promise<void> {
    const { client } = this.#deps;
    const live = await this.#read(node);
    const references = live?.metadata.ownerReferences ?? [];
    if (live === undefined || live.metadata.deletionTimestamp !== undefined) return;
    if (references.length === 0) return;
    const owners: { reference: OwnerReference; state: OwnerState }[] = [];
    for (const reference of references)
      owners.push({ reference, state: await this.#stateOf(reference, node.namespace) });
    const plan = planGarbage({
      owners,
      dependents: this.#graph.dependentsOf(node.uid),
      finalizers: live.metadata.finalizers ?? [],
    });
    if (plan.kind === 'keep') return;
    if (plan.kind === 'drop-owners') return this.#dropOwners(node, live, plan.uids);
    this.#deps.logger.debug('Deleting garbage', {
      kind: node.resource.kind,
      object: `${node.namespace ?? ''}/${node.name}`,
    });
    const { uid, resourceVersion } = live.metadata;
    const options = { propagationPolicy: plan.policy, preconditions: { uid, resourceVersion } };
    await client.delete(node.resource, node, options).catch(ignoreNotFound);
  }

  async #stateOf(reference: OwnerReference, namespace: string | undefined): Promise<OwnerState> {
    const resource = this.#resources.get(`${reference.apiVersion}/${reference.kind}`);
    // A kind the server doesn't serve: nothing can be said, so nothing is deleted.
    if (resource === undefined) return 'solid';
    // An owner in another namespace can't be: for a namespaced kind we look beside the object.
    const ref = resource.namespaced
      ? { namespace, name: reference.name }
      : { name: reference.name };
    if (resource.namespaced && namespace === undefined) return 'solid';
    const owner = await this.#deps.client.get(resource, ref).catch(ignoreNotFound);
    if (owner === undefined || owner.metadata.uid !== reference.uid) return 'absent';
    return nodeOf(resource, owner).isForeground ? 'waiting-for-dependents' : 'solid';
  }

  async #deleteDependentsFirst(node: GraphNode): Promise<void> {
    const dependents = this.#graph.dependentsOf(node.uid);
    const blocking = blockingDependents(node, dependents);
    if (blocking.length === 0) return this.#removeFinalizer(node, foregroundFinalizer);
    for (const dependent of blocking)
      if (!dependent.isBeingDeleted) this.#controller.enqueue(dependent.uid);
  }

  async #orphanDependents(node: GraphNode): Promise<void> {
    for (const dependent of this.#graph.dependentsOf(node.uid)) {
      const live = await this.#read(dependent);
      if (live !== undefined) await this.#dropOwners(dependent, live, [node.uid]);
    }
    await this.#removeFinalizer(node, orphanFinalizer);
  }

  async #dropOwners(node: GraphNode, live: KubeObject, uids: readonly string[]): Promise<void> {
    const { uid, resourceVersion, ownerReferences = [] } = live.metadata;
    const kept = ownerReferences.filter((reference) => !uids.includes(reference.uid));
    const patch = { metadata: { uid, resourceVersion, ownerReferences: kept } };
    await this.#deps.client.patch(node.resource, node, patch).catch(ignoreNotFound);
  }

  async #removeFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    const live = await this.#read(node);
    const finalizers = live?.metadata.finalizers ?? [];
    if (live === undefined || !finalizers.includes(finalizer)) return;
    const { uid, resourceVersion } = live.metadata;
    const kept = finalizers.filter((other) => other !== finalizer);
    const patch = { metadata: { uid, resourceVersion, finalizers: kept } };
    await this.#deps.client.patch(node.resource, node, patch).catch(ignoreNotFound);
  }

  /** Undefined when the object is gone, or another has its name by now. */
  async #read(node: GraphNode): Promise<KubeObject | undefined> {
    const live = await this.#deps.client.get(node.resource, node).catch(ignoreNotFound);
    return live?.metadata.uid === node.uid ? live : undefined;
  }
}

interface Followed {
  readonly informer: Informer<KubeObject>;
  readonly stop: AbortController;
  readonly resource: Resource;
}

function kindKey(resource: Resource): string {
  return `${apiVersionOf(resource)}/${resource.kind}`;
}

function isFollowed({ group, kind, verbs, isPreferred }: DiscoveredResource): boolean {
  const isIgnored = ignored.some((one) => one.group === group && one.kind === kind);
  return (
    isPreferred && !isIgnored && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb))
  );
}

function metadataOnly({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } =
    metadata;
  const kept = {
    name,
    namespace,
    uid,
    resourceVersion,
    ownerReferences,
    finalizers,
    deletionTimestamp,
  };
  return { apiVersion, kind, metadata: kept };
}
