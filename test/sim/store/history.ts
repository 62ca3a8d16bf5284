// What clients of a simulated store saw, and whether one order of all writes explains it.
// Every answer names a revision, and revisions are the order the store claims: so the check needs no
// search. It demands linearizability with exactly that order, and that each write happened at most
// once. An operation whose outcome is unknown stays open for ever.
// Source: Porcupine and etcd's robustness tests (what to demand); here the witness is given.

export type Operation =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: string;
      readonly expected: number;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly expected: number }
  | { readonly kind: 'get'; readonly key: string };

/** A key's row as an answer or an event gives it. */
export interface SeenRow {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

export type Outcome =
  | { readonly kind: 'written'; readonly revision: number }
  | { readonly kind: 'conflict'; readonly revision: number; readonly row: SeenRow | undefined }
  | { readonly kind: 'read'; readonly revision: number; readonly row: SeenRow | undefined }
  /** Certainly did not happen. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown' };

export interface Call {
  readonly operation: Operation;
  /** Moments of one counter: no two are equal. */
  readonly invokedAt: number;
  readonly completedAt: number;
  readonly outcome: Outcome;
}

/** One revision of the truth. `value` undefined: a delete. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  readonly value: string | undefined;
}

/** Violations as sentences; none: the history is linearizable. Values must be unique by put. */
export function checkHistory(calls: readonly Call[], changes: readonly Change[]): string[] {
  const truth = new Truth(changes);
  return [
    ...truth.problems,
    ...checkWrites(calls, truth),
    ...checkAnswers(calls, truth),
    ...checkOrder(calls),
  ];
}

/** The state at every revision. */
class Truth {
  readonly problems: string[] = [];
  readonly changes: readonly Change[];
  readonly #rows = new Map<
    string,
    { readonly revision: number; readonly row: SeenRow | undefined }[]
  >();

  constructor(changes: readonly Change[]) {
    this.changes = changes;
    for (const [i, { revision, key, value }] of changes.entries()) {
      if (revision !== i + 1) this.problems.push(`revision ${i + 1} is followed by ${revision}`);
      const before = this.at(key, revision - 1);
      const createRevision = before?.createRevision ?? revision;
      const row =
        value === undefined ? undefined : { value, createRevision, modRevision: revision };
      const list = this.#rows.get(key) ?? [];
      list.push({ revision, row });
      this.#rows.set(key, list);
    }
  }

  at(key: string, revision: number): SeenRow | undefined {
    return this.#rows.get(key)?.findLast((version) => version.revision <= revision)?.row;
  }
}

/** Each change is one call's, and each call that was told it wrote did so, as it expected. */
function checkWrites(calls: readonly Call[], truth: Truth): string[] {
  const problems: string[] = [];
  const byRevision = new Map<number, Call>();
  const byValue = new Map<string, Call>();
  for (const call of calls) {
    if (call.operation.kind === 'put') byValue.set(call.operation.value, call);
    if (call.outcome.kind === 'written') byRevision.set(call.outcome.revision, call);
  }
  const seen = new Set<Call>();
  for (const change of truth.changes) {
    const call = byRevision.get(change.revision) ?? authorOf(change, calls, byValue, seen, truth);
    if (call === undefined) {
      problems.push(`${text(change)}: nobody asked for it`);
      continue;
    }
    if (seen.has(call)) problems.push(`${text(change)}: the call happened twice`);
    seen.add(call);
    problems.push(...checkWrite(change, call, truth));
  }
  for (const call of byRevision.values())
    if (!seen.has(call)) problems.push(`${describe(call)}: acknowledged, and lost`);
  return problems;
}

/** Who made a change that nobody was told of. */
function authorOf(
  change: Change,
  calls: readonly Call[],
  byValue: ReadonlyMap<string, Call>,
  seen: ReadonlySet<Call>,
  truth: Truth,
): Call | undefined {
  if (change.value !== undefined) return byValue.get(change.value);
  const expected = truth.at(change.key, change.revision - 1)?.modRevision;
  return calls.find(
    (call) =>
      call.operation.kind === 'delete' &&
      call.operation.key === change.key &&
      call.operation.expected === expected &&
      call.outcome.kind === 'unknown' &&
      !seen.has(call),
  );
}

function checkWrite(change: Change, call: Call, truth: Truth): string[] {
  const { operation, outcome } = call;
  const at = `${text(change)} by ${describe(call)}`;
  if (operation.kind === 'get') return [`${at}: a read wrote`];
  const value = operation.kind === 'put' ? operation.value : undefined;
  if (operation.key !== change.key || value !== change.value) return [`${at}: another write`];
  if (outcome.kind !== 'written' && outcome.kind !== 'unknown')
    return [`${at}: it was told that it did not happen`];
  const before = truth.at(change.key, change.revision - 1)?.modRevision ?? 0;
  return before === operation.expected
    ? []
    : [`${at}: it expected ${operation.expected}, not ${before}`];
}

/** Reads and conflicts tell the state as it was at the revision they name. */
function checkAnswers(calls: readonly Call[], truth: Truth): string[] {
  return calls.flatMap((call) => {
    const { operation, outcome } = call;
    if (outcome.kind !== 'read' && outcome.kind !== 'conflict') return [];
    const row = truth.at(operation.key, outcome.revision);
    if (JSON.stringify(row) !== JSON.stringify(outcome.row))
      return [`${describe(call)}: the row was ${JSON.stringify(row)}`];
    const isMet = operation.kind !== 'get' && operation.expected === (row?.modRevision ?? 0);
    const isNothing = operation.kind === 'delete' && row === undefined;
    return isMet && !isNothing ? [`${describe(call)}: the expectation held`] : [];
  });
}

/** What was answered before a call began is not after it: writes strictly, reads at least. */
function checkOrder(calls: readonly Call[]): string[] {
  const problems: string[] = [];
  const answered = calls.filter((call) => revisionOf(call) !== undefined);
  const byEnd = answered.toSorted((a, b) => a.completedAt - b.completedAt);
  let newest: Call | undefined;
  let done = 0;
  for (const call of answered.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
    for (; (byEnd[done]?.completedAt ?? Infinity) < call.invokedAt; done++) {
      const ended = byEnd[done];
      if (
        ended !== undefined &&
        (revisionOf(ended) ?? 0) > (newest === undefined ? -1 : (revisionOf(newest) ?? 0))
      )
        newest = ended;
    }
    if (newest === undefined) continue;
    const before = revisionOf(newest) ?? 0;
    const now = revisionOf(call) ?? 0;
    const isWrite = call.outcome.kind === 'written';
    if (isWrite ? now <= before : now < before)
      problems.push(`${describe(call)}: ${describe(newest)} had been answered before it began`);
  }
  return problems;
}

function revisionOf({ outcome }: Call): number | undefined {
  return 'revision' in outcome ? outcome.revision : undefined;
}

function text(change: Change): string {
  return `revision ${change.revision} (${change.key} = ${change.value ?? 'deleted'})`;
}

function describe(call: Call): string {
  return `[${call.invokedAt}–${call.completedAt}] ${JSON.stringify(call.operation)} → ${JSON.stringify(call.outcome)}`;
}
