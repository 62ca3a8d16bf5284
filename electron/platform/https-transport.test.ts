import { mkdtemp, rm } from 'node:fs/promises';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { TransportError } from '#kube/client/transport.ts';
import { HttpsTransport } from './https-transport.ts';
import { ClusterPki, type KeyPairPem } from './pki.ts';

let directory: string;
let pki: ClusterPki;
let serving: KeyPairPem;
let server: Http2SecureServer;
let port: number;
let clock: ManualClock;
let transport: HttpsTransport;
const sockets = new Set<Socket>();
const watching = new Set<ServerHttp2Stream>();
let connections: number;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-transport-'));
  pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
  serving = await pki.apiServer({ dnsNames: [], ipAddresses: [] });
});
afterAll(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  connections = 0;
  watching.clear();
  clock = new ManualClock();
  server = createSecureServer({ cert: serving.certPem, key: serving.keyPem });
  server.on('secureConnection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.on('stream', answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
  transport = new HttpsTransport({ server: `https://127.0.0.1:${port}`, caPem: pki.caPem }, clock);
});
afterEach(async () => {
  transport.close();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await new Promise((resolve) => server.close(resolve));
});

/** `/watch` begins and never ends, `/reset` breaks off, `/whoami` says the token, all else its path. */
function answer(
  stream: ServerHttp2Stream,
  headers: { ':path'?: string | undefined; authorization?: string | undefined },
): void {
  const path = headers[':path'] ?? '';
  stream.on('error', () => undefined);
  stream.respond({ ':status': 200, 'content-type': 'text/plain' });
  if (path === '/watch') {
    watching.add(stream);
    stream.write('first');
  } else if (path === '/whoami') stream.end(headers.authorization);
  else if (path === '/reset')
    stream.write('half', () => stream.destroy(new Error('the disk is gone')));
  else stream.end(path);
}

async function get(path: string): Promise<string> {
  const { body } = await transport.request({ method: 'GET', path });
  return Buffer.from(body).toString();
}

describe('the HTTPS transport', () => {
  it('puts all requests and streams on one connection', async () => {
    const { chunks } = await transport.stream({ method: 'GET', path: '/watch' });
    expect(await Promise.all([get('/a'), get('/b')])).toEqual(['/a', '/b']);
    expect(connections).toBe(1);
    void chunks;
  });

  it('is somebody else from the next connection on, and lets what is open go on', async () => {
    const { chunks } = await transport.stream({ method: 'GET', path: '/watch' });
    const watched = chunks[Symbol.asyncIterator]();
    expect(Buffer.from((await watched.next()).value ?? '').toString()).toBe('first');
    const other = { server: `https://127.0.0.1:${port}`, caPem: pki.caPem, token: 'other' };
    transport.use(other);
    expect([await get('/whoami'), connections]).toEqual(['Bearer other', 2]);
    for (const stream of watching) stream.write('second');
    expect(Buffer.from((await watched.next()).value ?? '').toString()).toBe('second');
    transport.close();
  });

  it('encodes the query and leaves out what is undefined', async () => {
    const { body } = await transport.request({
      method: 'GET',
      path: '/a',
      query: { labelSelector: 'app=x,tier in (a)', limit: 5, continue: undefined, watch: true },
    });
    expect(Buffer.from(body).toString()).toBe(
      '/a?labelSelector=app%3Dx%2Ctier+in+%28a%29&limit=5&watch=true',
    );
  });

  it('throws a TransportError when nobody listens, and works again when somebody does', async () => {
    const free = new HttpsTransport({ server: 'https://127.0.0.1:1', caPem: pki.caPem }, clock);
    await expect(free.request({ method: 'GET', path: '/' })).rejects.toThrow(TransportError);
    free.close();
    expect(await get('/a')).toBe('/a');
    for (const socket of sockets) socket.destroy();
    await expect(waitForNewConnection()).resolves.toBe('/again');
    expect(connections).toBe(2);
  });

  /** The first request after a break may still meet the dead connection; the next may not. */
  async function waitForNewConnection(): Promise<string> {
    try {
      return await get('/again');
    } catch (error) {
      expect(error).toBeInstanceOf(TransportError);
      return get('/again');
    }
  }

  it('trusts no other authority than the configured one', async () => {
    const other = await ClusterPki.open({
      directory: join(directory, 'other'),
      clock: systemClock,
      random: systemRandom,
    });
    const config = { server: `https://127.0.0.1:${port}`, caPem: other.caPem };
    const suspicious = new HttpsTransport(config, clock);
    await expect(suspicious.request({ method: 'GET', path: '/' })).rejects.toThrow(TransportError);
    suspicious.close();
  });

  it('tells an answer that broke off from a whole one', async () => {
    await expect(get('/reset')).rejects.toThrow(TransportError);
  });

  it('ends a stream quietly when its reader gives up', async () => {
    const stop = new AbortController();
    const { chunks } = await transport.stream({
      method: 'GET',
      path: '/watch',
      signal: stop.signal,
    });
    const seen: string[] = [];
    for await (const chunk of chunks) {
      seen.push(Buffer.from(chunk).toString());
      stop.abort();
    }
    expect(seen).toEqual(['first']);
  });

  it('a request that its caller gives up ends at once, also while nobody takes the connection', async () => {
    const silent = createServer((socket) => void sockets.add(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port: silentPort } = silent.address() as AddressInfo;
    const toSilent = new HttpsTransport(
      { server: `https://127.0.0.1:${silentPort}`, caPem: pki.caPem },
      clock,
    );
    const stop = new AbortController();
    const asked = toSilent.request({ method: 'GET', path: '/x', signal: stop.signal });
    stop.abort();
    await expect(asked).rejects.toThrow('the request was aborted');
    toSilent.close();
    silent.close();
  });

  it('gives up a server that shows no sign of life, and with it all streams', async () => {
    const { chunks } = await transport.stream({ method: 'GET', path: '/watch' });
    const iterator = chunks[Symbol.asyncIterator]();
    await iterator.next();
    // The cable is pulled: what the server would answer never leaves.
    for (const socket of sockets) socket.pause();
    clock.advance(30_000 + 15_000);
    await expect(iterator.next()).rejects.toThrow(TransportError);
  });

  it('gives up a connection from an address that this machine no longer has', async () => {
    const { chunks } = await transport.stream({ method: 'GET', path: '/watch' });
    const iterator = chunks[Symbol.asyncIterator]();
    await iterator.next();
    transport.dropUnlessFrom(new Set(['10.77.0.11', '127.0.0.1']));
    expect(await get('/a')).toBe('/a');
    expect(connections).toBe(1);
    transport.dropUnlessFrom(new Set(['10.77.0.11']));
    await expect(iterator.next()).rejects.toThrow(TransportError);
    expect(await get('/b')).toBe('/b');
    expect(connections).toBe(2);
  });

  it('takes the name that it was told for the one in the certificate, if it was told one', async () => {
    const config = { server: `https://127.0.0.1:${port}`, caPem: pki.caPem };
    const named = new HttpsTransport({ ...config, serverName: 'kubernetes' }, clock);
    const wrong = new HttpsTransport({ ...config, serverName: 'somebody-else' }, clock);
    const ask = { method: 'GET', path: '/' } as const;
    expect((await named.request(ask)).status).toBe(200);
    await expect(wrong.request(ask)).rejects.toThrow(TransportError);
    named.close();
    wrong.close();
  });

  it('is still when nothing is open: no timer is left', async () => {
    expect(await get('/a')).toBe('/a');
    while (clock.nextTimerMs() !== undefined) await new Promise((resolve) => setImmediate(resolve));
  });
});
