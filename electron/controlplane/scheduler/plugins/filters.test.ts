import { describe, expect, it } from 'vitest';
import type { Node, NodeSelectorTerm, Pod } from '#kube/api/core.ts';
import { seededRandom } from '#kube/base/random.ts';
import { defaultProfile } from '../default-profile.ts';
import { podInfoOf } from '../node-info.ts';
import { schedulePod } from '../schedule-pod.ts';
import { makeNode, makePod, nodeInfo, type NodeShape, type PodShape } from '../testing/objects.ts';

/** Why the one node refuses the pod: its code's first letters and reasons; undefined: it doesn't. */
function refusal(pod: Pod, node: Node, running: readonly Pod[]): string | undefined {
  const snapshot = { nodes: [nodeInfo(node, running)] };
  const options = { profile: defaultProfile, random: seededRandom(1) };
  const result = schedulePod(podInfoOf(pod), snapshot, options);
  if (result.type === 'fits') return undefined;
  const { preFilterReasons, statuses } = result.error;
  if (preFilterReasons !== undefined) return `preFilter: ${preFilterReasons.join(', ')}`;
  const status = statuses.get(node.metadata.name);
  const code = status?.code === 'Unschedulable' ? 'unschedulable' : 'unresolvable';
  return `${code}: ${status?.reasons.join(', ')}`;
}

interface Case {
  readonly name: string;
  readonly pod?: PodShape;
  readonly node?: NodeShape;
  readonly running?: readonly PodShape[];
  readonly want?: string;
}

function check(cases: readonly Case[]): void {
  for (const { name, pod, node, running = [], want } of cases)
    it(name, () => {
      const here = running.map((shape, i) => makePod(`running-${i}`, shape));
      expect(refusal(makePod('web', pod), makeNode('a', node), here)).toBe(want);
    });
}

describe('NodeName', () => {
  check([
    { name: 'lets a pod onto the node it names', pod: { nodeName: 'a' } },
    {
      name: 'refuses every other node',
      pod: { nodeName: 'b' },
      want: "unresolvable: node(s) didn't match the requested node name",
    },
  ]);
});

describe('NodeUnschedulable', () => {
  const node = { spec: { unschedulable: true } };
  check([
    { name: 'refuses a cordoned node', node, want: 'unresolvable: node(s) were unschedulable' },
    {
      name: "lets in what tolerates the cordon's taint",
      node,
      pod: { tolerations: [{ key: 'node.kubernetes.io/unschedulable', operator: 'Exists' }] },
    },
  ]);
});

describe('TaintToleration', () => {
  const want = 'unresolvable: node(s) had untolerated taint(s)';
  const taint = (effect: string): NodeShape => ({
    spec: { taints: [{ key: 'k', value: 'v', effect }] },
  });
  const tolerating = (toleration: object): PodShape => ({ tolerations: [toleration] });
  check([
    { name: 'refuses NoSchedule', node: taint('NoSchedule'), want },
    { name: 'refuses NoExecute', node: taint('NoExecute'), want },
    { name: 'lets PreferNoSchedule pass', node: taint('PreferNoSchedule') },
    {
      name: 'accepts an equal toleration',
      node: taint('NoSchedule'),
      pod: tolerating({ key: 'k', operator: 'Equal', value: 'v', effect: 'NoSchedule' }),
    },
    {
      name: 'takes a toleration without operator for Equal',
      node: taint('NoSchedule'),
      pod: tolerating({ key: 'k', value: 'other' }),
      want,
    },
    {
      name: 'accepts Exists of the key for every effect',
      node: taint('NoExecute'),
      pod: tolerating({ key: 'k', operator: 'Exists' }),
    },
    {
      name: 'accepts Exists without key for everything',
      node: taint('NoSchedule'),
      pod: tolerating({ operator: 'Exists' }),
    },
    {
      name: 'refuses a toleration of another effect',
      node: taint('NoSchedule'),
      pod: tolerating({ key: 'k', operator: 'Exists', effect: 'NoExecute' }),
      want,
    },
  ]);
});

describe('NodeAffinity', () => {
  const want = "unresolvable: node(s) didn't match Pod's node affinity/selector";
  const node = { labels: { disk: 'ssd', cores: '8' } };
  const affinity = (...nodeSelectorTerms: NodeSelectorTerm[]): PodShape => ({
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
    },
  });
  const needs = (key: string, operator: string, ...values: string[]): NodeSelectorTerm => ({
    matchExpressions: [{ key, operator, values }],
  });
  const named = (...values: string[]): NodeSelectorTerm => ({
    matchFields: [{ key: 'metadata.name', operator: 'In', values }],
  });
  check([
    { name: 'accepts a matching nodeSelector', node, pod: { nodeSelector: { disk: 'ssd' } } },
    { name: 'refuses another nodeSelector', node, pod: { nodeSelector: { disk: 'hdd' } }, want },
    { name: 'In', node, pod: affinity(needs('disk', 'In', 'hdd', 'ssd')) },
    { name: 'In of an absent label', node, pod: affinity(needs('x', 'In', 'y')), want },
    { name: 'NotIn of an absent label', node, pod: affinity(needs('x', 'NotIn', 'y')) },
    { name: 'NotIn', node, pod: affinity(needs('disk', 'NotIn', 'ssd')), want },
    { name: 'Exists', node, pod: affinity(needs('disk', 'Exists')) },
    { name: 'DoesNotExist', node, pod: affinity(needs('disk', 'DoesNotExist')), want },
    { name: 'Gt', node, pod: affinity(needs('cores', 'Gt', '7')) },
    { name: 'Gt is strict', node, pod: affinity(needs('cores', 'Gt', '8')), want },
    { name: 'Lt of what is no number', node, pod: affinity(needs('disk', 'Lt', '8')), want },
    {
      name: 'one of several terms',
      node,
      pod: affinity(needs('x', 'Exists'), needs('disk', 'Exists')),
    },
    { name: 'an empty term matches nothing', node, pod: affinity({}), want },
    {
      name: 'both selector and affinity',
      node,
      pod: { nodeSelector: { disk: 'ssd' }, ...affinity(needs('x', 'Exists')) },
      want,
    },
    { name: 'the node by name', node, pod: affinity(named('b', 'a')) },
    {
      name: 'another node by name, before any filter runs',
      node,
      pod: affinity(named('b')),
      want: "unresolvable: node(s) didn't satisfy plugin(s) [NodeAffinity]",
    },
    {
      name: 'names that contradict each other',
      node,
      pod: affinity({
        matchFields: [...(named('a').matchFields ?? []), ...(named('b').matchFields ?? [])],
      }),
      want: 'preFilter: pod affinity terms conflict',
    },
  ]);
});

describe('NodePorts', () => {
  const want = "unschedulable: node(s) didn't have free ports for the requested pod ports";
  const bound = (hostIP: string, protocol = 'TCP'): PodShape => ({
    containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80, hostIP, protocol }] }],
  });
  check([
    {
      name: 'refuses a taken port',
      pod: { hostPorts: [80] },
      running: [{ hostPorts: [80] }],
      want,
    },
    { name: 'accepts another port', pod: { hostPorts: [81] }, running: [{ hostPorts: [80] }] },
    { name: 'accepts another protocol', pod: bound('', 'UDP'), running: [bound('', 'TCP')] },
    { name: 'accepts another address', pod: bound('10.0.0.1'), running: [bound('10.0.0.2')] },
    {
      name: 'takes no address for all addresses',
      pod: bound('10.0.0.1'),
      running: [bound('')],
      want,
    },
    {
      name: 'lets pods without host ports share',
      pod: { hostPorts: [] },
      running: [{ hostPorts: [] }],
    },
  ]);
});

describe('NodeResourcesFit', () => {
  const node = { allocatable: { cpu: '2', memory: '1Gi', pods: '2' } };
  check([
    { name: 'accepts what fits exactly', node, pod: { requests: { cpu: '2', memory: '1Gi' } } },
    {
      name: 'refuses what is taken, and others leaving would help',
      node,
      pod: { requests: { cpu: '1500m' } },
      running: [{ requests: { cpu: '1' } }],
      want: 'unschedulable: Insufficient cpu',
    },
    {
      name: 'refuses more than the node has, and nothing would help',
      node,
      pod: { requests: { memory: '900Ti' } },
      want: 'unresolvable: Insufficient memory',
    },
    {
      name: 'names all that is lacking',
      node,
      pod: { requests: { memory: '2Gi', cpu: '3', 'example.com/gpu': '1' } },
      running: [{}, {}],
      want: 'unresolvable: Too many pods, Insufficient cpu, Insufficient memory, Insufficient example.com/gpu',
    },
    { name: 'counts pods', node, running: [{}, {}], want: 'unschedulable: Too many pods' },
    {
      name: 'lets a pod that asks for nothing onto a node that is asked too much of',
      node,
      running: [{ requests: { cpu: '5' } }],
    },
  ]);
});

describe('PodTopologySpread', () => {
  const spread = (more: object = {}): PodShape => ({
    labels: { app: 'web' },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'web' } },
        ...more,
      },
    ],
  });
  const mismatch = "node(s) didn't match pod topology spread constraints";
  check([
    { name: 'is content with one domain', pod: spread(), running: [{ labels: { app: 'web' } }] },
    {
      name: 'refuses a node without the label',
      pod: spread({ topologyKey: 'rack' }),
      want: `unresolvable: ${mismatch} (missing required label)`,
    },
    {
      name: 'counts a domain that should be there as empty',
      pod: spread({ minDomains: 2 }),
      running: [{ labels: { app: 'web' } }],
      want: `unschedulable: ${mismatch}`,
    },
    {
      name: 'does not count pods it does not select',
      pod: spread({ minDomains: 2 }),
      running: [{ labels: { app: 'db' } }],
    },
    {
      name: 'leaves soft constraints to the scores',
      pod: spread({ minDomains: 2, whenUnsatisfiable: 'ScheduleAnyway' }),
      running: [{ labels: { app: 'web' } }],
    },
  ]);
});
