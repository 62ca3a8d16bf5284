// The front over a socket, asked message by message; etcdctl does the rest (test/compat).
import { X509Certificate } from 'node:crypto';
import { tmpdir } from 'node:os';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { certify, testCa } from '../replica/peer-testing.ts';
import { openMemoryKv } from '../store/memory-store.ts';
import { GrpcClient, type ClientStream } from './grpc-client.ts';
import { leaseGrantRequest, leaseGrantResponse } from './protocol-admin.ts';
import * as wire from './protocol.ts';
import type { GrpcTls } from './grpc-server.ts';
import { createEtcdServer, type EtcdServer } from './server.ts';

const watchLimits = {
  bufferedEventsMax: 20,
  bufferedBytesMax: 1_000_000,
  behindRevisionsMax: 30,
};

let clock: ManualClock;
let kv: ReturnType<typeof openMemoryKv>;
let server: EtcdServer;
let client: GrpcClient;

function createServer(tls?: GrpcTls): EtcdServer {
  return createEtcdServer({
    ...(tls === undefined ? {} : { tls }),
    kv,
    cluster: {
      clusterId: 1,
      memberId: 2,
      members: () => [],
      position: () => ({ term: 1, leader: 2, committedIndex: 1, appliedIndex: 1 }),
      alarms: () => [],
    },
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    temporaryFolder: tmpdir(),
  });
}

beforeEach(async () => {
  clock = new ManualClock();
  kv = openMemoryKv({ clock, watchLimits });
  server = createServer();
  const port = await server.listen(0, '127.0.0.1');
  client = new GrpcClient({ endpoints: [`http://127.0.0.1:${port}`], clock: systemClock });
});
afterEach(async () => {
  client.close();
  await server.close();
  await kv.close();
});

async function put(key: string, value: string | Uint8Array = 'x'): Promise<number> {
  const types = { request: wire.putRequest, response: wire.putResponse };
  const request = wire.putRequest.make({ key, value: Buffer.from(value) });
  const answer = await client.unary('/etcdserverpb.KV/Put', types, request, 5000);
  return answer.header?.revision ?? 0;
}

/** One Watch call. */
class Call {
  readonly #answers: wire.WatchResponse[] = [];
  #wake: (() => void) | undefined;
  readonly stream: ClientStream;

  constructor() {
    this.stream = client.open('/etcdserverpb.Watch/Watch', {
      message: (bytes) => {
        this.#answers.push(wire.watchResponse.decode(bytes));
        this.#wake?.();
      },
      close: () => this.#wake?.(),
    });
  }

  ask(request: Partial<wire.WatchRequest>): void {
    this.stream.send(wire.watchRequest.encodeFrame(wire.watchRequest.make(request)));
  }

  create(request: Partial<wire.WatchCreateRequest>): void {
    this.ask({ create_request: wire.watchCreateRequest.make(request) });
  }

  async next(): Promise<wire.WatchResponse> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve) => void (this.#wake = resolve));
    }
  }

  /** One line for each answer, shortly. */
  async told(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) lines.push(show(await this.next()));
    return lines;
  }
}

function show(answer: wire.WatchResponse): string {
  const { watch_id, created, canceled, compact_revision, cancel_reason, fragment } = answer;
  const events = answer.events.map(
    ({ type, kv: row, prev_kv }) =>
      `${type === 0 ? 'put' : 'delete'} ${row?.key}@${row?.mod_revision}` +
      (prev_kv === undefined ? '' : ` was @${prev_kv.mod_revision}`),
  );
  const flags = Object.entries({ created, canceled, fragment }).flatMap(([name, is]) =>
    is ? name : [],
  );
  const compacted = compact_revision === 0 ? [] : [`from ${compact_revision}: ${cancel_reason}`];
  return [`${watch_id}`, ...flags, ...compacted, ...events].join(' ');
}

describe('Watch', () => {
  it('gives numbers, or takes those it is given, each once', async () => {
    const call = new Call();
    call.create({ key: 'a' });
    call.create({ key: 'a', watch_id: 1 });
    call.create({ key: 'a', watch_id: 1 });
    call.create({ key: 'a' });
    call.create({ key: 'b', range_end: 'a' });
    expect(await call.told(5)).toEqual([
      '0 created',
      '1 created',
      '-1 created canceled',
      '2 created',
      '-1 created canceled',
    ]);
    await put('a');
    expect((await call.told(3)).toSorted()).toEqual(['0 put a@1', '1 put a@1', '2 put a@1']);
    call.ask({ cancel_request: { watch_id: 1 } });
    expect(await call.told(1)).toEqual(['1 canceled']);
    call.stream.cancel();
  });

  it('begins where it is told, and leaves out what it is told', async () => {
    await put('a');
    await put('a');
    await kv.write({ type: 'delete-if', key: 'a', expectedRevision: 2 });
    const call = new Call();
    call.create({ key: 'a', start_revision: 2, prev_kv: true });
    expect(await call.told(2)).toEqual(['0 created', '0 put a@2 was @1 delete a@3 was @2']);
    call.create({ key: 'a', start_revision: 1, filters: [0] });
    expect(await call.told(2)).toEqual(['1 created', '1 delete a@3']);
    call.create({ key: 'a', start_revision: 1, filters: [1] });
    expect(await call.told(2)).toEqual(['2 created', '2 put a@1 put a@2']);
    call.stream.cancel();
  });

  it('ends when its past is compacted, and says from where it could begin', async () => {
    for (let i = 0; i < 3; i++) await put('a');
    await kv.write({ type: 'compact', revision: 2 });
    const call = new Call();
    call.create({ key: 'a', start_revision: 1 });
    const reason = 'etcdserver: mvcc: required revision has been compacted';
    expect(await call.told(2)).toEqual(['0 created', `0 canceled from 3: ${reason}`]);
    call.create({ key: 'a', start_revision: 3 });
    expect(await call.told(2)).toEqual(['1 created', '1 put a@3']);
    call.stream.cancel();
  });

  it('tells progress behind the events of every watch', async () => {
    const call = new Call();
    for (let i = 0; i < 10; i++) await put(`k${i}`, new Uint8Array(400_000));
    call.create({ key: 'k', range_end: 'l', start_revision: 1 });
    call.create({ key: 'none', start_revision: 1 });
    call.ask({ progress_request: {} });
    const told: wire.WatchResponse[] = [];
    while (told.at(-1)?.watch_id !== -1) told.push(await call.next());
    expect(told.flatMap(({ events }) => events)).toHaveLength(10);
    expect(told.at(-1)?.header?.revision).toBe(10);
    call.stream.cancel();
  });

  it('cuts long answers between revisions, and through one only for who can join them', async () => {
    const value = new Uint8Array(450_000);
    const four = Array.from({ length: 4 }, (_, i) => ({
      type: 'put' as const,
      key: `k${i}`,
      value,
      lease: 0,
    }));
    await kv.write({ type: 'txn', compares: [], success: four, failure: [] });
    await put('k9', value);
    const whole = new Call();
    whole.create({ key: 'k', range_end: 'l', start_revision: 1 });
    expect(await whole.told(3)).toEqual([
      '0 created',
      '0 put k0@1 put k1@1 put k2@1 put k3@1',
      '0 put k9@2',
    ]);
    const cut = new Call();
    cut.create({ key: 'k', range_end: 'l', start_revision: 1, fragment: true });
    expect(await cut.told(3)).toEqual([
      '0 created',
      '0 fragment put k0@1 put k1@1 put k2@1',
      '0 put k3@1 put k9@2',
    ]);
    whole.stream.cancel();
    cut.stream.cancel();
  });

  it('misses nothing for a client that reads slowly, beyond the bound of the store', async () => {
    const call = new Call();
    call.create({ key: 'k', range_end: 'l' });
    expect(await call.told(1)).toEqual(['0 created']);
    call.stream.pause();
    for (let i = 0; i < 400; i++) await put('k', new Uint8Array(100_000));
    call.stream.resume();
    const seen: number[] = [];
    while (seen.length < 400)
      for (const { kv: row } of (await call.next()).events) seen.push(row?.mod_revision ?? 0);
    expect(seen).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
    call.stream.cancel();
  });

  it('tells now and then that nothing happened, to who asked for it', async () => {
    const call = new Call();
    call.create({ key: 'a', progress_notify: true });
    expect(await call.told(1)).toEqual(['0 created']);
    await put('elsewhere');
    clock.advance(10 * 60_000);
    const notified = await call.next();
    expect([show(notified), notified.header?.revision]).toEqual(['0', 1]);
    call.stream.cancel();
  });
});

describe('calls', () => {
  it('are refused by name when nobody serves them', async () => {
    const types = { request: wire.emptyMessage, response: wire.emptyMessage };
    const asked = client.unary('/etcdserverpb.Auth/AuthEnable', types, {}, 5000);
    await expect(asked).rejects.toMatchObject({ code: 12, message: /AuthEnable is not served/ });
  });

  it('are refused when their message makes no sense', async () => {
    const types = { request: wire.keyValue, response: wire.emptyMessage };
    // A key where a number should be, and a number where a key should be.
    const nonsense = wire.keyValue.make({ key: 'a', create_revision: 5 });
    const asked = client.unary('/etcdserverpb.KV/Compact', types, nonsense, 5000);
    await expect(asked).rejects.toMatchObject({ code: 3, message: /wire type/ });
  });

  it('keep a lease alive as often as it is asked, until it is gone', async () => {
    const types = { request: leaseGrantRequest, response: leaseGrantResponse };
    const grant = await client.unary(
      '/etcdserverpb.Lease/LeaseGrant',
      types,
      { TTL: 1, ID: 0 },
      5000,
    );
    expect([grant.TTL, Number.isSafeInteger(grant.ID), grant.ID > 0]).toEqual([2, true, true]);
    const kept: number[] = [];
    const ended = new Promise<Error | undefined>((resolve) => {
      const stream = client.open('/etcdserverpb.Lease/LeaseKeepAlive', {
        message: (bytes) => void kept.push(leaseGrantResponse.decode(bytes).TTL),
        close: resolve,
      });
      const ask = (ID: number): void =>
        stream.send(leaseGrantRequest.encodeFrame({ TTL: ID, ID: 0 }));
      ask(grant.ID);
      ask(grant.ID + 1);
      stream.end();
    });
    expect(await ended).toBeUndefined();
    expect(new Set(kept)).toEqual(new Set([0, 2]));
  });
});

describe('its certificate', () => {
  it('may be made anew while it serves: who connects then is shown the new one', async () => {
    const made = (): { readonly key: string; readonly cert: string } => {
      const { certPem, keyPem } = certify(testCa, { usages: ['server', 'client'] });
      return { key: keyPem, cert: certPem };
    };
    const ca = testCa.certPem;
    const secured = createServer({ ...made(), ca, authorize: () => true });
    const port = await secured.listen(0, '127.0.0.1');
    const shown = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const own = { ...made(), ca, port, host: '127.0.0.1', ALPNProtocols: ['h2'] };
        const socket = connect({ ...own, checkServerIdentity: () => undefined }, () => {
          resolve(socket.getPeerX509Certificate()?.toString());
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const before = await shown();
    const renewed = made();
    secured.setCertificate(renewed);
    const after = await shown();
    await secured.close();
    expect(after).not.toBe(before);
    expect(after).toBe(new X509Certificate(renewed.cert).toString());
  });
});
