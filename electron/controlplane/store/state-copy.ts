// Copies of state.db as files: read in chunks for a peer or a backup, taken in from one, checked to
// the last row before anybody relies on them.
import { closeSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { readMeta, writeMeta } from './state-schema.ts';
import { openDatabase } from '#platform/sqlite.ts';
import type { AppliedMark, SnapshotSource } from '../replica/types.ts';
import type { StateMeta } from './rows.ts';
import { damaged, readContent, schemaOf, StoreOpenError } from './state-file.ts';

const chunkBytes = 256 * 1024;

/** Reads the copy; `close` removes the file. */
export function copySource(file: string): SnapshotSource {
  const { applied } = metaOf(file);
  return {
    mark: applied,
    sizeBytes: statSync(file).size,
    chunks: () => readChunks(file),
    close: () => rmSync(file, { force: true }),
  };
}

export function metaOf(file: string): StateMeta {
  const database = openDatabase(file, { isReadOnly: true });
  try {
    const meta = readMeta(database);
    if (meta === undefined) throw damaged(file, 'what it says of itself is not what was written');
    return meta;
  } finally {
    database.close();
  }
}

/** The first `sizeBytes` of all values that begin with `mark`, each once. */
export function valueHeads(file: string, mark: Uint8Array, sizeBytes: number): Uint8Array[] {
  const database = openDatabase(file, { isReadOnly: true });
  try {
    const rows = database
      .prepare('SELECT DISTINCT substr(value, 1, ?) AS head FROM kv WHERE substr(value, 1, ?) = ?')
      .all(sizeBytes, mark.length, mark);
    return rows.map(({ head }) => head as Uint8Array);
  } finally {
    database.close();
  }
}

export async function* readChunks(file: string): AsyncIterable<Uint8Array> {
  const descriptor = openSync(file, 'r');
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const count = readSync(descriptor, chunk);
      if (count === 0) return;
      yield chunk.subarray(0, count);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Writes a new file, mode 0600. What was written before a failure is removed. */
export async function writeChunks(
  file: string,
  chunks: AsyncIterable<Uint8Array>,
  onPart?: () => void,
): Promise<void> {
  rmSync(file, { force: true });
  const descriptor = openSync(file, 'wx', 0o600);
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += writeSync(descriptor, chunk, at));
      onPart?.();
    }
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** After a crash before the log knew of it, it is told from a state whose log was put back. */
export function noteReceived(file: string): void {
  const database = openDatabase(file);
  try {
    const meta = readMeta(database);
    if (meta === undefined) throw damaged(file, 'what it says of itself is not what was written');
    const { index } = meta.applied;
    database.transaction(() => writeMeta(database, { ...meta, installedIndex: index }));
  } finally {
    database.close();
  }
}

/** Throws StoreOpenError unless it is a whole, undamaged state as of `mark`. */
export function verifyCopy(file: string, mark?: Pick<AppliedMark, 'index' | 'term'>): void {
  const database = openDatabase(file, { isReadOnly: true });
  try {
    if (schemaOf(database) === undefined) throw damaged(file, 'it holds nothing');
    const { applied } = readContent(database, true).meta;
    if (mark !== undefined && (applied.index !== mark.index || applied.term !== mark.term))
      throw new StoreOpenError(
        file,
        `${file} is the state of entry ${applied.index} and not, as announced, of ${mark.index}.`,
      );
  } finally {
    database.close();
  }
}
