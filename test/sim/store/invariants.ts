// What must hold at every moment of a simulated group, whatever happens to it. Each hook is told what
// one member just did; a violation is reported at once, so that the trace ends where it began to go
// wrong. Everything is incremental: a hook costs what it is told of, not what happened before.
// Source: Raft paper figure 3 (the five properties); thesis §3.8 (persist before speaking).
import { crc32 } from 'node:zlib';
import { decodeMembership, votersOf } from '../../../electron/controlplane/raft/membership.ts';
import { entryBytes } from '../../../electron/controlplane/raft/log.ts';
import { majority } from '../../../electron/controlplane/raft/quorum.ts';
import type {
  AppendRequest,
  Entry,
  HardState,
  MemberId,
  Membership,
  Message,
} from '../../../electron/controlplane/raft/types.ts';
import type {
  AppliedMark,
  LogBatch,
  RecoveredLog,
} from '../../../electron/controlplane/replica/types.ts';

/** The name of what was broken, so that a mutation can say which check should find it. */
export type Rule =
  | 'one leader'
  | 'one vote'
  | 'promises are durable'
  | 'the disk keeps its word'
  | 'log matching'
  | 'leader completeness'
  | 'committed by a majority'
  | 'one change at a time'
  | 'applied in order'
  | 'equal state'
  | 'inflight window';

export type Report = (rule: Rule, sentence: string) => void;

/** What a member's disk surely holds. */
interface Durable {
  hardState: HardState;
  /** Everything up to here is in the state, and need not be in the log. */
  start: number;
  /** Term of each entry behind it. */
  terms: number[];
  /** A write under way: after a crash it may be there, too. */
  writing: LogBatch | undefined;
}

interface Change extends Position {
  readonly voters: readonly MemberId[];
}

interface KnownLog {
  /** Of all its entries. */
  readonly checksum: number;
  /** The newest change of the membership in it. */
  readonly change: Change | undefined;
}

export interface WindowLimits {
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
}

/** What a leader has under way to a peer. */
interface Window {
  /** Everything up to here was acknowledged: what is sent of it again is not under way. */
  acknowledged: number;
  appends: { readonly last: number; readonly sizeBytes: number }[];
}

const noLimits: WindowLimits = { inflightMessagesMax: Infinity, inflightBytesMax: Infinity };
const emptyLog: KnownLog = { checksum: 0, change: undefined };

export class Invariants {
  readonly #report: Report;
  readonly #leaders = new Map<number, MemberId>();
  readonly #votes = new Map<string, MemberId>();
  readonly #durable = new Map<MemberId, Durable>();
  /** By index and term: what the log up to and including that entry is. */
  readonly #logs = new Map<string, KnownLog>();
  /** By index: term of the committed entry. */
  readonly #decided: number[] = [0];
  readonly #states = new Map<number, number>();
  readonly #applied = new Map<MemberId, number>();
  /** Voters of every membership that was ever in a log. */
  readonly #electorates = new Map<string, readonly MemberId[]>();
  readonly #windows = new Map<string, Window>();
  readonly #windowLimits: WindowLimits;
  readonly #lost = new Set<MemberId>();

  constructor(report: Report, windowLimits: WindowLimits = noLimits) {
    this.#report = report;
    this.#windowLimits = windowLimits;
    this.#logs.set('0.0', emptyLog);
  }

  // ---- disks ----

  /**
   * A member's disk is another one now. What it promised until then stays as it was; what it does from
   * now on must have no effect on the others.
   */
  onDiskLost(id: MemberId): void {
    this.#lost.add(id);
  }

  onWriting(id: MemberId, batch: LogBatch): void {
    if (this.#lost.has(id)) return;
    this.#of(id).writing = batch;
  }

  onPersisted(id: MemberId, batch: LogBatch): void {
    if (this.#lost.has(id)) return;
    const durable = this.#of(id);
    durable.writing = undefined;
    if (batch.snapshot !== undefined) {
      durable.start = batch.snapshot.index;
      durable.terms = [];
    }
    if (batch.hardState !== undefined) {
      if (batch.hardState.term < durable.hardState.term)
        this.#report('promises are durable', `member ${id} went back to an older term`);
      durable.hardState = batch.hardState;
    }
    for (const entry of batch.entries) this.#persist(id, durable, entry);
  }

  #persist(id: MemberId, durable: Durable, entry: Entry): void {
    const { index, term, kind, data } = entry;
    durable.terms.length = Math.max(0, index - durable.start - 1);
    const previousTerm = this.#termAt(durable, index - 1);
    durable.terms.push(term);
    const before = this.#logs.get(`${index - 1}.${previousTerm}`) ?? emptyLog;
    const checksum = crc32(data, crc32(`${index}.${term}.${kind}`, before.checksum));
    const known = this.#logs.get(`${index}.${term}`);
    if (known === undefined) {
      const change = kind === 'membership' ? this.#changed(entry, before) : before.change;
      this.#logs.set(`${index}.${term}`, { checksum, change });
    } else if (known.checksum !== checksum)
      this.#report('log matching', `member ${id} has another log up to ${index}, term ${term}`);
  }

  /** A membership is seen first when a leader has just appended it. */
  #changed({ index, term, data }: Entry, before: KnownLog): Change {
    const voters = votersOf(decodeMembership(data));
    this.#electorates.set(voters.join(), voters);
    const last = before.change;
    if (last === undefined) return { index, term, voters };
    const kept = voters.filter((id) => last.voters.includes(id)).length;
    if (voters.length + last.voters.length - 2 * kept > 1)
      this.#report(
        'one change at a time',
        `entry ${index} makes ${last.voters.join()} ${voters.join()}`,
      );
    if (!this.#isHeldByMajority(last.index, last.term))
      this.#report(
        'one change at a time',
        `entry ${index} comes before ${last.index} is committed`,
      );
    return { index, term, voters };
  }

  #termAt({ start, terms }: Durable, index: number): number {
    return index <= start ? (this.#decided[index] ?? 0) : (terms[index - start - 1] ?? 0);
  }

  /** What a member finds at its start: all it was told is durable, and at most one write more. */
  onFound(id: MemberId, recovered: RecoveredLog | undefined, applied: AppliedMark): void {
    if (this.#lost.has(id)) return;
    const durable = this.#of(id);
    this.#applied.set(id, applied.index);
    const { hardState } = durable;
    const found = recovered ?? { hardState: noHardState, start: nowhere, entries: [] };
    if (found.hardState.term < hardState.term)
      this.#report('the disk keeps its word', `member ${id} forgot term ${hardState.term}`);
    const isSameTerm = found.hardState.term === hardState.term;
    if (isSameTerm && hardState.vote !== 0 && found.hardState.vote !== hardState.vote)
      this.#report('the disk keeps its word', `member ${id} forgot its vote`);
    this.#checkEntries(id, durable, found);
    durable.hardState = found.hardState;
    durable.start = found.start.index;
    durable.terms = [];
    durable.writing = undefined;
    for (const entry of found.entries) this.#persist(id, durable, entry);
  }

  #checkEntries(id: MemberId, durable: Durable, found: RecoveredLog): void {
    const { writing } = durable;
    const overwritten =
      writing?.snapshot === undefined ? (writing?.entries[0]?.index ?? Infinity) : 0;
    for (const [i, term] of durable.terms.entries()) {
      const index = durable.start + 1 + i;
      if (index <= found.start.index || index >= overwritten) continue;
      if (found.entries[index - found.start.index - 1]?.term !== term)
        this.#report('the disk keeps its word', `member ${id} lost entry ${index}, term ${term}`);
    }
  }

  // ---- messages ----

  onSend(message: Message): void {
    if (this.#lost.has(message.from)) return;
    switch (message.type) {
      case 'append':
        this.#lead(message.from, message.term);
        if (message.entries.length > 0) this.#fillWindow(message);
        return;
      case 'heartbeat':
        return this.#lead(message.from, message.term);
      case 'append-response':
        if (!message.isRejected) this.#checkAcknowledgement(message.from, message.index);
        return;
      case 'vote-response':
        if (message.isGranted && !message.isPreVote)
          this.#checkVote(message.from, message.to, message.term);
        return;
      case 'vote':
        if (!message.isPreVote) this.#checkVote(message.from, message.from, message.term);
        return;
      default:
        return;
    }
  }

  #lead(id: MemberId, term: number): void {
    const other = this.#leaders.get(term) ?? id;
    this.#leaders.set(term, id);
    if (other !== id) this.#report('one leader', `members ${other} and ${id} lead term ${term}`);
  }

  #checkVote(from: MemberId, to: MemberId, term: number): void {
    const { hardState } = this.#of(from);
    // A promise that was made in time may be sent when the term is over already.
    if (hardState.term < term || (hardState.term === term && hardState.vote !== to))
      this.#report(
        'promises are durable',
        `member ${from} gave ${to} its vote in term ${term} before it was on disk`,
      );
    const key = `${from}@${term}`;
    const other = this.#votes.get(key) ?? to;
    this.#votes.set(key, to);
    if (other !== to)
      this.#report('one vote', `member ${from} voted for ${other} and ${to} in term ${term}`);
  }

  #checkAcknowledgement(id: MemberId, index: number): void {
    const { start, terms } = this.#of(id);
    if (index > start + terms.length && index > (this.#applied.get(id) ?? 0))
      this.#report(
        'promises are durable',
        `member ${id} acknowledged ${index}; its disk ends at ${start + terms.length}`,
      );
  }

  /** What a leader has under way to a peer, and has no answer to, is bounded. */
  #fillWindow({ from, to, term, previousIndex, entries }: AppendRequest): void {
    const key = `${from}>${to}@${term}`;
    const window = this.#windows.get(key) ?? { acknowledged: 0, appends: [] };
    this.#windows.set(key, window);
    const last = previousIndex + entries.length;
    if (last <= window.acknowledged) return;
    // Whoever goes back looks for what was lost: one at a time.
    if (window.appends.at(-1)?.last !== previousIndex) window.appends = [];
    const { inflightMessagesMax, inflightBytesMax } = this.#windowLimits;
    const bytes = window.appends.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let sizeBytes = 0;
    for (const entry of entries) sizeBytes += entryBytes(entry);
    window.appends.push({ last, sizeBytes });
    const count = window.appends.length;
    if (count > inflightMessagesMax || (count > 1 && bytes >= inflightBytesMax))
      this.#report(
        'inflight window',
        `${count} appends from ${from} to ${to} under way, ${bytes} bytes before the last`,
      );
  }

  onDeliver(message: Message): void {
    if (message.type !== 'append-response') return;
    const { from, to, term, index, isRejected } = message;
    const window = this.#windows.get(`${to}>${from}@${term}`);
    if (window === undefined) return;
    if (isRejected) window.appends = [];
    else {
      window.acknowledged = Math.max(window.acknowledged, index);
      while ((window.appends[0]?.last ?? Infinity) <= index) window.appends.shift();
    }
  }

  /** The leader begins anew with this peer. */
  onBroken(from: MemberId, to: MemberId): void {
    for (const [key, window] of this.#windows)
      if (key.startsWith(`${from}>${to}@`)) window.appends = [];
  }

  /** A member goes by this membership from now on: a leader before its disk has it. */
  onMembership(membership: Membership): void {
    const voters = votersOf(membership);
    this.#electorates.set(voters.join(), voters);
  }

  // ---- leaders ----

  /** A member has just become leader. */
  onElected(id: MemberId, term: number, lastIndex: number): void {
    this.#lead(id, term);
    const newest = this.#decided.length - 1;
    const { start, terms } = this.#of(id);
    if (lastIndex < newest)
      this.#report('leader completeness', `leader ${id} ends at ${lastIndex}, not ${newest}`);
    for (let index = start + 1; index <= Math.min(newest, start + terms.length); index++)
      if (terms[index - start - 1] !== this.#decided[index])
        return this.#report('leader completeness', `leader ${id} has another entry at ${index}`);
  }

  // ---- states ----

  /** `state`: checksum of the whole state after all of them. */
  onApplied(id: MemberId, entries: readonly Position[], mark: AppliedMark, state: number): void {
    if (this.#lost.has(id)) return;
    const before = this.#applied.get(id) ?? 0;
    if (mark.index <= before)
      this.#report('applied in order', `member ${id} applied ${mark.index} after ${before}`);
    this.#applied.set(id, mark.index);
    for (const { index, term } of entries) this.#decide(id, index, term);
    this.#decide(id, mark.index, mark.term);
    this.#agree(id, mark.index, state);
  }

  onInstalled(id: MemberId, mark: AppliedMark, state: number): void {
    if (this.#lost.has(id)) return;
    this.#applied.set(id, mark.index);
    this.#decide(id, mark.index, mark.term);
    this.#agree(id, mark.index, state);
  }

  #decide(id: MemberId, index: number, term: number): void {
    const decided = this.#decided[index];
    if (decided === undefined) {
      // Noops and memberships before it are not handed to the state.
      for (let at = this.#decided.length; at < index; at++)
        this.#decided[at] = this.#termAt(this.#of(id), at);
      this.#decided[index] = term;
      // The founders hold the first entry before there is a group.
      if (index > 1 && !this.#isHeldByMajority(index, term))
        this.#report(
          'committed by a majority',
          `entry ${index}, term ${term}, is applied too early`,
        );
    } else if (decided !== term)
      this.#report(
        'applied in order',
        `member ${id} applied an entry of term ${term} at ${index}, others of ${decided}`,
      );
  }

  /** Of one of the memberships there were: which was in force is for the protocol to know. */
  #isHeldByMajority(index: number, term: number): boolean {
    const holds = (id: MemberId): boolean => {
      const durable = this.#durable.get(id);
      return durable !== undefined && this.#termAt(durable, index) === term;
    };
    for (const voters of this.#electorates.values())
      if (voters.filter(holds).length >= majority(voters.length)) return true;
    return false;
  }

  #agree(id: MemberId, index: number, state: number): void {
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, state);
    else if (known !== state)
      this.#report('equal state', `member ${id} has another state at index ${index}`);
  }

  #of(id: MemberId): Durable {
    let durable = this.#durable.get(id);
    if (durable === undefined) {
      durable = { hardState: noHardState, start: 0, terms: [], writing: undefined };
      this.#durable.set(id, durable);
    }
    return durable;
  }
}

interface Position {
  readonly index: number;
  readonly term: number;
}

const nowhere = { index: 0, term: 0 };
const noHardState: HardState = { term: 0, vote: 0, commit: 0 };
