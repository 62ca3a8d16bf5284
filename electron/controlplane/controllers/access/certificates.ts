// Issues the certificates that were approved, for the signers that are the cluster's own. What can't
// be signed gets a Failed condition that says why.
// Source: kubernetes pkg/controller/certificates/{certificate_controller,signer/signer}.go.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import { certificateSigningRequests } from '#kube/client/resources.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';

const signers: ReadonlySet<string> = new Set([
  'kubernetes.io/kube-apiserver-client',
  'kubernetes.io/kube-apiserver-client-kubelet',
  'kubernetes.io/kubelet-serving',
]);

export function createCertificateController(deps: ControllerDeps): RunnableController {
  const { client, clock, authority } = deps;
  const requests = deps.informers.informer(certificateSigningRequests);
  const controller = new Controller({
    name: 'certificate-controller',
    clock,
    logger: deps.logger,
    async reconcile(name) {
      const request = requests.lister.get('', name);
      if (request === undefined || !isDue(request)) return;
      await client.updateStatus(certificateSigningRequests, answered(request));
    },
  });
  controller.watch(requests);

  function answered(request: CertificateSigningRequest): CertificateSigningRequest {
    const { spec, status = {} } = request;
    const { expirationSeconds: seconds } = spec;
    const result = authority.certify({
      requestPem: atob(spec.request),
      signerName: spec.signerName,
      usages: spec.usages ?? [],
      ...(seconds === undefined ? {} : { seconds }),
    });
    if ('certificatePem' in result)
      return { ...request, status: { ...status, certificate: btoa(result.certificatePem) } };
    const now = rfc3339(clock.now());
    const failed = {
      type: 'Failed',
      status: 'True',
      reason: 'SignerValidationFailure',
      message: result.refused,
      lastUpdateTime: now,
      lastTransitionTime: now,
    };
    const conditions = [...(status.conditions ?? []), failed];
    return { ...request, status: { ...status, conditions } };
  }
  return controller;
}

function isDue({ spec, status = {} }: CertificateSigningRequest): boolean {
  const types = (status.conditions ?? []).map(({ type }) => type);
  return (
    signers.has(spec.signerName) &&
    (status.certificate ?? '') === '' &&
    types.includes('Approved') &&
    !types.includes('Denied') &&
    !types.includes('Failed')
  );
}
