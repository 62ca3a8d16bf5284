// Tells the home that this machine belongs to a cluster, so that no search offers to add it to another. A socket of its own
// on each link, beside avahi where that runs: what it says has a name that nobody else can have, and is asked for by nobody
// but a search.
// Source: RFC 6762 sections 6 (responding), 8.3 (announcing), 10.1 (goodbye); RFC 6763.
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  announcedTexts,
  announcedType,
  instanceName,
  type Announcement,
} from '#kube/machinery/announcement.ts';
import { messageOf } from '../error-message.ts';
import { Link, type LinkOptions } from './link.ts';
import {
  isSameName,
  isUnicastQuestion,
  mdnsPort,
  response,
  type Message,
  type Question,
  type ResourceRecord,
  type Sender,
} from './messages.ts';
import type { LinkAddress } from './teller.ts';

export interface AnnouncerDeps {
  readonly announcement: Announcement;
  /** `pi1`: under it, with `.local`, the machine may be found; nothing is told of that name itself. */
  readonly hostName: string;
  /** Where its agent listens. */
  readonly port: number;
  /** As they are now, by a key of each. */
  readonly links: () => ReadonlyMap<string, LinkAddress>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** For tests. */
  readonly openLink?: (options: LinkOptions) => Promise<Pick<Link, 'send' | 'close'>>;
}

/** Machines get other addresses, and cables are plugged in. */
const lookMs = 15_000;
const againMs = 1000;
/** All ask at the same time when a search starts. */
const repeatMs = 1000;
const [serviceSeconds, hostSeconds] = [4500, 120];

export class Announcer {
  readonly #deps: AnnouncerDeps;
  readonly #records: readonly ResourceRecord[];
  readonly #links = new Map<string, Pick<Link, 'send' | 'close'>>();
  readonly #saidAtMs = new Map<string, number>();
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  #problem = '';

  constructor(deps: AnnouncerDeps) {
    this.#deps = deps;
    this.#records = recordsOf(deps);
    deps.signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#look();
  }

  /** Says goodbye. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    const closing = this.#looking.then(() => this.#follow(new Map()));
    this.#looking = closing;
    await closing;
  }

  #look(): void {
    const { clock, signal } = this.#deps;
    if (signal.aborted) return;
    this.#looking = this.#looking.then(() => this.#follow(this.#deps.links()));
    this.#timer = clock.timer(lookMs, () => this.#look());
  }

  async #follow(wanted: ReadonlyMap<string, LinkAddress>): Promise<void> {
    const { logger, signal } = this.#deps;
    for (const [key, link] of this.#links) {
      if (wanted.has(key)) continue;
      link.send(response(this.#records.map((record) => ({ ...record, ttl: 0 }))));
      this.#links.delete(key);
      await link.close();
    }
    const problems: string[] = [];
    for (const [key, at] of wanted) {
      if (this.#links.has(key) || signal.aborted) continue;
      try {
        await this.#open(key, at);
      } catch (error) {
        problems.push(`${at.name}: ${messageOf(error)}`);
      }
    }
    const problem = problems.join('; ');
    if (problem !== '' && problem !== this.#problem)
      logger.warn('Not everybody at home is told that this is a machine of a cluster', { problem });
    this.#problem = problem;
  }

  async #open(key: string, { name, address, prefixLength }: LinkAddress): Promise<void> {
    const { clock, logger, openLink = Link.open } = this.#deps;
    const link = await openLink({
      address,
      prefixLength,
      onMessage: (message, from) => this.#answer(key, message, from),
      onError: (error) => logger.debug('mDNS', { interface: name, error: error.message }),
    });
    this.#links.set(key, link);
    link.send(response(this.#records));
    clock.timer(againMs, () => {
      if (this.#links.get(key) === link) link.send(response(this.#records));
    });
  }

  #answer(key: string, { type, id, questions, answers: known }: Message, from: Sender): void {
    const link = this.#links.get(key);
    if (type !== 'query' || link === undefined) return;
    const isAsked = (record: ResourceRecord): boolean =>
      questions.some((question) => asksFor(question, record)) && !isKnown(record, known);
    const answers = this.#records.filter(isAsked);
    if (answers.length === 0) return;
    const additionals = this.#records.filter((record) => !answers.includes(record));
    if (from.port !== mdnsPort) {
      const plain = answers.map((record) => ({ ...record, flush: false, ttl: 10 }));
      link.send({ ...response(plain), id, questions }, from);
    } else if (questions.every(isUnicastQuestion)) {
      link.send(response(answers, additionals), from);
    } else if (this.#isDue(key)) link.send(response(answers, additionals));
  }

  #isDue(key: string): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - (this.#saidAtMs.get(key) ?? -Infinity) < repeatMs) return false;
    this.#saidAtMs.set(key, nowMs);
    return true;
  }
}

function recordsOf({ announcement, hostName, port }: AnnouncerDeps): readonly ResourceRecord[] {
  const name = instanceName(announcement);
  const target = `${hostName.split('.')[0]}.local`;
  return [
    { ...shared, name: announcedType, type: 'PTR', data: name },
    { ...own, name, type: 'SRV', ttl: hostSeconds, data: { priority: 0, weight: 0, port, target } },
    { ...own, name, type: 'TXT', ttl: serviceSeconds, data: announcedTexts(announcement) },
  ];
}

const shared = { class: 'IN', ttl: serviceSeconds, flush: false };
const own = { class: 'IN', flush: true };

function asksFor({ name, type }: Question, record: ResourceRecord): boolean {
  return isSameName(name, record.name) && (type === record.type || type === 'ANY');
}

function isKnown(record: ResourceRecord, known: readonly ResourceRecord[]): boolean {
  return known.some(
    ({ name, type, ttl, data }) =>
      type === 'PTR' &&
      type === record.type &&
      isSameName(name, record.name) &&
      data === record.data &&
      ttl >= record.ttl / 2,
  );
}
