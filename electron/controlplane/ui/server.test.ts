import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { ApiHandler, ApiRequest } from '../apiserver/http.ts';
import { loopbackDoor } from './door.ts';
import { UiServer } from './server.ts';
import { UiSessions } from './sessions.ts';
import { PrintedTokens } from './tokens.ts';

const key = new Uint8Array(32).fill(7);
let directory: string;
let sessions: UiSessions;
let tokens: PrintedTokens;
let sessionClock: ManualClock;
let server: UiServer;
let port: number;
let seen: ApiRequest | undefined;
let handler: ApiHandler;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-ui-'));
  directory = join(folder, 'renderer');
  await mkdir(join(directory, 'assets'), { recursive: true });
  await writeFile(join(directory, 'index.html'), '<!doctype html>');
  await writeFile(join(directory, 'assets/app-1a2b.js'), 'export {}');
  await writeFile(join(folder, 'secret.txt'), 'secret');
});
afterAll(() => rm(join(directory, '..'), { recursive: true, force: true }));

beforeEach(async () => {
  seen = undefined;
  handler = async (request) => {
    seen = request;
    return { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' };
  };
  sessionClock = new ManualClock();
  sessions = new UiSessions({ key, clock: sessionClock, random: systemRandom });
  tokens = new PrintedTokens(systemRandom);
  server = new UiServer({
    handler: (request) => handler(request),
    door: loopbackDoor,
    sessions,
    tokens,
    directory,
    clock: systemClock,
    logger: silentLogger,
  });
  port = await server.start(0);
});
afterEach(() => server.stop());

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function send(
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: '127.0.0.1', port, path, method, headers, agent: false },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part));
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function origin(): string {
  return `http://127.0.0.1:${port}`;
}

function signIn(token: string, headers: Record<string, string> = {}): Promise<Answer> {
  const body = JSON.stringify({ token });
  return send('/session', { method: 'POST', headers: { origin: origin(), ...headers }, body });
}

async function cookie(): Promise<string> {
  const { headers } = await signIn(tokens.mint());
  return headers['set-cookie']?.[0]?.split(';')[0] ?? '';
}

describe('a session', () => {
  it('is traded for a one-time token, as a cookie scripts and other sites never see', async () => {
    const answer = await signIn(tokens.mint());
    expect(answer.status).toBe(204);
    expect(answer.headers['set-cookie']?.[0]).toMatch(
      /^flotilla-[\w-]{8}=[^;]+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=2592000$/,
    );
  });

  it('costs its token: a second trade is 401, but for who has the session already', async () => {
    const token = tokens.mint();
    const first = await signIn(token);
    const mine = first.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
    expect((await signIn(token)).status).toBe(401);
    expect((await signIn(token, { cookie: mine })).status).toBe(204);
  });

  it('survives a restart of the control plane', async () => {
    const mine = await cookie();
    const restarted = new UiSessions({ key, clock: sessionClock, random: systemRandom });
    expect(restarted.isSignedIn(mine)).toBe(true);
  });

  it('does not survive a change of key, forgery, or a month', async () => {
    const mine = await cookie();
    const other = new UiSessions({
      key: new Uint8Array(32).fill(8),
      clock: sessionClock,
      random: systemRandom,
    });
    const [name = '', value = ''] = mine.split('=');
    const [id = '', expiresAt = '', signature = ''] = value.split('.');
    const longer = `${name}=${id}.${Number(expiresAt) + 1}.${signature}`;
    const renamed = `${other.cookieName}=${value}`;
    expect([sessions.isSignedIn(longer), other.isSignedIn(renamed)]).toEqual([false, false]);
    expect(sessions.isSignedIn(mine)).toBe(true);
    sessionClock.advance(31 * 86_400_000);
    expect(sessions.isSignedIn(mine)).toBe(false);
  });

  it('ends in the browser by DELETE', async () => {
    const answer = await send('/session', { method: 'DELETE', headers: { origin: origin() } });
    expect(answer.headers['set-cookie']?.[0]).toContain('Max-Age=0');
  });

  const malformed = [
    '',
    'x',
    'null',
    '[]',
    '{"token": 5}',
    JSON.stringify({ token: 'x'.repeat(9000) }),
  ];
  for (const body of malformed)
    it(`is not opened by ${body.slice(0, 16) || 'nothing'}`, async () => {
      const answer = await send('/session', {
        method: 'POST',
        headers: { origin: origin() },
        body,
      });
      expect(answer.status).toBe(400);
    });
});

describe('the API under the page', () => {
  it('is 401 without a session, as a Status', async () => {
    const answer = await send('/api/v1/pods');
    expect([answer.status, JSON.parse(answer.text).reason]).toEqual([401, 'Unauthorized']);
    expect(seen).toBeUndefined();
  });

  it('is answered as the UI user with one, and never sees the cookie', async () => {
    const answer = await send('/apis/apps/v1/deployments?limit=5', {
      headers: { cookie: await cookie() },
    });
    expect([answer.status, seen?.user, seen?.headers['cookie'], seen?.query.get('limit')]).toEqual([
      200,
      { name: 'flotilla:ui', groups: ['system:masters', 'system:authenticated'] },
      undefined,
      '5',
    ]);
  });

  const refused: readonly {
    readonly name: string;
    readonly method?: string;
    readonly headers: (own: string) => Record<string, string>;
    readonly status: number;
  }[] = [
    {
      name: 'another host name (DNS rebinding)',
      headers: () => ({ host: 'evil.example' }),
      status: 421,
    },
    { name: 'no Origin on a write', method: 'POST', headers: () => ({}), status: 403 },
    {
      name: 'the Origin of another port',
      method: 'DELETE',
      headers: () => ({ origin: 'http://127.0.0.1:1' }),
      status: 403,
    },
    {
      name: 'a foreign Origin on a read',
      headers: () => ({ origin: 'http://evil.example' }),
      status: 403,
    },
    { name: 'an opaque Origin', method: 'POST', headers: () => ({ origin: 'null' }), status: 403 },
    { name: 'another site', headers: () => ({ 'sec-fetch-site': 'cross-site' }), status: 403 },
    {
      name: 'another port of this host',
      headers: () => ({ 'sec-fetch-site': 'same-site' }),
      status: 403,
    },
  ];
  for (const { name, method = 'GET', headers, status } of refused)
    it(`refuses ${name}`, async () => {
      const answer = await send('/api/v1/pods', {
        method,
        headers: { cookie: await cookie(), ...headers(origin()) },
      });
      expect([answer.status, seen]).toEqual([status, undefined]);
    });

  it('tells who keeps the state, and makes no invitations', async () => {
    const headers = { cookie: await cookie(), origin: origin() };
    const path = '/flotilla/members';
    expect((await send(path, { headers })).status).toBe(200);
    expect((await send(path)).status).toBe(401);
    seen = undefined;
    for (const [method, target] of [
      ['POST', path],
      ['DELETE', `${path}/pi`],
      ['GET', '/flotilla/backup'],
    ] as const)
      await send(target, { method, headers });
    expect(seen).toBeUndefined();
  });

  it('takes writes from its own page, also through a forwarded port', async () => {
    const own = await cookie();
    const headers = { cookie: own, host: 'localhost:9999', origin: 'http://localhost:9999' };
    const answer = await send('/api/v1/pods', { method: 'POST', headers, body: '{}' });
    expect(answer.status).toBe(200);
  });
});

describe('WebSockets under the page', () => {
  function open(headers: Record<string, string>): Promise<string> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/v1/pods?watch=true`, { headers });
    return new Promise((resolve) => {
      let text = '';
      socket.on('message', (data: Buffer) => (text += data.toString()));
      socket.on('close', (code) => resolve(`${text} ${code}`));
      socket.on('unexpected-response', (_request, answer) => {
        answer.resume();
        resolve(String(answer.statusCode));
      });
      socket.on('error', () => undefined);
    });
  }

  beforeEach(() => {
    handler = async () => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: (async function* () {
        yield 'event';
      })(),
    });
  });

  it('need the session and the page as their origin', async () => {
    const own = await cookie();
    expect(await open({ cookie: own, origin: origin() })).toBe('event 1000');
    expect(await open({ origin: origin() })).toBe('401');
    expect(await open({ cookie: own })).toBe('403');
    expect(await open({ cookie: own, origin: 'http://evil.example' })).toBe('403');
    expect(await open({ cookie: own, origin: origin(), host: 'evil.example' })).toBe('403');
  });
});

describe('the page', () => {
  it('comes with a policy that runs and loads nothing foreign', async () => {
    const { headers, text } = await send('/');
    expect(text).toBe('<!doctype html>');
    expect(headers['content-security-policy']).toBe(
      `default-src 'self'; connect-src 'self' ws://127.0.0.1:${port}; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(headers['x-content-type-options']).toBe('nosniff');
  });

  it('answers its own routes with itself, and missing files with 404', async () => {
    const statuses = [];
    for (const path of ['/apps/default/web', '/missing.js', '/assets/', '/%ff'])
      statuses.push([(await send(path)).status, path]);
    expect(statuses).toEqual([
      [200, '/apps/default/web'],
      [404, '/missing.js'],
      [200, '/assets/'],
      [404, '/%ff'],
    ]);
  });

  it('keeps hashed files for good, and checks the page each time', async () => {
    const page = await send('/');
    const script = await send('/assets/app-1a2b.js');
    expect([page.headers['cache-control'], script.headers['cache-control']]).toEqual([
      'no-cache',
      'public, max-age=31536000, immutable',
    ]);
    const again = await send('/', { headers: { 'if-none-match': page.headers.etag ?? '' } });
    expect(again.status).toBe(304);
  });

  const outside = [
    '/../secret.txt',
    '/..%2fsecret.txt',
    '/assets/../../secret.txt',
    '/%2e%2e/secret.txt',
  ];
  for (const path of outside)
    it(`never leads out of its folder: ${path}`, async () => {
      const answer = await send(path);
      expect([answer.status, answer.text.includes('secret')]).toEqual([404, false]);
    });
});

describe('what the API answers', () => {
  it('can be no page with a script: a node may answer nodes/proxy with any type', async () => {
    handler = async () => ({
      status: 200,
      headers: { 'content-type': 'text/html', 'content-security-policy': 'default-src *' },
      body: '<script src="/api/v1/nodes/evil/proxy/x.js"></script>',
    });
    const mine = await cookie();
    const { headers } = await send('/api/v1/nodes/evil/proxy/', { headers: { cookie: mine } });
    expect([headers['content-security-policy'], headers['x-content-type-options']]).toEqual([
      "default-src 'none'; frame-ancestors 'none'; sandbox",
      'nosniff',
    ]);
  });
});
