// TaintNodesByCondition: a new node gets no pods before its controller has seen it ready.
// Source: kubernetes plugin/pkg/admission/nodetaint/admission.go.
import type { Node } from '#kube/api/core.ts';
import type { AdmissionPlugin } from '../chain.ts';

const notReady = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' };

export function taintNodesByCondition(): AdmissionPlugin {
  return {
    name: 'TaintNodesByCondition',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'nodes',
    admit({ object }) {
      const node = object as Node;
      const taints = node.spec?.taints ?? [];
      if (taints.some(({ key, effect }) => key === notReady.key && effect === notReady.effect))
        return;
      node.spec = { ...node.spec, taints: [...taints, { ...notReady }] };
    },
  };
}
