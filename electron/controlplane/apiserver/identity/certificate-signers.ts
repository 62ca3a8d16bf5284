// Who may have certificates signed: approving and issuing each take a right on the signer's name,
// and nobody gets a certificate of the masters' group this way.
// Source: kubernetes plugin/pkg/admission/certificates/{approval,signing,subjectrestriction}.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { forbidden } from '#kube/machinery/status.ts';
import { parseCertificateRequest } from '#platform/certificate-request.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../../admission/chain.ts';
import type { Authorizer } from './authorizer.ts';

const group = 'certificates.k8s.io';
const clientSigner = 'kubernetes.io/kube-apiserver-client';

export function certificateSigners(authorize: Authorizer): AdmissionPlugin {
  function check(attributes: AdmissionAttributes, verb: 'approve' | 'sign'): void {
    const { signerName } = (attributes.oldObject as CertificateSigningRequest).spec;
    const all = `${signerName.slice(0, signerName.indexOf('/'))}/*`;
    const isAllowed = [signerName, all].some(
      (name) =>
        authorize({
          user: attributes.user,
          isResourceRequest: true,
          verb,
          path: '',
          group,
          namespace: '',
          resource: 'signers',
          subresource: '',
          name,
          fieldSelector: null,
        }).allowed,
    );
    if (isAllowed) return;
    throw forbidden(
      attributes.resource,
      attributes.name,
      `user not permitted to ${verb} requests with signerName ${JSON.stringify(signerName)}`,
    );
  }
  return {
    name: 'CertificateSigners',
    handles: ({ resource }) =>
      resource.group === group && resource.resource === 'certificatesigningrequests',
    validate(attributes) {
      const { operation, subresource, object, oldObject } = attributes;
      if (operation === 'CREATE' && subresource === '') return checkSubject(attributes);
      if (operation !== 'UPDATE') return;
      if (subresource === 'approval') return check(attributes, 'approve');
      if (subresource !== 'status') return;
      const next = (object as CertificateSigningRequest).status ?? {};
      const old = (oldObject as CertificateSigningRequest).status ?? {};
      const isSame =
        next.certificate === old.certificate &&
        deepEqual(next.conditions ?? [], old.conditions ?? []);
      if (!isSame) check(attributes, 'sign');
    },
  };
}

function checkSubject({ object, resource, name }: AdmissionAttributes): void {
  const { spec } = object as CertificateSigningRequest;
  if (spec.signerName !== clientSigner) return;
  const pem = Buffer.from(spec.request, 'base64').toString('utf8');
  const groups = parseCertificateRequest(pem)?.organizations ?? [];
  if (!groups.includes('system:masters')) return;
  throw forbidden(
    resource,
    name,
    `use of ${clientSigner} signer with system:masters group is not allowed`,
  );
}
