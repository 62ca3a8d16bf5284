// The certificates of the hosts, from Secrets of type kubernetes.io/tls. What can't be used is told,
// and its host has none.
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Secret } from '#kube/api/core.ts';
import type { TlsName } from './routes.ts';

export interface Certificates {
  /** An exact name goes before a wildcard. */
  find(host: string): SecureContext | undefined;
  /** A sentence for each name that has none. */
  readonly problems: readonly string[];
}

export function certificates(
  names: readonly TlsName[],
  secret: (namespace: string, name: string) => Secret | undefined,
): Certificates {
  const contexts = new Map<string, SecureContext>();
  const problems: string[] = [];
  for (const { host, namespace, secretName } of names) {
    if (contexts.has(host)) continue;
    const made = contextOf(secret(namespace, secretName));
    if (typeof made === 'string')
      problems.push(`No TLS for ${host}: the Secret ${namespace}/${secretName} ${made}.`);
    else contexts.set(host, made);
  }
  return {
    problems,
    find(host) {
      const label = host.indexOf('.');
      return contexts.get(host) ?? (label > 0 ? contexts.get(`*${host.slice(label)}`) : undefined);
    },
  };
}

/** Or what is wrong with it. */
function contextOf(secret: Secret | undefined): SecureContext | string {
  if (secret === undefined) return 'does not exist';
  const cert = secret.data?.['tls.crt'];
  const key = secret.data?.['tls.key'];
  if (cert === undefined || key === undefined) return 'has no tls.crt and tls.key';
  const pair = { cert: Buffer.from(cert, 'base64'), key: Buffer.from(key, 'base64') };
  try {
    if (!new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key)))
      return 'has a key that is not its certificate’s';
    return createSecureContext(pair);
  } catch {
    return 'holds no certificate and key in PEM form';
  }
}
