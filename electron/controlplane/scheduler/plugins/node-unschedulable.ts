// NodeUnschedulable: cordoned nodes take no pods, but for those that tolerate the taint a cordoned
// node gets. Source: kubernetes pkg/scheduler/framework/plugins/nodeunschedulable.
import type { Node } from '#kube/api/core.ts';
import { unresolvable, type Plugin } from '../framework.ts';
import { toleratesTaint } from '#kube/machinery/tolerations.ts';

const taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  filter(_state, { pod }, { node }) {
    if (!isCordoned(node) || toleratesTaint(pod.spec?.tolerations, taint)) return undefined;
    return unresolvable('node(s) were unschedulable');
  },
  queueingHint(_pod, event) {
    if (event.type === 'node-added') return !isCordoned(event.node);
    return event.type === 'node-updated' && isCordoned(event.old) && !isCordoned(event.node);
  },
};

function isCordoned(node: Node | undefined): boolean {
  return node?.spec?.unschedulable === true;
}
