// What an agent is known by: a client certificate (in its kubeconfig) and one as a server. A machine that has
// none asks for them with a bootstrap token; one whose own have lived most of their life asks as itself while it
// runs: a start waits for nobody as long as they are good. One whose own ended while it was off asks with them all the same. Keys never leave the machine. Where the control plane
// runs on the same machine, it makes and renews them before this would; what it wrote is taken up.
// Source: kubernetes pkg/kubelet/certificate/bootstrap/bootstrap.go; client-go util/certificate/certificate_manager.go.
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { makeSigningRequest } from '#platform/certificate-request-making.ts';
import { makeKey, type KeyPairPem } from '#platform/certificate.ts';
import { readKubeconfig, writeAgentKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { messageOf } from '../error-message.ts';
import { CredentialsError, requestCertificate } from './signing-request.ts';

export { CredentialsError };

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
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What is known to others as this node. */
export interface Credentials {
  readonly client: ClientConfig;
  readonly serving: KeyPairPem;
}

/** The share of a certificate's life after which it is renewed: all machines of a home were added on one day. */
const renewAt = { first: 0.7, last: 0.9 };
const wholeLife = 1;
/** At most so long between two looks: the clock that counts is the wall's, and it leaps while a machine sleeps. */
const lookMs = 3_600_000;
const retryMs = { first: 250, max: 10_000 };
/** After a refusal: only a person can help, by another token. */
const refusedMs = { first: 5_000, max: 900_000 };
const serverName = 'kubernetes';

/** When all are there and good. Goes on trying while the API server can't be reached. Undefined: aborted. */
export async function ensureCredentials(deps: CredentialsDeps): Promise<Credentials | undefined> {
  const { clock, logger, signal } = deps;
  let told = '';
  const pauseMs = { fails: retryMs.first, refused: refusedMs.first };
  while (!signal.aborted) {
    let refused = false;
    try {
      return await ensureOnce(deps, wholeLife);
    } catch (error) {
      refused = isRefusal(error);
      if (error instanceof CredentialsError && !refused) throw error;
      const why = messageOf(error);
      if (refused && why !== told)
        logger.error('The cluster does not take this machine; it asks again now and then', {
          error: why,
          toDo: 'add it again from the app, or make a new line for it',
        });
      else if (told === '') logger.warn('Waiting for certificates', { error: why });
      told = why;
    }
    const waitMs = refused ? pauseMs.refused : pauseMs.fails;
    pauseMs.refused = refused ? Math.min(waitMs * 2, refusedMs.max) : refusedMs.first;
    pauseMs.fails = refused ? retryMs.first : Math.min(waitMs * 2, retryMs.max);
    await delay(clock, waitMs, signal);
  }
  return undefined;
}

/** The token is none any more, or somebody said no: asking each second would only fill logs on both sides. */
function isRefusal(error: unknown): boolean {
  if (error instanceof CredentialsError) return error.isRefusal;
  return hasReason(error, 'Unauthorized');
}

/** Renews them in time, until the signal aborts. `onRenewed`: what is to be used from now on. */
export async function keepCredentials(
  deps: CredentialsDeps,
  start: Credentials,
  onRenewed: (renewed: Credentials) => void,
): Promise<void> {
  const { clock, logger, random, signal } = deps;
  let current = start;
  let share = drawShare(random);
  let told = '';
  while (!signal.aborted) {
    const nowMs = clock.now();
    const dueMs = Math.max(dueAtOf(current, share) - nowMs, 0);
    // After a failure there is a tenth of what is left until the next try.
    const waitMs = told === '' ? dueMs : Math.max(dueMs, (endOf(current) - nowMs) / 10);
    await delay(clock, Math.min(Math.max(waitMs, retryMs.first), lookMs), signal);
    if (signal.aborted) return;
    try {
      const next = await ensureOnce(deps, share);
      told = '';
      if (outline(next) === outline(current)) continue;
      current = next;
      share = drawShare(random);
      logger.info('Certificates renewed', { until: rfc3339(endOf(next)) });
      onRenewed(next);
    } catch (error) {
      const why = messageOf(error);
      const until = rfc3339(endOf(current));
      if (why !== told) logger.warn('Certificates are not renewed', { error: why, until });
      told = why;
    }
  }
}

function outline({ client, serving }: Credentials): string {
  const { server, caPem, certPem, token } = client;
  return [server, caPem, certPem, token, serving.certPem].join();
}

function dueAtOf({ client, serving }: Credentials, share: number): number {
  return Math.min(dueAt(client.certPem, share), dueAt(serving.certPem, share));
}

function endOf({ client, serving }: Credentials): number {
  return Math.min(lifeOf(client.certPem).endMs, lifeOf(serving.certPem).endMs);
}

function drawShare(random: Random): number {
  return renewAt.first + random.next() * (renewAt.last - renewAt.first);
}

async function ensureOnce(deps: CredentialsDeps, share: number): Promise<Credentials> {
  const { nodeName, dataDirectory, kubeconfig, clock } = deps;
  const user = `system:node:${nodeName}`;
  const own = await readIfGood(deps, share);
  let config = own.config;
  if (config === undefined) {
    const { asker, pair } = await obtainClient(deps, own.expiring);
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
  if (certPem !== undefined && keyPem !== undefined && dueAt(certPem, share) > clock.now())
    return { client: config, serving: { certPem, keyPem } };
  const made = await obtain(deps, config, 'kubelet-serving', 'server auth', [nodeName]);
  await writeFileAtomic(`${serving}.key`, made.keyPem);
  await writeFileAtomic(`${serving}.crt`, made.certPem);
  return { client: config, serving: made };
}

/** By its own certificate, even one that ended: the key is known. By the token, if it has none or the cluster knows it no more. */
async function obtainClient(
  deps: CredentialsDeps,
  own: ClientConfig | undefined,
): Promise<{ readonly asker: ClientConfig; readonly pair: KeyPairPem }> {
  const by = async (asker: ClientConfig) => ({
    asker,
    pair: await obtain(deps, asker, 'kube-apiserver-client-kubelet', 'client auth', []),
  });
  if (own === undefined) return by(await bootstrapConfig(deps));
  try {
    return await by(own);
  } catch (error) {
    const hasEnded = lifeOf(own.certPem).endMs <= deps.clock.now();
    const isNo = error instanceof CredentialsError || hasReason(error, 'Unauthorized');
    if (!hasEnded || !isNo) throw error;
    if (deps.bootstrapKubeconfig !== undefined) return by(await bootstrapConfig(deps));
    const missing = await bootstrapConfig(deps).catch((problem: unknown) => problem);
    throw new CredentialsError(`${messageOf(error)}; ${messageOf(missing)}`, { cause: error });
  }
}

/** The kubeconfig that is there, as one to go on with or as one to renew. */
async function readIfGood(
  { kubeconfig, clock }: CredentialsDeps,
  share: number,
): Promise<{ readonly config?: ClientConfig; readonly expiring?: ClientConfig }> {
  if ((await readFileIfExists(kubeconfig)) === undefined) return {};
  const config = await readKubeconfig(kubeconfig);
  // Someone else's way to be known, such as a token, is not ours to judge.
  if (config.certPem === undefined || dueAt(config.certPem, share) > clock.now()) return { config };
  return Number.isFinite(lifeOf(config.certPem).endMs) ? { expiring: config } : {};
}

/** When it is to be renewed. */
function dueAt(certPem: string | undefined, share: number): number {
  const { startMs, endMs } = lifeOf(certPem);
  return Number.isFinite(endMs) ? startMs + share * (endMs - startMs) : endMs;
}

/** It ends never for none, as of a token, and has ended for what can't be read. */
function lifeOf(certPem: string | undefined): { readonly startMs: number; readonly endMs: number } {
  if (certPem === undefined) return { startMs: 0, endMs: Infinity };
  try {
    const { validFrom, validTo } = new X509Certificate(certPem);
    return { startMs: Date.parse(validFrom), endMs: Date.parse(validTo) };
  } catch {
    return { startMs: 0, endMs: -Infinity };
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
  const requestPem = makeSigningRequest(
    { commonName, organization: 'system:nodes', dnsNames },
    keyPem,
  );
  const wanted = { requestPem, signerName: `kubernetes.io/${signer}`, purpose, nodeName };
  return withClient(config, async (client) => {
    const certPem = await requestCertificate({ client, clock, signal }, wanted);
    return { certPem, keyPem };
  });
}
