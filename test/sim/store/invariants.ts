// What must hold at every moment of a simulated group, whatever happens to it. Each hook is told what
// one member just did; a violation is thrown at once, so that the trace ends where it began to go
// wrong. Source: Raft paper figure 3 (the five properties); thesis §3.8 (persist before speaking).
import type {
  Entry,
  MemberId,
  Message,
  RaftStatus,
} from '../../../electron/controlplane/raft/types.ts';
import type {
  AppliedCommand,
  AppliedMark,
  LogBatch,
} from '../../../electron/controlplane/replica/types.ts';

export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
}

/** What a member's disk surely holds. */
interface Durable {
  term: number;
  vote: MemberId;
  /** Term of each entry, by index. */
  readonly terms: Map<number, number>;
  /** Everything up to here is in a snapshot. */
  snapshotIndex: number;
  lastIndex: number;
}

/** One entry as the first member that applied it had it. */
interface Decided {
  readonly term: number;
  readonly checksum: number;
}

export class Invariants {
  readonly #leaders = new Map<number, MemberId>();
  readonly #durable = new Map<MemberId, Durable>();
  readonly #decided = new Map<number, Decided>();
  readonly #hashes = new Map<number, number>();
  readonly #applied = new Map<MemberId, number>();
  readonly #votes = new Map<string, MemberId>();
  #lastDecided = 0;

  /** A member starts, from what its disk holds. */
  onStart(id: MemberId, appliedIndex: number): void {
    this.#applied.set(id, appliedIndex);
  }

  /** A member's disk was replaced by an empty one: nothing it once promised is on it. */
  forget(id: MemberId): void {
    this.#durable.delete(id);
    this.#applied.delete(id);
  }

  onPersisted(id: MemberId, batch: LogBatch): void {
    const durable = this.#of(id);
    if (batch.snapshot !== undefined) {
      durable.terms.clear();
      durable.snapshotIndex = batch.snapshot.index;
      durable.lastIndex = batch.snapshot.index;
    }
    if (batch.hardState !== undefined) {
      const { term, vote } = batch.hardState;
      if (term < durable.term)
        this.#fail(`member ${id} went back from term ${durable.term} to ${term}`);
      durable.term = term;
      durable.vote = vote;
    }
    for (const entry of batch.entries) this.#persistEntry(durable, entry);
  }

  #persistEntry(durable: Durable, { index, term }: Entry): void {
    for (let gone = index + 1; gone <= durable.lastIndex; gone++) durable.terms.delete(gone);
    durable.terms.set(index, term);
    durable.lastIndex = index;
  }

  onSend(message: Message): void {
    const { from, to, term } = message;
    if (message.type === 'append-response' && !message.isRejected)
      this.#checkAck(from, message.index);
    if (message.type !== 'vote-response' || !message.isGranted || message.isPreVote) return;
    const durable = this.#of(from);
    if (durable.term !== term || durable.vote !== to)
      this.#fail(`member ${from} gave ${to} its vote in term ${term} before it was on disk`);
    const key = `${from}@${term}`;
    const other = this.#votes.get(key) ?? to;
    if (other !== to) this.#fail(`member ${from} voted for ${other} and ${to} in term ${term}`);
    this.#votes.set(key, to);
  }

  #checkAck(id: MemberId, index: number): void {
    const durable = this.#of(id);
    if (index > durable.snapshotIndex && index > durable.lastIndex)
      this.#fail(`member ${id} acknowledged index ${index}; its disk ends at ${durable.lastIndex}`);
  }

  onStatus(status: RaftStatus): void {
    if (status.role !== 'leader') return;
    const other = this.#leaders.get(status.term);
    if (other === status.id) return;
    if (other !== undefined)
      this.#fail(`term ${status.term} has two leaders, ${other} and ${status.id}`);
    this.#leaders.set(status.term, status.id);
    // Leader completeness: what was decided is in every later leader's log or snapshot.
    if (status.lastIndex < this.#lastDecided)
      this.#fail(
        `leader ${status.id} of term ${status.term} ends at ${status.lastIndex}, but ${this.#lastDecided} is committed`,
      );
  }

  /** `hash`: of the state after all of them. */
  onApplied(
    id: MemberId,
    commands: readonly AppliedCommand[],
    mark: AppliedMark,
    hash: number,
  ): void {
    const before = this.#applied.get(id) ?? 0;
    if (mark.index <= before) this.#fail(`member ${id} applied ${mark.index} after ${before}`);
    for (const command of commands) this.#decide(id, command);
    this.#agreeOnHash(id, mark.index, hash);
    this.#applied.set(id, mark.index);
    this.#lastDecided = Math.max(this.#lastDecided, mark.index);
  }

  onInstalled(id: MemberId, mark: AppliedMark, hash: number): void {
    this.#agreeOnHash(id, mark.index, hash);
    this.#applied.set(id, mark.index);
  }

  #decide(id: MemberId, { index, term, data }: AppliedCommand): void {
    const checksum = checksumOf(data);
    const decided = this.#decided.get(index);
    if (decided === undefined) this.#decided.set(index, { term, checksum });
    else if (decided.term !== term || decided.checksum !== checksum)
      this.#fail(
        `member ${id} applied another entry at ${index} (term ${term}, not ${decided.term})`,
      );
  }

  #agreeOnHash(id: MemberId, index: number, hash: number): void {
    const known = this.#hashes.get(index);
    if (known === undefined) this.#hashes.set(index, hash);
    else if (known !== hash) this.#fail(`member ${id} has another state at index ${index}`);
  }

  #of(id: MemberId): Durable {
    let durable = this.#durable.get(id);
    if (durable === undefined) {
      durable = { term: 0, vote: 0, terms: new Map(), snapshotIndex: 0, lastIndex: 0 };
      this.#durable.set(id, durable);
    }
    return durable;
  }

  #fail(sentence: string): never {
    throw new InvariantViolation(sentence);
  }
}

/** FNV-1a. */
function checksumOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
