// The driver: Services and EndpointSlices from informers → rules.ts → an applier. Changes that
// come while one sync runs make one more sync. Nothing is taken away when the proxy stops:
// containers keep running then, and so do the ways to them.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Service } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Applier, ApplyProblem } from './applier.ts';
import { NftApplier, whyNotNftables } from './nft-applier.ts';
import { proxyRules } from './rules.ts';
import type { ProxySystem } from './system.ts';
import { UserspaceApplier } from './userspace.ts';

/** What the proxy needs of an informer (kube/client's Informer has it). */
export interface ProxySource<T> {
  readonly lister: { list(): T[] };
  addHandler(handlers: { onAdd(): void; onUpdate(): void; onDelete(): void }): () => void;
  whenSynced(): Promise<void>;
}

export interface ProxyDeps {
  readonly services: ProxySource<Service>;
  readonly endpointSlices: ProxySource<EndpointSlice>;
  readonly system: ProxySystem;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
  /** Name of our nftables table; one per cluster on this machine. */
  readonly table: string;
  /** The pods' bridge; it may appear later. */
  readonly bridge: string;
  readonly serviceCidr: string;
  /** Where user-space NodePorts listen; every address when left out. */
  readonly listenAddress?: string;
  readonly onStatus?: (status: ProxyStatus) => void;
}

export interface ProxyStatus {
  readonly mode: 'nftables' | 'userspace';
  /** Why not the better mode, as a sentence. */
  readonly reason?: string;
  /** What works only in part, as sentences. */
  readonly problems: readonly string[];
}

export interface Proxy {
  status(): ProxyStatus;
  /** Takes all rules and listeners away (removing the node; tests). */
  remove(): Promise<void>;
}

/** Another program may have flushed the kernel's tables. */
const resyncMs = 300_000;
const firstRetryMs = 1_000;
const maxRetryMs = 60_000;

/** Runs until `signal` aborts. Resolves once the mode is chosen; rules follow when synced. */
export async function startProxy(deps: ProxyDeps, signal: AbortSignal): Promise<Proxy> {
  const choice = await chooseApplier(deps);
  const { mode } = choice.applier;
  deps.logger.info('Proxying Services', { mode, reason: choice.reason });
  const driver = new ProxyDriver(deps, choice, signal);
  driver.start();
  return driver;
}

interface Choice {
  readonly applier: Applier;
  readonly reason: string | undefined;
}

async function chooseApplier(deps: ProxyDeps): Promise<Choice> {
  const { system, table, bridge, serviceCidr, clock } = deps;
  const reason = await whyNotNftables(system);
  if (reason === undefined)
    return { applier: new NftApplier({ system, table, bridge, serviceCidr }), reason };
  const address = deps.listenAddress ?? '0.0.0.0';
  const limits = 'Only NodePorts are served; ClusterIPs are not reachable.';
  return {
    applier: new UserspaceApplier({ clock, address }),
    reason: `${reason} ${limits}`,
  };
}

class ProxyDriver implements Proxy {
  readonly #deps: ProxyDeps;
  readonly #signal: AbortSignal;
  #choice: Choice;
  #problems: readonly string[] = [];
  #isDirty = false;
  #running: Promise<void> | undefined;
  #isRemoved = false;
  #failures = 0;
  #timer: Timer | undefined;

  constructor(deps: ProxyDeps, choice: Choice, signal: AbortSignal) {
    this.#deps = deps;
    this.#choice = choice;
    this.#signal = signal;
  }

  start(): void {
    const { services, endpointSlices } = this.#deps;
    const changed = (): void => this.#markDirty();
    const handlers = { onAdd: changed, onUpdate: changed, onDelete: changed };
    const detach = [services.addHandler(handlers), endpointSlices.addHandler(handlers)];
    const stop = (): void => {
      this.#timer?.cancel();
      for (const remove of detach) remove();
      // Listeners live in this process; the kernel's rules outlive it on purpose.
      if (this.#choice.applier.mode === 'userspace') void this.remove();
    };
    if (this.#signal.aborted) stop();
    else this.#signal.addEventListener('abort', stop, { once: true });
    // An empty Service list is a list too: stale rules of an earlier run have to go.
    this.#markDirty();
  }

  status(): ProxyStatus {
    const { applier, reason } = this.#choice;
    const status = { mode: applier.mode, problems: this.#problems };
    return reason === undefined ? status : { ...status, reason };
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    this.#timer?.cancel();
    await this.#running;
    await this.#choice.applier.remove();
  }

  #markDirty(): void {
    this.#isDirty = true;
    if (this.#isStopped()) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async #run(): Promise<void> {
    const { services, endpointSlices } = this.#deps;
    const synced = Promise.all([services.whenSynced(), endpointSlices.whenSynced()]);
    await Promise.race([synced, aborted(this.#signal)]);
    while (this.#isDirty && !this.#isStopped()) {
      this.#isDirty = false;
      await this.#sync();
    }
  }

  async #sync(): Promise<void> {
    const { services, endpointSlices, nodeName, logger } = this.#deps;
    const rules = proxyRules({
      services: services.lister.list(),
      endpointSlices: endpointSlices.lister.list(),
      nodeName,
    });
    try {
      await this.#upgrade();
      const problems = await this.#choice.applier.apply(rules);
      this.#failures = 0;
      logger.debug('Synced proxy rules', { ports: rules.ports.length });
      this.#report(problems);
      this.#schedule(resyncMs);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const delayMs = Math.min(firstRetryMs * 2 ** this.#failures++, maxRetryMs);
      this.#report([{ message: `Service rules are out of date: ${message}.` }]);
      this.#schedule(delayMs);
    }
  }

  /** nft may arrive while we run: the agent installs it together with Docker. */
  async #upgrade(): Promise<void> {
    const { applier } = this.#choice;
    if (applier.mode === 'nftables' || !this.#deps.system.isRoot) return;
    const choice = await chooseApplier(this.#deps);
    if (choice.applier.mode !== 'nftables') return;
    await applier.remove();
    this.#choice = choice;
    this.#deps.logger.info('Proxying Services in the kernel from now on');
    this.#deps.onStatus?.(this.status());
  }

  /** Problems are logged when they change, not on every sync. */
  #report(problems: readonly ApplyProblem[]): void {
    const messages = problems.map((problem) => problem.message);
    if (messages.join('\n') === this.#problems.join('\n')) return;
    this.#problems = messages;
    for (const problem of messages) this.#deps.logger.warn('Proxy problem', { problem });
    this.#deps.onStatus?.(this.status());
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isStopped()) return;
    this.#timer = this.#deps.clock.timer(delayMs, () => this.#markDirty());
  }

  #isStopped(): boolean {
    return this.#isRemoved || this.#signal.aborted;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
