// Decides a group of writes purely: which expectations hold (each write sees those before it in
// the group), which rows come of it, and what every writer is told once the rows are durable.
// Touches nothing; mvcc-store.ts writes the rows and gives the answers.
import type { Row } from './mvcc-store.ts';
import type { RevisionIndex, Version } from './sqlite-index.ts';
import type { KeyValue, WriteResult } from './store.ts';

export interface Write {
  readonly key: string;
  /** Undefined: delete. */
  readonly value: Uint8Array | undefined;
  readonly expectedRevision: number;
}

/** A row as a watcher will see it; `previous` is read only when somebody watches. */
export interface StagedChange {
  readonly type: 'put' | 'delete';
  readonly kv: KeyValue;
  previous(): KeyValue | undefined;
}

export interface StagedGroup {
  readonly rows: readonly Row[];
  /** One for each row. */
  readonly changes: readonly StagedChange[];
  /** One for each write. */
  readonly results: readonly WriteResult[];
}

/** A key as the writes so far leave it: its revision, and how to get its row. */
interface Present {
  readonly createRevision: number;
  readonly modRevision: number;
  load(): KeyValue;
}

export function stageGroup(
  writes: readonly Write[],
  index: RevisionIndex,
  load: (version: Version) => KeyValue,
): StagedGroup {
  const rows: Row[] = [];
  const changes: StagedChange[] = [];
  const results: WriteResult[] = [];
  const overlay = new Map<string, Present | undefined>();
  let revision = index.currentRevision;
  for (const write of writes) {
    const { key } = write;
    const present = overlay.has(key) ? overlay.get(key) : presentOf(index.find(key), load);
    const holds = (present?.modRevision ?? 0) === write.expectedRevision;
    // A delete of nothing changes nothing, so it is no revision.
    if (!holds || (write.value === undefined && present === undefined)) {
      results.push({ ok: false, revision, kv: present?.load() });
      continue;
    }
    revision++;
    const { row, change, result } = stage(write, present, revision);
    rows.push(row);
    changes.push(change);
    results.push(result);
    overlay.set(key, write.value === undefined ? undefined : presentRow(change.kv));
  }
  return { rows, changes, results };
}

function stage(
  write: Write,
  present: Present | undefined,
  revision: number,
): { row: Row; change: StagedChange; result: WriteResult } {
  const { key } = write;
  const createRevision = present?.createRevision ?? revision;
  const row: Row = { revision, key, createRevision, value: write.value };
  if (write.value === undefined) {
    const before = present?.load();
    const value = before?.value ?? new Uint8Array();
    const kv = { key, value, createRevision, modRevision: revision };
    const change: StagedChange = { type: 'delete', kv, previous: () => before };
    return { row, change, result: { ok: true, revision, kv: before } };
  }
  const kv = { key, value: write.value, createRevision, modRevision: revision };
  const change: StagedChange = { type: 'put', kv, previous: () => present?.load() };
  return { row, change, result: { ok: true, revision, kv } };
}

function presentOf(
  version: Version | undefined,
  load: (version: Version) => KeyValue,
): Present | undefined {
  if (version === undefined) return undefined;
  const { createRevision, revision } = version;
  return { createRevision, modRevision: revision, load: () => load(version) };
}

function presentRow(kv: KeyValue): Present {
  return { createRevision: kv.createRevision, modRevision: kv.modRevision, load: () => kv };
}
