// DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or unreachable,
// unless it says otherwise.
// Source: kubernetes plugin/pkg/admission/defaulttolerationseconds/admission.go.
import type { Pod, Toleration } from '#kube/api/core.ts';
import type { AdmissionPlugin } from '../chain.ts';

const taintKeys = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
const defaultSeconds = 300;

export function defaultTolerationSeconds(): AdmissionPlugin {
  return {
    name: 'DefaultTolerationSeconds',
    handles: ({ operation, resource, subresource }) =>
      (operation === 'CREATE' || operation === 'UPDATE') &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'pods',
    admit({ object }) {
      const { spec } = object as Pod;
      const given = spec.tolerations ?? [];
      const missing = taintKeys.filter((key) => !given.some((entry) => tolerates(entry, key)));
      if (missing.length === 0) return;
      spec.tolerations = [
        ...given,
        ...missing.map((key) => ({
          key,
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: defaultSeconds,
        })),
      ];
    },
  };
}

/** An empty key or effect stands for all of them. */
function tolerates({ key = '', effect = '' }: Toleration, taintKey: string): boolean {
  return (key === taintKey || key === '') && (effect === 'NoExecute' || effect === '');
}
