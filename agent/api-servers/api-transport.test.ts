import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { ScriptedTransport, settle } from '#kube/client/testing/scripted-transport.ts';
import { TransportError, type TransportRequest } from '#kube/client/transport.ts';
import { ApiTransport } from './api-transport.ts';
import { connectTo, FailingServer } from './testing.ts';

const names = ['https://a:1', 'https://b:1', 'https://c:1'];
const get: TransportRequest = { method: 'GET', path: '/api/v1/pods' };
const put: TransportRequest = { method: 'PUT', path: '/api/v1/pods/x', body: '{}' };

let clock: ManualClock;
let servers: FailingServer[];
let watched: ScriptedTransport[];
let transport: ApiTransport;
let searches: number;

beforeEach(() => {
  clock = new ManualClock();
  searches = 0;
  watched = names.map(() => new ScriptedTransport());
  servers = names.map((name, i) => {
    const behind = watched[i] as ScriptedTransport;
    behind.answer = () => ({ body: name });
    return new FailingServer(name, behind);
  });
  transport = new ApiTransport({
    config: { server: names[0] ?? '', caPem: 'ca', certPem: 'node' },
    connect: connectTo(servers),
    onNobody: () => searches++,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  transport.setServers({ servers: names, own: undefined });
});

function server(name: 'a' | 'b' | 'c'): FailingServer {
  return servers['abc'.indexOf(name)] as FailingServer;
}

/** What comes of it, without waiting. */
function outcome<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => (seen.value = value),
    (error: unknown) => (seen.error = error),
  );
  return seen;
}

async function advance(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    await settle();
    clock.advance(Math.min(50, left));
  }
  await settle();
}

/** Who answered, after a second at most. */
async function ask(request: TransportRequest = get): Promise<string> {
  const asked = outcome(transport.request(request));
  await advance(1_000);
  if (asked.value === undefined) throw asked.error ?? new Error('nobody answers');
  return Buffer.from(asked.value.body).toString();
}

describe('the transport to several API servers', () => {
  it('speaks with one, by the name that all their certificates bear', async () => {
    expect([await ask(), await ask()]).toEqual(['"https://a:1"', '"https://a:1"']);
    server('a').die();
    expect(await ask()).toBe('"https://b:1"');
    const [connection] = server('b').connections;
    expect(connection?.config).toMatchObject({
      server: 'https://b:1',
      serverName: 'kubernetes',
      caPem: 'ca',
      certPem: 'node',
    });
  });

  it('takes a request that no server began with to the next, whatever it is', async () => {
    await ask();
    for (const connection of server('a').connections) connection.isConnected = false;
    server('a').condition = 'refuses';
    expect(await ask(put)).toBe('"https://b:1"');
    expect([server('a'), server('b')].map(({ begun }) => begun.length)).toEqual([1, 1]);
  });

  it('repeats nothing of which nobody knows whether it happened', async () => {
    await ask();
    server('a').condition = 'frozen';
    const written = outcome(transport.request(put));
    await settle();
    server('a').die();
    await settle();
    expect(written.error).toMatchObject({ message: 'the connection broke', neverSent: false });
    expect(await ask()).toBe('"https://b:1"');
    expect(server('b').begun.map(({ method }) => method)).toEqual(['GET']);
  });

  it('leaves one that is frozen within seconds, and its watches begin elsewhere', async () => {
    const { chunks } = await transport.stream(get);
    const watching = outcome(chunks[Symbol.asyncIterator]().next());
    server('a').condition = 'frozen';
    const written = outcome(transport.request(put));
    await advance(2_900);
    expect([written.error, transport.server]).toEqual([undefined, 'https://a:1']);
    await advance(500);
    expect(transport.server).toBe('https://b:1');
    expect(written.error).toBeInstanceOf(TransportError);
    expect(watching.error).toBeInstanceOf(TransportError);
    expect(await ask()).toBe('"https://b:1"');
  });

  it('keeps one that is slow with one thing, and ready', async () => {
    await ask();
    server('a').hangsAt = '/slow';
    const slow = outcome(transport.request({ method: 'GET', path: '/slow' }));
    await advance(10_000);
    expect(slow).toEqual({});
    expect(transport.server).toBe('https://a:1');
    expect([...server('a').connections]).toHaveLength(1);
  });

  it('leaves one without a majority for one that has it, and says what the first said', async () => {
    await ask();
    server('a').condition = 'unready';
    expect((await transport.request(put)).status).toBe(503);
    await settle();
    expect(await ask(put)).toBe('"https://b:1"');
  });

  it('without a majority anywhere hands on what the servers say, and is back when there is one', async () => {
    for (const one of servers) one.condition = 'unready';
    const asked = outcome(transport.request(get));
    await advance(1_000);
    expect(asked.value).toMatchObject({ status: 503 });
    for (const one of servers) one.condition = 'well';
    await advance(11_000);
    expect((await transport.request(get)).status).toBe(200);
  });

  it('whoever asks while none answers is told why, waits for the next round, and others are searched', async () => {
    for (const one of servers) one.condition = 'refuses';
    await expect(transport.request(put)).rejects.toThrow(
      'none of the API servers https://a:1, https://b:1, https://c:1 answers: https://a:1: https://a:1 refuses',
    );
    expect(searches).toBe(1);
    const asked = outcome(transport.request(put));
    await settle();
    expect(asked).toEqual({});
    server('c').condition = 'well';
    await advance(1_000);
    expect(asked.value).toMatchObject({ status: 200 });
  });

  it('one that hangs while it is asked holds nobody up', async () => {
    server('a').condition = 'frozen';
    const asked = outcome(transport.request(put));
    await advance(300);
    expect(asked.value).toMatchObject({ status: 200 });
    expect(transport.server).toBe('https://b:1');
    expect(server('a').connections.size).toBe(0);
  });

  it('goes back to the one on its machine, and lets what is open end where it is', async () => {
    transport.setServers({ servers: names, own: names[0] });
    server('a').condition = 'refuses';
    const { chunks } = await transport.stream(get);
    const watching = outcome(chunks[Symbol.asyncIterator]().next());
    const [before] = server('b').connections;
    server('a').condition = 'well';
    await advance(61_000);
    expect([transport.server, before?.end]).toEqual(['https://a:1', 'retired']);
    expect(watching).toEqual({});
    watched[1]?.watch.sendText('event');
    await settle();
    expect(Buffer.from(watching.value?.value as Uint8Array).toString()).toBe('event');
  });

  it('a request that is given up while none answers ends at once, and is no sign of anything', async () => {
    for (const one of servers) one.condition = 'frozen';
    const stop = new AbortController();
    const asked = outcome(transport.request({ ...get, signal: stop.signal }));
    await settle();
    stop.abort();
    await settle();
    expect(asked.error).toMatchObject({ message: 'the request was aborted' });
  });

  it('is somebody else from now on', async () => {
    await ask();
    transport.use({ server: names[0] ?? '', caPem: 'ca', certPem: 'renewed' });
    server('a').die();
    await ask();
    const [connection] = server('b').connections;
    expect(connection?.config.certPem).toBe('renewed');
  });

  it('makes a new connection when this machine has another address', async () => {
    await ask();
    transport.moved(new Set());
    expect(await ask()).toBe('"https://b:1"');
  });

  it('is still while it has what it wants, and when it is closed: no timer is left', async () => {
    await ask();
    await settle();
    expect(clock.nextTimerMs()).toBeUndefined();
    server('a').die();
    for (const one of servers) one.condition = 'frozen';
    const asked = outcome(transport.request(get));
    await settle();
    transport.close();
    await advance(5_000);
    expect(asked.error).toMatchObject({ message: 'the transport is closed' });
    expect(clock.nextTimerMs()).toBeUndefined();
    await expect(transport.request(get)).rejects.toThrow('the transport is closed');
  });
});
