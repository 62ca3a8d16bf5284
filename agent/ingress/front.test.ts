// The server on real sockets of loopback, with pods that are servers of the test.
import { createServer, request, type IncomingMessage, type RequestListener } from 'node:http';
import {
  connect,
  createServer as createTcp,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate } from '#platform/certificate.ts';
import { Front, type FrontOptions } from './front.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import type { Route, RouteTable } from './routes.ts';
import { settingsOf } from '#kube/machinery/ingress-settings.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

let front: Front;
let options: FrontOptions;
beforeEach(() => {
  options = {
    address: '127.0.0.1',
    httpPort: 0,
    httpsPort: 0,
    certificate: () => undefined,
    awaitsCertificate: () => false,
    trustedRoot: () => undefined,
    clock: systemClock,
  };
  front = new Front({
    ...options,
    certificate: (host) => options.certificate(host),
    awaitsCertificate: (host) => options.awaitsCertificate(host),
    trustedRoot: () => options.trustedRoot(),
  });
  cleanUps.push(() => front.close());
});

async function listening(server: Server): Promise<Endpoint> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.close();
    if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
  });
  return { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const pod = (listener: RequestListener): Promise<Endpoint> => listening(createServer(listener));

/** A port of which nobody listens. */
async function nobody(): Promise<Endpoint> {
  const server = createTcp();
  const endpoint = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return endpoint;
}

async function serve(
  endpoints: readonly Endpoint[],
  more: Partial<Route> = {},
  annotations: Record<string, string> = {},
): Promise<void> {
  const { settings } = settingsOf(annotations);
  const route = { path: '/', isExact: false, owner: 'default/app', backend: 'default/app:80' };
  const hosts = new Map([
    [
      'app.local',
      [{ ...route, endpoints, runsOn: [], hasClientAffinity: false, settings, ...more }],
    ],
  ]);
  const table: RouteTable = { hosts, fallback: undefined, tls: [] };
  front.use(table);
  await front.open({ http: true, https: options.certificate('app.local') !== undefined });
}

interface Reply {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

function ask(
  path = '/',
  given: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: string | Buffer;
  } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = given;
    const asked = request(
      {
        port: front.ports.http,
        host: '127.0.0.1',
        agent: false,
        path,
        method,
        headers: { Host: 'app.local', ...headers },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('error', reject);
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode,
            headers: incoming.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });
}

/** Bytes to our port as they are; all that comes back until the connection ends or `until` was seen. */
function raw(text: string, until?: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(front.ports.http ?? 0, '127.0.0.1', () => socket.write(text));
    cleanUps.push(() => socket.destroy());
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      answer += chunk;
      if (until !== undefined && answer.includes(until)) resolve(answer);
    });
    socket.on('close', () => resolve(answer));
  });
}

describe('a request', () => {
  it('reaches the pod with what it carries, and who asks', async () => {
    const seen: unknown[] = [];
    await serve([
      await pod((asked, response) => {
        const chunks: Buffer[] = [];
        asked.on('data', (chunk: Buffer) => chunks.push(chunk));
        asked.on('end', () => {
          delete asked.headers.connection;
          seen.push([asked.method, asked.url, asked.headers, Buffer.concat(chunks).toString()]);
          response.writeHead(201, { 'X-App': 'yes', 'Set-Cookie': ['a=1', 'b=2'] });
          response.end('made');
        });
      }),
    ]);
    const reply = await ask('/a%20b?c=d', {
      method: 'POST',
      body: 'a body',
      headers: {
        'X-Forwarded-For': '6.6.6.6',
        'X-Real-IP': '6.6.6.6',
        Forwarded: 'for=6.6.6.6',
        Connection: 'close, X-Mine',
        'X-Mine': 'hop',
        'Proxy-Authorization': 'secret',
        'X-Other': 'kept',
      },
    });
    expect(seen).toEqual([
      [
        'POST',
        '/a%20b?c=d',
        {
          host: 'app.local',
          'content-length': '6',
          'x-other': 'kept',
          'x-forwarded-for': '127.0.0.1',
          'x-real-ip': '127.0.0.1',
          'x-forwarded-host': 'app.local',
          'x-forwarded-port': String(front.ports.http),
          'x-forwarded-proto': 'http',
        },
        'a body',
      ],
    ]);
    expect([reply.status, reply.text, reply.headers['x-app'], reply.headers['set-cookie']]).toEqual(
      [201, 'made', 'yes', ['a=1', 'b=2']],
    );
  });

  it('and its answer are passed on while they come', async () => {
    const endpoint = await pod((asked, response) => {
      response.writeHead(200);
      asked.on('data', (chunk: Buffer) => response.write(chunk.toString().toUpperCase()));
      asked.on('end', () => response.end('.'));
    });
    await serve([endpoint]);
    const parts: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const asked = request(
        {
          port: front.ports.http,
          host: '127.0.0.1',
          method: 'POST',
          headers: { Host: 'app.local' },
          agent: false,
        },
        (incoming) => {
          incoming.setEncoding('utf8').on('data', (chunk: string) => {
            parts.push(chunk);
            // The second part is sent only when the first has come back.
            if (chunk === 'ONE') asked.end('two');
          });
          incoming.on('end', resolve);
        },
      );
      asked.on('error', reject);
      asked.write('one');
    });
    expect(parts.join('')).toBe('ONETWO.');
  });

  it('of 8 MB comes through whole, both ways', async () => {
    const body = Buffer.alloc(8 * 1024 * 1024, 'flotilla');
    await serve([await pod((asked, response) => void asked.pipe(response))]);
    const reply = await ask('/', { method: 'PUT', body });
    expect(reply.text === body.toString()).toBe(true);
  });

  it('takes turns among the pods, or stays with one where the Service wants it', async () => {
    const pods = await Promise.all(
      ['a', 'b', 'c'].map((name) => pod((_asked, response) => void response.end(name))),
    );
    await serve(pods);
    const turns = [await ask(), await ask(), await ask(), await ask()].map(({ text }) => text);
    expect([new Set(turns).size, turns[3]]).toEqual([3, turns[0]]);
    await serve(pods, { hasClientAffinity: true });
    const stays = [await ask(), await ask(), await ask()].map(({ text }) => text);
    expect(new Set(stays).size).toBe(1);
  });

  it('goes to another pod when one can’t be reached, also with a body', async () => {
    const good = await pod((asked, response) => void asked.pipe(response));
    await serve([await nobody(), await nobody(), good]);
    expect((await ask('/', { method: 'POST', body: 'once' })).text).toBe('once');
    expect((await ask()).status).toBe(200);
  });

  it('is asked again, once, when a kept connection turns out to be closed', async () => {
    let requests = 0;
    const server = createServer((_asked, response) => void response.end(`${++requests}`));
    server.on('connection', (socket: Socket) => {
      let seen = 0;
      // The second request on a connection finds it broken.
      socket.on('data', () => {
        if (++seen === 2) socket.destroy();
      });
    });
    await serve([await listening(server)]);
    expect([(await ask()).text, (await ask()).text]).toEqual(['1', '2']);
  });

  it('is asked once more and not for ever, and never one that changes something', async () => {
    let connections = 0;
    const server = createServer();
    server.on('connection', (socket: Socket) => {
      connections++;
      socket.on('error', () => undefined).once('data', () => socket.destroy());
    });
    await serve([await listening(server)]);
    expect([(await ask()).status, connections]).toEqual([502, 2]);
    expect([(await ask('/', { method: 'POST' })).status, connections]).toEqual([502, 3]);
  });
});

describe('the ingress says itself', () => {
  it('404 for a host that is nobody’s', async () => {
    await serve([await nobody()]);
    const reply = await ask('/', { headers: { Host: 'other.local', Accept: 'text/html,*/*' } });
    expect([reply.status, reply.headers['content-type']]).toEqual([
      404,
      'text/html; charset=utf-8',
    ]);
    expect(reply.text).toContain('No app of this home answers at other.local.');
  });

  it('where Flotilla’s own page is, if it is on this machine', async () => {
    await serve([await nobody()]);
    const headers = { Host: 'flotilla.local' };
    expect((await ask('/apps?x=1', { headers })).status).toBe(404);
    front.usePage(7481);
    const { status, headers: told } = await ask('/apps?x=1', { headers });
    expect([status, told.location]).toEqual([308, 'https://flotilla.local:7481/apps?x=1']);
  });

  it('nothing in a page that the host could have written', async () => {
    await serve([await nobody()]);
    const answer = await raw(
      'GET / HTTP/1.1\r\nHost: <script>\r\nAccept: text/html\r\nConnection: close\r\n\r\n',
    );
    expect(answer).toContain('&lt;script&gt;');
    expect(answer).not.toContain('<script>');
  });

  it('503 while there is no pod, to come again', async () => {
    await serve([]);
    const reply = await ask();
    expect([reply.status, reply.headers['retry-after'], reply.text]).toEqual([
      503,
      '5',
      'The app behind this address (default/app:80) is not running yet, or not any more.\n',
    ]);
  });

  it('502 when no pod answers', async () => {
    await serve([await nobody(), await nobody()]);
    expect((await ask()).status).toBe(502);
  });

  it('504 when the pod takes longer than its annotation allows', async () => {
    await serve(
      [await pod(() => undefined)],
      {},
      { 'ingress.flotilla.dev/proxy-read-timeout': '1' },
    );
    expect((await ask()).status).toBe(504);
  });

  it('413 for a body that is larger than its annotation allows, whether its length is said or not', async () => {
    await serve(
      [await pod((asked, response) => void asked.resume().on('end', () => response.end()))],
      {},
      { 'nginx.ingress.kubernetes.io/proxy-body-size': '1k' },
    );
    const body = Buffer.alloc(1025);
    expect((await ask('/', { method: 'POST', body })).status).toBe(413);
    expect((await ask('/', { method: 'POST', body: body.subarray(1) })).status).toBe(200);
    const head = 'POST / HTTP/1.1\r\nHost: app.local\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect(await raw(`${head}401\r\n${'x'.repeat(1025)}\r\n`)).toMatch(/^HTTP\/1.1 413 /);
  });

  for (const path of ['/a/../b', '/a/%2e%2E/b', '/./a', '/a/..', '/a/..;/b'])
    it(`400 for ${path}, which means something else than it says`, async () => {
      const seen: unknown[] = [];
      await serve([
        await pod((asked, response) => {
          seen.push(asked.url);
          response.end();
        }),
      ]);
      const answer = await raw(
        `GET ${path} HTTP/1.1\r\nHost: app.local\r\nConnection: close\r\n\r\n`,
      );
      expect([/^HTTP\/1.1 (\d+)/.exec(answer)?.[1], seen]).toEqual(['400', []]);
    });

  it('400 for two lengths, for a length and chunks, and for a bare line feed in a name', async () => {
    await serve([await pod((_asked, response) => void response.end())]);
    for (const headers of [
      'Content-Length: 1\r\nContent-Length: 2',
      'Content-Length: 1\r\nTransfer-Encoding: chunked',
      'X\nY: z',
    ]) {
      const answer = await raw(`POST / HTTP/1.1\r\nHost: app.local\r\n${headers}\r\n\r\nx`);
      expect(answer).toMatch(/^HTTP\/1.1 400 /);
    }
  });
});

describe('an answer', () => {
  it('that is cut short there is cut short here', async () => {
    await serve([
      await pod((_asked, response) => {
        response.writeHead(200, { 'Content-Length': '100' });
        response.write('half', () => response.socket?.destroy());
      }),
    ]);
    await expect(ask()).rejects.toThrow(/aborted|socket hang up/);
  });

  it('ends at the pod, too, when its client goes', async () => {
    const gone = Promise.withResolvers<void>();
    await serve([
      await pod((_asked, response) => {
        response.write('more to come');
        response.once('close', gone.resolve);
      }),
    ]);
    const socket = connect(front.ports.http ?? 0, '127.0.0.1', () =>
      socket.write('GET / HTTP/1.1\r\nHost: app.local\r\n\r\n'),
    );
    socket.once('data', () => socket.destroy());
    await gone.promise;
  });

  it('is not kept in memory for a client that does not read', async () => {
    let written = 0;
    const stalled = Promise.withResolvers<void>();
    await serve([
      await pod((_asked, response) => {
        const chunk = Buffer.alloc(256 * 1024);
        const more = (): void => {
          // Nobody takes 256 MB: then somewhere there is back-pressure.
          while (written < 1024 && response.write(chunk)) written++;
          const waits = setTimeout(stalled.resolve, 300);
          response.once('drain', () => {
            clearTimeout(waits);
            more();
          });
        };
        more();
      }),
    ]);
    const socket = connect(front.ports.http ?? 0, '127.0.0.1', () => {
      socket.pause();
      socket.write('GET / HTTP/1.1\r\nHost: app.local\r\n\r\n');
    });
    cleanUps.push(() => socket.destroy());
    await stalled.promise;
    expect(written).toBeLessThan(200);
  });
});

describe('a WebSocket', () => {
  const upgrade =
    'GET /ws HTTP/1.1\r\nHost: app.local\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n';

  async function echo(): Promise<Endpoint> {
    const server = createServer();
    server.on('upgrade', (_asked, socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ',
      );
      socket.pipe(socket);
    });
    return listening(server);
  }

  it('is bytes both ways once the pod agrees', async () => {
    await serve([await nobody(), await echo()]);
    const answer = await raw(`${upgrade}early`, 'early');
    expect(answer).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(answer).toMatch(/\r\nUpgrade: websocket\r\n/);
    expect(answer.split('\r\n\r\n')[1]).toBe('hello early');
  });

  it('that the pod refuses is refused with its words', async () => {
    await serve([await pod((_asked, response) => void response.writeHead(403).end('no'))]);
    const answer = await raw(upgrade);
    expect([answer.slice(0, 12), answer.endsWith('no')]).toEqual(['HTTP/1.1 403', true]);
  });

  it('ends on both sides when one breaks', async () => {
    const ended = Promise.withResolvers<void>();
    const server = createServer();
    server.on('upgrade', (_asked, socket) => {
      socket.on('error', () => undefined);
      socket.once('end', () => ended.resolve()).resume();
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
    await serve([await listening(server)]);
    const socket = connect(front.ports.http ?? 0, '127.0.0.1', () => socket.write(upgrade));
    socket.once('data', () => socket.resetAndDestroy());
    await ended.promise;
  });
});

describe('TLS', () => {
  function certified(...hosts: readonly string[]): void {
    const [commonName = ''] = hosts;
    const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
    const { certPem, keyPem } = issueCertificate(
      { commonName, dnsNames: hosts, usages: ['server'], ...validity },
      undefined,
      systemRandom,
    );
    const context = createSecureContext({ cert: certPem, key: keyPem });
    options = { ...options, certificate: (host) => (hosts.includes(host) ? context : undefined) };
  }

  function hello(servername: string): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const port = front.ports.https ?? 0;
      const socket = connectTls({ port, host: '127.0.0.1', servername, rejectUnauthorized: false });
      cleanUps.push(() => socket.destroy());
      socket.once('secureConnect', () => resolve(socket)).once('error', reject);
    });
  }

  it('serves the hosts it has a certificate for, and sends HTTP there where an annotation says so', async () => {
    certified('app.local');
    const endpoint = await pod(
      (asked, response) => void response.end(asked.headers['x-forwarded-proto']),
    );
    await serve([endpoint], {}, { 'ingress.flotilla.dev/ssl-redirect': 'true' });
    const socket = await hello('app.local');
    socket.write('GET / HTTP/1.1\r\nHost: app.local\r\nConnection: close\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*https/);
    const reply = await ask('/a?b');
    expect([reply.status, reply.headers.location]).toEqual([
      308,
      `https://app.local:${front.ports.https}/a?b`,
    ]);
  });

  it('leaves HTTP alone otherwise', async () => {
    certified('app.local');
    const endpoint = await pod((_asked, response) => void response.end());
    await serve([endpoint]);
    const { status, headers } = await ask();
    expect([status, headers['strict-transport-security']]).toEqual([200, undefined]);
  });

  it('refuses other names', async () => {
    certified('app.local');
    await serve([]);
    await expect(hello('other.local')).rejects.toThrow();
  });
});

describe('ports', () => {
  it('are open only while they are wanted', async () => {
    await serve([]);
    const { http } = front.ports;
    await front.open({ http: false, https: false });
    expect([http === undefined, front.ports]).toEqual([
      false,
      { http: undefined, https: undefined },
    ]);
  });

  it('close with a WebSocket open, and end it', async () => {
    const server = createServer();
    server.on('upgrade', (_asked, socket) => {
      socket.on('error', () => undefined).resume();
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
    await serve([await listening(server)]);
    const head = 'GET / HTTP/1.1\r\nHost: app.local\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
    const socket = connect(front.ports.http ?? 0, '127.0.0.1', () => socket.write(head));
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('data', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await front.open({ http: false, https: false });
    await ended;
  });

  it('that another has are an error with the port’s number, and the next try may succeed', async () => {
    const other = createTcp();
    const { port } = await listening(other);
    const second = new Front({ ...options, httpPort: port });
    cleanUps.push(() => second.close());
    await expect(second.open({ http: true, https: false })).rejects.toMatchObject({
      errors: [{ code: 'EADDRINUSE', port }],
    });
    await new Promise((resolve) => other.close(resolve));
    await second.open({ http: true, https: false });
    expect(second.ports.http).toBe(port);
  });
});
