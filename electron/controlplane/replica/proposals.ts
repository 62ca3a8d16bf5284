// Who waits for what was proposed here. A command travels in an envelope that names its origin and
// number, so that the member which applies it knows whom to answer. A proposal is sent once: when
// it gets lost on the way to the leader its outcome is unknown, and only its client may try again.
// All that is proposed in one turn is one input of the protocol. Bounded in number and bytes.
import type { Random } from '#kube/base/random.ts';
import { assert } from '#kube/base/assert.ts';
import type { DropReason, MemberId, Proposal } from '../raft/types.ts';
import { CannotGoOnError, ProposalUnknownError, ReplicaUnavailableError } from './types.ts';

/** Format, then origin and number, 6 bytes each, big-endian. */
const envelopeBytes = 13;
const envelopeFormat = 1;
const numberMax = 2 ** 48 - 1;
const waitingMax = 20_000;
const waitingBytesMax = 128 * 1024 * 1024;

interface Waiting<Result> {
  readonly sizeBytes: number;
  readonly deadlineMs: number;
  /** When it was handed to the protocol; Infinity: it was not. */
  term: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

export interface ProposalsDeps {
  readonly origin: MemberId;
  readonly random: Random;
}

export class Proposals<Result> {
  readonly #origin: MemberId;
  /** In the order they were proposed: so also by term and deadline. */
  readonly #waiting = new Map<number, Waiting<Result>>();
  #queue: Proposal[] = [];
  #bytes = 0;
  /** Begins at random: numbers of a run before this one are not met again. */
  #number: number;

  constructor({ origin, random }: ProposalsDeps) {
    assert(origin <= numberMax, `member id ${origin} has more than 48 bits`);
    this.#origin = origin;
    this.#number = numberIn(random.bytes(6), 0);
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** What `data` would be refused for. */
  refusal(data: Uint8Array): string | undefined {
    if (this.#waiting.size < waitingMax && this.#bytes + data.length <= waitingBytesMax)
      return undefined;
    return `${this.#waiting.size} proposals are waiting already; try again later`;
  }

  /** Copies `data` into its envelope. Rejects with ReplicaUnavailableError or ProposalUnknownError. */
  add(data: Uint8Array, deadlineMs: number): Promise<Result> {
    this.#number = this.#number >= numberMax ? 0 : this.#number + 1;
    const id = this.#number;
    const sizeBytes = data.length;
    this.#bytes += sizeBytes;
    this.#queue.push({ id, kind: 'command', data: inEnvelope(this.#origin, id, data) });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { sizeBytes, deadlineMs, term: Infinity, resolve, reject });
    });
  }

  /** All that was added since the last time, to be proposed in `term`. */
  take(term: number): readonly Proposal[] {
    const proposals = this.#queue;
    if (proposals.length === 0) return proposals;
    this.#queue = [];
    for (const { id } of proposals) {
      const waiting = this.#waiting.get(id);
      if (waiting !== undefined) waiting.term = term;
    }
    return proposals;
  }

  /** A command of the log was applied here, whoever proposed it. */
  applied(payload: Uint8Array, result: Result): void {
    if (numberIn(payload, 1) === this.#origin) this.#remove(numberIn(payload, 7))?.resolve(result);
  }

  dropped(id: number, reason: DropReason): void {
    this.#remove(id)?.reject(new ReplicaUnavailableError(dropSentence[reason]));
  }

  /**
   * The state has applied an entry of `term`: what an earlier leader was to append comes before
   * it in the log, or is still on its way to nobody knows whom.
   */
  termApplied(term: number): void {
    this.#rejectWhile(
      (waiting) => waiting.term < term,
      'The leader changed meanwhile: the write may or may not have happened',
    );
  }

  /** The whole state was replaced: which of ours it holds cannot be told. */
  stateReplaced(): void {
    this.#rejectWhile(
      ({ term }) => term !== Infinity,
      'This member fell behind: the write may or may not have happened',
    );
  }

  /** Gives up those that waited too long. What was not handed to the protocol never happens. */
  expire(nowMs: number): void {
    this.#rejectWhile(
      ({ deadlineMs, term }) => deadlineMs <= nowMs && term !== Infinity,
      'No answer came in time: the write may or may not have happened',
    );
    const isKept = this.#queue.findIndex(
      ({ id }) => (this.#waiting.get(id)?.deadlineMs ?? 0) > nowMs,
    );
    const late = this.#queue.splice(0, isKept === -1 ? this.#queue.length : isKept);
    const why = new ReplicaUnavailableError('The disk did not come to it in time; try again');
    for (const { id } of late) this.#remove(id)?.reject(why);
  }

  /** What was not handed to the protocol never happens; of the rest nobody knows. */
  end(why: ReplicaUnavailableError): void {
    this.#rejectWhile(
      ({ term }) => term !== Infinity,
      `${why.message}: the write may or may not have happened`,
    );
    for (const id of this.#waiting.keys()) this.#remove(id)?.reject(why);
    this.#queue = [];
  }

  /** From the oldest on. */
  #rejectWhile(isMeant: (waiting: Waiting<Result>) => boolean, sentence: string): void {
    for (const [id, waiting] of this.#waiting) {
      if (!isMeant(waiting)) return;
      this.#remove(id)?.reject(new ProposalUnknownError(sentence));
    }
  }

  #remove(id: number): Waiting<Result> | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    this.#bytes -= waiting.sizeBytes;
    return waiting;
  }
}

export const dropSentence: Readonly<Record<DropReason, string>> = {
  'no-leader': 'No leader is known: a majority of the voters is out of reach',
  transferring: 'Leadership is being handed over; try again',
  'too-much-uncommitted': 'Too much waits to be committed already; try again later',
  'change-in-progress': 'Another change of the membership is not committed yet; try again',
  'invalid-change': 'The membership may change by one voter at a time, and needs one at least',
  'not-leader': 'Only the leader may change the membership',
};

function inEnvelope(origin: MemberId, id: number, data: Uint8Array): Uint8Array {
  // Not of Buffer's pool: the log holds it for long, and with it all else that is in there.
  const bytes = Buffer.allocUnsafeSlow(envelopeBytes + data.length);
  bytes[0] = envelopeFormat;
  bytes.writeUIntBE(origin, 1, 6);
  bytes.writeUIntBE(id, 7, 6);
  bytes.set(data, envelopeBytes);
  return bytes;
}

/** What was proposed. Throws CannotGoOnError when a newer release wrapped it. */
export function withoutEnvelope(payload: Uint8Array): Uint8Array {
  if (payload[0] !== envelopeFormat || payload.length < envelopeBytes)
    throw new CannotGoOnError(
      `The log holds a command of format ${payload[0]}, which this release does not know: update ` +
        'Flotilla on this machine. Nothing is lost, and it goes on from there.',
    );
  return payload.subarray(envelopeBytes);
}

/** Six bytes, big-endian. */
function numberIn(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 6; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}
