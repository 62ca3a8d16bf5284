// Takes away certificate requests that nobody needs any more: nobody looked at them for a day, they
// were decided an hour ago, or what was issued has expired.
// Differs: each at its time; Kubernetes looks at all of them once an hour.
// Source: kubernetes pkg/controller/certificates/cleaner/cleaner.go.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { certificateSigningRequests } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

const hourMs = 3_600_000;
const pendingMs = 24 * hourMs;
const decidedMs = hourMs;

export function createCertificateCleaner(deps: ControllerDeps): RunnableController {
  const { client, clock, authority } = deps;
  const requests = deps.informers.informer(certificateSigningRequests);
  const controller = new Controller({
    name: 'certificate-cleaner',
    clock,
    logger: deps.logger,
    async reconcile(name): Promise<ReconcileResult> {
      const request = requests.lister.get('', name);
      if (request === undefined) return {};
      const { certificate = '' } = request.status ?? {};
      const expiryMs = certificate === '' ? undefined : authority.expiryOf(atob(certificate));
      const dueMs = removalTimeMs(request, expiryMs);
      if (dueMs === undefined) return {};
      const leftMs = dueMs - clock.now();
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      const { uid = '' } = request.metadata;
      const options = { preconditions: { uid } };
      await client.delete(certificateSigningRequests, { name }, options).catch(ignoreNotFound);
      return {};
    },
  });
  controller.watch(requests);
  return controller;
}

/** Undefined: it stays. `expiryMs`: of the certificate that was issued. */
export function removalTimeMs(
  { metadata, status = {} }: CertificateSigningRequest,
  expiryMs: number | undefined,
): number | undefined {
  const { conditions = [], certificate = '' } = status;
  const times: number[] = [];
  if (conditions.length === 0) times.push(Date.parse(metadata.creationTimestamp ?? '') + pendingMs);
  for (const { type, lastUpdateTime = '' } of conditions) {
    const isIssued = type === 'Approved' && certificate !== '';
    if (isIssued || type === 'Denied' || type === 'Failed')
      times.push(Date.parse(lastUpdateTime) + decidedMs);
    if (isIssued && expiryMs !== undefined) times.push(expiryMs);
  }
  const known = times.filter((time) => !Number.isNaN(time));
  return known.length === 0 ? undefined : Math.min(...known);
}
