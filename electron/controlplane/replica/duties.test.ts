// The order in which a Ready's duties are carried out, step by step.
import { describe, expect, it } from 'vitest';
import type { Entry, Message, Ready } from '../raft/types.ts';
import { Duties } from './duties.ts';
import type { LogBatch, ReceivedSnapshot } from './types.ts';

const nothing: Ready = {
  writeId: 0,
  hardState: undefined,
  entries: [],
  snapshot: undefined,
  mustSync: false,
  messages: [],
  messagesAfterPersist: [],
  committed: [],
  reads: [],
  dropped: [],
  snapshotsWanted: [],
};
const entry = (index: number, term = 1): Entry => ({
  index,
  term,
  kind: 'noop',
  data: new Uint8Array(),
});
const message = (to: number): Message => ({ type: 'timeout-now', from: 1, to, term: 1 });
const received: ReceivedSnapshot = {
  mark: { index: 9, term: 2, membership: { members: [] } },
  discard() {},
};

class Bench {
  readonly events: string[] = [];
  readonly batches: LogBatch[] = [];
  written: (error?: Error) => void = () => {};
  installed: (error?: Error) => void = () => {};
  readonly duties = new Duties({
    log: {
      write: (batch, done) => {
        this.batches.push(batch);
        this.events.push('write');
        this.written = done;
      },
    },
    send: ({ to }) => void this.events.push(`send ${to}`),
    install: (_received, done) => {
      this.events.push('install');
      this.installed = done;
    },
    persisted: (writeId) => void this.events.push(`persisted ${writeId}`),
    onFull: () => {},
    onFatal: (error) => void this.events.push(`fatal ${error.message}`),
  });

  take(ready: Partial<Ready>, snapshot?: ReceivedSnapshot): void {
    this.duties.take({ ...nothing, ...ready }, snapshot);
    this.duties.begin();
  }
}

describe('duties', () => {
  it('are done in order: messages, write, promises, persisted', () => {
    const bench = new Bench();
    bench.take({
      writeId: 1,
      entries: [entry(1)],
      messages: [message(2)],
      messagesAfterPersist: [message(3)],
    });
    expect(bench.events).toEqual(['send 2', 'write']);
    bench.written();
    expect(bench.events.slice(2)).toEqual(['send 3', 'persisted 1']);
  });

  it('keep a promise without a write of its own until the writes before it are durable', () => {
    const bench = new Bench();
    bench.take({ messagesAfterPersist: [message(2)] });
    bench.take({ writeId: 1, entries: [entry(1)] });
    bench.take({ messagesAfterPersist: [message(3)] });
    bench.take({ writeId: 2, entries: [entry(2)] });
    bench.take({ messagesAfterPersist: [message(4)] });
    expect(bench.events).toEqual(['send 2', 'write']);
    bench.written();
    bench.duties.begin();
    bench.written();
    expect(bench.events.slice(2)).toEqual([
      'send 3',
      'persisted 1',
      'write',
      'send 4',
      'persisted 2',
    ]);
  });

  it('write together what came meanwhile: the newest hard state, entries cut off left out', () => {
    const bench = new Bench();
    bench.take({ writeId: 1, entries: [entry(1)] });
    const first = { term: 1, vote: 2, commit: 0 };
    bench.take({ writeId: 2, hardState: first, entries: [entry(2), entry(3), entry(4)] });
    bench.take({ writeId: 3, hardState: { ...first, term: 2 }, entries: [entry(3, 2)] });
    bench.take({ hardState: { ...first, term: 2, commit: 2 } });
    bench.written();
    bench.duties.begin();
    expect(bench.batches[1]).toEqual({
      hardState: { term: 2, vote: 2, commit: 2 },
      entries: [entry(2), entry(3, 2)],
      snapshot: undefined,
      mustSync: true,
    });
    bench.written();
    expect(bench.events.at(-1)).toBe('persisted 3');
  });

  it('install a snapshot before the log says so, and leave out what it makes void', () => {
    const bench = new Bench();
    bench.take({ writeId: 1, entries: [entry(1)] });
    bench.take({ writeId: 2, entries: [entry(2)] });
    bench.take({ writeId: 3, snapshot: received.mark }, received);
    bench.take({ writeId: 4, entries: [entry(10, 2)], messagesAfterPersist: [message(2)] });
    bench.written();
    bench.duties.begin();
    expect(bench.events).toEqual(['write', 'persisted 1', 'install']);
    bench.installed();
    expect(bench.batches[1]).toMatchObject({ snapshot: received.mark, entries: [entry(10, 2)] });
    bench.written();
    expect(bench.events.slice(3)).toEqual(['write', 'send 2', 'persisted 4']);
  });

  it('end with a commit that moved alone left to write, and without what had not begun', () => {
    const bench = new Bench();
    const hardState = { term: 1, vote: 0, commit: 5 };
    bench.take({ hardState });
    let left: unknown = 'nothing yet';
    bench.duties.end((unwritten) => (left = unwritten));
    expect(left).toEqual(hardState);

    const other = new Bench();
    other.take({ writeId: 1, entries: [entry(1)], messagesAfterPersist: [message(2)] });
    other.take({ writeId: 2, hardState, entries: [entry(2)] });
    other.duties.end((unwritten) => (left = unwritten));
    expect(left).toEqual(hardState);
    other.written();
    expect([left, other.events]).toEqual([undefined, ['write']]);
  });

  it('stop at a failed write: no promise leaves', () => {
    const bench = new Bench();
    bench.take({ writeId: 1, entries: [entry(1)], messagesAfterPersist: [message(2)] });
    bench.written(new Error('EIO'));
    bench.duties.begin();
    expect(bench.events).toEqual(['write', 'fatal EIO']);
  });
});
