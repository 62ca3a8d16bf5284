// The store in memory, for tests and for benchmarks of what stands above it: the same state, Kv and
// Store as on disk, without consensus; nothing survives close().
import { systemClock, type Clock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { LocalConsensus } from './consensus.ts';
import { KvStore } from './kv-store.ts';
import { MemoryRows } from './memory-rows.ts';
import { ReplicatedKv } from './replicated-kv.ts';
import { KvStateMachine } from './state-machine.ts';
import type { Store } from './store.ts';
import type { WatchLimits } from './watch-hub.ts';

export interface MemoryStoreOptions {
  readonly watchLimits?: WatchLimits;
  /** For leases. */
  readonly clock?: Clock;
}

export function openMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new KvStore(openMemoryKv(options));
}

export function openMemoryKv(options: MemoryStoreOptions = {}): ReplicatedKv {
  const schedule = queueMicrotask;
  const { clock = systemClock } = options;
  const common = { clock, logger: silentLogger };
  const storage = new MemoryRows({ schedule });
  const state = new KvStateMachine({ ...options, ...common, storage, schedule });
  const consensus = new LocalConsensus(state, schedule);
  return new ReplicatedKv({ ...common, state, consensus });
}
