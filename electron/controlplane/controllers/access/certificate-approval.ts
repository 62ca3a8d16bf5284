// Approves what agents ask to be known by, if whoever asks may have that approved: a right on the
// subresources nodeclient (for any node) and selfnodeclient (for the very node that asks), and, as a server under its
// own name and no address, selfnodeserver. A token for one machine is spent by its first request, and refused in words
// to all others; a node whose certificate ended while it was off is approved as long as the cluster has it.
// Source: kubernetes pkg/controller/certificates/approver/sarapprove.go.
import type { SubjectAccessReview } from '#kube/api/authorization.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition,
} from '#kube/api/certificates.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import {
  certificateSigningRequests,
  nodes,
  secrets,
  subjectAccessReviews,
} from '#kube/client/resources.ts';
import { goodFromKey, lapsedGroup, lapsedRefusal } from '#kube/machinery/lapsed-nodes.ts';
import {
  oneMachineGroup,
  spentToken,
  tokenIdOf,
  tokenRef,
  tokenRefusal,
} from '#kube/machinery/machine-tokens.ts';
import type { ControllerDeps, RequestedNames, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

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
      const asked = names(request);
      const kinds = recognize(request, asked);
      for (const kind of kinds)
        if (await isAllowed(request, kind)) {
          const refused =
            (await lapsed(request)) ?? (await spend(request, asked?.commonName ?? ''));
          await decide(request, refused ?? approval(messages[kind]));
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

  /** Of a node that was off when its certificate ended. Undefined: the cluster knows it, or it is none of those. */
  async function lapsed({ spec }: CertificateSigningRequest): Promise<Denial | undefined> {
    const { username = '', groups = [], extra = {} } = spec;
    if (!groups.includes(lapsedGroup)) return undefined;
    const name = username.replace(/^system:node:/, '');
    const node = await client.get(nodes, { name }).catch(ignoreNotFound);
    const refusal = lapsedRefusal(username, Number(extra[goodFromKey]?.[0]), node);
    return refusal === undefined ? undefined : denial('NodeUnknown', refusal);
  }

  /** Of a token for one machine. Undefined: it is spent on this request now, or it was no such token. */
  async function spend(
    { spec, metadata }: CertificateSigningRequest,
    commonName: string,
  ): Promise<Denial | undefined> {
    if (spec.groups?.includes(oneMachineGroup) !== true) return undefined;
    const id = tokenIdOf(spec.username ?? '') ?? '';
    const requestUid = metadata.uid ?? '';
    const secret = await client.get(secrets, tokenRef(id)).catch(ignoreNotFound);
    const use = { id, requestUid, commonName, nowMs: clock.now() };
    const refusal = tokenRefusal(secret, use);
    if (refusal !== undefined) return denial('TokenRefused', refusal);
    if (secret === undefined) return undefined;
    // Written down before anything is approved: of two requests at a time one finds it changed, and looks again.
    const spent = spentToken(secret, requestUid);
    if (spent !== undefined) await client.update(secrets, spent);
    return undefined;
  }

  async function decide(
    request: CertificateSigningRequest,
    decision: CertificateSigningRequestCondition,
  ): Promise<void> {
    const { name } = request.metadata;
    const conditions = [...(request.status?.conditions ?? []), decision];
    await client.updateSubresource(certificateSigningRequests, { name }, 'approval', {
      ...request,
      status: { ...request.status, conditions },
    });
  }
  return controller;
}

type NodeRequest = 'selfnodeclient' | 'nodeclient' | 'selfnodeserver';

function approval(message: string): CertificateSigningRequestCondition {
  return { type: 'Approved', status: 'True', reason: 'AutoApproved', message };
}

type Denial = CertificateSigningRequestCondition;

function denial(reason: string, message: string): Denial {
  return { type: 'Denied', status: 'True', reason, message };
}

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
