// Asks the cluster to sign, and waits for it: a CertificateSigningRequest from its making to its certificate.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import { certificateSigningRequests } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';

export interface Asker {
  readonly client: Pick<RestClient, 'create' | 'get'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface WantedCertificate {
  readonly requestPem: string;
  readonly signerName: string;
  readonly purpose: string;
  readonly nodeName: string;
}

/** It was refused, or this machine can't ask: the message says what is missing. */
export class CredentialsError extends Error {
  override readonly name = 'CredentialsError';
  /** Somebody said no. */
  readonly isRefusal: boolean;

  constructor(
    message: string,
    { isRefusal = false, ...options }: ErrorOptions & { readonly isRefusal?: boolean } = {},
  ) {
    super(message, options);
    this.isRefusal = isRefusal;
  }
}

const askAgainMs = 250;
/** Somebody may have to approve it. */
const patienceMs = 60_000;

/** PEM, with what its signer put behind it. Throws CredentialsError when somebody said no. */
export async function requestCertificate(
  { client, clock, signal }: Asker,
  { requestPem, signerName, purpose, nodeName }: WantedCertificate,
): Promise<string> {
  const asked: CertificateSigningRequest = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: '', generateName: `csr-${nodeName}-` },
    spec: { request: btoa(requestPem), signerName, usages: ['digital signature', purpose] },
  };
  const { metadata } = await client.create(certificateSigningRequests, asked, { signal });
  const { name } = metadata;
  const deadlineMs = clock.monotonicMs() + patienceMs;
  while (clock.monotonicMs() < deadlineMs && !signal.aborted) {
    const { status = {} } = await client.get(certificateSigningRequests, { name }, { signal });
    if ((status.certificate ?? '') !== '') return atob(status.certificate ?? '');
    const refusal = status.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
    if (refusal !== undefined)
      throw new CredentialsError(
        `the request ${name} for a certificate was not granted: ${refusal.message ?? refusal.reason ?? refusal.type}`,
        { isRefusal: true },
      );
    await delay(clock, askAgainMs, signal);
  }
  throw new Error(
    `nobody approved the request ${name} for a certificate (kubectl certificate approve ${name})`,
  );
}
