// Namespaces, pods and policies for tests, and a packet sent through the rules that are made of them.
import type { ContainerPort, Namespace, Pod } from '#kube/api/core.ts';
import type { NetworkPolicy, NetworkPolicySpec } from '#kube/api/networking.ts';
import { NftTable } from '../../proxy/testing/nft-table.ts';
import { policyContent } from '../policies.ts';
import { policyPods } from '../pods.ts';
import { wholeText, type PolicyContent } from '../table-content.ts';
import type { Home, Journey } from './oracle.ts';

export const here = 'here';
const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 };

export function makeNamespace(name: string, labels: Record<string, string> = {}): Namespace {
  const all = { 'kubernetes.io/metadata.name': name, ...labels };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: all }, spec: {} };
}

/** `name`: `namespace/name`. */
export function makePod(
  path: string,
  address: string,
  labels: Record<string, string> = {},
  more: { node?: string; ports?: ContainerPort[]; phase?: string; isHost?: boolean } = {},
): Pod {
  const [namespace = '', name = ''] = path.split('/');
  const { node = here, ports = [], phase = 'Running', isHost } = more;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, uid: `uid-${path}`, labels },
    spec: {
      nodeName: node,
      containers: [{ name: 'main', ports }],
      ...(isHost === true && { hostNetwork: true }),
    },
    status: { phase, podIP: address },
  };
}

/** Of the namespace `default` if it says none. */
export function makePolicy(path: string, spec: NetworkPolicySpec): NetworkPolicy {
  const [name = '', namespace = 'default'] = path.split('/').toReversed();
  const metadata = { namespace, name };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec };
}

export function contentOf({ policies, namespaces, pods }: Home, nodeName = here): PolicyContent {
  return policyContent({ policies, namespaces, pods: policyPods(pods, nodeName) });
}

export function tableOf(content: PolicyContent): NftTable {
  const table = new NftTable();
  table.load(wholeText(content, 't'));
  return table;
}

/** Whether the rules of one machine let it through. */
export function passes(table: NftTable, journey: Journey, isKnown = false): boolean {
  const { from, to, protocol, port } = journey;
  const packet = { from, to, protocol: protocolNumbers[protocol], port, iif: 'any', isKnown };
  const world = { local: [], oif: () => 'any', random: () => 0 };
  return table.send(packet, world).kind === 'sent';
}
