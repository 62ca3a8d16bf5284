// Where each control plane of the cluster serves its API: a Lease for each, written at its start. Who lives is known
// without renewing it, since members hear of each other anyway: an idle cluster writes nothing.
import type { Lease } from '../api/coordination.ts';

/** As whom an API server comes to agents, by its certificate: this name, in this group. */
export const kubeletClientIdentity = {
  name: 'kube-apiserver-kubelet-client',
  group: 'system:masters',
};
/** Of an agent: a PUT there says that an API server is where it comes from. `?port=`, and `&address=` where it listens on one only. */
export const apiServerHintPath = '/flotilla/api-server';

export const apiServerNamespace = 'kube-system';
/** Kubernetes' own label for such Leases. */
export const apiServerLabel = { key: 'apiserver.kubernetes.io/identity', value: 'kube-apiserver' };
/** On the Lease: `192.168.1.7:7443`, as pods reach it. */
export const apiAddressAnnotation = 'flotilla.dev/api-address';

export function apiServerLease(id: string, address: string, port: number): Lease {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      namespace: apiServerNamespace,
      name: `apiserver-${id}`,
      labels: { [apiServerLabel.key]: apiServerLabel.value },
      annotations: { [apiAddressAnnotation]: `${address}:${port}` },
    },
    spec: { holderIdentity: id },
  };
}

export interface ApiServerPlace {
  readonly id: string;
  readonly address: string;
  readonly port: number;
}

/** Undefined: it is none, or says nothing that can be read. */
export function apiServerPlace({ metadata, spec }: Lease): ApiServerPlace | undefined {
  if (metadata.labels?.[apiServerLabel.key] !== apiServerLabel.value) return undefined;
  const found = /^([\d.]+):(\d{1,5})$/.exec(metadata.annotations?.[apiAddressAnnotation] ?? '');
  const [, address = '', port = ''] = found ?? [];
  const { holderIdentity: id } = spec;
  return found === null || id === undefined ? undefined : { id, address, port: Number(port) };
}
