// All our names on one link: claims them, and answers for those that are ours.
// Source: RFC 6762 sections 5.4 (to the asker alone), 6 (responding), 6.1 (negative answers), 6.7
// (askers that know no multicast), 7.1 (known answers).
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { Claim } from './claim.ts';
import {
  isSameName,
  isUnicastQuestion,
  mdnsPort,
  nothingElseRecord,
  response,
  type Message,
  type Question,
  type ResourceRecord,
  type Sender,
} from './messages.ts';

export interface ResponderDeps {
  /** Ours on this link. */
  readonly address: string;
  /** Ours on any link: what we said on another is no conflict. */
  readonly ownAddresses: () => ReadonlySet<string>;
  readonly clock: Clock;
  readonly random: Random;
  /** To all on the link when `to` is left out. */
  readonly send: (message: Message, to?: Sender) => void;
  readonly onChange: () => void;
  /** Another device has what `wanted` is called by this number: `want` is to be called with the next. */
  readonly onTaken: (wanted: string, number: number) => void;
}

/** The same is said to all at most so often. */
const repeatMs = 1000;
const legacyTtlSeconds = 10;

export class Responder {
  readonly #deps: ResponderDeps;
  /** By the name that is wanted. */
  readonly #claims = new Map<string, Claim>();
  readonly #saidAtMs = new Map<string, number>();

  constructor(deps: ResponderDeps) {
    this.#deps = deps;
  }

  /** Exactly these full names from now on. `numbers`: of those that have another than 1. */
  want(names: ReadonlySet<string>, numbers: ReadonlyMap<string, number> = new Map()): void {
    for (const [wanted, claim] of this.#claims)
      if (!names.has(wanted)) {
        this.#claims.delete(wanted);
        claim.end();
      }
    for (const name of names) {
      const number = numbers.get(name) ?? 1;
      const claim = this.#claims.get(name);
      if (claim === undefined) this.#claims.set(name, this.#claim(name, number));
      else if (claim.number !== number) claim.renumber(number);
    }
  }

  #claim(name: string, number: number): Claim {
    const { address, clock, random, send, onChange, onTaken } = this.#deps;
    const claim: Claim = new Claim(name, number, address, {
      clock,
      random,
      send,
      onChange,
      onTaken: () => onTaken(name, claim.number),
    });
    return claim;
  }

  /** What is ours now, by what was wanted. */
  get held(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const [wanted, { held }] of this.#claims) if (held !== undefined) found.set(wanted, held);
    return found;
  }

  receive(message: Message, from: Sender): void {
    const own = this.#deps.ownAddresses();
    for (const claim of this.#claims.values()) claim.receive(message, own);
    if (message.type === 'query') this.#answer(message, from);
  }

  #answer(asked: Message, from: Sender): void {
    const toAsker: ResourceRecord[] = [];
    const toAll: ResourceRecord[] = [];
    const isLegacy = from.port !== mdnsPort;
    for (const question of asked.questions)
      for (const record of this.#recordsFor(question)) {
        if (isKnown(record, asked.answers)) continue;
        (isLegacy || isUnicastQuestion(question) ? toAsker : toAll).push(record);
      }
    if (isLegacy && toAsker.length > 0) return this.#answerLegacy(asked, toAsker, from);
    if (toAsker.length > 0) this.#deps.send(response(toAsker), from);
    // Whoever asks whether a name is free is always told.
    const isProbe = asked.authorities.length > 0;
    const due = toAll.filter((record) => isProbe || this.#isDue(record));
    if (due.length > 0) this.#deps.send(response(due, additionalTo(due)));
  }

  #answerLegacy({ id, questions }: Message, records: ResourceRecord[], from: Sender): void {
    const answers = records.map((one) => ({ ...one, flush: false, ttl: legacyTtlSeconds }));
    this.#deps.send({ ...response(answers), id, questions }, from);
  }

  #recordsFor({ name, type, class: of }: Question): readonly ResourceRecord[] {
    if (of !== 'IN' && of !== 'ANY' && of !== 'UNKNOWN_32769') return [];
    const claim = [...this.#claims.values()].find(
      ({ held }) => held !== undefined && isSameName(held, name),
    );
    if (claim === undefined) return [];
    const [address, nothingElse] = claim.records;
    if (address === undefined || nothingElse === undefined) return [];
    return type === 'A' || type === 'ANY' ? [address] : [nothingElse];
  }

  #isDue({ name, type }: ResourceRecord): boolean {
    const key = `${type} ${name}`;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - (this.#saidAtMs.get(key) ?? -Infinity) < repeatMs) return false;
    this.#saidAtMs.set(key, nowMs);
    return true;
  }

  /** Says goodbye. */
  stop(): void {
    this.want(new Set());
  }
}

/** The asker knows it, and for long enough. */
function isKnown(record: ResourceRecord, known: readonly ResourceRecord[]): boolean {
  return known.some(
    ({ name, type, ttl, data }) =>
      isSameName(name, record.name) &&
      type === record.type &&
      ttl >= record.ttl / 2 &&
      (type !== 'A' || data === record.data),
  );
}

function additionalTo(records: readonly ResourceRecord[]): ResourceRecord[] {
  return records.flatMap(({ name, type }) => (type === 'A' ? [nothingElseRecord(name)] : []));
}
