// A node's certificate that was good and has only ended. TLS has shown that whoever comes with it has its key; its other rules
// are looked at here, since TLS tells one fault of a certificate and there may be more.
import type { X509Certificate } from 'node:crypto';
import { goodFromKey, lapsedGroup } from '#kube/machinery/lapsed-nodes.ts';
import { subjectIdentity } from '#platform/certificate.ts';
import type { UserInfo } from '../http.ts';

const clientAuth = '1.3.6.1.5.5.7.3.2';

/** Undefined: it is none of those. */
export function lapsedNode(
  certificate: X509Certificate,
  ca: X509Certificate,
  nowMs: number,
): UserInfo | undefined {
  const [fromMs, endMs] = [certificate.validFrom, certificate.validTo].map((at) => Date.parse(at));
  if (!(fromMs !== undefined && endMs !== undefined && fromMs < endMs && endMs <= nowMs))
    return undefined;
  if (!(Date.parse(ca.validTo) > nowMs)) return undefined;
  if (certificate.ca || !certificate.keyUsage?.includes(clientAuth)) return undefined;
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) return undefined;
  const { commonName = '', organizations = [] } = subjectIdentity(certificate) ?? {};
  if (organizations.join() !== 'system:nodes' || !/^system:node:./.test(commonName))
    return undefined;
  return { name: commonName, groups: [lapsedGroup], extra: { [goodFromKey]: [String(fromMs)] } };
}
