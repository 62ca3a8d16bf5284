// A Store in memory, for tests and for benchmarks of what stands above it. Same rules as the one
// on disk (they share mvcc-store.ts); nothing survives close().
import { silentLogger } from '#kube/base/logger.ts';
import { assert } from '#kube/base/assert.ts';
import { MvccStore, type RowStorage } from './mvcc-store.ts';
import { RevisionIndex } from './revision-index.ts';
import type { Store } from './store.ts';
import type { WatchLimits } from './watch-hub.ts';

export interface MemoryStoreOptions {
  readonly watchLimits?: WatchLimits;
}

export function openMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MvccStore({
    storage: memoryRows(),
    index: new RevisionIndex(),
    logger: silentLogger,
    schedule: queueMicrotask,
    ...options,
  });
}

function memoryRows(): RowStorage {
  const values = new Map<number, Uint8Array>();
  return {
    read(revision) {
      const value = values.get(revision);
      assert(value !== undefined, `revision ${revision} has a value`);
      return value;
    },
    append(rows) {
      for (const { revision, value } of rows) if (value !== undefined) values.set(revision, value);
    },
    compact(_mark, revisions) {
      for (const revision of revisions) values.delete(revision);
    },
    close: () => values.clear(),
  };
}
