import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { memberIdOf, peerMemberId, publicKeyDer, subjectIdentity } from './certificate.ts';
import { ClusterPki, ensureSecret, PkiError } from './pki.ts';

const day = 86_400_000;
let directory: string;
let clock: ManualClock;

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'flotilla-pki-')), 'pki');
  clock = new ManualClock();
});
afterEach(async () => {
  await rm(join(directory, '..'), { recursive: true, force: true });
});

function open(): Promise<ClusterPki> {
  return ClusterPki.open({ directory, clock, random: systemRandom });
}

describe('the keys of secrets', () => {
  it('are kept as they are, readable to the owner only', async () => {
    const { file } = await (await open()).secretKeys();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await writeFile(file, 'rotated');
    expect(await (await open()).secretKeys()).toEqual({ text: 'rotated', file });
  });

  it('come back the same when the file was lost, and for each member of the cluster', async () => {
    const { text, file } = await (await open()).secretKeys();
    await rm(file);
    expect((await (await open()).secretKeys()).text).toBe(text);
    await rm(directory, { recursive: true });
    expect((await (await open()).secretKeys()).text).not.toBe(text);
  });
});

describe('the certificate authority', () => {
  it('is kept: a second start trusts what the first one signed', async () => {
    const first = await open();
    const second = await open();
    expect(second.caPem).toBe(first.caPem);
  });

  it('is valid from a day ago for ten years', async () => {
    const ca = new X509Certificate((await open()).caPem);
    expect(Date.parse(ca.validFrom)).toBe(clock.now() - day);
    expect(Date.parse(ca.validTo)).toBe(clock.now() + 3650 * day);
    expect(ca.ca).toBe(true);
  });

  it('leaves its key readable to the owner only', async () => {
    await open();
    expect((await stat(join(directory, 'ca.key'))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  it('is made again when a crash left the key alone', async () => {
    await open();
    await rm(join(directory, 'ca.crt'));
    await expect(open()).resolves.toBeInstanceOf(ClusterPki);
  });

  const damages = [
    { name: 'its key is gone', damage: () => rm(join(directory, 'ca.key')) },
    { name: 'its key is torn', damage: () => writeFile(join(directory, 'ca.key'), '-----BEGIN') },
    { name: 'its certificate is empty', damage: () => writeFile(join(directory, 'ca.crt'), '') },
  ];
  for (const { name, damage } of damages)
    it(`is never replaced when ${name}`, async () => {
      await open();
      await damage();
      await expect(open()).rejects.toThrow(PkiError);
    });

  it('says that it expired instead of being replaced', async () => {
    await open();
    clock.advance(3651 * day);
    await expect(open()).rejects.toThrow(/expired on .* check this machine's clock/);
  });
});

describe('a leaf certificate', () => {
  const names = { dnsNames: ['nas.local'], ipAddresses: ['192.168.1.5', 'fd00::5'] };

  it('is signed by the authority and carries its names', async () => {
    const pki = await open();
    const leaf = new X509Certificate((await pki.apiServer(names)).certPem);
    expect(leaf.verify(new X509Certificate(pki.caPem).publicKey)).toBe(true);
    expect(leaf.checkHost('nas.local')).toBe('nas.local');
    expect(leaf.checkHost('kubernetes.default.svc')).toBe('kubernetes.default.svc');
    expect(leaf.checkIP('192.168.1.5')).toBe('192.168.1.5');
    expect(leaf.checkIP('fd00::5')).toBe('fd00::5');
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  });

  it('carries an identity as common name and organizations', async () => {
    const pki = await open();
    const { certPem } = await pki.nodeClient(join(directory, 'node'), 'pi-kitchen');
    expect(subjectIdentity(new X509Certificate(certPem))).toEqual({
      commonName: 'system:node:pi-kitchen',
      organizations: ['system:nodes'],
    });
  });

  it('is kept while it fits, whatever order or spelling the names come in', async () => {
    const first = await (await open()).apiServer(names);
    const again = await (
      await open()
    ).apiServer({
      dnsNames: names.dnsNames,
      ipAddresses: ['fd00:0:0::5', '192.168.1.5'],
    });
    expect(again).toEqual(first);
  });

  const changes: { name: string; change: () => unknown }[] = [
    { name: 'it has less than 60 days left', change: () => clock.advance(306 * day) },
    {
      name: 'its key belongs to another',
      change: async () => {
        const other = await readFile(join(directory, 'ca.key'), 'utf8');
        await writeFile(join(directory, 'apiserver.key'), other);
      },
    },
    {
      name: 'it was signed by another authority',
      change: async () => {
        await rm(join(directory, 'ca.key'));
        await rm(join(directory, 'ca.crt'));
      },
    },
    { name: 'its file is torn', change: () => writeFile(join(directory, 'apiserver.crt'), 'x') },
  ];
  for (const { name, change } of changes)
    it(`is made again when ${name}`, async () => {
      const first = await (await open()).apiServer(names);
      await change();
      const second = await (await open()).apiServer(names);
      expect(second.certPem).not.toBe(first.certPem);
    });

  it('is made again when its names changed', async () => {
    const first = await (await open()).apiServer(names);
    const second = await (await open()).apiServer({ ...names, dnsNames: ['other.local'] });
    expect(second.certPem).not.toBe(first.certPem);
  });

  it("of an API server keeps its key when only its names change: that is what a machine's line pins", async () => {
    const pki = await open();
    const before = await pki.apiServer(names);
    const after = await pki.apiServer({ ...names, ipAddresses: ['192.168.1.6'] });
    expect([after.keyPem === before.keyPem, after.certPem === before.certPem]).toEqual([
      true,
      false,
    ]);
    clock.advance(300 * day);
    expect((await pki.apiServer(names)).keyPem).not.toBe(before.keyPem);
  });

  it('never outlives the authority', async () => {
    await open();
    clock.advance(3500 * day);
    const pki = await open();
    const leaf = new X509Certificate((await pki.admin()).certPem);
    expect(leaf.validTo).toBe(new X509Certificate(pki.caPem).validTo);
  });
});

describe("a control-plane member's certificate", () => {
  const folder = (): string => join(directory, '..', 'replica');

  it('names the member by its key, and says that it is one', async () => {
    const pki = await open();
    const { certPem, keyPem, memberId } = await pki.peer(folder());
    const certificate = new X509Certificate(certPem);
    expect(peerMemberId(certificate)).toBe(memberId);
    expect(memberIdOf(publicKeyDer(keyPem))).toBe(memberId);
    expect(certificate.verify(new X509Certificate(pki.caPem).publicKey)).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect((await stat(join(folder(), 'peer.key'))).mode & 0o777).toBe(0o600);
  });

  it('is kept by a restart', async () => {
    const first = await (await open()).peer(folder());
    expect(await (await open()).peer(folder())).toEqual(first);
  });

  it('is renewed for the same key: the member stays who it is', async () => {
    const first = await (await open()).peer(folder());
    clock.advance(306 * day);
    const second = await (await open()).peer(folder());
    expect(second.certPem).not.toBe(first.certPem);
    expect(second).toMatchObject({ keyPem: first.keyPem, memberId: first.memberId });
  });

  it('is another one for another folder', async () => {
    const pki = await open();
    const { memberId } = await pki.peer(folder());
    expect((await pki.peer(`${folder()}2`)).memberId).not.toBe(memberId);
  });

  it('is not made anew over a damaged key', async () => {
    await (await open()).peer(folder());
    await writeFile(join(folder(), 'peer.key'), '-----BEGIN');
    const pki = await open();
    await expect(pki.peer(folder())).rejects.toThrow(/peer\.key is damaged: .* join again/);
  });

  it('is what no node and no user has', async () => {
    const pki = await open();
    const others = [
      await pki.nodeClient(join(directory, 'node'), 'pi'),
      await pki.admin(),
      await pki.apiServer({ dnsNames: [], ipAddresses: [] }),
    ];
    for (const { certPem } of others)
      expect(peerMemberId(new X509Certificate(certPem))).toBeUndefined();
  });

  it('gives a number of 48 bits, never 0', () => {
    // printf abc | sha256sum begins with ba7816bf8f01.
    expect(memberIdOf(new TextEncoder().encode('abc'))).toBe(0xba7816bf8f01);
  });
});

describe('a kept secret', () => {
  it('is the same after a restart', async () => {
    const path = join(directory, 'session.key');
    const first = await ensureSecret(path, 32, systemRandom);
    expect(await ensureSecret(path, 32, systemRandom)).toEqual(first);
    expect(first.length).toBe(32);
  });
});
