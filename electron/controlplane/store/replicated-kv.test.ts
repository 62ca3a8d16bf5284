// What is proposed by a member whose neighbours may run an older release.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { commandVersion } from './command-codec.ts';
import type { Command } from './commands.ts';
import { LocalConsensus } from './consensus.ts';
import { MemoryRows } from './memory-rows.ts';
import { ReplicatedKv } from './replicated-kv.ts';
import { KvStateMachine } from './state-machine.ts';
import { UnavailableError } from './store.ts';

class OldNeighbours extends LocalConsensus {
  version = commandVersion - 1;
  override entryVersion(): number {
    return this.version;
  }
}

describe('a command that not every member knows', () => {
  it('is refused with what to do, and nothing happens, until all do', async () => {
    const common = { clock: new ManualClock(), logger: silentLogger, schedule: queueMicrotask };
    const storage = new MemoryRows(common);
    const state = new KvStateMachine({ ...common, storage });
    const consensus = new OldNeighbours(state, queueMicrotask);
    const kv = new ReplicatedKv({ ...common, state, consensus });
    await kv.write({ type: 'lease-grant', id: 5, ttlSeconds: 60 });
    const newest: Command = { type: 'hash-claim', member: 1, revision: 1, hash: 7 };
    const before = state.applied();
    await expect(kv.write(newest)).rejects.toThrow(UnavailableError);
    await expect(kv.write(newest)).rejects.toThrow('update Flotilla on all machines');
    expect(state.applied()).toEqual(before);
    consensus.version = commandVersion;
    await kv.write(newest);
    expect(state.applied().index).toBe(before.index + 1);
    await kv.close();
  });
});
