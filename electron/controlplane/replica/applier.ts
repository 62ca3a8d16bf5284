// What is committed, on its way into the state: in order, each entry once, a bounded share of it in
// each turn so that messages and timers have theirs. Answers who waits for it.
import { assert } from '#kube/base/assert.ts';
import { decodeMembership } from '../raft/membership.ts';
import type { Entry } from '../raft/types.ts';
import type { PendingChange } from './pending.ts';
import { withoutEnvelope, type Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';
import type { AppliedCommand, AppliedMark, StateMachine } from './types.ts';

/** Applied in one turn. */
const entriesMax = 2_000;
const bytesMax = 4 * 1024 * 1024;

export interface ApplierDeps<Result> {
  readonly stateMachine: Pick<StateMachine<Result>, 'applied' | 'apply'>;
  readonly proposals: Proposals<Result>;
  readonly change: PendingChange;
  readonly reads: Reads;
}

export class Applier<Result> {
  readonly #deps: ApplierDeps<Result>;
  #waiting: Entry[] = [];
  #mark: AppliedMark;

  constructor(deps: ApplierDeps<Result>) {
    this.#deps = deps;
    this.#mark = deps.stateMachine.applied();
  }

  /** What the state holds. */
  get mark(): AppliedMark {
    return this.#mark;
  }

  /** Entries that are committed and not applied. */
  get count(): number {
    return this.#waiting.length;
  }

  add(committed: readonly Entry[]): void {
    for (const entry of committed) this.#waiting.push(entry);
  }

  /** A snapshot is about to take the state's place: what waits is in it. */
  drop(): void {
    this.#waiting = [];
  }

  replaced(mark: AppliedMark): void {
    this.#mark = mark;
    this.#deps.reads.applied(mark.index);
  }

  applyAll(): void {
    while (this.#waiting.length > 0) this.applySome();
  }

  applySome(): void {
    if (this.#waiting.length === 0) return;
    const { stateMachine, proposals, change, reads } = this.#deps;
    const before = this.#mark;
    const entries = this.#take();
    const { commands, mark } = split(entries, before);
    this.#mark = mark;
    const results = stateMachine.apply(commands, mark);
    assert(results.length === commands.length, 'every command has a result');
    let at = 0;
    for (const { kind, data } of entries)
      if (kind === 'command') proposals.applied(data, results[at++] as Result);
    change.applied(entries);
    if (mark.term > before.term) proposals.termApplied(mark.term);
    reads.applied(mark.index);
  }

  #take(): readonly Entry[] {
    const waiting = this.#waiting;
    let count = 0;
    for (let bytes = 0; count < waiting.length && count < entriesMax && bytes < bytesMax; count++)
      bytes += waiting[count]?.data.length ?? 0;
    this.#waiting = count === waiting.length ? [] : waiting.slice(count);
    return count === waiting.length ? waiting : waiting.slice(0, count);
  }
}

/** The commands without their envelopes, and where the state stands after them. */
function split(
  entries: readonly Entry[],
  before: AppliedMark,
): { readonly commands: readonly AppliedCommand[]; readonly mark: AppliedMark } {
  const commands: AppliedCommand[] = [];
  let { index: lastIndex, term: lastTerm, membership } = before;
  for (const { index, term, kind, data } of entries) {
    assert(index === lastIndex + 1, `entry ${index} cannot be applied after ${lastIndex}`);
    if (kind === 'command') commands.push({ index, term, data: withoutEnvelope(data) });
    else if (kind === 'membership') membership = decodeMembership(data);
    [lastIndex, lastTerm] = [index, term];
  }
  return { commands, mark: { index: lastIndex, term: lastTerm, membership } };
}
