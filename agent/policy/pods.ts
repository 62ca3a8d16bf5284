// Pure: pods as NetworkPolicies see them: labels, one address, named ports. What has no address of its own
// (the machine's network) or is over is none; of two that claim one address it is the later's.
import type { Container, Pod } from '#kube/api/core.ts';
import { parseIpv4 } from '#kube/machinery/ipv4.ts';

export interface NamedPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
}

export interface PolicyPod {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly address: string;
  readonly isLocal: boolean;
  readonly ports: readonly NamedPort[];
}

/** What a pod of this machine has before the API server tells. By uid. */
export type Claims = ReadonlyMap<string, { readonly pod: Pod; readonly address: string }>;

/** What is read of a pod, and nothing else: there are thousands. */
export function slimPod({ apiVersion, kind, metadata, spec, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels } = metadata;
  const { creationTimestamp, deletionTimestamp } = metadata;
  const { nodeName, hostNetwork, containers, initContainers = [] } = spec;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(labels !== undefined && { labels }),
      ...(creationTimestamp !== undefined && { creationTimestamp }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
    spec: {
      ...(nodeName !== undefined && { nodeName }),
      ...(hostNetwork !== undefined && { hostNetwork }),
      // Of an init container only one that stays can be asked.
      containers: [...containers, ...initContainers.filter(isSidecar)]
        .filter(({ ports = [] }) => ports.some((port) => port.name !== undefined))
        .map((container) => ({ name: container.name, ports: container.ports ?? [] })),
    },
    status: {
      ...(status?.phase !== undefined && { phase: status.phase }),
      ...(status?.podIP !== undefined && { podIP: status.podIP }),
    },
  };
}

export function policyPods(
  pods: readonly Pod[],
  nodeName: string,
  claims: Claims = new Map(),
): readonly PolicyPod[] {
  const byAddress = new Map<string, Pod>();
  for (const pod of pods) {
    const address = pod.status?.podIP;
    if (claims.has(pod.metadata.uid ?? '') || !hasOwnAddress(pod)) continue;
    if (address === undefined || parseIpv4(address) === undefined) continue;
    const other = byAddress.get(address);
    if (other === undefined || isLater(pod, other)) byAddress.set(address, pod);
  }
  const newest = new Map(pods.map((pod) => [pod.metadata.uid, pod]));
  // This machine's own word counts more than what the API server still tells of a pod that is gone.
  for (const [uid, { pod: claimed, address }] of claims) {
    const pod = newest.get(uid) ?? claimed;
    if (hasOwnAddress(pod)) byAddress.set(address, pod);
  }
  return Array.from(byAddress, ([address, pod]) => ({
    namespace: pod.metadata.namespace ?? '',
    labels: pod.metadata.labels ?? {},
    address,
    isLocal: pod.spec.nodeName === nodeName || claims.has(pod.metadata.uid ?? ''),
    ports: namedPorts(pod),
  }));
}

/** Whether it is subject to policies, and may be meant by them. */
export function hasOwnAddress({ spec, status }: Pod): boolean {
  const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  return spec.hostNetwork !== true && !isOver;
}

/** Which of two pods has the address that both tell. */
function isLater({ metadata: a }: Pod, { metadata: b }: Pod): boolean {
  const isEnding = (time: string | undefined): boolean => time !== undefined;
  if (isEnding(a.deletionTimestamp) !== isEnding(b.deletionTimestamp))
    return !isEnding(a.deletionTimestamp);
  return (a.creationTimestamp ?? '') > (b.creationTimestamp ?? '');
}

function namedPorts({ spec }: Pod): readonly NamedPort[] {
  return [...spec.containers, ...(spec.initContainers ?? []).filter(isSidecar)].flatMap(
    ({ ports = [] }) =>
      ports.flatMap(({ name, protocol = 'TCP', containerPort }) =>
        name === undefined ? [] : [{ name, protocol, port: containerPort }],
      ),
  );
}

function isSidecar({ restartPolicy }: Container): boolean {
  return restartPolicy === 'Always';
}
