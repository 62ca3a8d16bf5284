// The watch guarantees, held against the truth: ordered, unique, reliable, atomic, resumable,
// bookmarkable, filtered, with the previous value and the right create flag.
// Source: etcd tests/robustness/validate/watch.go (their names and meaning).
import type { Change } from './history.ts';

export interface SeenEvent {
  readonly type: 'put' | 'delete';
  readonly key: string;
  /** Of a put. */
  readonly value: string | undefined;
  readonly revision: number;
  readonly createRevision: number;
  readonly previousValue: string | undefined;
}

export interface SeenBatch {
  readonly revision: number;
  readonly events: readonly SeenEvent[];
}

export interface SeenWatch {
  readonly prefix: string;
  readonly afterRevision: number;
  readonly batches: readonly SeenBatch[];
  /** It was read to the end of the history. */
  readonly isComplete: boolean;
}

/** Violations as sentences. */
export function checkWatch(watch: SeenWatch, changes: readonly Change[]): string[] {
  const expected = expectedEvents(watch, changes);
  const problems: string[] = [];
  let position = watch.afterRevision;
  let count = 0;
  for (const batch of watch.batches) {
    if (batch.revision < position) problems.push(`ordered: ${batch.revision} after ${position}`);
    for (const event of batch.events) {
      const want = expected[count++];
      if (JSON.stringify(event) !== JSON.stringify(want))
        return [
          ...problems,
          `event ${JSON.stringify(event)} where ${JSON.stringify(want)} was due`,
        ];
      if (event.revision > batch.revision)
        problems.push(
          `bookmarkable: revision ${event.revision} in a batch up to ${batch.revision}`,
        );
    }
    position = batch.revision;
    // A batch speaks for all revisions up to its own, and never for half of one.
    const next = expected[count];
    if (next !== undefined && next.revision <= position)
      return [
        ...problems,
        `reliable, atomic: ${JSON.stringify(next)} is missing in a batch up to ${position}`,
      ];
  }
  if (watch.isComplete && count < expected.length)
    problems.push(
      `reliable: ${expected.length - count} events never came, first ${JSON.stringify(expected[count])}`,
    );
  return problems.map(
    (problem) => `watch ${watch.prefix} after ${watch.afterRevision}: ${problem}`,
  );
}

function expectedEvents(watch: SeenWatch, changes: readonly Change[]): SeenEvent[] {
  const rows = new Map<string, { readonly value: string; readonly createRevision: number }>();
  const events: SeenEvent[] = [];
  for (const { revision, key, value } of changes) {
    const before = rows.get(key);
    const createRevision = before?.createRevision ?? revision;
    if (value === undefined) rows.delete(key);
    else rows.set(key, { value, createRevision });
    if (revision <= watch.afterRevision || !key.startsWith(watch.prefix)) continue;
    const type = value === undefined ? 'delete' : 'put';
    events.push({ type, key, value, revision, createRevision, previousValue: before?.value });
  }
  return events;
}
