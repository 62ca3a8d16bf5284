// DefaultTolerationSeconds: a pod stays five minutes on a node that says it is not ready, and five seconds on one
// that is unreachable, unless it says otherwise.
// Differs: five minutes of both in Kubernetes (its --default-unreachable-toleration-seconds). A home waits for its apps:
// 40 s of silence and these 5 s are a machine that vanished, not one that restarts or sleeps, as those say so
// (controllers/node). One that is not ready is there, and its containers mostly run on.
// Source: kubernetes plugin/pkg/admission/defaulttolerationseconds/admission.go.
import type { Pod, Toleration } from '#kube/api/core.ts';
import type { AdmissionPlugin } from '../chain.ts';

const defaultSeconds = {
  'node.kubernetes.io/not-ready': 300,
  'node.kubernetes.io/unreachable': 5,
} as const;

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
      const missing = Object.entries(defaultSeconds).filter(
        ([key]) => !given.some((entry) => tolerates(entry, key)),
      );
      if (missing.length === 0) return;
      spec.tolerations = [
        ...given,
        ...missing.map(([key, tolerationSeconds]) => ({
          key,
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds,
        })),
      ];
    },
  };
}

/** An empty key or effect stands for all of them. */
function tolerates({ key = '', effect = '' }: Toleration, taintKey: string): boolean {
  return (key === taintKey || key === '') && (effect === 'NoExecute' || effect === '');
}
