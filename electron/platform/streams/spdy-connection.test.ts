import * as fc from 'fast-check';
import { Duplex, duplexPair } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { SpdyTestClient } from '../../../test/setup/spdy-client.ts';
import { pauseWatchMs } from './pause-watch.ts';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';

function start(onStream: (stream: SpdyStream) => void, streamsMax?: number) {
  const [near, far] = duplexPair();
  const clock = new ManualClock();
  const connection = new SpdyConnection({
    transport: far,
    clock,
    onStream,
    ...(streamsMax === undefined ? {} : { streamsMax }),
  });
  return { client: new SpdyTestClient(near), connection, clock, far };
}

const echo = (stream: SpdyStream): void => void stream.pipe(stream);

describe('a stream', () => {
  it('carries bytes both ways and each half ends by itself', async () => {
    const { client, connection } = start(echo);
    const id = client.open({ streamtype: 'data' });
    client.send(id, 'hello ');
    client.send(id, 'you', true);
    await client.until(() => client.of(id).isEnded);
    expect(client.of(id).text).toBe('hello you');
    expect(connection.streamCount).toBe(0);
  });

  it('says what it was opened with, and may be ended at once', async () => {
    const seen: string[] = [];
    const { client } = start((stream) => {
      void text(stream).then((said) => {
        seen.push(`${stream.headers['streamtype']} "${said}"`);
        stream.end('bye');
      });
    });
    const id = client.open({ streamtype: 'error' }, true);
    await client.until(() => client.of(id).isEnded);
    expect(seen).toEqual(['error ""']);
  });

  it('that is destroyed is reset', async () => {
    const { client, connection } = start((stream) => stream.destroy());
    const id = client.open({});
    await client.until(() => client.of(id).resetStatus !== undefined);
    expect(connection.streamCount).toBe(0);
  });

  it('that the client resets is gone', async () => {
    const closed = Promise.withResolvers<void>();
    const { client, connection } = start((stream) => stream.once('close', closed.resolve));
    client.reset(client.open({}));
    await closed.promise;
    expect(connection.streamCount).toBe(0);
  });

  it('beyond the limit is refused, the others go on', async () => {
    const { client } = start(echo, 1);
    const first = client.open({});
    const second = client.open({});
    await client.until(() => client.of(second).resetStatus === 3);
    client.send(first, 'still', true);
    await client.until(() => client.of(first).isEnded);
    expect(client.of(first).text).toBe('still');
  });

  it('carries more than a window, though the client sends no window updates', async () => {
    const { client } = start((stream) => void stream.end(Buffer.alloc(3_000_000, 'x')));
    const id = client.open({});
    await client.until(() => client.of(id).isEnded);
    expect(client.of(id).sizeBytes).toBe(3_000_000);
  });
});

describe('a connection', () => {
  it('answers pings', async () => {
    const { client } = start(echo);
    client.ping(1);
    await client.until(() => client.pings.length > 0);
    expect(client.pings).toEqual([1]);
  });

  it('waits for a stream that nobody reads, and keeps little meanwhile', async () => {
    const opened = Promise.withResolvers<SpdyStream>();
    const { client, far, clock } = start((stream) => opened.resolve(stream));
    const id = client.open({});
    const stream = await opened.promise;
    const chunk = Buffer.alloc(50_000);
    for (let sent = 0; sent < 40; sent++) client.send(id, chunk);
    await new Promise((resolve) => setImmediate(resolve));
    expect(far.isPaused()).toBe(true);
    expect(stream.readableLength).toBeLessThan(600_000);
    // A client that is gone can't be heard now: it is asked.
    clock.advance(pauseWatchMs);
    await client.until(() => client.pings.length > 0);
    client.send(id, '', true);
    let sizeBytes = 0;
    for await (const bytes of stream) sizeBytes += (bytes as Buffer).length;
    expect(sizeBytes).toBe(2_000_000);
    expect(far.isPaused()).toBe(false);
    client.pings.length = 0;
    clock.advance(10 * pauseWatchMs);
    expect(client.pings).toEqual([]);
  });

  it('that breaks takes its streams along', async () => {
    const opened = Promise.withResolvers<SpdyStream>();
    const { client, connection } = start((stream) => opened.resolve(stream));
    client.open({});
    const stream = await opened.promise;
    client.transport.destroy();
    await connection.closed;
    expect(stream.destroyed).toBe(true);
    expect(connection.streamCount).toBe(0);
  });

  const bad = [
    {
      name: 'an even stream id',
      bytes: '800300010000000a00000002000000000000',
    },
    { name: 'a header block that is none', bytes: '800300010000000c00000001000000000000abcd' },
    { name: 'another protocol', bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex') },
  ];
  it.each(bad)('ends at $name', async ({ bytes }) => {
    const { client, connection } = start(echo);
    client.transport.write(Buffer.from(bytes, 'hex'));
    client.transport.write(Buffer.alloc(100, 0xff));
    const error = await connection.closed;
    expect(error?.name).toBe('SpdyError');
  });

  it('survives whatever a client sends', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('open' as const), fin: fc.boolean() }),
      fc.record({
        do: fc.constant('send' as const),
        id: fc.nat(12),
        bytes: fc.uint8Array({ maxLength: 50 }),
        fin: fc.boolean(),
      }),
      fc.record({ do: fc.constant('reset' as const), id: fc.nat(12) }),
      fc.record({ do: fc.constant('raw' as const), bytes: fc.uint8Array({ maxLength: 30 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { connection, near } = startRaw();
        const client = new SpdyTestClient(near);
        for (const one of steps) {
          if (one.do === 'open') client.open({ streamtype: 'data' }, one.fin);
          if (one.do === 'send') client.send(one.id, one.bytes, one.fin);
          if (one.do === 'reset') client.reset(one.id);
          if (one.do === 'raw') near.write(one.bytes);
        }
        near.end();
        await connection.closed;
        expect(connection.streamCount).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

/** A client that does not mind answers to streams it never opened. */
function startRaw(): { connection: SpdyConnection; near: Duplex } {
  const [near, far] = duplexPair();
  const connection = new SpdyConnection({
    transport: far,
    clock: new ManualClock(),
    onStream: echo,
  });
  const deaf = new Duplex({
    read() {},
    write: (chunk, _encoding, done) => void near.write(chunk as Buffer, () => done()),
    final: (done) => void near.end(() => done()),
  });
  near.resume();
  near.on('error', () => undefined);
  return { connection, near: deaf };
}
