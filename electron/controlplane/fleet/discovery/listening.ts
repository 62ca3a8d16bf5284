// Keeps its ears on the links it was given: opens and closes them as they come and go, asks who is there, ever
// more seldom, and keeps what was heard as long as it holds.
import type { DiscoveryInterface } from '#kube/api/fleet.ts';
import type { Clock } from '#kube/base/clock.ts';
import { holds, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import type { Hearing } from './hearing.ts';
import type { HomeProbes } from './probes/home-probes.ts';
import type { Heard } from './probes/multicast-answers.ts';
import type { Link, LinkAddress } from './probes/multicast-link.ts';
import { SightingBook, type Sighting } from './sighting.ts';

export interface ListeningDeps {
  /** Names. */
  readonly interfaces: readonly string[];
  readonly probes: HomeProbes;
  readonly clock: Clock;
  /** Something new was heard. */
  readonly onNews: () => void;
}

interface OpenLink {
  readonly at: LinkAddress;
  readonly link: Link;
  askMs: number;
  waitMs: number;
}

/** RFC 6762, 5.2: a second, and twice as long each time, up to an hour. */
const [firstAskMs, longestAskMs] = [1000, 3_600_000];
/** Twice before what was heard is forgotten (readAnswers). */
const askNameMs = 600_000;
/** Who is asked has answered by then. */
const answeredMs = 500;
/** The kernel's table is read anew long before. */
const neighbourMs = 60_000;

export class Listening {
  readonly #deps: ListeningDeps;
  readonly #book = new SightingBook();
  /** By `interface address/prefix`. */
  readonly #links = new Map<string, OpenLink>();
  readonly #problems = new Map<string, string>();
  /** Whose names were asked for, and when they are asked for again. */
  readonly #named = new Map<string, number>();
  #own: ReadonlySet<string> = new Set();

  constructor(deps: ListeningDeps) {
    this.#deps = deps;
  }

  /** By interface, why it can't be used. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** Addresses of this machine. */
  get own(): ReadonlySet<string> {
    return this.#own;
  }

  /** What holds now. */
  sightings(): readonly Sighting[] {
    return this.#book.current(this.#deps.clock.now());
  }

  note(sighting: Sighting, forMs: number): void {
    if (this.#book.note(sighting, this.#deps.clock.now(), forMs)) this.#deps.onNews();
  }

  /** The link on which an address is, and this machine's own address there. */
  linkOf(address: string): LinkAddress | undefined {
    for (const { at } of this.#links.values()) if (isOn(at, address)) return at;
    return undefined;
  }

  interfaces(): readonly DiscoveryInterface[] {
    return [...this.#links.values()].map(({ at: { name, cidr } }) => ({ name, address: cidr }));
  }

  hearing(): Hearing {
    const others = this.sightings().filter(({ address }) => !this.#own.has(address));
    return {
      isSearching: this.#links.size > 0,
      isHeard: others.some(({ by }) => by === 'MulticastDNS'),
      hasNeighbours: others.some(({ by }) => by === 'Neighbour'),
    };
  }

  /** Asks on all links for what a person typed: `kitchen` or `kitchen.local`. */
  askAddress(hostName: string): void {
    for (const { link } of this.#links.values()) link.askAddress(hostName);
  }

  /** Follows the machine's interfaces, asks what is due. */
  async look(): Promise<void> {
    await this.#followLinks();
    await this.#lookAtNeighbours();
    const nowMs = this.#deps.clock.now();
    for (const open of this.#links.values()) {
      if (open.askMs > nowMs) continue;
      open.askMs = nowMs + open.waitMs;
      open.waitMs = Math.min(open.waitMs * 2, longestAskMs);
      open.link.ask();
    }
    this.#askNames();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.keys()].map((key) => this.#close(key)));
  }

  async #followLinks(): Promise<void> {
    const { interfaces, probes, clock } = this.#deps;
    const present = probes.addresses();
    this.#own = new Set(present.map(({ address }) => address));
    const wanted = new Map<string, LinkAddress>();
    for (const at of present)
      if (interfaces.includes(at.name)) wanted.set(`${at.name} ${at.cidr}`, at);
    for (const key of this.#links.keys()) if (!wanted.has(key)) await this.#close(key);
    for (const [key, at] of wanted) {
      if (this.#links.has(key)) continue;
      try {
        const link = probes.openLink(at, {
          onHeard: (heard) => this.#hear(heard),
          onError: ({ message }) => this.#problems.set(at.name, message),
        });
        this.#links.set(key, { at, link, askMs: clock.now(), waitMs: firstAskMs });
        this.#problems.delete(at.name);
      } catch (error) {
        this.#problems.set(at.name, (error as Error).message);
      }
    }
  }

  async #close(key: string): Promise<void> {
    const open = this.#links.get(key);
    this.#links.delete(key);
    await open?.link.close();
  }

  #hear(heard: readonly Heard[]): void {
    for (const { sighting, forMs } of heard) this.note(sighting, forMs);
  }

  async #lookAtNeighbours(): Promise<void> {
    const { probes, clock } = this.#deps;
    const all = await probes.neighbours();
    for (const { at } of this.#links.values()) {
      const here = all
        // Windows names interfaces by this machine's address on them.
        .filter((one) => one.interface === at.name || one.interface === at.address)
        .filter(({ address }) => isOn(at, address))
        .map(({ address, hardwareAddress }) => ({
          by: 'Neighbour' as const,
          address,
          interface: at.name,
          hardwareAddress,
        }));
      this.#book.replace('Neighbour', at.name, here, [clock.now(), neighbourMs]);
    }
  }

  /** Each device for its name, and so that its network card becomes known: again before the answer is forgotten. */
  #askNames(): void {
    const { clock, onNews } = this.#deps;
    const nowMs = clock.now();
    let isAsked = false;
    const present = new Set(this.sightings().map(({ address }) => address));
    for (const address of this.#named.keys())
      if (!present.has(address)) this.#named.delete(address);
    for (const address of present) {
      if ((this.#named.get(address) ?? 0) > nowMs || this.#own.has(address)) continue;
      this.#named.set(address, nowMs + askNameMs);
      for (const { at, link } of this.#links.values()) {
        if (!isOn(at, address)) continue;
        link.askName(address);
        isAsked = true;
      }
    }
    // Its card stands in the kernel's table by then, of which no news comes.
    if (isAsked) clock.timer(answeredMs, onNews);
  }
}

function isOn({ cidr }: LinkAddress, address: string): boolean {
  const network = parseIpv4Network(cidr);
  return network !== undefined && holds(network, address);
}
