// Counts what is used of each ResourceQuota and gives back what was deleted. Admission charges what is
// created; this only ever takes back, and what admission charged for a write that then failed.
// Invariant: `used` is not lowered for `settleMs` after somebody else changed it: what was charged just
// now may not be stored yet, and would be forgotten.
// Source: kubernetes pkg/controller/resourcequota.
import type { Pod, ResourceQuota } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import type { Clock } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import {
  type Discovered,
  type DiscoveredResource,
  discoverResources,
} from '#kube/client/discovery.ts';
import { Informer } from '#kube/client/informer.ts';
import {
  customResourceDefinitions,
  keyOf,
  persistentVolumeClaims,
  pods,
  resourceQuotas,
  services,
  type Resource,
} from '#kube/client/resources.ts';
import { apiVersionOf } from '#kube/machinery/gvk.ts';
import { compareQuantities } from '#kube/machinery/quantity.ts';
import { amountIn, isSameAmounts, type Amounts } from '#kube/machinery/quota/amounts.ts';
import {
  chargedUntilMs,
  countName,
  evaluatorOf,
  kindsOf,
  type GroupResource,
  type QuotaEvaluator,
} from '#kube/machinery/quota/evaluators.ts';
import { usageOf } from '#kube/machinery/quota/usage.ts';
import type { ControllerDeps, RunnableController } from './deps.ts';

/** Longer than a write takes from admission to the store, also on a slow disk. */
export const settleMs = 2_000;
/** Many objects that go together are one count. */
const gatherMs = 100;
const reconnectMs = 1_000;

export function createResourceQuotaController(deps: ControllerDeps): RunnableController {
  return new ResourceQuotaController(deps);
}

interface Followed {
  readonly kind: GroupResource;
  readonly evaluator: QuotaEvaluator;
  readonly informer: Informer<KubeObject>;
  /** Shared informers end with the controllers. */
  readonly stop: AbortController | undefined;
}

class ResourceQuotaController implements RunnableController {
  readonly #deps: ControllerDeps;
  readonly #clock: Clock;
  readonly #quotas: Informer<ResourceQuota>;
  readonly #controller: Controller;
  /** Looks again at which kinds there are, whenever a definition of one changes. */
  readonly #discovery: Controller;
  /** By `count/` name. */
  #served = new Map<string, DiscoveredResource>();
  /** By `count/` name: only kinds that some quota has counted. */
  readonly #followed = new Map<string, Followed>();
  /** Key of a quota → when others changed what is used of it. */
  readonly #chargedMs = new Map<string, number>();
  /** Key of a quota → what we wrote last. */
  readonly #written = new Map<string, Amounts>();
  #signal: AbortSignal | undefined;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
    this.#clock = deps.clock;
    this.#quotas = deps.informers.informer(resourceQuotas);
    const { clock, logger } = deps;
    this.#controller = new Controller({
      name: 'resourcequota-controller',
      clock,
      logger,
      workers: 5,
      reconcile: (key) => this.#reconcile(key),
    });
    this.#discovery = new Controller({
      name: 'resourcequota-discovery',
      clock,
      logger,
      maxDelayMs: 60_000,
      reconcile: async (_key, signal) =>
        this.#serve(await discoverResources(deps.client, signal), signal),
    });
    this.#controller.watchWith(this.#quotas, {
      onAdd: (quota) => this.#changed(undefined, quota),
      onUpdate: (old, quota) => this.#changed(old, quota),
      onDelete: (quota) => this.#controller.enqueue(keyOf(quota)),
    });
    this.#discovery.watch(deps.informers.informer(customResourceDefinitions), () => ['kinds']);
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#discovery.enqueue('kinds');
    await Promise.all([this.#controller.run(signal), this.#discovery.run(signal)]);
  }

  #changed(old: ResourceQuota | undefined, quota: ResourceQuota): void {
    const key = keyOf(quota);
    const used = quota.status?.used;
    const isOwn = isSameAmounts(used, this.#written.get(key) ?? {});
    if (!isOwn && !isSameAmounts(old?.status?.used, used))
      this.#chargedMs.set(key, this.#clock.now());
    this.#controller.enqueue(key);
  }

  #serve({ resources, unavailable }: Discovered, signal: AbortSignal): void {
    if (signal.aborted) return;
    // What can't be asked now is not gone.
    const kept = [...this.#served].filter(([, kind]) => unavailable.has(apiVersionOf(kind)));
    const found = resources
      .filter(({ namespaced, isPreferred, verbs }) =>
        isPreferred && namespaced ? ['list', 'watch'].every((one) => verbs.includes(one)) : false,
      )
      .map((resource) => [countName(resource), resource] as const);
    this.#served = new Map([...kept, ...found]);
    for (const [name, { stop }] of this.#followed)
      if (!this.#served.has(name)) {
        stop?.abort();
        this.#followed.delete(name);
      }
    for (const quota of this.#quotas.lister.list()) this.#controller.enqueue(keyOf(quota));
  }

  async #reconcile(key: string): Promise<ReconcileResult> {
    const quota = this.#quotas.lister.getByKey(key);
    if (quota === undefined) {
      this.#chargedMs.delete(key);
      this.#written.delete(key);
      return {};
    }
    const { hard = {} } = quota.spec;
    const sources = kindsOf(Object.keys(hard))
      .map((kind) => this.#follow(kind))
      .filter((source) => source !== undefined);
    // Nothing is counted before discovery has told the kinds; it enqueues all again.
    if (this.#served.size === 0 || sources.some(({ informer }) => !informer.hasSynced)) return {};
    if (sources.some(({ informer }) => !informer.isConnected))
      return { requeueAfterMs: reconnectMs };
    const nowMs = this.#clock.now();
    const settlingMs = (this.#chargedMs.get(key) ?? -Infinity) + settleMs - nowMs;
    const { status = {} } = quota;
    const isKnown = status.used !== undefined && isSameAmounts(hard, status.hard ?? {});
    if (isKnown && settlingMs > 0) return { requeueAfterMs: settlingMs };
    const counted = count(quota, sources, nowMs);
    const used = settlingMs > 0 ? atLeast(counted, status.used ?? {}) : counted;
    if (status.hard === undefined || !isKnown || !isSameAmounts(used, status.used)) {
      this.#written.set(key, used);
      const next = { ...quota, status: { ...status, hard: { ...hard }, used } };
      await this.#deps.client.updateStatus(resourceQuotas, next);
    }
    if (settlingMs > 0) return { requeueAfterMs: settlingMs };
    return nextChangeAfter(quota, sources, nowMs);
  }

  /** Undefined: there is no such kind. */
  #follow(kind: GroupResource): Followed | undefined {
    const name = countName(kind);
    const known = this.#followed.get(name);
    if (known !== undefined) return known;
    const resource = this.#served.get(name);
    if (resource === undefined || this.#signal === undefined) return undefined;
    const shared = sharedKinds.find((one) => countName(one) === name);
    const stop = shared === undefined ? new AbortController() : undefined;
    const informer: Informer<KubeObject> =
      shared === undefined
        ? new Informer(this.#deps, { resource, transform: metadataOnly })
        : this.#deps.informers.informer(shared);
    const evaluator = measuringOnce(evaluatorOf(kind));
    informer.addHandler({
      onDelete: (object) => this.#recount(this.#quotasFor(object, kind)),
      onUpdate: (old, object) => {
        const quotas = this.#quotasFor(object, kind);
        if (quotas.length === 0) return;
        const nowMs = this.#clock.now();
        const [before, after] = [evaluator.usage(old, nowMs), evaluator.usage(object, nowMs)];
        if (!isSameAmounts(before, after)) this.#recount(quotas);
      },
    });
    if (stop !== undefined) {
      this.#signal.addEventListener('abort', () => stop.abort(), {
        once: true,
        signal: stop.signal,
      });
      informer.start(stop.signal);
    }
    const followed = { kind, evaluator, informer, stop };
    this.#followed.set(name, followed);
    void informer.whenSynced().then(() => this.#enqueueThoseOf(kind));
    return followed;
  }

  #quotasFor({ metadata }: KubeObject, kind: GroupResource): ResourceQuota[] {
    const { namespace } = metadata;
    return this.#quotas.lister.list({ namespace }).filter((quota) => isAbout(quota, kind));
  }

  #recount(quotas: readonly ResourceQuota[]): void {
    for (const quota of quotas) this.#controller.enqueueAfter(keyOf(quota), gatherMs);
  }

  #enqueueThoseOf(kind: GroupResource): void {
    for (const quota of this.#quotas.lister.list())
      if (isAbout(quota, kind)) this.#controller.enqueue(keyOf(quota));
  }
}

/** Measured by more than their number, and cached anyway; of others only metadata is kept. */
const sharedKinds: readonly Resource[] = [pods, services, persistentVolumeClaims];

/** Cached objects never change: what one that is not on its way out takes up is measured once. */
function measuringOnce(evaluator: QuotaEvaluator): QuotaEvaluator {
  const known = new WeakMap<KubeObject, Amounts>();
  return {
    ...evaluator,
    usage(object, nowMs) {
      const usage = known.get(object) ?? evaluator.usage(object, nowMs);
      if (object.metadata.deletionTimestamp === undefined) known.set(object, usage);
      return usage;
    },
  };
}

function metadataOnly({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } };
}

function isAbout({ spec }: ResourceQuota, kind: GroupResource): boolean {
  return evaluatorOf(kind).names(Object.keys(spec.hard ?? {})).length > 0;
}

function count(quota: ResourceQuota, sources: readonly Followed[], nowMs: number) {
  const { namespace } = quota.metadata;
  const used: Record<string, Quantity> = {};
  for (const { evaluator, informer } of sources) {
    const objects = informer.lister.list({ namespace });
    Object.assign(used, usageOf(quota, evaluator, { objects, nowMs }));
  }
  return used;
}

function atLeast(counted: Amounts, before: Amounts): Record<string, Quantity> {
  return Object.fromEntries(
    Object.entries(counted).map(([name, amount]) => {
      const charged = amountIn(before, name) ?? 0;
      return [name, compareQuantities(charged, amount) > 0 ? charged : amount];
    }),
  );
}

/** Pods that should be gone by then are charged no longer; nobody tells us. */
function nextChangeAfter(
  { metadata }: ResourceQuota,
  sources: readonly Followed[],
  nowMs: number,
): ReconcileResult {
  const ofPods = sources.find(({ kind }) => countName(kind) === countName(pods));
  const times = (ofPods?.informer.lister.list({ namespace: metadata.namespace }) ?? [])
    .map((pod) => chargedUntilMs(pod as Pod) ?? 0)
    .filter((untilMs) => untilMs >= nowMs);
  return times.length === 0 ? {} : { requeueAfterMs: Math.min(...times) - nowMs + 1 };
}
