// Names told by this process: a socket and a responder for each link. A name has one number on all of them: an
// app that is films-2 to one half of the home must not be films to the other.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { messageOf } from '../error-message.ts';
import { Link, type LinkOptions } from './link.ts';
import { Responder } from './responder.ts';
import { namesOn, type LinkAddress, type Teller, type TellingLink } from './teller.ts';

export interface OwnTellerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** `held` is another. */
  readonly onChange: () => void;
  /** Of this machine, and of others of the cluster: what is said from there is no conflict. */
  readonly ownAddresses: () => ReadonlySet<string>;
  /** For tests. */
  readonly openLink?: (options: LinkOptions) => Promise<Pick<Link, 'send' | 'close'>>;
}

interface OpenLink {
  readonly link: Pick<Link, 'send' | 'close'>;
  readonly responder: Responder;
}

export class OwnTeller implements Teller {
  readonly #deps: OwnTellerDeps;
  readonly #links = new Map<string, OpenLink>();
  #wanted: ReadonlyMap<string, TellingLink> = new Map();
  /** Of names that another device has somewhere; all others have 1. */
  readonly #numbers = new Map<string, number>();

  constructor(deps: OwnTellerDeps) {
    this.#deps = deps;
  }

  get held(): ReadonlyMap<string, string> {
    return new Map([...this.#links.values()].flatMap(({ responder }) => [...responder.held]));
  }

  async tell(links: ReadonlyMap<string, TellingLink>): Promise<string> {
    this.#wanted = links;
    const names = namesOn(links);
    for (const name of this.#numbers.keys()) if (!names.has(name)) this.#numbers.delete(name);
    for (const key of this.#links.keys()) if (!links.has(key)) await this.#close(key);
    const problems: string[] = [];
    for (const [key, at] of links) {
      if (this.#links.has(key)) continue;
      try {
        this.#links.set(key, await this.#open(at));
      } catch (error) {
        problems.push(`${at.name}: ${messageOf(error)}`);
      }
    }
    this.#want();
    return problems.join('; ');
  }

  async #open({ address, prefixLength, name }: LinkAddress): Promise<OpenLink> {
    const { clock, random, logger, onChange, ownAddresses, openLink = Link.open } = this.#deps;
    const link = await openLink({
      address,
      prefixLength,
      onMessage: (message, from) => responder.receive(message, from),
      onError: (error) => logger.debug('mDNS', { interface: name, error: error.message }),
    });
    const responder: Responder = new Responder({
      address,
      ownAddresses,
      clock,
      random,
      send: (message, to) => link.send(message, to),
      onChange,
      onTaken: (wanted, number) => this.#take(wanted, number + 1),
    });
    return { link, responder };
  }

  /** The next number, on all links. */
  #take(wanted: string, number: number): void {
    this.#numbers.set(wanted, number);
    this.#want();
  }

  #want(): void {
    for (const [key, { responder }] of this.#links)
      responder.want(this.#wanted.get(key)?.names ?? new Set(), this.#numbers);
  }

  async #close(key: string): Promise<void> {
    const open = this.#links.get(key);
    this.#links.delete(key);
    open?.responder.stop();
    await open?.link.close();
  }
}
