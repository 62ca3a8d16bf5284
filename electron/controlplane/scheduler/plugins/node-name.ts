// NodeName: a pod that names its node goes there or nowhere.
// Source: kubernetes pkg/scheduler/framework/plugins/nodename.
import { unresolvable, type Plugin } from '../framework.ts';

export const nodeName: Plugin = {
  name: 'NodeName',
  filter(_state, { pod }, node) {
    const wanted = pod.spec?.nodeName ?? '';
    if (wanted === '' || wanted === node.name) return undefined;
    return unresolvable("node(s) didn't match the requested node name");
  },
  queueingHint: (_pod, event) => event.type === 'node-added',
};
