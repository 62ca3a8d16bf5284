// Takes the addresses that the control plane gave to Services and to this machine, and lets go of others. One that
// somebody answers for is never taken, whoever that is: so two machines never have one, also when a machine that was
// given up still runs. They stay when the agent stops, as containers and the ways to them do; the next agent
// knows them by the file, which is written before an address is taken.
import type { Node, Service } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { isBalanced, lanAddress, pairsText } from '#kube/machinery/balancers.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { messageOf } from '../error-message.ts';
import { ipv4 } from '../proxy/addresses.ts';
import { linkOf, type LanLink, type LanLinks } from './lan-link.ts';

interface Source<T> {
  readonly lister: { list(): T[] };
  addHandler(handlers: {
    onAdd(object: T): void;
    onUpdate(old: T, object: T): void;
    onDelete(object: T): void;
  }): () => void;
  whenSynced(): Promise<void>;
}

export interface LanAddressesDeps {
  readonly services: Source<Service>;
  readonly nodes: Omit<Source<Node>, 'whenSynced'>;
  readonly nodeName: string;
  readonly links: LanLinks;
  /** Calls with each line that tells of a link, until the signal aborts. */
  readonly watchLinks: (onLine: (line: string) => void, signal: AbortSignal) => void;
  /** By address: the device it is on. */
  readonly memory: {
    read(): Promise<Readonly<Record<string, string>>>;
    write(devices: Readonly<Record<string, string>>): Promise<void>;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  /** What the Node has to tell has changed. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

interface Taken {
  readonly mac: string;
  /** How often in a row. Once may be a machine that is just letting go of it. */
  readonly times: number;
  readonly atMs: number;
}

const retriesMs = [1_000, 5_000, 10_000, 30_000] as const;
/** What was taken and is not wanted any more is told for so long: then it may be tried again. */
const takenMs = 600_000;

export class LanAddresses {
  readonly #deps: LanAddressesDeps;
  /** By address: the link it is on. */
  readonly #held = new Map<string, LanLink>();
  readonly #taken = new Map<string, Taken>();
  #isDirty = false;
  #isRunning = false;
  #isKnown = false;
  #failures = 0;
  #timer: Timer | undefined;
  #watch: AbortController | undefined;

  constructor(deps: LanAddressesDeps) {
    this.#deps = deps;
    const { services, nodes, signal } = deps;
    const changed = (): void => this.trigger();
    const detach = [
      services.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed }),
      nodes.addHandler({
        onAdd: () => undefined,
        // It may have answered for one of ours until now.
        onUpdate: (old, node) => {
          if (isReady(old) !== isReady(node)) void this.#announce();
        },
        onDelete: () => undefined,
      }),
    ];
    const stop = (): void => {
      for (const remove of detach) remove();
      this.#timer?.cancel();
      this.#watch?.abort();
    };
    signal.addEventListener('abort', stop, { once: true });
    void services.whenSynced().then(changed);
  }

  /** Of the Node. */
  annotations(): Record<string, string | null> {
    const held = [...this.#held].map(([address, { mac }]) => [address, mac] as const);
    const taken = [...this.#taken]
      .filter(([, { times }]) => times > 1)
      .map(([address, { mac }]) => [address, mac] as const);
    return {
      [lanAddress.held]: pairsText(new Map(held)),
      [lanAddress.taken]: taken.length === 0 ? null : pairsText(new Map(taken)),
    };
  }

  /** A Service, or an address of this machine, has changed. */
  trigger(): void {
    this.#isDirty = true;
    if (!this.#isRunning && !this.#deps.signal.aborted) void this.#run();
  }

  async #run(): Promise<void> {
    const { services, clock, logger, signal } = this.#deps;
    this.#isRunning = true;
    await services.whenSynced();
    let isDone = true;
    while (this.#isDirty && !signal.aborted) {
      this.#isDirty = false;
      try {
        isDone = await this.#sync();
      } catch (error) {
        isDone = false;
        logger.warn('Addresses of the pool', { error: messageOf(error) });
      }
    }
    this.#isRunning = false;
    this.#timer?.cancel();
    if (signal.aborted) return;
    const last = retriesMs.length - 1;
    const retryMs = isDone ? takenMs : (retriesMs[Math.min(this.#failures, last)] ?? 0);
    this.#failures = isDone ? 0 : this.#failures + 1;
    if (!isDone || this.#taken.size > 0) this.#timer = clock.timer(retryMs, () => this.trigger());
  }

  /** False: one that is wanted could not be taken. */
  async #sync(): Promise<boolean> {
    const { services, nodeName, clock } = this.#deps;
    const wanted = wantedAddresses(services.lister.list(), nodeName);
    const isIdle = wanted.size + this.#held.size + this.#taken.size === 0;
    if (isIdle && this.#isKnown) return true;
    const before = JSON.stringify(this.annotations());
    const links = await this.#deps.links.list();
    if (!this.#isKnown) await this.#adopt(wanted, links);
    for (const [address, { device }] of this.#held) {
      const link = links.find((one) => one.device === device);
      // Somebody else took it away, as who flushes a link does.
      if (link?.extra.includes(address) !== true) this.#held.delete(address);
      // Without its cable a machine can't know who takes it meanwhile.
      else if (!wanted.has(address) || !link.isUp) await this.#release(address, device);
    }
    this.#watchLinks(wanted.size > 0);
    this.#forget(wanted);
    if (before !== JSON.stringify(this.annotations())) this.#deps.onChange();
    const missing = [...wanted].filter((address) => !this.#held.has(address));
    const results = await Promise.all(
      missing.map((address) =>
        this.#claim(address, linkOf(address, links), clock.monotonicMs()).catch((error: unknown) =>
          this.#failed(address, error),
        ),
      ),
    );
    if (before !== JSON.stringify(this.annotations())) this.#deps.onChange();
    return results.every(Boolean);
  }

  /** What an earlier agent left: kept where it is still wanted. */
  async #adopt(wanted: ReadonlySet<string>, links: readonly LanLink[]): Promise<void> {
    for (const [address, device] of Object.entries(await this.#deps.memory.read())) {
      const link = links.find((one) => one.device === device && one.extra.includes(address));
      if (link === undefined) continue;
      this.#held.set(address, link);
      if (wanted.has(address)) await this.#deps.links.announce(address, link);
    }
    this.#isKnown = true;
  }

  async #claim(address: string, link: LanLink | undefined, nowMs: number): Promise<boolean> {
    const { links, services, nodeName, logger, signal } = this.#deps;
    if (link === undefined || !link.isUp) return false;
    const mac = await links.whoHas(address, link);
    if (mac !== undefined) {
      const times = (this.#taken.get(address)?.times ?? 0) + 1;
      this.#taken.set(address, { mac, times, atMs: nowMs });
      if (times === 2) logger.warn('Somebody else has an address of the pool', { address, mac });
      return false;
    }
    this.#taken.delete(address);
    // It took three seconds: who is to have it may be another by now.
    if (signal.aborted || !wantedAddresses(services.lister.list(), nodeName).has(address))
      return true;
    this.#held.set(address, link);
    try {
      await this.#remember();
      await links.take(address, link.device);
    } catch (error) {
      this.#held.delete(address);
      throw error;
    }
    await links.announce(address, link);
    logger.info('Answering for an address of the pool', { address, device: link.device });
    return true;
  }

  async #release(address: string, device: string): Promise<void> {
    await this.#deps.links.release(address, device);
    this.#held.delete(address);
    await this.#remember();
    this.#deps.logger.info('No longer answering for an address of the pool', { address });
  }

  async #announce(): Promise<void> {
    for (const [address, link] of this.#held)
      await this.#deps.links
        .announce(address, link)
        .catch((error: unknown) => this.#failed(address, error));
  }

  #failed(address: string, error: unknown): false {
    this.#deps.logger.warn('An address of the pool', { address, error: messageOf(error) });
    return false;
  }

  #remember(): Promise<void> {
    const devices = [...this.#held].map(([address, { device }]) => [address, device]);
    return this.#deps.memory.write(Object.fromEntries(devices) as Record<string, string>);
  }

  /** A cable that comes or goes. */
  #watchLinks(isNeeded: boolean): void {
    if (isNeeded === (this.#watch !== undefined)) return;
    this.#watch?.abort();
    this.#watch = undefined;
    if (!isNeeded) return;
    this.#watch = new AbortController();
    this.#deps.watchLinks((line) => {
      const [, device = ''] = /^\d+: ([^:@]+)/.exec(line) ?? [];
      const isUp = line.includes('LOWER_UP');
      const isOurs = [...this.#held.values()].some((link) => link.device === device);
      if (isOurs ? !isUp : isUp && this.#failures > 0) this.trigger();
    }, this.#watch.signal);
  }

  #forget(wanted: ReadonlySet<string>): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [address, { atMs }] of this.#taken)
      if (!wanted.has(address) && nowMs - atMs >= takenMs) this.#taken.delete(address);
  }
}

/** Those that this machine is to have. */
export function wantedAddresses(all: readonly Service[], nodeName: string): ReadonlySet<string> {
  const found = all.flatMap((service) => {
    const { annotations = {} } = service.metadata;
    const address = annotations[lanAddress.address];
    const isHere = isBalanced(service) && annotations[lanAddress.node] === nodeName;
    // Written by whoever may write Services.
    return isHere && address !== undefined && ipv4(address) === address ? [address] : [];
  });
  return new Set(found);
}

function isReady({ status }: Node): boolean {
  return isConditionTrue(status?.conditions, 'Ready');
}
