// Approves what agents ask to be known by, if whoever asks may have that approved: a right on the
// subresources nodeclient (for any node) and selfnodeclient (for the very node that asks), and, as a server under its
// own name and no address, selfnodeserver.
// Source: kubernetes pkg/controller/certificates/approver/sarapprove.go.
import type { SubjectAccessReview } from '#kube/api/authorization.ts';
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { certificateSigningRequests, subjectAccessReviews } from '#kube/client/resources.ts';
import type { ControllerDeps, RequestedNames, RunnableController } from '../deps.ts';

const clientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
const servingSigner = 'kubernetes.io/kubelet-serving';
const group = 'certificates.k8s.io';

export function createCertificateApprover(deps: ControllerDeps): RunnableController {
  const { client, clock, authority } = deps;
  const requests = deps.informers.informer(certificateSigningRequests);
  const controller = new Controller({
    name: 'certificate-approver',
    clock,
    logger: deps.logger,
    async reconcile(name): Promise<ReconcileResult> {
      const request = requests.lister.get('', name);
      if (request === undefined || !isUndecided(request)) return {};
      const kinds = recognize(request, names(request));
      for (const kind of kinds)
        if (await isAllowed(request, kind)) {
          await approve(request, kind);
          return {};
        }
      // Somebody may be given the right later.
      return kinds.length === 0 ? {} : { requeueAfterMs: retryDelayMs(request, clock.now()) };
    },
  });
  controller.watch(requests);

  /** Undefined: nothing that this signer would sign. */
  function names({ spec }: CertificateSigningRequest): RequestedNames | undefined {
    const { usages = [], signerName } = spec;
    if (![clientSigner, servingSigner].includes(signerName)) return undefined;
    const result = authority.examine({ requestPem: atob(spec.request), signerName, usages });
    return 'refused' in result ? undefined : result;
  }

  async function isAllowed(
    { spec }: CertificateSigningRequest,
    subresource: NodeRequest,
  ): Promise<boolean> {
    const { username: user = '', uid = '', groups = [], extra = {} } = spec;
    const asked = { group, resource: 'certificatesigningrequests', subresource, verb: 'create' };
    const review: SubjectAccessReview = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: { name: '' },
      spec: { user, uid, groups: [...groups], extra, resourceAttributes: asked },
    };
    return (await client.create(subjectAccessReviews, review)).status?.allowed === true;
  }

  async function approve(request: CertificateSigningRequest, kind: NodeRequest): Promise<void> {
    const { name } = request.metadata;
    const condition = {
      type: 'Approved',
      status: 'True',
      reason: 'AutoApproved',
      message: messages[kind],
    };
    const conditions = [...(request.status?.conditions ?? []), condition];
    await client.updateSubresource(certificateSigningRequests, { name }, 'approval', {
      ...request,
      status: { ...request.status, conditions },
    });
  }
  return controller;
}

type NodeRequest = 'selfnodeclient' | 'nodeclient' | 'selfnodeserver';

const messages: Readonly<Record<NodeRequest, string>> = {
  selfnodeclient: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
  selfnodeserver: 'Auto approving self kubelet serving certificate after SubjectAccessReview.',
  nodeclient: 'Auto approving kubelet client certificate after SubjectAccessReview.',
};

/** The rights that would do, the smaller one first. `names`: of a request by an agent. */
export function recognize(
  { spec }: CertificateSigningRequest,
  names: RequestedNames | undefined,
): readonly NodeRequest[] {
  if (names === undefined) return [];
  const { commonName, dnsNames, ipAddresses } = names;
  if (spec.signerName === servingSigner) {
    const isOwn =
      spec.username === commonName &&
      ipAddresses.length === 0 &&
      dnsNames.every((name) => `system:node:${name}` === commonName);
    return isOwn ? ['selfnodeserver'] : [];
  }
  return spec.username === commonName ? ['selfnodeclient', 'nodeclient'] : ['nodeclient'];
}

function isUndecided({ status = {} }: CertificateSigningRequest): boolean {
  if ((status.certificate ?? '') !== '') return false;
  return !(status.conditions ?? []).some(({ type }) => type === 'Approved' || type === 'Denied');
}

const second = 1000;

/** As long again as it has waited already: a second to a quarter of an hour. */
export function retryDelayMs({ metadata }: CertificateSigningRequest, nowMs: number): number {
  const ageMs = nowMs - Date.parse(metadata.creationTimestamp ?? '');
  return Math.min(Math.max(ageMs || 0, second), 900 * second);
}
