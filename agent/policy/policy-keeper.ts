// The driver: NetworkPolicies, and once there are some also namespaces and pods → policies.ts → the table. Each
// pod that starts here passes by `join`: its first container waits for the rules. Nothing is taken away when the agent
// stops or the API server is gone.
import type { Namespace, Pod } from '#kube/api/core.ts';
import type { NetworkPolicy } from '#kube/api/networking.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { delay, type Clock, type Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { messageOf } from '../error-message.ts';
import type { NodeVerdict } from '../kubelet/node/machine-conditions.ts';
import type { ProxySystem } from '../proxy/system.ts';
import { openBridge } from './bridge-filter.ts';
import { hasOwnAddress, policyPods } from './pods.ts';
import { policyContent } from './policies.ts';
import { PolicyTable } from './policy-table.ts';
import { isEmpty } from './table-content.ts';

/** An informer, as far as it is used. */
export interface Followed<T extends KubeObject> {
  readonly lister: { list(): T[] };
  readonly hasSynced: boolean;
  whenSynced(): Promise<void>;
  addHandler(handlers: EventHandlers<T>): () => void;
}

export interface PolicyKeeperDeps {
  readonly policies: Followed<NetworkPolicy>;
  /** Asked for with the first policy: where there is none, nobody pays for it. */
  readonly others: () => { readonly namespaces: Followed<Namespace>; readonly pods: Followed<Pod> };
  readonly system: ProxySystem;
  readonly table: string;
  readonly bridge: string;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What the Node has to tell has changed. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const resyncMs = 300_000;
const firstRetryMs = 1_000;
const maxRetryMs = 60_000;
/** How long a pod waits to hear what its policies are. */
const patienceMs = 10_000;
const staticSource = 'kubernetes.io/config.source';

/** What a pod of this machine has before the API server tells. */
interface Claim {
  readonly pod: Pod;
  readonly address: string;
  /** The rules that it takes part in are. */
  isInForce: boolean;
}

export class PolicyKeeper {
  readonly #deps: PolicyKeeperDeps;
  readonly #table: PolicyTable;
  readonly #claims = new Map<string, Claim>();
  #others: ReturnType<PolicyKeeperDeps['others']> | undefined;
  /** This machine was seen to take such rules. */
  #isAble = false;
  #isDirty = false;
  #isRunning = false;
  #failures = 0;
  #timer: Timer | undefined;
  #verdict: NodeVerdict | undefined;
  /** Of those who wait for the next rules to be in force. */
  #waiting: PromiseWithResolvers<void>[] = [];

  constructor(deps: PolicyKeeperDeps) {
    this.#deps = deps;
    this.#table = new PolicyTable(deps.system, deps.table, deps.clock);
  }

  start(): void {
    const { policies, signal } = this.#deps;
    const changed = (): void => this.#trigger();
    policies.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed });
    void policies.whenSynced().then(changed);
    const stop = (): void => {
      this.#timer?.cancel();
      release(this.#waiting.splice(0), new Error('the agent stops'));
    };
    signal.addEventListener('abort', stop, { once: true });
  }

  /** Undefined where nothing is asked for. */
  verdict(): NodeVerdict | undefined {
    return this.#verdict;
  }

  /** Somebody else took packet rules away. */
  lost(): void {
    this.#table.lost();
    this.#trigger();
  }

  /**
   * Resolves when the rules for a pod of this machine are in force, or when this machine can't have any. Rejects
   * when they can't be known now: it must not start yet.
   */
  async join(pod: Pod, address: string): Promise<void> {
    if (!hasOwnAddress(pod)) return;
    if (!(await this.#known(pod))) return;
    if (this.#deps.policies.lister.list().length === 0 && this.#others === undefined) return;
    const uid = pod.metadata.uid ?? '';
    const known = this.#claims.get(uid);
    if (known?.address === address && known.isInForce) return;
    // An address has one pod.
    for (const [other, claim] of this.#claims)
      if (claim.address === address && other !== uid) this.#claims.delete(other);
    this.#claims.set(uid, { pod, address, isInForce: false });
    await this.#settled();
  }

  /** Whether this machine knows what policies there are. */
  async #known(pod: Pod): Promise<boolean> {
    const { policies, clock, signal } = this.#deps;
    if (policies.hasSynced) return true;
    // What its owner put on this machine runs without an API server, too.
    if (pod.metadata.annotations?.[staticSource] === 'file') return false;
    const giveUp = new AbortController();
    await Promise.race([
      policies.whenSynced(),
      delay(clock, patienceMs, AbortSignal.any([signal, giveUp.signal])),
    ]);
    giveUp.abort();
    if (policies.hasSynced) return true;
    throw new Error('it is not known which NetworkPolicies apply: the API server does not answer');
  }

  async #settled(): Promise<void> {
    const { clock, signal } = this.#deps;
    if (signal.aborted) throw new Error('the agent stops');
    const waiter = Promise.withResolvers<void>();
    this.#waiting.push(waiter);
    this.#trigger();
    const giveUp = new AbortController();
    const late = delay(clock, patienceMs, AbortSignal.any([signal, giveUp.signal])).then(() => {
      throw new Error('the rules of NetworkPolicies are not in force yet');
    });
    try {
      await Promise.race([waiter.promise, late]);
    } finally {
      giveUp.abort();
      late.catch(() => undefined);
    }
  }

  #trigger(): void {
    this.#isDirty = true;
    if (!this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isDirty && !this.#deps.signal.aborted) {
      // What comes from here on is for the next round, and so are those who wait from here on.
      this.#isDirty = false;
      const waiting = this.#waiting;
      this.#waiting = [];
      const outcome = await this.#round();
      if (outcome === 'later') this.#waiting.unshift(...waiting);
      else release(waiting, outcome);
    }
    this.#isRunning = false;
  }

  /** Later: what there is to do is not known yet. */
  async #round(): Promise<'later' | Error | undefined> {
    const { signal, clock, logger } = this.#deps;
    let nextMs = resyncMs;
    let failure: Error | undefined;
    try {
      if (!(await this.#sync())) return 'later';
      this.#failures = 0;
    } catch (error) {
      failure = new Error(messageOf(error), { cause: error });
      nextMs = Math.min(firstRetryMs * 2 ** this.#failures++, maxRetryMs);
      logger.warn('The rules of NetworkPolicies are out of date', { error: failure.message });
      this.#tell('True', 'RulesOutOfDate', `NetworkPolicies are out of date: ${failure.message}`);
    }
    this.#timer?.cancel();
    if (!signal.aborted) this.#timer = clock.timer(nextMs, () => this.#trigger());
    return failure;
  }

  /** False: what there is to do is not known yet. */
  async #sync(): Promise<boolean> {
    const { policies, nodeName, system, bridge } = this.#deps;
    if (!policies.hasSynced) return false;
    const all = policies.lister.list();
    const why = this.#isAble ? undefined : await this.#table.whyNot();
    this.#isAble = why === undefined;
    if (all.length === 0) {
      if (why === undefined) await this.#table.remove();
      this.#setVerdict(undefined);
      return true;
    }
    if (why !== undefined) {
      this.#tell('True', 'NotEnforced', `${notEnforced}: ${why}`);
      return true;
    }
    const others = this.#follow();
    if (!others.namespaces.hasSynced || !others.pods.hasSynced) return false;
    const content = policyContent({
      policies: all,
      namespaces: others.namespaces.lister.list(),
      pods: policyPods(others.pods.lister.list(), nodeName, this.#claims),
    });
    const claims = [...this.#claims.values()];
    await this.#table.apply(content);
    for (const claim of claims) claim.isInForce = true;
    const shut = isEmpty(content) ? undefined : await openBridge(system, bridge);
    if (shut === undefined) this.#tell('False', 'Enforced', 'NetworkPolicies are enforced here');
    else this.#tell('True', 'NotBetweenOwnPods', `${notBetweenPods}: ${shut}`);
    return true;
  }

  #follow(): ReturnType<PolicyKeeperDeps['others']> {
    if (this.#others !== undefined) return this.#others;
    const others = this.#deps.others();
    this.#others = others;
    const changed = (): void => this.#trigger();
    others.namespaces.addHandler({
      onAdd: changed,
      onUpdate: (old, next) => {
        if (!deepEqual(old.metadata.labels, next.metadata.labels)) changed();
      },
      onDelete: changed,
    });
    others.pods.addHandler({
      onAdd: changed,
      onUpdate: (old, next) => {
        if (outline(old) !== outline(next)) changed();
      },
      onDelete: ({ metadata }) => {
        this.#claims.delete(metadata.uid ?? '');
        changed();
      },
    });
    const synced = [others.namespaces.whenSynced(), others.pods.whenSynced()];
    void Promise.all(synced).then(changed);
    return others;
  }

  #tell(status: 'True' | 'False', reason: string, message: string): void {
    this.#setVerdict({ type: 'NetworkPoliciesNotEnforced', status, reason, message });
  }

  #setVerdict(verdict: NodeVerdict | undefined): void {
    if (deepEqual(this.#verdict, verdict)) return;
    this.#verdict = verdict;
    this.#deps.onChange();
  }
}

function release(waiting: readonly PromiseWithResolvers<void>[], error: Error | undefined): void {
  for (const waiter of waiting) {
    // It may have given up.
    waiter.promise.catch(() => undefined);
    if (error === undefined) waiter.resolve();
    else waiter.reject(error);
  }
}

const notEnforced =
  'NetworkPolicies are not enforced on this machine, so its pods are open to all and reach all';
const notBetweenPods =
  'NetworkPolicies are not enforced between pods of this machine, only toward others';

/** All of a pod that rules are made of. */
function outline({ metadata, spec, status }: Pod): string {
  const { labels, deletionTimestamp } = metadata;
  const over = hasOwnAddress({ spec, status } as Pod);
  const isEnding = deletionTimestamp !== undefined;
  return JSON.stringify([labels, isEnding, over, spec.nodeName, spec.containers, status?.podIP]);
}
