// NodePorts: a host port belongs to one pod of a node. Address 0.0.0.0 collides with every address.
// Source: kubernetes pkg/scheduler/framework/plugins/nodeports, types.go HostPortInfo.
import { unschedulable, type Plugin } from '../framework.ts';
import { podInfoOf, type HostPort } from '../node-info.ts';

export const nodePorts: Plugin = {
  name: 'NodePorts',
  filter(_state, { hostPorts }, node) {
    if (hostPorts.length === 0) return undefined;
    for (const other of node.pods.values())
      if (collide(hostPorts, other.hostPorts))
        return unschedulable("node(s) didn't have free ports for the requested pod ports");
    return undefined;
  },
  queueingHint(pod, event) {
    if (event.type === 'node-added') return true;
    if (event.type !== 'assigned-pod-removed') return false;
    return collide(podInfoOf(pod).hostPorts, podInfoOf(event.pod).hostPorts);
  },
};

const anyAddress = '0.0.0.0';

function collide(wanted: readonly HostPort[], taken: readonly HostPort[]): boolean {
  return wanted.some((a) =>
    taken.some(
      (b) =>
        a.hostPort === b.hostPort &&
        a.protocol === b.protocol &&
        (a.hostIP === b.hostIP || a.hostIP === anyAddress || b.hostIP === anyAddress),
    ),
  );
}
