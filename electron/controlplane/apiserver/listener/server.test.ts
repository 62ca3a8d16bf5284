import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { TransportError } from '#kube/client/transport.ts';
import { forbiddenPath } from '#kube/machinery/status.ts';
import { issueCertificate, type KeyPairPem } from '#platform/certificate.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { ClusterPki } from '#platform/pki.ts';
import type { ApiHandler, ApiRequest, ApiResponse } from '../http.ts';
import { ApiServer } from './server.ts';
import { statusResponse } from '../status-response.ts';

let directory: string;
let pki: ClusterPki;
let stranger: ClusterPki;
let serving: KeyPairPem;
let admin: KeyPairPem;
let server: ApiServer;
let port: number;
let handler: ApiHandler;
const transports: HttpsTransport[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-server-'));
  const deps = { clock: systemClock, random: systemRandom };
  pki = await ClusterPki.open({ directory: join(directory, 'pki'), ...deps });
  stranger = await ClusterPki.open({ directory: join(directory, 'other'), ...deps });
  serving = await pki.apiServer({ dnsNames: [], ipAddresses: [] });
  admin = await pki.admin();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  handler = async () => ({ status: 200, headers: {}, body: 'ok' });
  server = new ApiServer({
    handler: (request) => handler(request),
    certificate: serving,
    caPem: pki.caPem,
    clock: systemClock,
    logger: silentLogger,
  });
  port = await server.start({ host: '127.0.0.1', port: 0 });
});
afterEach(async () => {
  for (const transport of transports.splice(0)) transport.close();
  await server.stop();
});

function http2(user: KeyPairPem | undefined = admin): HttpsTransport {
  const config = { server: `https://127.0.0.1:${port}`, caPem: pki.caPem };
  const transport = new HttpsTransport({ ...config, ...user }, systemClock);
  transports.push(transport);
  return transport;
}

interface PlainAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** HTTP/1.1, as curl speaks it. */
function http1(
  path: string,
  options: { method?: string; body?: Uint8Array; user?: KeyPairPem; headers?: object } = {},
): Promise<PlainAnswer> {
  const { method = 'GET', body, user = admin, headers = {} } = options;
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        ca: pki.caPem,
        cert: user.certPem,
        key: user.keyPem,
        headers: { ...headers },
        agent: false,
      },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text: Buffer.concat(parts).toString(),
          }),
        );
        answer.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function text(body: Uint8Array): string {
  return Buffer.from(body).toString();
}

describe('one port', () => {
  it('answers HTTP/1.1 and HTTP/2 alike', async () => {
    handler = async ({ method, path, query }) => ({
      status: 201,
      headers: { 'x-echo': 'yes' },
      body: `${method} ${path} ${query.get('limit')}`,
    });
    const two = await http2().request({ method: 'GET', path: '/api/v1/pods', query: { limit: 5 } });
    const one = await http1('/api/v1/pods?limit=5');
    expect([two.status, two.headers['x-echo'], text(two.body)]).toEqual([
      201,
      'yes',
      'GET /api/v1/pods 5',
    ]);
    expect([one.status, one.headers['x-echo'], one.text]).toEqual([
      201,
      'yes',
      'GET /api/v1/pods 5',
    ]);
  });

  it('sends the headers of a HEAD request without its body', async () => {
    const answer = await http1('/version', { method: 'HEAD' });
    expect([answer.headers['content-length'], answer.text]).toEqual(['2', '']);
  });

  it('says which port is in use and what to do', async () => {
    const other = new ApiServer({
      handler,
      certificate: serving,
      caPem: pki.caPem,
      clock: systemClock,
      logger: silentLogger,
    });
    await expect(other.start({ host: '127.0.0.1', port })).rejects.toThrow(
      `port ${port} on 127.0.0.1 is in use by another program: stop that program, or choose another port with --port`,
    );
  });
});

describe('client certificates', () => {
  beforeEach(() => {
    handler = async ({ user }) => ({
      status: 200,
      headers: {},
      body: JSON.stringify(user ?? null),
    });
  });

  it('become users: common name and organizations', async () => {
    const { body } = await http2().request({ method: 'GET', path: '/' });
    const { text: overOne } = await http1('/');
    const want = JSON.stringify({ name: 'kubernetes-admin', groups: ['system:masters'] });
    expect([text(body), overOne]).toEqual([want, want]);
  });

  it('may be left out: the handler sees nobody', async () => {
    const transport = new HttpsTransport(
      { server: `https://127.0.0.1:${port}`, caPem: pki.caPem },
      systemClock,
    );
    transports.push(transport);
    const { body } = await transport.request({ method: 'GET', path: '/' });
    expect(text(body)).toBe('null');
  });

  const wrong = [
    { name: 'another authority signed', make: () => stranger.admin() },
    { name: 'are made for servers', make: async () => serving },
    { name: "their owner signed, with an administrator's name", make: () => forged(undefined, 1) },
    { name: 'expired', make: async () => forged(await authority(), -1) },
  ];
  for (const { name, make } of wrong)
    it(`that ${name} are 401, over HTTP/2 and HTTP/1.1`, async () => {
      const user = await make();
      const { status, body } = await http2(user).request({ method: 'GET', path: '/' });
      expect([status, JSON.parse(text(body)).reason]).toEqual([401, 'Unauthorized']);
      expect((await http1('/', { user })).status).toBe(401);
    });

  it('that our authority signed are good: what the forged ones lack is only that', async () => {
    const user = forged(await authority(), 1);
    expect((await http1('/', { user })).status).toBe(200);
  });

  async function authority(): Promise<KeyPairPem> {
    const read = (name: string) => readFile(join(directory, 'pki', name), 'utf8');
    return { certPem: await read('ca.crt'), keyPem: await read('ca.key') };
  }

  function forged(issuer: KeyPairPem | undefined, daysLeft: number): KeyPairPem {
    const nowMs = systemClock.now();
    const spec = {
      commonName: 'kubernetes-admin',
      organizations: ['system:masters'],
      usages: ['client'] as const,
      notBeforeMs: nowMs - 2 * 86_400_000,
      notAfterMs: nowMs + daysLeft * 86_400_000,
    };
    return issueCertificate(spec, issuer, systemRandom);
  }

  it('that are wrong leave the word to a bearer token', async () => {
    const { text: body } = await http1('/', {
      user: await stranger.admin(),
      headers: { authorization: 'Bearer abc' },
    });
    expect(body).toBe('null');
  });
});

describe('request bodies', () => {
  beforeEach(() => {
    handler = async ({ readBody }) => ({
      status: 200,
      headers: {},
      body: String((await readBody()).length),
    });
  });

  it('may weigh 3 MiB', async () => {
    const body = new Uint8Array(3 * 1024 * 1024);
    const two = await http2().request({ method: 'POST', path: '/', body });
    expect([text(two.body), (await http1('/', { method: 'POST', body })).text]).toEqual([
      '3145728',
      '3145728',
    ]);
  });

  it('past it are 413 with a Status, over either protocol', async () => {
    const body = new Uint8Array(3 * 1024 * 1024 + 1);
    const two = await http2().request({ method: 'POST', path: '/', body });
    const one = await http1('/', { method: 'POST', body });
    const want = 'Request entity too large: limit is 3145728';
    expect([two.status, JSON.parse(text(two.body)).message]).toEqual([413, want]);
    expect([one.status, JSON.parse(one.text).message]).toEqual([413, want]);
  });

  it('of undeclared length are cut off at the limit as well', async () => {
    const body = new Uint8Array(4 * 1024 * 1024);
    const headers = { 'transfer-encoding': 'chunked' };
    expect((await http1('/', { method: 'POST', body, headers })).status).toBe(413);
  });
});

async function collectChunks(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

/** A stream that tells when it was returned, and yields what is pushed. */
function pushable(): {
  body: AsyncIterable<string>;
  push(chunk: string): void;
  end(): void;
  readonly returned: Promise<void>;
} {
  const waiting: ((result: IteratorResult<string>) => void)[] = [];
  const ready: IteratorResult<string>[] = [];
  let onReturned = (): void => undefined;
  const returned = new Promise<void>((resolve) => (onReturned = resolve));
  function offer(result: IteratorResult<string>): void {
    const next = waiting.shift();
    if (next === undefined) ready.push(result);
    else next(result);
  }
  const iterator: AsyncIterator<string> = {
    next: () => {
      const result = ready.shift();
      return result === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(result);
    },
    return: async () => {
      onReturned();
      return { done: true, value: undefined };
    },
  };
  return {
    body: { [Symbol.asyncIterator]: () => iterator },
    push: (value) => offer({ done: false, value }),
    end: () => offer({ done: true, value: undefined }),
    returned,
  };
}

describe('streams', () => {
  it('arrive chunk by chunk and end with the source', async () => {
    const source = pushable();
    handler = async () => ({ status: 200, headers: {}, body: source.body });
    const { chunks } = await http2().stream({ method: 'GET', path: '/' });
    const iterator = chunks[Symbol.asyncIterator]();
    source.push('one\n');
    expect(text((await iterator.next()).value)).toBe('one\n');
    source.push('two\n');
    expect(text((await iterator.next()).value)).toBe('two\n');
    source.end();
    expect((await iterator.next()).done).toBe(true);
  });

  it('return their source when the client goes away', async () => {
    const source = pushable();
    let signal: AbortSignal | undefined;
    handler = async (request) => {
      ({ signal } = request);
      return { status: 200, headers: {}, body: source.body };
    };
    const abort = new AbortController();
    await http2().stream({ method: 'GET', path: '/', signal: abort.signal });
    abort.abort();
    await source.returned;
    expect(signal?.aborted).toBe(true);
  });

  it('that fail break the connection instead of ending it', async () => {
    handler = async () => ({
      status: 200,
      headers: {},
      body: (async function* () {
        yield 'first';
        throw new Error('the disk is gone');
      })(),
    });
    const { chunks } = await http2().stream({ method: 'GET', path: '/' });
    await expect(collectChunks(chunks)).rejects.toThrow(TransportError);
  });

  it('wait for a slow reader: the source is not drained into memory', async () => {
    let produced = 0;
    const abort = new AbortController();
    handler = async ({ signal }) => ({
      status: 200,
      headers: {},
      body: (async function* () {
        const chunk = new Uint8Array(1024 * 1024);
        for (; produced < 200 && !signal.aborted; produced++) yield chunk;
      })(),
    });
    const { chunks } = await http2().stream({ method: 'GET', path: '/', signal: abort.signal });
    const iterator = chunks[Symbol.asyncIterator]();
    await iterator.next();
    // Another request has made the round trip meanwhile; an unbounded pump would be done by now.
    handler = async () => ({ status: 200, headers: {}, body: 'ok' });
    for (let i = 0; i < 20; i++) await http2().request({ method: 'GET', path: '/' });
    expect(produced).toBeLessThan(100);
    abort.abort();
  });
});

describe('long answers', () => {
  const sliceBytes = 128 * 1024;
  let written: number;
  /** All slices lie in one buffer, as those of lists do. */
  function letters(count: number): ApiResponse {
    const slice = new Uint8Array(sliceBytes);
    written = 0;
    return {
      status: 200,
      headers: {},
      body: {
        byteLength: count * sliceBytes,
        *slices() {
          for (; written < count; written++) yield slice.fill(97 + (written % 26));
        },
      },
    };
  }

  it('come whole and in order, with their length, over either protocol', async () => {
    handler = async () => letters(40);
    const letter = (n: number) => String.fromCharCode(97 + (n % 26)).repeat(sliceBytes);
    const wanted = Array.from({ length: 40 }, (_, n) => letter(n)).join('');
    const one = await http1('/');
    const two = await http2().request({ method: 'GET', path: '/' });
    expect(one.headers['content-length']).toBe(String(wanted.length));
    expect([one.text === wanted, text(two.body) === wanted]).toEqual([true, true]);
  });

  it('wait for a slow reader, and let others be answered meanwhile', async () => {
    handler = async ({ path }) =>
      path === '/list' ? letters(1000) : { status: 200, headers: {}, body: 'ok' };
    const abort = new AbortController();
    const { chunks } = await http2().stream({ method: 'GET', path: '/list', signal: abort.signal });
    await chunks[Symbol.asyncIterator]().next();
    for (let i = 0; i < 20; i++) await http2().request({ method: 'GET', path: '/' });
    expect(written).toBeLessThan(500);
    abort.abort();
  });

  it('have no body for HEAD', async () => {
    handler = async () => letters(3);
    const answer = await http1('/', { method: 'HEAD' });
    expect([answer.headers['content-length'], answer.text, written]).toEqual([
      String(3 * sliceBytes),
      '',
      0,
    ]);
  });
});

describe('stopping', () => {
  it('ends watches cleanly and lets requests under way finish', async () => {
    const source = pushable();
    let answerSlow = (_response: ApiResponse): void => undefined;
    let arrived = (): void => undefined;
    const slowArrived = new Promise<void>((resolve) => (arrived = resolve));
    handler = async ({ path }) => {
      if (path === '/watch') return { status: 200, headers: {}, body: source.body };
      arrived();
      return new Promise<ApiResponse>((resolve) => (answerSlow = resolve));
    };
    const watch = await http2().stream({ method: 'GET', path: '/watch' });
    const ended = collectChunks(watch.chunks);
    const slow = http2().request({ method: 'GET', path: '/slow' });
    await slowArrived;
    const stopped = server.stop();
    expect(await ended).toEqual([]);
    answerSlow({ status: 200, headers: {}, body: 'done' });
    expect(text((await slow).body)).toBe('done');
    await stopped;
    await expect(http2().request({ method: 'GET', path: '/' })).rejects.toThrow(TransportError);
  });
});

describe('WebSockets', () => {
  function open(path: string, protocols: string[] = [], user: Partial<KeyPairPem> = {}): WebSocket {
    return new WebSocket(`wss://127.0.0.1:${port}${path}`, protocols, {
      ca: pki.caPem,
      ...(user.certPem === undefined ? {} : { cert: user.certPem, key: user.keyPem ?? '' }),
    });
  }

  function collect(socket: WebSocket): Promise<{ messages: string[]; code: number }> {
    const messages: string[] = [];
    return new Promise((resolve, reject) => {
      socket.on('message', (data: Buffer) => messages.push(data.toString()));
      socket.on('close', (code) => resolve({ messages, code }));
      socket.on('error', reject);
    });
  }

  function refused(socket: WebSocket): Promise<number> {
    return new Promise((resolve) => {
      socket.on('unexpected-response', (_request, answer: IncomingMessage) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
    });
  }

  function streamOf(...chunks: string[]): ApiResponse {
    return {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: (async function* () {
        yield* chunks;
      })(),
    };
  }

  it('carry one message per chunk and close with the stream', async () => {
    handler = async () => streamOf('{"a":1}\n', '{"a":2}\n');
    const socket = open('/api/v1/pods?watch=true', [], admin);
    expect(await collect(socket)).toEqual({ messages: ['{"a":1}\n', '{"a":2}\n'], code: 1000 });
  });

  it('are refused with the HTTP status of the answer', async () => {
    handler = async () => statusResponse(forbiddenPath('no'));
    expect(await refused(open('/api/v1/pods?watch=true'))).toBe(403);
  });

  it('are refused for answers that do not stream', async () => {
    handler = async () => ({ status: 200, headers: {}, body: 'ok' });
    expect(await refused(open('/version'))).toBe(400);
  });

  it('take their bearer token from a subprotocol, and echo the other one', async () => {
    let seen: ApiRequest | undefined;
    handler = async (request) => {
      seen = request;
      return streamOf('x');
    };
    const token = Buffer.from('secret').toString('base64url');
    const offered = [`base64url.bearer.authorization.k8s.io.${token}`, 'flotilla'];
    const socket = open('/api/v1/pods?watch=true', offered);
    await collect(socket);
    expect([seen?.headers['authorization'], socket.protocol]).toEqual([
      'Bearer secret',
      'flotilla',
    ]);
  });

  it('with a token and no other subprotocol are 401, as in Kubernetes', async () => {
    const offered = [`base64url.bearer.authorization.k8s.io.${btoa('secret').replace('=', '')}`];
    expect(await refused(open('/api/v1/pods?watch=true', offered))).toBe(401);
  });

  it('return their source when the client closes', async () => {
    const source = pushable();
    handler = async () => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: source.body,
    });
    const socket = open('/api/v1/pods?watch=true', [], admin);
    socket.on('open', () => source.push('{}'));
    socket.on('message', () => socket.close());
    await source.returned;
    expect(socket.readyState).toBeGreaterThanOrEqual(WebSocket.CLOSING);
  });
});

describe('headers over HTTP/1.1', () => {
  it('of more than 64 KiB are refused by name', async () => {
    const answer = await http1('/', { headers: { 'x-much': 'a'.repeat(70_000) } });
    expect([answer.status, answer.text]).toEqual([431, '431 Request Header Fields Too Large\n']);
  });

  it('of less come through, as over HTTP/2', async () => {
    const authorization = `Bearer ${'a'.repeat(40_000)}`;
    handler = async ({ headers }) => ({
      status: 200,
      headers: {},
      body: String(headers['authorization']?.length),
    });
    const overOne = await http1('/', { headers: { authorization } });
    const overTwo = await http2().request({ method: 'GET', path: '/', headers: { authorization } });
    expect([overOne.text, new TextDecoder().decode(overTwo.body)]).toEqual(['40007', '40007']);
  });
});
