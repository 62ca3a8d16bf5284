import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { parseCertificateRequest } from '#platform/certificate-request.ts';
import { certifyKey, issueCertificate } from '#platform/certificate.ts';
import { readKubeconfig, writeKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { CredentialsError, ensureCredentials, type CredentialsDeps } from './credentials.ts';

const day = 86_400_000;
const random = seededRandom(3);
let folder = '';
let clock: ManualClock;
let lifetimeMs = 365 * day;
let refusal: string | undefined;
/** Who asked for what. */
let asked: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-credentials-'));
  clock = new ManualClock();
  [lifetimeMs, refusal, asked] = [365 * day, undefined, []];
});
afterEach(() => rmSync(folder, { recursive: true }));

const ca = issueCertificate(
  { commonName: 'ca', usages: ['ca'], notBeforeMs: 0, notAfterMs: 4e12 },
  undefined,
  random,
);

/** Signs at once what it is asked for. */
function answer(request: CertificateSigningRequest): CertificateSigningRequest {
  const metadata = { name: 'csr-1' };
  if (refusal !== undefined) {
    const denied = { type: 'Denied', status: 'True', message: refusal };
    return { ...request, metadata, status: { conditions: [denied] } };
  }
  const info = parseCertificateRequest(atob(request.spec.request));
  if (info === undefined) throw new Error('not readable');
  const times = { notBeforeMs: clock.now() - day, notAfterMs: clock.now() + lifetimeMs };
  const pem = certifyKey({ ...info, ...times, usages: ['client'] }, ca, random);
  return { ...request, metadata, status: { certificate: btoa(pem) } };
}

function deps(bootstrap: boolean): CredentialsDeps {
  const file = (name: string) => path.join(folder, name);
  return {
    nodeName: 'pi',
    dataDirectory: folder,
    kubeconfig: file('kubeconfig'),
    bootstrapKubeconfig: bootstrap ? file('bootstrap') : undefined,
    async withClient(config, use) {
      let kept: CertificateSigningRequest | undefined;
      const client = {
        create(_: unknown, object: CertificateSigningRequest) {
          const { commonName, organizations, dnsNames } =
            parseCertificateRequest(atob(object.spec.request)) ?? {};
          const { signerName, usages = [] } = object.spec;
          const names = [commonName, organizations, dnsNames, ...usages].join(' ');
          asked.push(`${who(config)}: ${signerName} for ${names}`);
          kept = answer(object);
          return Promise.resolve(kept);
        },
        get: () => Promise.resolve(kept),
      };
      return use(client as unknown as Parameters<typeof use>[0]);
    },
    clock,
    logger: silentLogger,
    signal: new AbortController().signal,
  };
}

function who({ token, certPem, server, serverName }: ClientConfig): string {
  return `${token ?? (certPem === undefined ? 'nobody' : 'the node')} at ${server} ${serverName}`;
}

async function invite(): Promise<void> {
  const names = { cluster: 'c', user: 'u' };
  const config = { server: 'https://10.77.0.1:7443', caPem: ca.certPem, token: 'abc.def' };
  await writeKubeconfig(
    path.join(folder, 'bootstrap'),
    { ...config, serverName: 'kubernetes' },
    names,
  );
}

const at = 'at https://10.77.0.1:7443 kubernetes';
const client = 'kubernetes.io/kube-apiserver-client-kubelet for system:node:pi system:nodes';
const serving = 'kubernetes.io/kubelet-serving for system:node:pi system:nodes pi';

describe('the credentials of an agent', () => {
  it('are asked for with the token, then as the node itself', async () => {
    await invite();
    await ensureCredentials(deps(true));
    expect(asked).toEqual([
      `abc.def ${at}: ${client}  digital signature client auth`,
      `the node ${at}: ${serving} digital signature server auth`,
    ]);
    const { server, serverName, token } = await readKubeconfig(path.join(folder, 'kubeconfig'));
    expect([server, serverName, token]).toEqual([
      'https://10.77.0.1:7443',
      'kubernetes',
      undefined,
    ]);
    expect(readFileSync(path.join(folder, 'ca.crt'), 'utf8')).toBe(ca.certPem);
  });

  it('are left alone while they last, and need no token then', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(334 * day);
    await ensureCredentials(deps(false));
    expect(asked).toHaveLength(2);
  });

  it('write nothing where all is there: the disk may be full', async () => {
    await invite();
    await ensureCredentials(deps(true));
    const times = () => readdirSync(folder).map((name) => statSync(path.join(folder, name)).ino);
    const before = times();
    await ensureCredentials(deps(false));
    expect(times()).toEqual(before);
  });

  it('are renewed as the node itself when they end soon', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(336 * day);
    await ensureCredentials(deps(false));
    expect(asked.slice(2)).toEqual([
      `the node ${at}: ${client}  digital signature client auth`,
      `the node ${at}: ${serving} digital signature server auth`,
    ]);
  });

  it('that ended need a new invitation, and say so', async () => {
    await invite();
    await ensureCredentials(deps(true));
    clock.advance(366 * day);
    await expect(ensureCredentials(deps(false))).rejects.toThrow(
      'this machine has to be added to the cluster again (--bootstrap-kubeconfig FILE)',
    );
  });

  it('that somebody refused are not asked for again', async () => {
    await invite();
    refusal = 'not this one';
    const refused = ensureCredentials(deps(true));
    await expect(refused).rejects.toThrow(CredentialsError);
    await expect(refused).rejects.toThrow('was not granted: not this one');
  });
});
