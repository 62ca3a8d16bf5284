// Rows in memory, with what a disk does to them: what was not synced is lost in a crash (or part of
// it, in the order it was written), a full disk refuses. For tests and the simulation.
import { crc32 } from 'node:zlib';
import { assert } from '#kube/base/assert.ts';
import type { AppliedMark, ReceivedSnapshot, SnapshotSource } from '../replica/types.ts';
import type { VersionHead } from './revision-index.ts';
import {
  emptyMeta,
  type RowChange,
  type RowStorage,
  type StateMeta,
  type StoredRow,
  type StoredValue,
} from './rows.ts';
import { NoSpaceError } from './store.ts';

export interface MemoryRowsOptions {
  /** Calls back soon, never synchronously: how long a sync takes. */
  readonly schedule: (work: () => void) => void;
  /** Asked at each write; nothing is written while it says true. */
  readonly isFull?: () => boolean;
  /** Asked at each sync: an error it gives is the sync's. */
  readonly syncError?: () => Error | undefined;
}

interface Content {
  readonly rows: Map<number, StoredRow>;
  meta: StateMeta;
}

interface ReceivedContent extends ReceivedSnapshot {
  readonly content: Content;
}

export class MemoryRows implements RowStorage {
  readonly place = 'memory';
  readonly #options: MemoryRowsOptions;
  #content: Content;
  /** What a crash leaves, and the changes since. */
  #synced: Content;
  #unsynced: RowChange[] = [];
  #sizeBytes = 0;

  constructor(options: MemoryRowsOptions, content: Content = emptyContent()) {
    this.#options = options;
    this.#content = content;
    this.#synced = copyOf(content);
    for (const row of content.rows.values()) this.#sizeBytes += sizeOf(row);
  }

  /** What the machine finds after a crash: what was synced and the first `kept` changes since. */
  crash(kept = 0): MemoryRows {
    const content = copyOf(this.#synced);
    for (const change of this.#unsynced.slice(0, kept)) applyChange(content, change);
    return new MemoryRows(this.#options, content);
  }

  get unsyncedChanges(): number {
    return this.#unsynced.length;
  }

  /** Flips a bit of a stored value, as a bad disk does. False when the row has none. */
  damage(row: number): boolean {
    const stored = this.#content.rows.get(row);
    if (stored?.value === undefined || stored.value.length === 0) return false;
    const value = Uint8Array.from(stored.value);
    value[0] = (value[0] ?? 0) ^ 1;
    this.#content.rows.set(row, { ...stored, value });
    this.#synced.rows.set(row, { ...stored, value });
    return true;
  }

  load(visit: (row: VersionHead) => void): StateMeta {
    for (const row of this.#content.rows.values()) visit(row);
    return this.#content.meta;
  }

  value(row: number): StoredValue {
    const { value, checksum } = this.#row(row);
    assert(value !== undefined, `row ${row} has a value`);
    return { value, checksum };
  }

  hash(row: number): number {
    return this.#row(row).hash;
  }

  #row(number: number): StoredRow {
    const row = this.#content.rows.get(number);
    assert(row !== undefined, `row ${number} is there`);
    return row;
  }

  write(change: RowChange): void {
    if (this.#options.isFull?.() === true && change.rows.length > 0)
      throw new NoSpaceError('no space left in memory: nothing was written');
    for (const removed of change.removed) this.#sizeBytes -= sizeOf(this.#row(removed));
    for (const row of change.rows) this.#sizeBytes += sizeOf(row);
    applyChange(this.#content, change);
    this.#unsynced.push(change);
  }

  sync(done: (error?: Error) => void): void {
    const changes = this.#unsynced.length;
    this.#options.schedule(() => {
      const error = this.#options.syncError?.();
      if (error !== undefined) return done(error);
      for (const change of this.#unsynced.splice(0, changes)) applyChange(this.#synced, change);
      done();
    });
  }

  unsyncedBytes(): number {
    return this.#unsynced.reduce((sum, { rows }) => sum + rows.length * 1000, 0);
  }

  size(): { readonly totalBytes: number; readonly usedBytes: number } {
    return { totalBytes: this.#sizeBytes, usedBytes: this.#sizeBytes };
  }

  hasRoom(): boolean {
    return this.#options.isFull?.() !== true;
  }

  check(): void {
    // A simulated disk changes nothing behind a process's back.
  }

  async copy(): Promise<SnapshotSource> {
    const bytes = encode(this.#content);
    return {
      mark: this.#content.meta.applied,
      sizeBytes: bytes.length,
      async *chunks() {
        for (let at = 0; at < bytes.length; at += chunkBytes)
          yield bytes.subarray(at, at + chunkBytes);
      },
      close: () => undefined,
    };
  }

  async receive(mark: AppliedMark, chunks: AsyncIterable<Uint8Array>): Promise<ReceivedSnapshot> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const content = decode(Buffer.concat(parts));
    if (content.meta.applied.index !== mark.index || content.meta.applied.term !== mark.term)
      throw new Error('the snapshot is of another index than announced');
    content.meta = { ...content.meta, installedIndex: mark.index };
    const received: ReceivedContent = { mark, content, discard: () => undefined };
    return received;
  }

  install(received: ReceivedSnapshot, done: (error?: Error) => void): void {
    this.#options.schedule(() => {
      const { content } = received as ReceivedContent;
      this.#content = content;
      this.#synced = copyOf(content);
      this.#unsynced = [];
      this.#sizeBytes = 0;
      for (const row of content.rows.values()) this.#sizeBytes += sizeOf(row);
      done();
    });
  }

  close(): void {
    // What it holds may be opened again.
  }
}

const chunkBytes = 64 * 1024;

function emptyContent(): Content {
  return { rows: new Map(), meta: emptyMeta };
}

function copyOf({ rows, meta }: Content): Content {
  return { rows: new Map(rows), meta };
}

function applyChange(content: Content, { rows, removed, meta }: RowChange): void {
  for (const row of rows) content.rows.set(row.row, row);
  for (const row of removed) content.rows.delete(row);
  content.meta = meta;
}

function sizeOf({ key, value }: StoredRow): number {
  return key.length + (value?.length ?? 0) + 100;
}

function encode({ rows, meta }: Content): Buffer {
  const plain = Array.from(rows.values(), ({ value, ...row }) => ({
    ...row,
    text: value === undefined ? null : Buffer.from(value).toString('latin1'),
  }));
  const json = Buffer.from(JSON.stringify({ rows: plain, meta }));
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(json));
  return Buffer.concat([checksum, json]);
}

function decode(bytes: Buffer): Content {
  const json = bytes.subarray(4);
  if (bytes.length < 4 || bytes.readUInt32LE() !== crc32(json))
    throw new Error('the snapshot is damaged');
  type Plain = Omit<StoredRow, 'value'> & { readonly text: string | null };
  const { rows, meta } = JSON.parse(json.toString()) as { rows: Plain[]; meta: StateMeta };
  const content: Content = { rows: new Map(), meta };
  for (const { text, ...row } of rows) {
    const value = text === null ? undefined : Buffer.from(text, 'latin1');
    content.rows.set(row.row, { ...row, value });
  }
  return content;
}
