// One name on one link, from the question whether it is free to the goodbye. Decides and times; what is
// sent goes through `send`. A name that another has gets a number: `films-2.local`.
// Source: RFC 6762 sections 8 (probing, announcing, ties), 9 (conflicts), 10.1 (goodbye).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import {
  addressRecord,
  isSameName,
  nothingElseRecord,
  query,
  response,
  type Message,
  type ResourceRecord,
} from './messages.ts';
import { numbered } from './teller.ts';

export interface ClaimDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** To all on the link. */
  readonly send: (message: Message) => void;
  /** The name is ours now, or not any more. */
  readonly onChange: () => void;
  /** Another has it: `renumber` is to be called. */
  readonly onTaken: () => void;
}

const probes = 3;
const probeMs = 250;
const announcements = 2;
const announceMs = 1000;
const tieMs = 1000;
/** After so many conflicts in a row there is something wrong: slowly then. */
const conflictsMax = 15;
const slowMs = 5000;

export class Claim {
  /** `films.local`, as it is wanted. */
  readonly wanted: string;
  /** Of this machine on this link. */
  readonly address: string;
  readonly #deps: ClaimDeps;
  #number: number;
  #conflicts = 0;
  #state: 'probing' | 'ours' | 'ended' = 'probing';
  #sent = 0;
  #timer: Timer | undefined;

  constructor(wanted: string, number: number, address: string, deps: ClaimDeps) {
    this.wanted = wanted;
    this.#number = number;
    this.address = address;
    this.#deps = deps;
    this.#probeAfter(deps.random.next() * probeMs);
  }

  /** As it is claimed: the wanted one, or with a number. */
  get name(): string {
    return numbered(this.wanted, this.#number);
  }

  /** Undefined while that is not known yet. */
  get held(): string | undefined {
    return this.#state === 'ours' ? this.name : undefined;
  }

  get records(): readonly ResourceRecord[] {
    return [addressRecord(this.name, this.address), nothingElseRecord(this.name)];
  }

  /** Another machine's message. Records with our own address are no conflict. */
  receive(message: Message, ownAddresses: ReadonlySet<string>): void {
    if (this.#state === 'ended') return;
    if (message.type === 'query') return this.#receiveProbe(message, ownAddresses);
    const theirs = [...message.answers, ...message.additionals].some(
      (record) => record.ttl > 0 && this.#isConflict(record, ownAddresses),
    );
    if (theirs) this.#lose();
  }

  #isConflict({ name, type, data }: ResourceRecord, own: ReadonlySet<string>): boolean {
    if (!isSameName(name, this.name)) return false;
    if (type === 'A') return !own.has(String(data));
    // A machine that has IPv6 alone under this name has the name.
    return type === 'AAAA';
  }

  /** Two that ask at the same time: the greater address has it, the other asks again. */
  #receiveProbe({ authorities }: Message, ownAddresses: ReadonlySet<string>): void {
    if (this.#state !== 'probing') return;
    const rival = authorities.find((record) => this.#isConflict(record, ownAddresses));
    if (rival === undefined) return;
    const isGreater = rival.type !== 'A' || compareAddresses(String(rival.data), this.address) > 0;
    if (isGreater) this.#probeAfter(tieMs);
  }

  #lose(): void {
    this.#conflicts++;
    const wasOurs = this.#state === 'ours';
    // What was ours is asked for once more before it is given up.
    if (!wasOurs) return this.#deps.onTaken();
    this.#state = 'probing';
    this.#probeAfter(this.#patienceMs);
    this.#deps.onChange();
  }

  get number(): number {
    return this.#number;
  }

  /** Another device has the name, on this link or another one of ours. */
  renumber(number: number): void {
    const { held } = this;
    if (held !== undefined) this.#sayGoodbye(held);
    this.#number = number;
    this.#state = 'probing';
    this.#probeAfter(this.#patienceMs);
    if (held !== undefined) this.#deps.onChange();
  }

  get #patienceMs(): number {
    return this.#conflicts > conflictsMax ? slowMs : 0;
  }

  #probeAfter(ms: number): void {
    this.#sent = 0;
    this.#after(ms, () => this.#probe());
  }

  #probe(): void {
    if (this.#sent === probes) return this.#win();
    this.#sent++;
    const [claimed] = this.records;
    if (claimed !== undefined) this.#deps.send(query(this.name, { ...claimed, flush: false }));
    this.#after(probeMs, () => this.#probe());
  }

  #win(): void {
    this.#state = 'ours';
    this.#sent = 0;
    this.#announce();
    this.#deps.onChange();
  }

  #announce(): void {
    this.#deps.send(response(this.records));
    if (++this.#sent < announcements) this.#after(announceMs, () => this.#announce());
    else this.#conflicts = 0;
  }

  /** Says goodbye to what was ours. */
  end(): void {
    const { held } = this;
    this.#state = 'ended';
    this.#timer?.cancel();
    if (held !== undefined) this.#sayGoodbye(held);
  }

  #sayGoodbye(name: string): void {
    this.#deps.send(response([{ ...addressRecord(name, this.address), ttl: 0 }]));
  }

  #after(ms: number, work: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#deps.clock.timer(ms, work);
  }
}

/** As their bytes. */
function compareAddresses(a: string, b: string): number {
  const [one, other] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < 4; i++) {
    const difference = (one[i] ?? 0) - (other[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
