import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { CannotGoOnError } from '../replica/types.ts';
import { encodeCommand } from './command-codec.ts';
import type { Command } from './commands.ts';
import { MemoryRows } from './memory-rows.ts';
import { KvStateMachine } from './state-machine.ts';
import { UnavailableError } from './store.ts';

const membership = { members: [] };
const put: Command = {
  type: 'put-if',
  key: 'a',
  value: Uint8Array.of(1),
  expectedRevision: 0,
};

function opened(): {
  readonly storage: MemoryRows;
  readonly fatal: unknown[];
  readonly state: KvStateMachine;
  /** Those that storage has not ended yet. */
  readonly syncs: readonly (() => void)[];
  apply(index: number, command: Command): void;
} {
  const syncs: (() => void)[] = [];
  const storage = new MemoryRows({ schedule: (work) => syncs.push(work) });
  const fatal: unknown[] = [];
  const state = new KvStateMachine({
    storage,
    clock: new ManualClock(),
    schedule: queueMicrotask,
    logger: silentLogger,
    onFatal: (error) => fatal.push(error),
  });
  function apply(index: number, command: Command): void {
    const data = encodeCommand(command);
    state.apply([{ index, term: 1, data }], { index, term: 1, membership });
  }
  return { storage, fatal, state, syncs, apply };
}

describe('a compaction that carries its proposer’s hash', () => {
  it('goes on where the state is the same', () => {
    const { fatal, state, apply } = opened();
    apply(1, put);
    apply(2, { type: 'compact', revision: 1, hash: state.hash(1).hash });
    expect(fatal).toEqual([]);
    expect(state.compactedRevision).toBe(1);
  });

  it('stops a member whose state is another, says what to do, and is remembered', () => {
    const { storage, fatal, state, apply } = opened();
    apply(1, put);
    apply(2, { type: 'compact', revision: 1, hash: state.hash(1).hash ^ 1 });
    const sentence =
      'The state in memory differs from that of the other members at revision 1, and is not served ' +
      'any more: take this member out of the cluster, and let it join again with an empty data directory.';
    expect(fatal).toEqual([new CannotGoOnError(sentence)]);
    expect(state.ended).toBeInstanceOf(UnavailableError);
    expect(storage.load(() => {}).damage).toBe(sentence);
  });
});

describe('the state', () => {
  it('is durable up to where storage has synced it', () => {
    const { state, syncs, apply } = opened();
    apply(1, put);
    state.flush();
    expect(state.durableIndex()).toBe(0);
    syncs[0]?.();
    expect(state.durableIndex()).toBe(1);
  });
});
