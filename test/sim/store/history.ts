// What clients of a simulated store saw, and whether one order of all writes explains it.
// Every answer names a revision, and revisions are the order the store claims: so the check needs no
// search. It demands linearizability with exactly that order, and that each write happened at most
// once. An operation whose outcome is unknown stays open for ever.
// Source: Porcupine and etcd's robustness tests (what to demand); here the witness is given.
import { unreachable } from '#kube/base/assert.ts';

export type Operation =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: string;
      readonly expected: number;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly expected: number }
  /** All at one revision, or nothing. */
  | { readonly kind: 'txn'; readonly writes: readonly Write[] }
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'list'; readonly prefix: string };

/** `value` undefined: a delete. */
export interface Write {
  readonly key: string;
  readonly value: string | undefined;
  readonly expected: number;
}

/** A key's row as an answer or an event gives it. */
export interface SeenRow {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

export interface ListedRow extends SeenRow {
  readonly key: string;
}

export type Outcome =
  | { readonly kind: 'written'; readonly revision: number }
  /** A transaction is not told a row. */
  | { readonly kind: 'conflict'; readonly revision: number; readonly row: SeenRow | undefined }
  | { readonly kind: 'read'; readonly revision: number; readonly row: SeenRow | undefined }
  | { readonly kind: 'listed'; readonly revision: number; readonly rows: readonly ListedRow[] }
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

/** One key's part of a revision of the truth. `value` undefined: a delete. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  readonly value: string | undefined;
  /** A lease that was over took the key along: no client asked for it. */
  readonly isExpiry?: boolean;
}

/** Violations as sentences; none: the history is linearizable. Values must be unique by write. */
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
export class Truth {
  readonly problems: string[] = [];
  /** By revision; those of one revision together. */
  readonly revisions: Change[][] = [];
  readonly #rows = new Map<
    string,
    { readonly revision: number; readonly row: SeenRow | undefined }[]
  >();

  constructor(changes: readonly Change[] = []) {
    for (const change of changes) this.add(change);
  }

  add(change: Change): void {
    const { revision, key, value } = change;
    const newest = this.revisions.length;
    if (revision === newest) this.revisions.at(-1)?.push(change);
    else this.revisions.push([change]);
    if (revision !== newest && revision !== newest + 1)
      this.problems.push(`revision ${newest} is followed by ${revision}`);
    const before = this.at(key, revision - 1);
    const createRevision = before?.createRevision ?? revision;
    const row = value === undefined ? undefined : { value, createRevision, modRevision: revision };
    const list = this.#rows.get(key) ?? [];
    list.push({ revision, row });
    this.#rows.set(key, list);
  }

  at(key: string, revision: number): SeenRow | undefined {
    return this.#rows.get(key)?.findLast((version) => version.revision <= revision)?.row;
  }

  /** In key order. */
  under(prefix: string, revision: number): ListedRow[] {
    return Array.from(this.#rows.keys())
      .filter((key) => key.startsWith(prefix))
      .sort()
      .flatMap((key) => {
        const row = this.at(key, revision);
        return row === undefined ? [] : [{ key, ...row }];
      });
  }
}

/** What a call may write; nothing for a read. */
function writesOf(operation: Operation): readonly Write[] {
  switch (operation.kind) {
    case 'put':
      return [operation];
    case 'delete':
      return [{ ...operation, value: undefined }];
    case 'txn':
      return operation.writes;
    case 'get':
    case 'list':
      return [];
    default:
      return unreachable(operation);
  }
}

/** Each revision is one call's, and each call that was told it wrote did so, as it expected. */
function checkWrites(calls: readonly Call[], truth: Truth): string[] {
  const problems: string[] = [];
  const byRevision = new Map<number, Call>();
  const byValue = new Map<string, Call>();
  for (const call of calls) {
    for (const { value } of writesOf(call.operation))
      if (value !== undefined) byValue.set(value, call);
    if (call.outcome.kind === 'written') byRevision.set(call.outcome.revision, call);
  }
  const seen = new Set<Call>();
  for (const changes of truth.revisions) {
    const [first] = changes;
    if (first === undefined || first.isExpiry === true) continue;
    const call = byRevision.get(first.revision) ?? authorOf(changes, calls, byValue, seen, truth);
    if (call === undefined) {
      problems.push(`${text(first)}: nobody asked for it`);
      continue;
    }
    if (seen.has(call)) problems.push(`${text(first)}: the call happened twice`);
    seen.add(call);
    problems.push(...checkWrite(changes, call, truth));
  }
  for (const call of byRevision.values())
    if (!seen.has(call)) problems.push(`${describe(call)}: acknowledged, and lost`);
  return problems;
}

/** Who made a change that nobody was told of. */
function authorOf(
  changes: readonly Change[],
  calls: readonly Call[],
  byValue: ReadonlyMap<string, Call>,
  seen: ReadonlySet<Call>,
  truth: Truth,
): Call | undefined {
  const value = changes.find((change) => change.value !== undefined)?.value;
  if (value !== undefined) return byValue.get(value);
  return calls.find(
    (call) =>
      call.outcome.kind === 'unknown' &&
      !seen.has(call) &&
      writesOf(call.operation).length === changes.length &&
      checkWrite(changes, call, truth).length === 0,
  );
}

function checkWrite(changes: readonly Change[], call: Call, truth: Truth): string[] {
  const { operation, outcome } = call;
  const [first] = changes;
  const at = `${first === undefined ? '' : text(first)} by ${describe(call)}`;
  const writes = writesOf(operation);
  if (writes.length === 0) return [`${at}: a read wrote`];
  if (outcome.kind !== 'written' && outcome.kind !== 'unknown')
    return [`${at}: it was told that it did not happen`];
  if (writes.length !== changes.length) return [`${at}: part of it happened`];
  return writes.flatMap(({ key, value, expected }) => {
    const change = changes.find((one) => one.key === key);
    if (change === undefined || change.value !== value) return [`${at}: another write`];
    const before = truth.at(key, change.revision - 1)?.modRevision ?? 0;
    return before === expected ? [] : [`${at}: it expected ${expected}, not ${before}`];
  });
}

/** Reads and conflicts tell the state as it was at the revision they name. */
function checkAnswers(calls: readonly Call[], truth: Truth): string[] {
  return calls.flatMap((call) => {
    const { operation, outcome } = call;
    if (outcome.kind === 'listed' && operation.kind === 'list') {
      const rows = truth.under(operation.prefix, outcome.revision);
      return isSame(rows, outcome.rows) ? [] : [`${describe(call)}: it was ${show(rows)}`];
    }
    if (outcome.kind === 'conflict') return checkConflict(call, outcome, truth);
    if (outcome.kind !== 'read' || operation.kind !== 'get') return [];
    const row = truth.at(operation.key, outcome.revision);
    return isSame(row, outcome.row) ? [] : [`${describe(call)}: the row was ${show(row)}`];
  });
}

function checkConflict(
  call: Call,
  { revision, row: told }: Extract<Outcome, { kind: 'conflict' }>,
  truth: Truth,
): string[] {
  const { operation } = call;
  const isMet = writesOf(operation).every(
    ({ key, expected }) => expected === (truth.at(key, revision)?.modRevision ?? 0),
  );
  if (operation.kind === 'txn') return isMet ? [`${describe(call)}: the expectation held`] : [];
  if (operation.kind !== 'put' && operation.kind !== 'delete')
    return [`${describe(call)}: a read has no conflict`];
  const row = truth.at(operation.key, revision);
  if (!isSame(row, told)) return [`${describe(call)}: the row was ${show(row)}`];
  const isNothing = operation.kind === 'delete' && row === undefined;
  return isMet && !isNothing ? [`${describe(call)}: the expectation held`] : [];
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

function isSame(a: unknown, b: unknown): boolean {
  return show(a) === show(b);
}

function show(value: unknown): string {
  return JSON.stringify(value);
}

function text(change: Change): string {
  return `revision ${change.revision} (${change.key} = ${change.value ?? 'deleted'})`;
}

function describe(call: Call): string {
  return `[${call.invokedAt}–${call.completedAt}] ${JSON.stringify(call.operation)} → ${JSON.stringify(call.outcome)}`;
}
