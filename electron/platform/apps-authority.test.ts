// The bounds are checked by whoever has to keep them: a real openssl.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { makeSigningRequest } from './certificate-request-making.ts';
import { parseCertificateRequest } from './certificate-request.ts';
import { AppsAuthority, certificatesIn, permittedDomains } from './apps-authority.ts';
import { issueCertificate, makeKey } from './certificate.ts';

const day = 86_400_000;
const domains = ['home.arpa', 'local'];
const secretPem = makeKey();
let folder: string;
let clock: ManualClock;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-apps-'));
  clock = new ManualClock(Date.parse('2026-12-01T00:00:00Z'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function authority(secret = secretPem): AppsAuthority {
  const file = path.join(folder, 'apps-ca.crt');
  return new AppsAuthority({ file, secretPem: secret, clock, random: systemRandom });
}

async function leafFor(...dnsNames: string[]): Promise<string> {
  const asked = makeSigningRequest({ commonName: 'anything', dnsNames }, makeKey());
  const info = parseCertificateRequest(asked);
  if (info === undefined) throw new Error('not readable');
  return authority().certify(info, await authority().chain(undefined, domains));
}

/** Openssl's verdict of a leaf and its chain, for a client that trusts the root only. */
function verdict(chain: string, host: string): string {
  const [leaf, issuer, root] = certificatesIn(chain).map(String);
  for (const [name, text = ''] of Object.entries({ leaf, issuer, root }))
    writeFileSync(path.join(folder, name), text);
  const at = ['-attime', String(clock.now() / 1000), '-purpose', 'sslserver', '-verify_hostname'];
  const files = ['-CAfile', 'root', '-untrusted', 'issuer', 'leaf'];
  const args = ['verify', '-no-CApath', '-x509_strict', ...at, host, ...files];
  const { stdout, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
  return /error \d+ at \d+ depth lookup: ?(.*)/.exec(stderr)?.[1] ?? stdout.trim();
}

describe('what the apps’ authority signs', () => {
  it.each([
    ['films.local', ['films.local'], 'leaf: OK'],
    ['a.films.home.arpa', ['*.films.home.arpa'], 'leaf: OK'],
    ['bank.com', ['bank.com'], 'permitted subtree violation'],
    ['films.local', ['films.local', 'bank.com'], 'permitted subtree violation'],
    ['films.local.bank.com', ['films.local.bank.com'], 'permitted subtree violation'],
    [
      'api.default.svc.cluster.local',
      ['api.default.svc.cluster.local'],
      'excluded subtree violation',
    ],
  ])('for %s with the names %j: %s', async (host, names, want) => {
    expect(verdict(await leafFor(...names), host)).toBe(want);
  });

  it('is for no address and no further authority', () => {
    const times = { notBeforeMs: clock.now() - day, notAfterMs: clock.now() + day };
    const names = { permitted: domains, excluded: [] };
    const bounds = { ...times, names, pathLength: 0, usages: ['ca', 'server'] } as const;
    const root = issueCertificate({ ...bounds, commonName: 'root' }, undefined, systemRandom);
    const server = { ...times, commonName: 'x', usages: ['server'] } as const;
    const forAddress = { ...server, ipAddresses: ['192.168.1.1'] };
    const leaf = issueCertificate(forAddress, root, systemRandom);
    expect(verdict(leaf.certPem + root.certPem + root.certPem, 'x')).toBe(
      'excluded subtree violation',
    );
    const below = issueCertificate(
      { ...times, commonName: 'below', usages: ['ca'] },
      root,
      systemRandom,
    );
    const under = issueCertificate({ ...server, dnsNames: ['x.local'] }, below, systemRandom);
    expect(verdict(under.certPem + below.certPem + root.certPem, 'x.local')).toBe(
      'path length constraint exceeded',
    );
  });

  it('lasts a year, and says that it is a server', async () => {
    const [leaf] = certificatesIn(await leafFor('films.local'));
    const days = (Date.parse(leaf?.validTo ?? '') - Date.parse(leaf?.validFrom ?? '')) / day;
    expect([days, leaf?.keyUsage, leaf?.subject]).toEqual([
      366,
      ['1.3.6.1.5.5.7.3.1'],
      'CN=Flotilla app',
    ]);
  });
});

describe('whom to trust', () => {
  it('says itself for what', async () => {
    const chain = certificatesIn(await authority().chain(undefined, domains));
    expect(chain.map(permittedDomains)).toEqual([domains, domains]);
    const text = await authority().chain(undefined, domains);
    expect(text).toContain(`# The root, SHA-256: ${chain[1]?.fingerprint256}\n`);
  });

  it('stays the same over starts, and for another member that finds it published', async () => {
    const chain = await authority().chain(undefined, domains);
    expect(await authority().chain(undefined, domains)).toBe(chain);
    expect(await authority().chain('garbage', domains)).toBe(chain);
    rmSync(path.join(folder, 'apps-ca.crt'));
    expect(await authority().chain(chain, domains)).toBe(chain);
    expect(readFileSync(path.join(folder, 'apps-ca.crt'), 'utf8')).toBe(chain);
  });

  it('is made anew for other domains, another cluster, and a year before its end', async () => {
    const chain = await authority().chain(undefined, domains);
    const more = await authority().chain(chain, [...domains, 'home.example.org']);
    expect(more).not.toBe(chain);
    expect(await authority(makeKey()).chain(chain, domains)).not.toBe(chain);
    const again = await authority().chain(chain, domains);
    clock.advance(3240 * day);
    expect(await authority().chain(again, domains)).toBe(again);
    clock.advance(20 * day);
    expect(await authority().chain(again, domains)).not.toBe(again);
  });

  it('is never believed of somebody else', async () => {
    const theirs = await authority(makeKey()).chain(undefined, domains);
    const info = parseCertificateRequest(
      makeSigningRequest({ commonName: 'x', dnsNames: ['x.local'] }, makeKey()),
    )!;
    expect(() => authority().certify(info, theirs)).toThrow('not its own');
    const own = await authority().chain(undefined, domains);
    rmSync(path.join(folder, 'apps-ca.crt'));
    const [issuer] = certificatesIn(own);
    const [, root] = certificatesIn(theirs);
    const seal = own.slice(own.indexOf('#'));
    const mixed = [issuer, root, seal].map(String).join('');
    expect(await authority().chain(mixed, domains)).not.toBe(mixed);
  });
});
