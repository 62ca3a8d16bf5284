// What an agent is known by: a client certificate (in its kubeconfig) and one as a server. A machine that has
// none asks for them with a bootstrap token; one whose own end soon asks as itself. Keys never leave the machine.
// Where the control plane runs on the same machine, it makes and renews them, well before this would.
// Source: kubernetes pkg/kubelet/certificate/bootstrap/bootstrap.go.
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { certificateSigningRequests } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { makeSigningRequest } from '#platform/certificate-request-making.ts';
import { makeKey, type KeyPairPem } from '#platform/certificate.ts';
import { readKubeconfig, writeAgentKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { messageOf } from '../error-message.ts';

export interface CredentialsDeps {
  readonly nodeName: string;
  /** Where `serving.crt`, `serving.key` and `ca.crt` lie. */
  readonly dataDirectory: string;
  readonly kubeconfig: string;
  /** With a bootstrap token; undefined: none was given. */
  readonly bootstrapKubeconfig: string | undefined;
  /** Calls with a client of its own, which is closed afterwards. */
  readonly withClient: <T>(
    config: ClientConfig,
    use: (client: Pick<RestClient, 'create' | 'get'>) => Promise<T>,
  ) => Promise<T>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** This machine can't become a node by itself: the message says what is missing. */
export class CredentialsError extends Error {
  override readonly name = 'CredentialsError';
}

const renewBeforeMs = 30 * 86_400_000;
const retryMs = { first: 250, max: 10_000 };
const askAgainMs = 250;
/** Somebody may have to approve it. */
const patienceMs = 60_000;
const serverName = 'kubernetes';

/** Resolves when all are there and good. Goes on trying while the API server can't be reached. */
export async function ensureCredentials(deps: CredentialsDeps): Promise<void> {
  const { clock, logger, signal } = deps;
  let isTold = false;
  for (let waitMs = retryMs.first; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMs.max)) {
    try {
      await ensureOnce(deps);
      return;
    } catch (error) {
      if (error instanceof CredentialsError) throw error;
      if (!isTold) logger.warn('Waiting for certificates', { error: messageOf(error) });
      isTold = true;
    }
    await delay(clock, waitMs, signal);
  }
}

async function ensureOnce(deps: CredentialsDeps): Promise<void> {
  const { nodeName, dataDirectory, kubeconfig, clock } = deps;
  const user = `system:node:${nodeName}`;
  const own = await readIfGood(deps);
  let config = own.config;
  if (config === undefined) {
    const asker = own.expiring ?? (await bootstrapConfig(deps));
    const pair = await obtain(deps, asker, 'kube-apiserver-client-kubelet', 'client auth', []);
    config = { server: asker.server, caPem: asker.caPem, serverName, ...pair };
    await writeAgentKubeconfig(kubeconfig, config, { cluster: 'flotilla', user });
  }
  const serving = path.join(dataDirectory, 'serving');
  const ca = path.join(dataDirectory, 'ca.crt');
  const [certPem, keyPem, caPem] = await Promise.all([
    readFileIfExists(`${serving}.crt`),
    readFileIfExists(`${serving}.key`),
    readFileIfExists(ca),
  ]);
  // On a full disk a machine that has all it needs starts, too.
  if (caPem !== config.caPem) await writeFileAtomic(ca, config.caPem);
  if (keyPem !== undefined && lastsUntil(certPem) - clock.now() > renewBeforeMs) return;
  const made = await obtain(deps, config, 'kubelet-serving', 'server auth', [nodeName]);
  await writeFileAtomic(`${serving}.key`, made.keyPem);
  await writeFileAtomic(`${serving}.crt`, made.certPem);
}

/** The kubeconfig that is there, as one to go on with or as one to renew. */
async function readIfGood({ kubeconfig, clock }: CredentialsDeps): Promise<{
  readonly config?: ClientConfig;
  readonly expiring?: ClientConfig;
}> {
  if ((await readFileIfExists(kubeconfig)) === undefined) return {};
  const config = await readKubeconfig(kubeconfig);
  const leftMs = lastsUntil(config.certPem) - clock.now();
  // Someone else's way to be known, such as a token, is not ours to judge.
  if (config.certPem === undefined || leftMs > renewBeforeMs) return { config };
  return leftMs > 0 ? { expiring: config } : {};
}

/** -Infinity for none, or none that can be read. */
function lastsUntil(certPem: string | undefined): number {
  try {
    return certPem === undefined ? -Infinity : Date.parse(new X509Certificate(certPem).validTo);
  } catch {
    return -Infinity;
  }
}

async function bootstrapConfig(deps: CredentialsDeps): Promise<ClientConfig> {
  const { bootstrapKubeconfig: file, kubeconfig } = deps;
  if (file === undefined)
    throw new CredentialsError(
      `${kubeconfig} is missing or its certificate has ended: this machine has to be added to the cluster again (--bootstrap-kubeconfig FILE)`,
    );
  return readKubeconfig(file);
}

async function obtain(
  { nodeName, withClient, clock, signal }: CredentialsDeps,
  config: ClientConfig,
  signer: string,
  purpose: string,
  dnsNames: readonly string[],
): Promise<KeyPairPem> {
  const keyPem = makeKey();
  const commonName = `system:node:${nodeName}`;
  const pem = makeSigningRequest({ commonName, organization: 'system:nodes', dnsNames }, keyPem);
  return withClient(config, async (client) => {
    const asked: CertificateSigningRequest = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name: '', generateName: `csr-${nodeName}-` },
      spec: {
        request: btoa(pem),
        signerName: `kubernetes.io/${signer}`,
        usages: ['digital signature', purpose],
      },
    };
    const { metadata } = await client.create(certificateSigningRequests, asked, { signal });
    const { name } = metadata;
    const deadlineMs = clock.monotonicMs() + patienceMs;
    while (clock.monotonicMs() < deadlineMs && !signal.aborted) {
      const { status = {} } = await client.get(certificateSigningRequests, { name }, { signal });
      if ((status.certificate ?? '') !== '')
        return { certPem: atob(status.certificate ?? ''), keyPem };
      const refusal = status.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
      if (refusal !== undefined)
        throw new CredentialsError(
          `the request ${name} for a certificate was not granted: ${refusal.message ?? refusal.reason ?? refusal.type}`,
        );
      await delay(clock, askAgainMs, signal);
    }
    throw new Error(
      `nobody approved the request ${name} for a certificate (kubectl certificate approve ${name})`,
    );
  });
}
