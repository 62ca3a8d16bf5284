// Which nodes a DaemonSet wants a pod on, and what that pod looks like. Pure.
// Source: kubernetes pkg/controller/daemon/{daemon_controller,util/daemonset_util}.go.
import type { DaemonSet } from '#kube/api/apps.ts';
import type { Node, Pod, Toleration } from '#kube/api/core.ts';
import { matchesRequired } from '#kube/machinery/node-selector.ts';
import { untolerated } from '../node/taints.ts';
import { podFromTemplate } from '../pod-control.ts';

export const revisionHashLabel = 'controller-revision-hash';
const nodeNameField = 'metadata.name';

/** Daemons stay where others leave. */
const daemonTolerations: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
const hostNetworkToleration: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
};

/** The pod for one node: the scheduler binds it there, if it fits at all. */
export function daemonPod(daemonSet: DaemonSet, nodeName: string, hash: string): Pod {
  const pod = podFromTemplate(daemonSet.spec.template, daemonSet);
  pod.metadata.labels = {
    ...pod.metadata.labels,
    [revisionHashLabel]: hash,
    'pod-template-generation': String(daemonSet.metadata.generation ?? 1),
  };
  const term = { matchFields: [{ key: nodeNameField, operator: 'In', values: [nodeName] }] };
  pod.spec.affinity = {
    ...pod.spec.affinity,
    nodeAffinity: {
      ...pod.spec.affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] },
    },
  };
  pod.spec.tolerations = tolerationsFor(daemonSet);
  return pod;
}

function tolerationsFor({ spec }: DaemonSet): Toleration[] {
  const own = spec.template.spec?.tolerations ?? [];
  const added =
    spec.template.spec?.hostNetwork === true
      ? [...daemonTolerations, hostNetworkToleration]
      : daemonTolerations;
  const isSame = (a: Toleration, b: Toleration): boolean =>
    a.key === b.key && a.effect === b.effect && a.operator === b.operator;
  return [...own, ...added.filter((toleration) => !own.some((other) => isSame(other, toleration)))];
}

/** The node a daemon pod is on, or meant for. */
export function nodeNameOf(pod: Pod): string {
  if (pod.spec.nodeName !== undefined && pod.spec.nodeName !== '') return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const { matchFields = [] } of required?.nodeSelectorTerms ?? [])
    for (const { key, operator, values } of matchFields)
      if (key === nodeNameField && operator === 'In' && values?.length === 1)
        return values[0] ?? '';
  return '';
}

export interface NodeFit {
  /** A pod belongs here. */
  readonly shouldRun: boolean;
  /** One that is here may stay. */
  readonly shouldContinue: boolean;
}

export function fitsNode(daemonSet: DaemonSet, node: Node): NodeFit {
  const spec = daemonSet.spec.template.spec;
  const wantedNode = spec?.nodeName ?? '';
  const isHere = wantedNode === '' || wantedNode === node.metadata.name;
  if (!isHere || !matchesRequired(spec, node)) return { shouldRun: false, shouldContinue: false };
  const tolerations = tolerationsFor(daemonSet);
  const has = (...effects: string[]): boolean =>
    untolerated(node.spec.taints, tolerations, effects).length > 0;
  return { shouldRun: !has('NoSchedule', 'NoExecute'), shouldContinue: !has('NoExecute') };
}
