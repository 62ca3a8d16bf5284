// HTTP/2 toward clients, by Node's own client of it, on sockets of loopback.
import { createServer, type RequestListener } from 'node:http';
import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate } from '#platform/certificate.ts';
import { Front } from './front.ts';
import { settingsOf } from '#kube/machinery/ingress-settings.ts';

const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
const pair = issueCertificate(
  { commonName: 'app', dnsNames: ['app.local'], usages: ['server'], ...validity },
  undefined,
  systemRandom,
);
const context = createSecureContext({ cert: pair.certPem, key: pair.keyPem });
const cleanUps: (() => unknown)[] = [];
let front: Front;
beforeEach(() => {
  front = new Front({
    address: '127.0.0.1',
    httpPort: 0,
    httpsPort: 0,
    certificate: () => context,
    awaitsCertificate: () => false,
    trustedRoot: () => undefined,
    clock: systemClock,
  });
  cleanUps.push(() => front.close());
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

async function serve(listener: RequestListener, annotations = {}) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => server.close().closeAllConnections());
  const { settings } = settingsOf(annotations);
  const endpoints = [{ address: '127.0.0.1', port: (server.address() as AddressInfo).port }];
  const of = { path: '/', isExact: false, owner: 'default/app', backend: 'default/app:80' };
  const route = { ...of, endpoints, runsOn: [], hasClientAffinity: false, settings };
  const hosts = new Map([['app.local', [route]]]);
  front.use({ hosts, fallback: undefined, tls: [] });
  await front.open({ http: false, https: true });
  return server;
}

function session(): ClientHttp2Session {
  const made = connect(`https://app.local:${front.ports.https}`, {
    ca: pair.certPem,
    servername: 'app.local',
    lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }] as never),
  });
  cleanUps.push(() => made.destroy());
  return made.on('error', () => undefined);
}

async function ask(by: ClientHttp2Session, headers: Record<string, string>, body?: string) {
  const stream = by.request(headers, { endStream: body === undefined });
  const answered = new Promise<IncomingHttpHeaders>((resolve) => stream.once('response', resolve));
  if (body !== undefined) stream.end(body);
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += String(chunk);
  return { headers: await answered, text };
}

it('many requests of one connection reach the pod, with what they carry', async () => {
  const seen: unknown[] = [];
  await serve((asked, response) => {
    let body = '';
    asked.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    asked.on('end', () => {
      const { host, cookie, 'x-forwarded-proto': proto, 'x-forwarded-host': name } = asked.headers;
      seen.push([asked.method, asked.url, host?.split(':')[0], cookie, proto, name, body]);
      response.writeHead(201, { 'Set-Cookie': ['a=1', 'b=2'], Connection: 'close' });
      response.end('made');
    });
  });
  const by = session();
  const head = { ':path': '/a?b', ':method': 'POST', cookie: 'x=1; y=2' };
  const [first] = await Promise.all([ask(by, head, 'body'), ask(by, { ':path': '/c' })]);
  const { headers, text } = first;
  expect([headers[':status'], headers['set-cookie'], headers.connection, text]).toEqual([
    201,
    ['a=1', 'b=2'],
    undefined,
    'made',
  ]);
  const host = `app.local:${front.ports.https}`;
  const sorted = seen.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  expect(sorted).toEqual([
    ['GET', '/c', 'app.local', undefined, 'https', host, ''],
    ['POST', '/a?b', 'app.local', 'x=1; y=2', 'https', host, 'body'],
  ]);
});

it('a body is bounded, a host without an app and a lost pod are told', async () => {
  const server = await serve((asked) => asked.socket.destroy(), {
    'ingress.flotilla.dev/proxy-body-size': '3',
  });
  const by = session();
  const status = async (more: Record<string, string>, body?: string) =>
    (await ask(by, { ':path': '/', ...more }, body)).headers[':status'];
  expect([
    await status({ ':method': 'POST' }, 'four'),
    await status({ ':authority': 'other.local' }),
    await status({ ':path': '/a/../b' }),
    await status({}),
  ]).toEqual([413, 404, 400, 502]);
  server.close();
});

it('what the client takes back, the pod no longer works on', async () => {
  const gone = Promise.withResolvers<void>();
  await serve((asked, response) => {
    asked.once('close', () => gone.resolve());
    response.write('begin');
  });
  const stream = session()
    .request({ ':path': '/' })
    .on('error', () => undefined);
  await new Promise((resolve) => stream.once('data', resolve));
  stream.close(constants.NGHTTP2_CANCEL);
  await gone.promise;
});

it('an answer that breaks off is not taken for the whole', async () => {
  await serve((asked, response) => {
    response.writeHead(200, { 'Content-Length': 100 });
    response.write('part', () => asked.socket.destroy());
  });
  await expect(ask(session(), { ':path': '/' })).rejects.toThrow('NGHTTP2_INTERNAL_ERROR');
});

it('a connection that takes back request after request is ended, and others go on', async () => {
  await serve((_asked, response) => void response.end('ok'));
  const hostile = session();
  const ended = new Promise((resolve) => hostile.once('close', resolve));
  let count = 0;
  const flood = (): void => {
    if (hostile.destroyed) return;
    if (count > 5_000) return hostile.destroy();
    const streams = Array.from({ length: 50 }, () =>
      hostile.request({ ':path': '/' }).on('error', () => undefined),
    );
    count += streams.length;
    // Taken back at once they would never be sent.
    setImmediate(() => {
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      setImmediate(flood);
    });
  };
  hostile.once('connect', flood);
  await ended;
  expect(count).toBeLessThan(5_000);
  expect((await ask(session(), { ':path': '/' })).text).toBe('ok');
});

it('who knows no HTTP/2 is served, WebSockets too, and ports close under all of them', async () => {
  const server = await serve((_asked, response) => void response.end('old'));
  server.on('upgrade', (_asked, socket) => {
    socket.on('error', () => undefined).resume();
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
  });
  const by = session();
  await ask(by, { ':path': '/' });
  const port = front.ports.https ?? 0;
  const options = { port, host: '127.0.0.1', servername: 'app.local', ca: pair.certPem };
  const socket = connectTls({ ...options, ALPNProtocols: ['http/1.1'] });
  socket.on('error', () => undefined).setEncoding('latin1');
  socket.write('GET / HTTP/1.1\r\nHost: app.local\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
  const answer = await new Promise<string>((resolve) =>
    socket.once('data', (data: string) => resolve(data)),
  );
  expect(answer).toMatch(/^HTTP\/1.1 101 /);
  const ends = Promise.all(
    [by, socket].map((one) => new Promise((done) => one.once('close', done))),
  );
  await front.open({ http: false, https: false });
  await ends;
});
