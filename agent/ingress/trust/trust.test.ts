import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate } from '#platform/certificate.ts';
import { isTrustPath, trustPath } from './paths.ts';
import { trustAnswer } from './trust.ts';

const { certPem } = issueCertificate(
  {
    commonName: 'Flotilla apps 12ab',
    usages: ['ca'],
    names: { permitted: ['home.arpa', 'local'], excluded: [] },
    notBeforeMs: 0,
    notAfterMs: Date.parse('2036-11-27T00:00:00Z'),
  },
  undefined,
  systemRandom,
);
const root = new X509Certificate(certPem);

function get(file: string, host = 'films.local', userAgent = '') {
  return trustAnswer(certPem, { path: `${trustPath}${file}`, host, userAgent });
}

describe('the page of trust', () => {
  it('says for what, until when, and by which fingerprint', () => {
    const page = String(get('')?.body);
    const printed = /class="print"[^>]*>(.*?)<\/p>/.exec(page)?.[1]?.replaceAll(/<[^>]+>|\s/g, '');
    expect(printed).toBe(root.fingerprint256.replaceAll(':', ''));
    expect(page).toContain('<b>.home.arpa</b> and <b>.local</b>');
    expect(page).toContain('<time>2036-11-27</time>');
    expect(page).not.toMatch(/<script|https?:\/\/(?!films|www\.w3)/);
  });

  it.each([
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)', 'iPhone and iPad'],
    ['Mozilla/5.0 (Linux; Android 15; Pixel 9)', 'Android'],
    ['Mozilla/5.0 (Windows NT 10.0; Win64; x64)', 'Windows'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)', 'Mac'],
    ['curl/8', 'Linux'],
  ])('to %s begins with %s, and folds the others', (userAgent, name) => {
    const page = String(get('', 'films.local', userAgent)?.body);
    expect(page.match(/<section class="card"><h2>(.*?)<\/h2>/)?.[1]).toBe(name);
    expect(page.match(/<details>/g)).toHaveLength(4);
    expect(page).not.toContain(`<summary>${name}</summary>`);
  });

  it('shows its address as it was asked for, and nothing that is none', () => {
    expect(String(get('', '192.168.1.7:8080')?.body)).toContain(
      `http://192.168.1.7:8080${trustPath}<`,
    );
    const odd = String(get('', '"><b>x')?.body);
    expect([odd.includes('class="card qr"'), odd.includes('<b>x')]).toEqual([false, false]);
  });
});

describe('its files', () => {
  it('are the certificate', () => {
    expect(get('/flotilla-apps.crt')?.body).toEqual(root.raw);
    expect(get('/flotilla-apps.pem')?.body).toBe(certPem);
    const profile = String(get('/flotilla-apps.mobileconfig')?.body);
    const content = /<data>(.*?)<\/data>/.exec(profile)?.[1] ?? '';
    expect(Buffer.from(content, 'base64')).toEqual(root.raw);
    expect(profile).toContain('<string>Flotilla apps 12ab</string>');
    expect(
      profile.match(/<string>[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}<\/string>/g),
    ).toHaveLength(2);
    expect(String(get('/flotilla-apps.mobileconfig')?.body)).toBe(profile);
  });

  it('are those and no others', () => {
    expect([get('/'), get('/ca.key'), get('/flotilla-apps.crt/')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect([trustPath, `${trustPath}/x`, `${trustPath}ed`, '/'].map(isTrustPath)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});
