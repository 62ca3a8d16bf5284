// Tells servers behind the API server whom to believe: the ConfigMap extension-apiserver-authentication
// of kube-system. Each member of the control plane has a front-proxy CA of its own and adds it there.
// Source: kubernetes pkg/controlplane/controller/clusterauthenticationtrust.
import type { ConfigMap } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { configMaps } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { certificateExpiryMs, type KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki, frontProxyName, type PkiDeps } from '#platform/pki.ts';

/** Signs only whom those servers believe: a client of the cluster must never be mistaken for it. */
export class FrontProxy {
  readonly #pki: ClusterPki;
  #client: KeyPairPem;

  static async open(deps: Omit<PkiDeps, 'caName'>): Promise<FrontProxy> {
    const pki = await ClusterPki.open({ ...deps, caName: 'front-proxy-ca' });
    return new FrontProxy(pki, await pki.frontProxyClient());
  }

  private constructor(pki: ClusterPki, client: KeyPairPem) {
    this.#pki = pki;
    this.#client = client;
  }

  get caPem(): string {
    return this.#pki.caPem;
  }

  get client(): KeyPairPem {
    return this.#client;
  }

  /** The certificate anew when it would soon expire. */
  async renew(): Promise<void> {
    this.#client = await this.#pki.frontProxyClient();
  }
}

export interface ClusterTrust {
  readonly clientCaPem: string;
  readonly frontProxyCaPem: string;
  readonly nowMs: number;
}

const ref = { namespace: 'kube-system', name: 'extension-apiserver-authentication' };
/** Another member may write at the same time. */
const attempts = 5;

export async function ensureClusterTrust(client: RestClient, trust: ClusterTrust): Promise<void> {
  for (let attempt = 1; ; attempt++)
    try {
      return await writeOnce(client, trust);
    } catch (error) {
      const isRace = hasReason(error, 'Conflict') || hasReason(error, 'AlreadyExists');
      if (!isRace || attempt === attempts) throw error;
    }
}

async function writeOnce(client: RestClient, trust: ClusterTrust): Promise<void> {
  const current = await client.get(configMaps, ref).catch((error: unknown) => {
    if (hasReason(error, 'NotFound')) return undefined;
    throw error;
  });
  const data = trustData(current?.data ?? {}, trust);
  if (current === undefined)
    await client.create(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: ref, data });
  else if (!deepEqual(current.data, data)) await client.update(configMaps, { ...current, data });
}

/** Pure but for reading certificates. */
export function trustData(
  current: NonNullable<ConfigMap['data']>,
  { clientCaPem, frontProxyCaPem, nowMs }: ClusterTrust,
): Record<string, string> {
  const list = (...values: string[]): string => JSON.stringify(values);
  const proxyCas = 'requestheader-client-ca-file';
  return {
    ...current,
    'client-ca-file': clientCaPem,
    [proxyCas]: withCertificate(current[proxyCas] ?? '', frontProxyCaPem, nowMs),
    'requestheader-allowed-names': list(frontProxyName),
    'requestheader-extra-headers-prefix': list('X-Remote-Extra-'),
    'requestheader-group-headers': list('X-Remote-Group'),
    'requestheader-uid-headers': list('X-Remote-Uid'),
    'requestheader-username-headers': list('X-Remote-User'),
  };
}

/** The bundle with `pem` in it, and without what is expired or no certificate. */
function withCertificate(bundle: string, pem: string, nowMs: number): string {
  const found = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const kept = found
    .filter((one) => (certificateExpiryMs(one) ?? 0) > nowMs)
    .map((one) => `${one}\n`);
  const own = `${pem.trim()}\n`;
  return [...new Set([...kept, own])].join('');
}
