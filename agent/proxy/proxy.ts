// The driver: Services and EndpointSlices from informers → rules.ts → an applier. Changes that
// come while one sync runs make one more sync. Nothing is taken away when the proxy stops:
// containers keep running then, and so do the ways to them.
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Node, Service } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Applier, ApplyProblem } from './applier.ts';
import { placeOf } from './endpoints.ts';
import { HealthChecks } from './health-checks.ts';
import { NftApplier, whyNotNftables } from './nft-applier.ts';
import { RuleMaker } from './rules.ts';
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
  /** This node's own object: its zone and addresses. Rules don't wait for it. */
  readonly node: Omit<ProxySource<Node>, 'whenSynced'>;
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
  /** Somebody else deleted our rules, and with them perhaps others of ours. */
  readonly onLost?: () => void;
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
const everyAddress = '0.0.0.0';

/** Runs until `signal` aborts. Resolves once the mode is chosen; rules follow when synced. */
export async function startProxy(deps: ProxyDeps, signal: AbortSignal): Promise<Proxy> {
  let driver: ProxyDriver | undefined;
  const choice = await chooseApplier(deps, () => driver?.lost());
  const { mode } = choice.applier;
  deps.logger.info('Proxying Services', { mode, reason: choice.reason });
  driver = new ProxyDriver(deps, choice, signal);
  driver.start();
  return driver;
}

interface Choice {
  readonly applier: Applier;
  readonly reason: string | undefined;
}

async function chooseApplier(deps: ProxyDeps, onLost: () => void): Promise<Choice> {
  const { system, table, bridge, serviceCidr, clock, logger } = deps;
  const reason = await whyNotNftables(system);
  if (reason === undefined) {
    const options = { system, table, bridge, serviceCidr, clock, logger, onLost };
    return { applier: new NftApplier(options), reason };
  }
  const address = deps.listenAddress ?? everyAddress;
  const limits =
    "Only NodePorts and balancers' addresses of this machine are served; ClusterIPs are not reachable.";
  const ownAddresses = () => system.addresses();
  return {
    applier: new UserspaceApplier({ clock, address, ownAddresses }),
    reason: `${reason} ${limits}`,
  };
}

class ProxyDriver implements Proxy {
  readonly #deps: ProxyDeps;
  readonly #signal: AbortSignal;
  readonly #maker = new RuleMaker();
  readonly #healthChecks: HealthChecks;
  #choice: Choice;
  #problems: readonly string[] = [];
  #isDirty = false;
  /** Of the last sync: `#here()`. */
  #placed = '';
  #running: Promise<void> | undefined;
  #isRemoved = false;
  #failures = 0;
  #timer: Timer | undefined;

  constructor(deps: ProxyDeps, choice: Choice, signal: AbortSignal) {
    this.#deps = deps;
    this.#choice = choice;
    this.#signal = signal;
    const isHealthy = (): boolean => this.#failures === 0;
    this.#healthChecks = new HealthChecks(deps.listenAddress ?? everyAddress, isHealthy);
  }

  start(): void {
    const { services, endpointSlices, node } = this.#deps;
    const changed = (): void => this.#markDirty();
    const moved = (): void => {
      if (JSON.stringify(this.#here()) !== this.#placed) this.#markDirty();
    };
    const handlers = { onAdd: changed, onUpdate: changed, onDelete: changed };
    const detach = [
      services.addHandler(handlers),
      endpointSlices.addHandler(handlers),
      node.addHandler({ onAdd: moved, onUpdate: moved, onDelete: () => {} }),
    ];
    const stop = (): void => {
      this.#timer?.cancel();
      for (const remove of detach) remove();
      // Listeners live in this process; the kernel's rules outlive it on purpose.
      this.#choice.applier.stop();
      void this.#healthChecks.stop();
    };
    if (this.#signal.aborted) stop();
    else this.#signal.addEventListener('abort', stop, { once: true });
    // An empty Service list is a list too: stale rules of an earlier run have to go.
    this.#markDirty();
  }

  /** Somebody else took the rules away. */
  lost(): void {
    this.#deps.logger.warn('Service rules were deleted by somebody else; writing them anew');
    this.#deps.onLost?.();
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
    await this.#healthChecks.stop();
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
    const { services, endpointSlices, logger } = this.#deps;
    const here = this.#here();
    this.#placed = JSON.stringify(here);
    const rules = this.#maker.make({
      services: services.lister.list(),
      endpointSlices: endpointSlices.lister.list(),
      ...here,
    });
    try {
      await this.#upgrade();
      const { applier } = this.#choice;
      const problems = await applier.apply(rules);
      this.#failures = 0;
      logger.debug('Synced proxy rules', { ports: rules.ports.length });
      const checks = await this.#healthChecks.apply(rules.healthChecks);
      const around = await applier.lookAround();
      const unserved = rules.problems.map((message) => ({ message }));
      this.#report([...problems, ...checks, ...around, ...unserved]);
      this.#schedule(resyncMs);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const delayMs = Math.min(firstRetryMs * 2 ** this.#failures++, maxRetryMs);
      this.#report([{ message: `Service rules are out of date: ${message}.` }]);
      this.#schedule(delayMs);
    }
  }

  /** Where this node stands, as far as its object tells. */
  #here() {
    const { node, nodeName, system } = this.#deps;
    const own = node.lister.list().find(({ metadata }) => metadata.name === nodeName);
    const addresses = own?.status?.addresses ?? [];
    return {
      ...placeOf(nodeName, own),
      nodeAddresses: addresses
        .filter(({ type }) => type === 'InternalIP')
        .map(({ address }) => address),
      bridgeAddresses: system.bridgeAddresses(),
    };
  }

  /** nft may arrive while we run: the agent installs it together with Docker. */
  async #upgrade(): Promise<void> {
    const { applier } = this.#choice;
    if (applier.mode === 'nftables' || !this.#deps.system.isRoot) return;
    const choice = await chooseApplier(this.#deps, () => this.lost());
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
