// The driver: which names this node has to tell of (owners.ts), on which network interfaces, who tells (avahi where it
// runs, else this process), and what became of them. On no interface unless told so: nothing is sent then.
import { networkInterfaces } from 'node:os';
import type { Node } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { Bus, systemBusPath } from '../dbus/bus.ts';
import { Avahi, type AvahiDeps } from './avahi.ts';
import { lanLinks } from './lan-links.ts';
import type { Link, LinkOptions } from './link.ts';
import { lanAddresses, namesOf, pageNames, type ServedName } from './owners.ts';
import { OwnTeller } from './own-teller.ts';
import type { LinkAddress, Teller, TellingLink } from './teller.ts';

export interface LanNamesDeps {
  readonly nodes: { list(): readonly Node[]; onChange(handler: () => void): () => void };
  readonly nodeName: string;
  /** Names of network interfaces. */
  readonly interfaces: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** It is another. */
  readonly onTold: (told: Told) => void;
  readonly signal: AbortSignal;
  /** For tests. */
  readonly system?: LanSystem;
}

export interface Told {
  /** What apps answer to now, by what they should: the same, or with a number. */
  readonly held: ReadonlyMap<string, string>;
  /** This machine's addresses where it tells what it has to: `192.168.1.2/24`. None: it serves no names. */
  readonly networks: readonly string[];
}

/** The machine, as far as names need it. */
export interface LanSystem {
  readonly networkInterfaces: typeof networkInterfaces;
  readonly connect: AvahiDeps['connect'];
  readonly interfaceIndex?: AvahiDeps['interfaceIndex'];
  readonly openLink?: (options: LinkOptions) => Promise<Pick<Link, 'send' | 'close'>>;
}

/** Machines get other addresses, and cables are plugged in. */
const lookMs = 15_000;

export class LanNames {
  readonly #deps: LanNamesDeps;
  readonly #system: LanSystem;
  readonly #own: OwnTeller;
  readonly #avahi: Avahi;
  #teller: Teller | undefined;
  #served: readonly ServedName[] = [];
  #isStopped = false;
  #timer: Timer | undefined;
  #looking = Promise.resolve();
  #problem = '';
  #networks: readonly string[] = [];
  /** Of the cluster, in the networks of the home. */
  #addresses: ReadonlySet<string> = new Set();
  #told = '';

  constructor(deps: LanNamesDeps) {
    const { nodes, signal, clock } = deps;
    this.#deps = deps;
    this.#system = deps.system ?? linuxSystem(clock);
    const onChange = (): void => this.#report();
    const look = (): void => this.#look();
    const ownAddresses = (): ReadonlySet<string> => this.#addresses;
    this.#own = new OwnTeller({ ...deps, ...this.#system, onChange, ownAddresses });
    this.#avahi = new Avahi({ ...deps, ...this.#system, onChange, onPresence: look });
    const detach = nodes.onChange(look);
    const stop = (): void => {
      detach();
      void this.stop();
    };
    signal.addEventListener('abort', stop, { once: true });
  }

  /** What this node serves from now on. */
  serve(names: readonly ServedName[]): void {
    this.#served = names;
    this.#look();
  }

  /** Says goodbye. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#look();
    await this.#looking;
  }

  /** Of apps, and of Flotilla's own page; none once it stops. */
  get #names(): readonly ServedName[] {
    if (this.#isStopped) return [];
    return [...this.#served, ...pageNames(this.#deps.nodes.list())];
  }

  #look(): void {
    const { clock, signal } = this.#deps;
    this.#looking = this.#looking.then(() => this.#follow());
    this.#timer?.cancel();
    if (this.#names.length === 0 || signal.aborted) return;
    this.#timer = clock.timer(lookMs, () => this.#look());
  }

  /** Only while there is a name to tell of. */
  async #follow(): Promise<void> {
    const { nodeName, nodes, logger } = this.#deps;
    const served = this.#names;
    const isNeeded = served.length > 0;
    const links = isNeeded
      ? lanLinks(this.#deps.interfaces, this.#system.networkInterfaces())
      : new Map<string, LinkAddress>();
    const teller = isNeeded && (await this.#avahi.isReady()) ? this.#avahi : this.#own;
    if (this.#teller !== teller && isNeeded)
      logger.info('Names of apps', { toldBy: teller === this.#avahi ? 'avahi' : 'this agent' });
    // Never both at a time: each would take the other's for somebody else's.
    if (this.#teller !== undefined && this.#teller !== teller) await this.#teller.tell(new Map());
    this.#teller = teller;
    if (!isNeeded) this.#avahi.close();
    const all = nodes.list();
    const names = namesOf(nodeName, served, all);
    const own = [...links.values()].map(({ address }) => address);
    this.#addresses = new Set([...own, ...lanAddresses(all)]);
    this.#networks = [...links.values()].map(networkOf).toSorted();
    this.#tell(await teller.tell(withNames(links, names)));
    this.#report();
  }

  #report(): void {
    const held = this.#teller?.held ?? new Map<string, string>();
    const told = JSON.stringify([[...held], this.#networks]);
    if (told === this.#told) return;
    this.#told = told;
    this.#deps.onTold({ held, networks: this.#networks });
  }

  #tell(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem !== '')
      this.#deps.logger.warn('Names of apps are not told everywhere', { problem });
  }
}

function networkOf({ address, prefixLength }: LinkAddress): string {
  return `${address}/${prefixLength}`;
}

/** None where the Node does not say yet that we are there: the others don't know either. */
function withNames(
  links: ReadonlyMap<string, LinkAddress>,
  names: ReadonlyMap<string, ReadonlySet<string>>,
): Map<string, TellingLink> {
  return new Map(
    Array.from(links, ([key, link]) => {
      const there = names.get(networkOf(link)) ?? new Set<string>();
      return [key, { ...link, names: there }];
    }),
  );
}

function linuxSystem(clock: Clock): LanSystem {
  const userId = process.getuid?.() ?? 0;
  return {
    networkInterfaces,
    connect: async (on) => {
      const path = systemBusPath(process.env);
      if (path === undefined) throw new Error('the system bus has no path');
      return Bus.open({ ...on, path, userId, clock });
    },
  };
}
