import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { AppsAuthority, certificatesIn } from '#platform/apps-authority.ts';
import { parseCertificateRequest } from '#platform/certificate-request.ts';
import { makeKey } from '#platform/certificate.ts';
import { AppCertificates } from './app-certificates.ts';

const day = 86_400_000;
const secretPem = makeKey();
let root: string;
let clock: ManualClock;
let domains: string[];
let refused: string[];
let isAway: boolean;
let asked: string[];
let stop: AbortController;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-app-certificates-'));
  clock = new ManualClock();
  [domains, refused, isAway, asked] = [['local'], [], false, []];
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(root, { recursive: true });
});

const folder = (): string => path.join(root, 'app-certificates');

async function signed(request: CertificateSigningRequest): Promise<CertificateSigningRequest> {
  const info = parseCertificateRequest(atob(request.spec.request));
  const [host = ''] = info?.dnsNames ?? [];
  asked.push(host);
  if (isAway || info === undefined) throw new Error('nobody answers');
  const metadata = { name: 'csr' };
  if (refused.includes(host))
    return { ...request, metadata, status: { conditions: [{ type: 'Denied', status: 'True' }] } };
  const authority = new AppsAuthority({
    file: path.join(root, 'ca.crt'),
    secretPem,
    clock,
    random: systemRandom,
  });
  const chain = await authority.chain(undefined, domains);
  return { ...request, metadata, status: { certificate: btoa(authority.certify(info, chain)) } };
}

async function start(): Promise<AppCertificates> {
  let kept: CertificateSigningRequest | undefined;
  const client = {
    async create(_: unknown, object: CertificateSigningRequest) {
      kept = await signed(object);
      return kept;
    },
    get: () => Promise.resolve(kept),
  };
  const made = new AppCertificates({
    folder: folder(),
    nodeName: 'pi',
    client: client as never,
    clock,
    logger: silentLogger,
    onChange: () => undefined,
    signal: stop.signal,
  });
  await made.load();
  return made;
}

/** What runs meanwhile are files and keys: turns of the loop, no time. `_what` is for who reads. */
async function eventually(isSo: () => boolean, _what: string): Promise<void> {
  const { signal } = stop;
  while (!isSo() && !signal.aborted) await new Promise((resolve) => setImmediate(resolve));
}

const has = (all: AppCertificates, ...hosts: string[]): boolean =>
  hosts.every((host) => all.find(host) !== undefined);

describe('the certificates of apps', () => {
  it('are asked for once each, and kept where only the agent reads', async () => {
    const all = await start();
    await all.want(['films.local', '*.music.local']);
    await eventually(() => has(all, 'films.local', 'a.music.local'), 'both are there');
    const files = (): string[] => readdirSync(folder()).filter((name) => name.endsWith('.pem'));
    expect([asked, all.find('other.local'), all.find('music.local')]).toEqual([
      ['films.local', '*.music.local'],
      undefined,
      undefined,
    ]);
    const modes = files().map((name) => statSync(path.join(folder(), name)).mode & 0o777);
    expect([modes, statSync(folder()).mode & 0o777]).toEqual([[0o600, 0o600], 0o700]);
    const [, , ca] = certificatesIn(readFileSync(path.join(folder(), files()[0] ?? ''), 'utf8'));
    expect(all.rootPem).toBe(ca?.toString());
  });

  it('serve on after a start without anybody who signs, but for files that are damaged', async () => {
    const before = await start();
    await before.want(['films.local', 'music.local']);
    await eventually(() => has(before, 'films.local', 'music.local'), 'both are there');
    writeFileSync(path.join(folder(), 'odd.pem'), 'garbage');
    isAway = true;
    const again = await start();
    expect([has(again, 'films.local', 'music.local'), again.rootPem]).toEqual([
      true,
      before.rootPem,
    ]);
    await again.want(['films.local', 'music.local']);
    expect(asked).toHaveLength(2);
  });

  it('are renewed two months before their end, and served to the end meanwhile', async () => {
    const all = await start();
    await all.want(['films.local']);
    await eventually(() => has(all, 'films.local'), 'it is there');
    const first = all.find('films.local');
    clock.advance(304 * day);
    isAway = true;
    clock.advance(2 * day);
    await eventually(() => asked.length > 1, 'it is asked for');
    expect(all.find('films.local')).toBe(first);
    isAway = false;
    await eventually(() => {
      clock.advance(3_600_000);
      return all.find('films.local') !== first;
    }, 'it is renewed');
  });

  it('come for the others when one is refused, and under one root for all', async () => {
    refused = ['a.local'];
    const all = await start();
    await all.want(['a.local', 'films.local']);
    await eventually(() => has(all, 'films.local'), 'the other is there');
    const old = all.rootPem;
    clock.advance(day);
    [refused, domains] = [[], ['lan', 'local']];
    await eventually(() => {
      clock.advance(1_000);
      return has(all, 'a.local');
    }, 'it is there');
    await eventually(() => asked.filter((host) => host === 'films.local').length === 2, 'again');
    expect(all.rootPem).not.toBe(old);
  });

  it('of hosts that are gone are gone', async () => {
    const all = await start();
    await all.want(['films.local']);
    await eventually(() => has(all, 'films.local'), 'it is there');
    await all.want([]);
    expect([has(all, 'films.local'), readdirSync(folder())]).toEqual([false, []]);
  });
});
