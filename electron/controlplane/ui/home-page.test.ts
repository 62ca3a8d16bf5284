// Two members of one cluster, each with its page for the home's devices, over one store; a device that trusts the home's
// authority and nothing else.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock, rfc3339 } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { configMaps, nodes, secrets } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { appsCaMap } from '#kube/machinery/app-names.ts';
import { AppsAuthority, certificatesIn } from '#platform/apps-authority.ts';
import { makeKey } from '#platform/certificate.ts';
import { startTestApi, type TestApi } from '../../../test/setup/api.ts';
import type { ApiHandler, ApiRequest } from '../apiserver/http.ts';
import { LoopbackTransport } from '../loopback-transport.ts';
import { HomePage } from './home-page.ts';

const caKeyPem = makeKey();
const sessionKey = new Uint8Array(32).fill(9);
let folder: string;
let clock: ManualClock;
let api: TestApi;
let client: RestClient;
let stop: AbortController;
let pages: HomePage[];
let notices: string[];
let seen: ApiRequest[];

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-page-'));
  writeFileSync(path.join(folder, 'index.html'), '<!doctype html>');
  // TLS looks at the real calendar.
  clock = new ManualClock(Date.now());
  api = await startTestApi({ clock });
  stop = new AbortController();
  const user = { name: 'test', groups: ['system:masters'] };
  const transport = new LoopbackTransport({ handler: toApi, user });
  client = new RestClient({ transport, clock, random: systemRandom });
  [pages, notices, seen] = [[], [], []];
});
afterEach(async () => {
  stop.abort();
  for (const page of pages) await page.stop();
  await api.stop();
  rmSync(folder, { recursive: true });
});

const toApi: ApiHandler = async ({ method, path: url, query, headers, readBody }) =>
  api.raw(method, `${url}?${query.toString()}`, { headers, body: await readBody() });

function authority(): AppsAuthority {
  const file = path.join(folder, 'apps-ca.crt');
  return new AppsAuthority({ file, secretPem: caKeyPem, clock, random: systemRandom });
}

/** As the controller does it. Resolves with the root. */
async function publishAuthority(domains = ['local']): Promise<string> {
  const { key, ...metadata } = appsCaMap;
  const data = { [key]: await authority().chain(undefined, domains) };
  const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data } as const;
  await client.create(configMaps, map).catch(() => client.patch(configMaps, metadata, { data }));
  return String(certificatesIn(data[key] ?? '').at(-1));
}

function startMember(port = 0): HomePage {
  const informers = new InformerFactory({
    client,
    clock,
    random: systemRandom,
    logger: silentLogger,
  });
  const page = new HomePage({
    handler: async (request) => {
      seen.push(request);
      return { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' };
    },
    directory: folder,
    client,
    informers,
    authority: authority(),
    sessionKey,
    host: '127.0.0.1',
    port,
    addresses: () => ['192.168.1.7'],
    clock,
    random: systemRandom,
    logger: silentLogger,
    onNotice: (sentence) => notices.push(sentence),
    signal: stop.signal,
  });
  pages.push(page);
  page.start();
  informers.start(stop.signal);
  return page;
}

async function portOf(page: HomePage): Promise<number> {
  return vi.waitUntil(() => page.port);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** What a device with the home's root asks; it resolves every name to this machine. */
function ask(
  port: number,
  asked: {
    path: string;
    method?: string;
    ca: string;
    headers?: Record<string, string>;
    body?: string;
    host?: string;
  },
): Promise<Answer> {
  const { path: url, method = 'GET', ca, headers = {}, body, host = 'flotilla.local' } = asked;
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: '127.0.0.1',
        port,
        path: url,
        method,
        ca,
        servername: 'flotilla.local',
        headers: { host: `${host}:${port}`, ...headers },
        agent: false,
      },
      (answer) => {
        answer.resume();
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function tokenOf(page: HomePage): Promise<string> {
  const [url = ''] = (await page.link())?.urls ?? [];
  return /#token=(.*)$/.exec(url)?.[1] ?? '';
}

async function signIn(port: number, ca: string, token: string): Promise<Answer> {
  const headers = { origin: `https://flotilla.local:${port}` };
  const body = JSON.stringify({ token });
  return ask(port, { path: '/session', method: 'POST', ca, headers, body });
}

function cookieOf({ headers }: Answer): string {
  return headers['set-cookie']?.[0]?.split(';')[0] ?? '';
}

async function statusWith(port: number, ca: string, cookie: string): Promise<number> {
  return (await ask(port, { path: '/api/v1/pods', ca, headers: { cookie } })).status;
}

describe('the page for other devices', () => {
  it('listens once the home has an authority, with a certificate of it', async () => {
    const page = startMember();
    expect(await page.link()).toBeUndefined();
    const ca = await publishAuthority();
    const port = await portOf(page);
    expect((await ask(port, { path: '/', ca })).status).toBe(200);
    const other = new AppsAuthority({
      file: path.join(folder, 'other.crt'),
      secretPem: makeKey(),
      clock,
      random: systemRandom,
    });
    const stranger = String(certificatesIn(await other.chain(undefined, ['local'])).at(-1));
    await expect(ask(port, { path: '/', ca: stranger })).rejects.toThrow(/certificate|self-signed/);
  });

  it('gets another certificate when the authority is another', async () => {
    const page = startMember();
    await publishAuthority();
    const port = await portOf(page);
    const ca = await publishAuthority(['lan', 'local']);
    await vi.waitUntil(() => ask(port, { path: '/', ca }).catch(() => undefined));
  });

  it('is named by its link: by what the home is told, then by address', async () => {
    const page = startMember();
    await publishAuthority();
    const port = await portOf(page);
    const hostsNow = async (): Promise<string[]> =>
      ((await page.link())?.urls ?? []).map((url) => new URL(url).host);
    expect(await hostsNow()).toEqual([`192.168.1.7:${port}`]);
    const annotations = {
      'flotilla.dev/lan-names': 'films.local,flotilla-2.local',
      'flotilla.dev/page-port': '7481',
    };
    const metadata = { name: 'pi', annotations };
    await client.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata, spec: {} });
    expect(await hostsNow()).toEqual(['flotilla-2.local:7481', `192.168.1.7:${port}`]);
  });

  it('has links that are over in ten minutes', async () => {
    const page = startMember();
    await publishAuthority();
    await portOf(page);
    expect((await page.link())?.expires).toBe(rfc3339(clock.now() + 600_000));
  });

  it('says when its port is taken, and leaves the rest running', async () => {
    await publishAuthority();
    const port = await portOf(startMember());
    const second = startMember(port);
    await vi.waitUntil(() => notices.length > 0);
    expect(notices[0]).toMatch(/Other devices can't open .* port \d+ on 127.0.0.1 is in use/);
    expect(await second.link()).toBeUndefined();
  });
});

describe('a link', () => {
  it('opens one session, with any member, that every member takes', async () => {
    const [first, second] = [startMember(), startMember()];
    const ca = await publishAuthority();
    const [one, two] = [await portOf(first), await portOf(second)];
    const token = await tokenOf(first);
    const answer = await signIn(two, ca, token);
    expect(answer.headers['set-cookie']?.[0]).toMatch(
      /^__Host-flotilla-[\w-]{8}=[^;]+; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=2592000$/,
    );
    const cookie = cookieOf(answer);
    expect([await statusWith(one, ca, cookie), await statusWith(two, ca, cookie)]).toEqual([
      200, 200,
    ]);
    expect(seen.at(-1)?.user?.groups).toContain('system:masters');
    expect((await signIn(one, ca, token)).status).toBe(401);
  });

  it('opens one session for two who come at the same time', async () => {
    const [first, second] = [startMember(), startMember()];
    const ca = await publishAuthority();
    const ports = [await portOf(first), await portOf(second)];
    const token = await tokenOf(first);
    const answers = await Promise.all(
      [...ports, ...ports].map(async (port) => (await signIn(port, ca, token)).status),
    );
    expect(answers.toSorted((a, b) => a - b)).toEqual([204, 401, 401, 401]);
  });

  it('is over after ten minutes, and cleared away by the next', async () => {
    const page = startMember();
    const ca = await publishAuthority();
    const port = await portOf(page);
    const token = await tokenOf(page);
    clock.advance(600_000);
    expect((await signIn(port, ca, token)).status).toBe(401);
    await page.link();
    const { items } = await client.list(secrets, { namespace: 'kube-system' });
    expect(items).toHaveLength(1);
  });

  it('lies in the store as a hash, and is not opened by it, a part, or another secret', async () => {
    const page = startMember();
    const ca = await publishAuthority();
    const port = await portOf(page);
    const token = await tokenOf(page);
    const [id = '', secret = ''] = token.split('.');
    const { items } = await client.list(secrets, { namespace: 'kube-system' });
    const kept = JSON.stringify(items);
    expect([kept.includes(secret), kept.includes(btoa(secret))]).toEqual([false, false]);
    const hash = Buffer.from(items[0]?.data?.['hash'] ?? '', 'base64').toString('base64url');
    const wrong = ['', id, `${id}.`, `${id}.${hash}`, `${id}.${'A'.repeat(43)}`, `../${token}`];
    for (const one of wrong) expect((await signIn(port, ca, one)).status).toBe(401);
    expect((await signIn(port, ca, token)).status).toBe(204);
  });
});

describe('sessions of other devices', () => {
  it('end everywhere at once, and later ones are good', async () => {
    const [first, second] = [startMember(), startMember()];
    const ca = await publishAuthority();
    const [one, two] = [await portOf(first), await portOf(second)];
    const cookie = cookieOf(await signIn(one, ca, await tokenOf(first)));
    for (let times = 0; times < 2; times++) await first.endSessions();
    for (const port of [one, two])
      await vi.waitUntil(async () => (await statusWith(port, ca, cookie)) === 401);
    clock.advance(2000);
    const later = cookieOf(await signIn(two, ca, await tokenOf(first)));
    expect(await statusWith(one, ca, later)).toBe(200);
  });

  it.each([
    ['evil.example', undefined, 421],
    ['flotilla.local.evil.example', undefined, 421],
    ['192.168.1.7', undefined, 200],
    ['flotilla-2.local', undefined, 200],
    ['flotilla.local', 'https://evil.example', 403],
    ['flotilla.local', 'http://flotilla.local', 403],
  ])('are taken at %s from %s: %i', async (host, origin, status) => {
    const page = startMember();
    const ca = await publishAuthority();
    const port = await portOf(page);
    const cookie = cookieOf(await signIn(port, ca, await tokenOf(page)));
    const headers = { cookie, ...(origin !== undefined && { origin }) };
    expect((await ask(port, { path: '/api/v1/pods', ca, host, headers })).status).toBe(status);
  });
});
