// The certificates of the hosts, from Secrets of type kubernetes.io/tls. Where one can't be used its host has none; the
// control plane says so (controllers/ingress).
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Secret } from '#kube/api/core.ts';
import { pairProblem } from '#platform/certificate.ts';
import type { TlsName } from './routes.ts';

export interface Certificates {
  /** An exact name goes before a wildcard. */
  find(host: string): SecureContext | undefined;
}

export function certificates(
  names: readonly TlsName[],
  secret: (namespace: string, name: string) => Secret | undefined,
): Certificates {
  const contexts = new Map<string, SecureContext>();
  for (const { host, namespace, secretName } of names) {
    if (contexts.has(host)) continue;
    const made = contextOf(secret(namespace, secretName));
    if (made !== undefined) contexts.set(host, made);
  }
  return {
    find(host) {
      const label = host.indexOf('.');
      return contexts.get(host) ?? (label > 0 ? contexts.get(`*${host.slice(label)}`) : undefined);
    },
  };
}

function contextOf(secret: Secret | undefined): SecureContext | undefined {
  const { 'tls.crt': certificate, 'tls.key': privateKey } = secret?.data ?? {};
  if (certificate === undefined || privateKey === undefined) return undefined;
  const [cert, key] = [atob(certificate), atob(privateKey)];
  return pairProblem(cert, key) === undefined ? createSecureContext({ cert, key }) : undefined;
}
