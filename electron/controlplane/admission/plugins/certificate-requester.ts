// Who asks for a certificate is whoever sends the request, not what the request says.
// Source: kubernetes pkg/registry/certificates/certificates/strategy.go PrepareForCreate.
import type { CertificateSigningRequest } from '#kube/api/certificates.ts';
import type { AdmissionPlugin } from '../chain.ts';

export function certificateRequester(): AdmissionPlugin {
  return {
    name: 'CertificateRequester',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === 'certificates.k8s.io' &&
      resource.resource === 'certificatesigningrequests',
    admit({ object, user }) {
      const { spec } = object as CertificateSigningRequest;
      spec.username = user.name;
      spec.groups = [...user.groups];
      delete spec.uid;
      delete spec.extra;
      if (user.uid !== undefined) spec.uid = user.uid;
      if (user.extra !== undefined)
        spec.extra = Object.fromEntries(
          Object.entries(user.extra).map(([key, values]) => [key, [...values]]),
        );
    },
  };
}
