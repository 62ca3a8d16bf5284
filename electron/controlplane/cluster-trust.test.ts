import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { FrontProxy, trustData } from './cluster-trust.ts';

const proxyCas = 'requestheader-client-ca-file';
const clock = new ManualClock();
let directory: string;
let one: FrontProxy;
let other: FrontProxy;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-trust-'));
  const open = (name: string, seed: number) =>
    FrontProxy.open({ directory: join(directory, name), clock, random: seededRandom(seed) });
  one = await open('one', 1);
  other = await open('other', 2);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function trustOf(proxy: FrontProxy, current: Record<string, string> = {}, nowMs = clock.now()) {
  return trustData(current, { clientCaPem: 'the CA', frontProxyCaPem: proxy.caPem, nowMs });
}

describe('whom servers behind the API server believe', () => {
  it('is who has the name, by a CA that is for nothing else', () => {
    const { caPem, client } = one;
    const certificate = new X509Certificate(client.certPem);
    expect(certificate.checkIssued(new X509Certificate(caPem))).toBe(true);
    expect(certificate.subject).toBe('CN=front-proxy-client');
    expect(trustOf(one)).toEqual({
      'client-ca-file': 'the CA',
      [proxyCas]: `${caPem.trim()}\n`,
      'requestheader-allowed-names': '["front-proxy-client"]',
      'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
      'requestheader-group-headers': '["X-Remote-Group"]',
      'requestheader-uid-headers': '["X-Remote-Uid"]',
      'requestheader-username-headers': '["X-Remote-User"]',
    });
  });
  it('is every member of the control plane, each once', () => {
    const both = trustOf(other, trustOf(one));
    expect(both[proxyCas]).toBe(`${one.caPem.trim()}\n${other.caPem.trim()}\n`);
    expect(trustOf(one, both)).toEqual(both);
  });
  it('is nobody whose CA is expired, or is none', () => {
    const yearsMs = 20 * 365 * 86_400_000;
    const current = {
      [proxyCas]: `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
    };
    expect(trustOf(one, current)[proxyCas]).toBe(`${one.caPem.trim()}\n`);
    const later = trustOf(other, trustOf(one), clock.now() + yearsMs);
    expect(later[proxyCas]).toBe(`${other.caPem.trim()}\n`);
  });
});
