// Whether a packet may pass, read directly off NetworkPolicies, packet by packet, without sets, names or chains: what
// rules are held against. Written after the words of Kubernetes' API reference, not after the rules.
import type { Namespace, Pod } from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '#kube/api/networking.ts';

export interface Home {
  readonly policies: readonly NetworkPolicy[];
  readonly namespaces: readonly Namespace[];
  readonly pods: readonly Pod[];
}

export interface Journey {
  readonly from: string;
  readonly to: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  readonly port: number;
}

/** `nodeName`: which pods are judged; undefined: those of all machines. */
export function mayPass(home: Home, journey: Journey, nodeName?: string): boolean {
  const { from, to } = journey;
  if (from === to) return true;
  const isJudged = (pod: Pod): boolean => nodeName === undefined || pod.spec.nodeName === nodeName;
  const source = podAt(home, from);
  const target = podAt(home, to);
  const leaves =
    source === undefined || !isJudged(source) || isAllowed(home, source, 'Egress', journey);
  const enters =
    target === undefined || !isJudged(target) || isAllowed(home, target, 'Ingress', journey);
  return leaves && enters;
}

/** Pods in the machine's network have no address of their own. */
function podAt({ pods }: Home, address: string): Pod | undefined {
  return pods.find(
    ({ spec, status }) =>
      status?.podIP === address &&
      spec.hostNetwork !== true &&
      !['Succeeded', 'Failed'].includes(status.phase ?? ''),
  );
}

function isAllowed(
  home: Home,
  pod: Pod,
  type: 'Ingress' | 'Egress',
  { from, to, protocol, port }: Journey,
): boolean {
  const isolating = home.policies.filter(
    (policy) =>
      policy.metadata.namespace === pod.metadata.namespace &&
      selects(policy.spec.podSelector ?? {}, pod.metadata.labels) &&
      directions(policy).includes(type),
  );
  if (isolating.length === 0) return true;
  const other = type === 'Ingress' ? from : to;
  return isolating.some((policy) => {
    const { ingress = [], egress = [] } = policy.spec;
    const rules =
      type === 'Ingress'
        ? ingress.map(({ from: peers, ports }) => ({ peers, ports }))
        : egress.map(({ to: peers, ports }) => ({ peers, ports }));
    return rules.some(({ peers = [], ports = [] }) => {
      const isPeer = peers.length === 0 || peers.some((peer) => isMeant(home, policy, peer, other));
      const spokenTo = podAt(home, to);
      const isPort =
        ports.length === 0 || ports.some((one) => isPortOf(one, spokenTo, protocol, port));
      return isPeer && isPort;
    });
  });
}

/** "If this field is not specified, it will default based on the existence of ingress or egress rules". */
function directions({ spec: { policyTypes = [], egress = [] } }: NetworkPolicy): string[] {
  if (policyTypes.length > 0) return policyTypes;
  return egress.length === 0 ? ['Ingress'] : ['Ingress', 'Egress'];
}

function isMeant(
  home: Home,
  policy: NetworkPolicy,
  { ipBlock, namespaceSelector, podSelector }: NetworkPolicyPeer,
  address: string,
): boolean {
  if (ipBlock !== undefined)
    return (
      isIn(address, ipBlock.cidr) && !(ipBlock.except ?? []).some((hole) => isIn(address, hole))
    );
  const pod = podAt(home, address);
  if (pod === undefined) return false;
  const { namespace } = pod.metadata;
  const labels = home.namespaces.find(({ metadata }) => metadata.name === namespace)?.metadata
    .labels;
  const isNamespace =
    namespaceSelector === undefined
      ? namespace === policy.metadata.namespace
      : selects(namespaceSelector, labels);
  return isNamespace && selects(podSelector ?? {}, pod.metadata.labels);
}

function isPortOf(
  { protocol = 'TCP', port, endPort }: NetworkPolicyPort,
  spokenTo: Pod | undefined,
  asked: string,
  number: number,
): boolean {
  if (protocol !== asked) return false;
  if (port === undefined) return true;
  if (typeof port === 'number') return number >= port && number <= (endPort ?? port);
  return (spokenTo?.spec.containers ?? []).some(({ ports = [] }) =>
    ports.some(
      (own) =>
        own.name === port && (own.protocol ?? 'TCP') === asked && own.containerPort === number,
    ),
  );
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === 'Exists') return value !== undefined;
      if (operator === 'DoesNotExist') return value === undefined;
      const isNamed = value !== undefined && values.includes(value);
      return operator === 'In' ? isNamed : !isNamed;
    })
  );
}

function isIn(address: string, cidr: string): boolean {
  const [network = '', length = '32'] = cidr.split('/');
  const bits = (text: string): string =>
    text
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('');
  if (network.includes(':')) return false;
  return bits(address).startsWith(bits(network).slice(0, Number(length)));
}
