// Pods that belong to no app: made by hand, or by a kind that is no app yet. They have no tile of
// their own, but when one is in trouble its home is not well. Pure.
import type { Node, Pod } from '#kube/api/core.ts';
import type { App } from './app.ts';
import { systemNamespaces } from './app.ts';
import { copyState } from './copy-state.ts';
import type { StateView } from './vocabulary.ts';

export interface LoosePod {
  readonly key: string;
  readonly name: string;
  /** Where it runs or is to run; undefined: nowhere yet. */
  readonly machine: string | undefined;
  readonly state: StateView;
}

export function loosePods(
  pods: readonly Pod[],
  apps: readonly App[],
  nodes: readonly Node[],
): LoosePod[] {
  const ofApps = new Set(apps.flatMap((app) => app.pods));
  return pods
    .filter((pod) => !ofApps.has(pod) && !systemNamespaces.has(pod.metadata.namespace ?? ''))
    .map((pod) => ({
      key: `Pod/${pod.metadata.namespace}/${pod.metadata.name}`,
      name: pod.metadata.name,
      machine: pod.spec.nodeName,
      state: copyState(pod, nodes),
    }));
}
