// Empties a namespace that is being deleted, kind by kind, then lets it go. What is left and why
// stands in its conditions. Source: kubernetes pkg/controller/namespace/deletion.
import type { Namespace, NamespaceCondition, Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { type DiscoveredResource, discoverResources } from '#kube/client/discovery.ts';
import type { Informer } from '#kube/client/informer.ts';
import { namespaces, pods } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { qualifiedResource, StatusError } from '#kube/machinery/status.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';
import { ignoreNotFound } from './ownership.ts';

/** Its own finalizer; it is in spec.finalizers, not in metadata. */
const kubernetesFinalizer = 'kubernetes';
/** While something with finalizers is left, nobody tells us when it goes. */
const retryMs = 5_000;

export function createNamespaceController(deps: ControllerDeps): RunnableController {
  return new NamespaceController(deps);
}

interface Remainder {
  /** Resource → how many objects are left. */
  readonly counts: Map<string, number>;
  /** Finalizer → how many objects wait for it. */
  readonly finalizers: Map<string, number>;
  readonly failures: string[];
  /** Group version → why nobody knows what it has. */
  readonly unavailable: ReadonlyMap<string, string>;
}

class NamespaceController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #namespaces: Informer<Namespace>;
  readonly #pods: Informer<Pod>;
  readonly #controller: Controller;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#namespaces = deps.informers.informer(namespaces);
    this.#pods = deps.informers.informer(pods);
    this.#controller = new Controller({
      name: 'namespace-controller',
      clock: deps.clock,
      logger: deps.logger,
      workers: 5,
      maxDelayMs: 60_000,
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
    this.#controller.watch(this.#namespaces);
    // Pods are what takes time: go on as soon as the last one is gone.
    this.#controller.watchWith(this.#pods, { onDelete: (pod) => this.#podDeleted(pod) });
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#controller.run(signal);
  }

  #podDeleted(pod: Pod): void {
    const namespace = pod.metadata.namespace ?? '';
    const isDeleting =
      this.#namespaces.lister.get('', namespace)?.metadata.deletionTimestamp !== undefined;
    const isLast = this.#pods.lister.list({ namespace }).length === 0;
    if (isDeleting && isLast) this.#controller.enqueue(namespace);
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client } = this.#deps;
    const cached = this.#namespaces.lister.get('', name);
    if (cached?.metadata.deletionTimestamp === undefined) return {};
    const live = await client.get(namespaces, { name }).catch(ignoreNotFound);
    if (live === undefined || live.metadata.uid !== cached.metadata.uid) return {};
    if (!(live.spec.finalizers ?? []).includes(kubernetesFinalizer)) return {};
    const namespace = await this.#writeStatus(live, live.status?.conditions ?? []);
    const remainder = await this.#deleteContent(name, signal);
    if (signal.aborted) return {};
    const updated = await this.#writeStatus(namespace, this.#conditions(namespace, remainder));
    const { counts, failures, unavailable } = remainder;
    if (counts.size > 0 || failures.length > 0 || unavailable.size > 0)
      return { requeueAfterMs: retryMs };
    await this.#finalize(updated);
    return {};
  }

  async #deleteContent(namespace: string, signal: AbortSignal): Promise<Remainder> {
    const { client } = this.#deps;
    const { resources, unavailable } = await discoverResources(client, signal);
    const remainder: Remainder = {
      counts: new Map(),
      finalizers: new Map(),
      failures: [],
      unavailable,
    };
    const deletable = resources.filter(
      ({ namespaced, verbs, isPreferred }) => isPreferred && namespaced && verbs.includes('delete'),
    );
    // Pods first: they may still need their ConfigMaps and Secrets to stop in order.
    const isPods = (resource: DiscoveredResource): boolean => resource.kind === 'Pod';
    await this.#deleteKinds(deletable.filter(isPods), namespace, remainder);
    if (remainder.counts.size === 0)
      await this.#deleteKinds(
        deletable.filter((resource) => !isPods(resource)),
        namespace,
        remainder,
      );
    else
      await this.#countKinds(
        deletable.filter((resource) => !isPods(resource)),
        namespace,
        remainder,
      );
    return remainder;
  }

  async #deleteKinds(
    kinds: readonly DiscoveredResource[],
    namespace: string,
    remainder: Remainder,
  ): Promise<void> {
    const { client } = this.#deps;
    for (const resource of kinds) {
      try {
        const options = { propagationPolicy: 'Background' } as const;
        if (resource.verbs.includes('deletecollection'))
          await client.deleteCollection(resource, { namespace }, options);
        else
          for (const { metadata } of (await client.list(resource, { namespace })).items)
            await client.delete(resource, metadata, options).catch(ignoreNotFound);
        if (resource.verbs.includes('list'))
          await this.#countKinds([resource], namespace, remainder);
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        remainder.failures.push(error.message);
      }
    }
  }

  async #countKinds(
    kinds: readonly DiscoveredResource[],
    namespace: string,
    remainder: Remainder,
  ): Promise<void> {
    for (const resource of kinds) {
      const { items } = await this.#deps.client.list(resource, { namespace });
      if (items.length > 0) remainder.counts.set(qualifiedResource(resource), items.length);
      for (const item of items)
        for (const finalizer of item.metadata.finalizers ?? [])
          remainder.finalizers.set(finalizer, (remainder.finalizers.get(finalizer) ?? 0) + 1);
    }
  }

  #conditions(namespace: Namespace, remainder: Remainder): NamespaceCondition[] {
    return deletionConditions(namespace.status?.conditions, remainder, this.#deps.clock.now());
  }

  async #writeStatus(namespace: Namespace, conditions: NamespaceCondition[]): Promise<Namespace> {
    const status: Namespace['status'] = { ...namespace.status, phase: 'Terminating' };
    if (conditions.length > 0) status.conditions = conditions;
    if (deepEqual(status, namespace.status)) return namespace;
    return this.#deps.client.updateStatus(namespaces, { ...namespace, status });
  }

  async #finalize(namespace: Namespace): Promise<void> {
    const finalizers = (namespace.spec.finalizers ?? []).filter((f) => f !== kubernetesFinalizer);
    const body = { ...namespace, spec: { ...namespace.spec, finalizers } };
    const { name } = namespace.metadata;
    await this.#deps.client
      .updateSubresource(namespaces, { name }, 'finalize', body)
      .catch(ignoreNotFound);
  }
}

/** Every condition is always there; its status says whether it holds. */
function deletionConditions(
  current: readonly NamespaceCondition[] | undefined,
  { counts, finalizers, failures, unavailable }: Remainder,
  nowMs: number,
): NamespaceCondition[] {
  const remaining = [...counts].map(
    ([resource, count]) => `${resource} has ${count} resource instances`,
  );
  const waiting = [...finalizers]
    .map(([name, count]) => `${name} in ${count} resource instances`)
    .toSorted()
    .join(', ');
  const failed = failures.toSorted().join(', ');
  const unknown = [...unavailable].map(([name, why]) => `${name}: ${why}`).toSorted();
  const wanted: readonly (readonly [
    type: string,
    bad: string,
    badReason: string,
    good: string,
    goodReason: string,
  ])[] = [
    [
      'NamespaceDeletionDiscoveryFailure',
      unknown.length === 0
        ? ''
        : `Discovery failed for some groups, ${unknown.length} failing: unable to retrieve the ` +
          `complete list of server APIs: ${unknown.join(', ')}`,
      'DiscoveryFailed',
      'All resources successfully discovered',
      'ResourcesDiscovered',
    ],
    [
      'NamespaceDeletionGroupVersionParsingFailure',
      '',
      'GroupVersionParsingFailed',
      'All legacy kube types successfully parsed',
      'ParsedGroupVersions',
    ],
    [
      'NamespaceDeletionContentFailure',
      failures.length === 0
        ? ''
        : `Failed to delete all resource types, ${failures.length} remaining: ${failed}`,
      'ContentDeletionFailed',
      'All content successfully deleted, may be waiting on finalization',
      'ContentDeleted',
    ],
    [
      'NamespaceContentRemaining',
      remaining.length === 0
        ? ''
        : `Some resources are remaining: ${remaining.toSorted().join(', ')}`,
      'SomeResourcesRemain',
      'All content successfully removed',
      'ContentRemoved',
    ],
    [
      'NamespaceFinalizersRemaining',
      waiting === '' ? '' : `Some content in the namespace has finalizers remaining: ${waiting}`,
      'SomeFinalizersRemain',
      'All content-preserving finalizers finished',
      'ContentHasNoFinalizers',
    ],
  ];
  return wanted.map(([type, bad, badReason, good, goodReason]) => {
    const isBad = bad !== '';
    const status = isBad ? 'True' : 'False';
    const old = current?.find((condition) => condition.type === type);
    const lastTransitionTime = old?.status === status ? old.lastTransitionTime : rfc3339(nowMs);
    const reason = isBad ? badReason : goodReason;
    return { type, status, lastTransitionTime, reason, message: isBad ? bad : good };
  });
}
