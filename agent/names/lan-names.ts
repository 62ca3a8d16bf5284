// The driver: which names this node has to tell of (owners.ts), on which network interfaces, and what
// became of them. On no interface unless told so: nothing is sent then.
import { networkInterfaces } from 'node:os';
import type { Node } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Informer } from '#kube/client/informer.ts';
import { messageOf } from '../error-message.ts';
import { Link } from './link.ts';
import { namesOf, type ServedName } from './owners.ts';
import { Responder } from './responder.ts';

export interface LanNamesDeps {
  readonly nodes: Informer<Node>;
  readonly nodeName: string;
  /** Names of network interfaces. */
  readonly interfaces: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What apps answer to now, by what they should: the same, or with a number. */
  readonly onHeld: (held: ReadonlyMap<string, string>) => void;
  readonly signal: AbortSignal;
}

interface OpenLink {
  readonly link: Link;
  readonly responder: Responder;
}

/** Machines get other addresses, and cables are plugged in. */
const lookMs = 15_000;

export class LanNames {
  readonly #deps: LanNamesDeps;
  /** By `interface address/prefix`. */
  readonly #links = new Map<string, OpenLink>();
  #addresses: ReadonlySet<string> = new Set();
  #served: readonly ServedName[] = [];
  #timer: Timer | undefined;
  #looking = Promise.resolve();
  #problem = '';

  constructor(deps: LanNamesDeps) {
    const { nodes, signal } = deps;
    this.#deps = deps;
    const changed = (): void => this.#want();
    const detach = nodes.addHandler({ onAdd: changed, onUpdate: changed, onDelete: changed });
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
    this.#served = [];
    this.#timer?.cancel();
    await this.#looking;
    await Promise.all([...this.#links.keys()].map((key) => this.#close(key)));
  }

  #look(): void {
    const { clock, signal } = this.#deps;
    this.#looking = this.#looking.then(() => this.#followLinks());
    this.#timer?.cancel();
    if (this.#served.length === 0 || signal.aborted) return;
    this.#timer = clock.timer(lookMs, () => this.#look());
  }

  /** Only while there is a name to tell of. */
  async #followLinks(): Promise<void> {
    const wanted = this.#served.length === 0 ? new Map<string, LinkAddress>() : this.#present();
    this.#addresses = new Set([...wanted.values()].map(({ address }) => address));
    for (const key of this.#links.keys()) if (!wanted.has(key)) await this.#close(key);
    const problems: string[] = [];
    for (const [key, at] of wanted) {
      if (this.#links.has(key)) continue;
      try {
        this.#links.set(key, await this.#open(at));
      } catch (error) {
        problems.push(`${at.name}: ${messageOf(error)}`);
      }
    }
    this.#tell(problems.join('; '));
    this.#want();
  }

  #present(): Map<string, LinkAddress> {
    const found = new Map<string, LinkAddress>();
    for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
      if (!this.#deps.interfaces.includes(name)) continue;
      for (const { family, internal, address, cidr } of addresses) {
        if (family !== 'IPv4' || internal || cidr === null) continue;
        const prefixLength = Number(cidr.split('/')[1]);
        // One of a pool of addresses, which is another's tomorrow.
        if (prefixLength === 32) continue;
        found.set(`${name} ${cidr}`, { name, address, prefixLength });
      }
    }
    return found;
  }

  async #open({ address, prefixLength, name }: LinkAddress): Promise<OpenLink> {
    const { clock, random, logger } = this.#deps;
    const link: Link = await Link.open({
      address,
      prefixLength,
      onMessage: (message, from) => responder.receive(message, from),
      onError: (error) => logger.debug('mDNS', { interface: name, error: error.message }),
    });
    const responder = new Responder({
      address,
      ownAddresses: () => this.#addresses,
      clock,
      random,
      send: (message, to) => link.send(message, to),
      onChange: () => this.#report(),
    });
    return { link, responder };
  }

  async #close(key: string): Promise<void> {
    const open = this.#links.get(key);
    this.#links.delete(key);
    open?.responder.stop();
    await open?.link.close();
  }

  #want(): void {
    const { nodeName, nodes } = this.#deps;
    const names = namesOf(nodeName, this.#served, nodes.lister.list());
    for (const { responder } of this.#links.values()) responder.want(names);
    this.#report();
  }

  /** Of several links the first that has it: a name that is free here may be taken there. */
  #report(): void {
    const held = new Map<string, string>();
    for (const { responder } of this.#links.values())
      for (const [wanted, name] of responder.held) if (!held.has(wanted)) held.set(wanted, name);
    this.#deps.onHeld(held);
  }

  #tell(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem !== '')
      this.#deps.logger.warn('Names of apps are not told everywhere', { problem });
  }
}

interface LinkAddress {
  /** Of the interface. */
  readonly name: string;
  readonly address: string;
  readonly prefixLength: number;
}
