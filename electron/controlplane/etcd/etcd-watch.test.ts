// A watch against a server that says what the test wants, at the moment it wants. What real servers
// say is in test/compat/etcd-store.test.ts.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import {
  CompactedError,
  UnavailableError,
  type KeyValue,
  type WatchBatch,
} from '../store/store.ts';
import { defaultWatchLimits } from '../store/watch-hub.ts';
import { fromEtcdRevision } from './etcd-client.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { ConnectionError, type ClientStreamHandler } from './grpc-client.ts';
import * as wire from './protocol.ts';
import { refusal } from './status.ts';

/** Revisions in here are etcd's: one more than ours. */
class Server {
  readonly clock = new ManualClock();
  readonly watch: EtcdWatch;
  /** `create`, `progress`, `pause` …, in order. */
  readonly asked: string[] = [];
  compacted = 0;
  /** Of keys that there are, and of those changed since: what reads find. */
  rows: { readonly revision: number; readonly count: number; readonly newest: number }[] = [];
  #handler: ClientStreamHandler | undefined;

  constructor(afterRevision: number, isOrdered: boolean, bufferedEventsMax = 100) {
    this.watch = new EtcdWatch({
      client: {
        openWatch: (handler) => {
          this.#handler = handler;
          return {
            send: (frame) => void this.asked.push(nameOf(frame)),
            pause: () => void this.asked.push('pause'),
            resume: () => void this.asked.push('resume'),
            cancel: () => void this.asked.push('cancel'),
          };
        },
        ask: (request) => this.#answer(request),
        compactedRevision: () => Promise.resolve(this.compacted),
        isProgressOrdered: () => Promise.resolve(isOrdered),
        row: (kv): KeyValue => ({
          key: kv.key,
          value: kv.value,
          createRevision: fromEtcdRevision(kv.create_revision),
          modRevision: fromEtcdRevision(kv.mod_revision),
        }),
      },
      clock: this.clock,
      limits: { ...defaultWatchLimits, bufferedEventsMax },
      range: { key: 'k', range_end: 'l' },
      afterRevision,
      onClose: () => {},
      onCompacted: () => {},
    });
  }

  #answer(request: Partial<wire.RangeRequest>): Promise<wire.RangeResponse> {
    const { revision = 0, min_mod_revision = 0 } = request;
    if (revision < this.compacted) return Promise.reject(refusal('compacted'));
    const found = this.rows.find((row) => row.revision === revision);
    const isChanged = found !== undefined && found.newest >= min_mod_revision;
    const kvs = isChanged && min_mod_revision > 0 ? [wire.keyValue.make({ key: 'k' })] : [];
    return Promise.resolve(wire.rangeResponse.make({ kvs, count: found?.count ?? 0 }));
  }

  /** And lets everything that follows from it happen. */
  async says(answer: Partial<wire.WatchResponse>, revision: number): Promise<void> {
    const header = { cluster_id: 0, member_id: 0, revision, raft_term: 0 };
    const message = wire.watchResponse.make({ ...answer, header });
    this.#handler?.message(wire.watchResponse.encode(message));
    await settle();
  }

  puts(revision: number): Promise<void> {
    const row = { key: `k${revision}`, create_revision: revision, mod_revision: revision };
    const event = wire.event.make({ kv: wire.keyValue.make(row) });
    return this.says({ events: [event] }, revision);
  }

  progress(revision: number): Promise<void> {
    return this.says({ watch_id: -1 }, revision);
  }

  async breaks(): Promise<void> {
    this.#handler?.close(new ConnectionError('no answer', true));
    await settle();
  }
}

function nameOf(frame: Buffer): string {
  const request = wire.watchRequest.decode(frame.subarray(5));
  if (request.progress_request !== undefined) return 'progress';
  return `create ${request.create_request?.start_revision}`;
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** What is read: revisions of events, `up to N` for progress; the name of the error it ends with. */
function reading(watch: EtcdWatch): string[] {
  const seen: string[] = [];
  const read = (batch: WatchBatch): void => {
    const events = batch.events.map(({ kv }) => String(kv.modRevision));
    seen.push(events.length === 0 ? `up to ${batch.revision}` : events.join(' '));
  };
  void (async () => {
    try {
      for await (const batch of watch) read(batch);
      seen.push('end');
    } catch (error) {
      seen.push((error as Error).name);
    }
  })();
  return seen;
}

async function watching(afterRevision: number, isOrdered: boolean) {
  const server = new Server(afterRevision, isOrdered);
  const seen = reading(server.watch);
  await settle();
  await server.says({ created: true }, afterRevision + 1);
  return { server, seen };
}

describe('a watch of etcd', () => {
  it('asks for what is behind the revision, and connects when it is read', async () => {
    const server = new Server(4, true);
    expect(server.asked).toEqual([]);
    reading(server.watch);
    await settle();
    expect(server.asked).toEqual(['create 6']);
  });

  it('takes progress at its word from a server that orders it', async () => {
    const { server, seen } = await watching(4, true);
    server.watch.requestProgress();
    await server.puts(6);
    await server.progress(8);
    expect(seen).toEqual(['5', 'up to 7']);
  });

  it('asks again while a server that is behind says nothing', async () => {
    const { server, seen } = await watching(4, true);
    server.watch.requestProgress();
    server.clock.advance(250);
    expect(server.asked).toEqual(['create 6', 'progress', 'progress', 'progress']);
    await server.progress(5);
    server.clock.advance(10_000);
    expect([seen, server.asked.length]).toEqual([['up to 4'], 4]);
  });

  it('does not tell progress that an old server told ahead of a put', async () => {
    const { server, seen } = await watching(4, false);
    server.rows = [
      { revision: 5, count: 1, newest: 3 },
      { revision: 8, count: 1, newest: 7 },
    ];
    server.watch.requestProgress();
    await server.progress(8);
    expect(seen).toEqual([]);
    await server.puts(7);
    server.rows.push({ revision: 7, count: 1, newest: 7 });
    await server.progress(8);
    expect(seen).toEqual(['6', 'up to 7']);
  });

  it('does not tell progress that an old server told ahead of a delete', async () => {
    const { server, seen } = await watching(4, false);
    server.rows = [
      { revision: 5, count: 2, newest: 3 },
      { revision: 8, count: 1, newest: 3 },
    ];
    server.watch.requestProgress();
    await server.progress(8);
    expect(seen).toEqual([]);
  });

  it('ends rather than tell of a revision that it said was past', async () => {
    const { server, seen } = await watching(4, false);
    server.rows = [5, 8].map((revision) => ({ revision, count: 1, newest: 3 }));
    server.watch.requestProgress();
    await server.progress(8);
    await server.puts(8);
    expect(seen).toEqual(['up to 7', 'UnavailableError']);
  });

  it('waits for a revision that does not exist yet, and leaves out what is before it', async () => {
    const { server, seen } = await watching(7, true);
    server.watch.requestProgress();
    await server.progress(6);
    expect(seen).toEqual([]);
    await server.puts(9);
    await server.progress(9);
    expect(seen).toEqual(['8', 'up to 8']);
  });

  it('ends when its past is compacted, also where etcd does not say so', async () => {
    const told = await watching(4, true);
    await told.server.says({ canceled: true, compact_revision: 9 }, 12);
    expect(told.seen).toEqual(['CompactedError']);

    const server = new Server(4, true);
    server.compacted = 6;
    const next = server.watch[Symbol.asyncIterator]().next();
    const ended = expect(next).rejects.toThrow(new CompactedError(4, 5).message);
    await server.says({ created: true }, 12);
    await ended;
  });

  it('ends when a delete comes without what was deleted', async () => {
    const { server, seen } = await watching(4, true);
    const kv = wire.keyValue.make({ key: 'k', mod_revision: 6 });
    await server.says({ events: [wire.event.make({ type: 1, kv })] }, 6);
    expect(seen).toEqual(['UnavailableError']);
  });

  it('ends when its connection breaks, after what came before', async () => {
    const server = new Server(4, true);
    const events = server.watch[Symbol.asyncIterator]();
    const first = events.next();
    await server.says({ created: true }, 5);
    await server.puts(6);
    expect((await first).value?.revision).toBe(5);
    const next = events.next();
    const ended = expect(next).rejects.toThrow(UnavailableError);
    await server.breaks();
    await ended;
    expect((await events.next()).done).toBe(true);
  });

  it('makes the server wait while its reader does not read', async () => {
    const server = new Server(4, true, 2);
    const events = server.watch[Symbol.asyncIterator]();
    server.watch.requestProgress();
    await server.says({ created: true }, 5);
    for (const revision of [6, 7, 8]) await server.puts(revision);
    expect(server.asked.at(-1)).toBe('pause');
    expect((await events.next()).value?.revision).toBe(7);
    expect(server.asked.at(-1)).toBe('resume');
  });
});
