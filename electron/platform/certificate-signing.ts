// Which requests the cluster's own signers sign, and as what.
// Source: kubernetes pkg/apis/certificates/helpers.go, pkg/controller/certificates/signer/signer.go.
import { appSigner } from '#kube/machinery/app-names.ts';
import { parseCertificateRequest, type CertificateRequestInfo } from './certificate-request.ts';
import type { CertificateSpec } from './certificate.ts';

export interface SigningRequest {
  readonly requestPem: string;
  readonly signerName: string;
  readonly usages: readonly string[];
}

/** What to issue, or why not. */
export type SigningDecision =
  | { readonly request: CertificateRequestInfo; readonly usages: CertificateSpec['usages'] }
  | { readonly refused: string };

/** How agents and pods name the API server: no machine is certified for one of these. */
export const apiServerNames = [
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];

const nodes = 'system:nodes';
const nodePrefix = 'system:node:';
const clientSigner = 'kubernetes.io/kube-apiserver-client';
const servingSigner = 'kubernetes.io/kubelet-serving';
/** Beside what a certificate is for. Agents must ask for the first, and nothing else. */
const keyUsages = ['digital signature', 'key encipherment'];

export function decideSigning({ requestPem, signerName, usages }: SigningRequest): SigningDecision {
  const request = parseCertificateRequest(requestPem);
  if (request === undefined)
    return { refused: 'the request can not be read, or is not signed with the key that it is for' };
  const purpose = [servingSigner, appSigner].includes(signerName) ? 'server auth' : 'client auth';
  const areRight =
    usages.includes(purpose) &&
    usages.every((usage) => usage === purpose || keyUsages.includes(usage)) &&
    (signerName === clientSigner || usages.includes('digital signature'));
  if (!areRight)
    return {
      refused: `usages did not match: ${purpose} is what this signer is for, beside ${keyUsages.join(', ')}`,
    };
  const problem = subjectProblem(signerName, request);
  if (problem !== undefined) return { refused: problem };
  return { request, usages: [purpose === 'server auth' ? 'server' : 'client'] };
}

function subjectProblem(signerName: string, request: CertificateRequestInfo): string | undefined {
  const { commonName, organizations, dnsNames, ipAddresses, hasOtherNames } = request;
  if (commonName === '') return 'subject common name is missing';
  if (signerName === clientSigner)
    return organizations.includes('system:masters')
      ? 'system:masters is not signed for'
      : undefined;
  if (signerName === appSigner) {
    if (organizations.length > 0) return 'an app is of no organization';
    if (ipAddresses.length > 0 || hasOtherNames) return 'only DNS names are allowed';
    return dnsNames.length === 0 ? 'a DNS subjectAltName is required' : undefined;
  }
  if (organizations.length !== 1 || organizations[0] !== nodes)
    return `subject organization is not ${nodes}`;
  if (!commonName.startsWith(nodePrefix) || commonName === nodePrefix)
    return `subject common name does not begin with ${nodePrefix}`;
  if (hasOtherNames) return 'emails, URIs and other names are not allowed';
  const names = dnsNames.length + ipAddresses.length;
  const taken = dnsNames.find((name) => apiServerNames.includes(name.toLowerCase()));
  if (taken !== undefined)
    return `${taken} is the API server's name: give the machine another (--node-name)`;
  if (signerName === servingSigner)
    return names === 0 ? 'DNS or IP subjectAltName is required' : undefined;
  return names > 0 ? 'DNS and IP subjectAltNames are not allowed' : undefined;
}
