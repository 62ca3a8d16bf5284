// In which order clients prefer groups, and versions in a group, where no APIService says otherwise.
// A higher number goes first.
// Source: kubernetes pkg/controlplane/{apiserver/aggregator.go,instance.go},
// pkg/controlplane/controller/crdregistration.
import { compareVersions } from './version-order.ts';

export interface ApiPriority {
  /** The whole group's is the highest of its versions. */
  readonly group: number;
  readonly version: number;
}

/** By `group/version`: what this API server serves from the start. */
export const builtInPriorities: ReadonlyMap<string, ApiPriority> = new Map(
  Object.entries({
    '/v1': [18_000, 1],
    // Never an APIService of its own in Kubernetes, and always first there.
    'apiregistration.k8s.io/v1': [20_000, 18],
    'apps/v1': [17_800, 15],
    'events.k8s.io/v1': [17_750, 15],
    'authentication.k8s.io/v1': [17_700, 15],
    'authorization.k8s.io/v1': [17_600, 15],
    'autoscaling/v2': [17_500, 30],
    'autoscaling/v1': [17_500, 15],
    'batch/v1': [17_400, 15],
    'certificates.k8s.io/v1': [17_300, 15],
    'networking.k8s.io/v1': [17_200, 15],
    'policy/v1': [17_100, 15],
    'rbac.authorization.k8s.io/v1': [17_000, 15],
    'storage.k8s.io/v1': [16_800, 15],
    'admissionregistration.k8s.io/v1': [16_700, 15],
    'admissionregistration.k8s.io/v1beta1': [16_700, 12],
    'apiextensions.k8s.io/v1': [16_700, 15],
    'scheduling.k8s.io/v1': [16_600, 15],
    'coordination.k8s.io/v1': [16_500, 15],
    'node.k8s.io/v1': [16_300, 15],
    'discovery.k8s.io/v1': [16_200, 15],
    'resource.k8s.io/v1': [16_200, 20],
    'flowcontrol.apiserver.k8s.io/v1': [16_100, 21],
    'flotilla.dev/v1alpha1': [16_000, 15],
    // As metrics-server registers it.
    'metrics.k8s.io/v1beta1': [100, 100],
  }).map(([name, [group = 0, version = 0]]) => [name, { group, version }]),
);

export const customPriority: ApiPriority = { group: 1000, version: 100 };

/** Served from the start, yet without an APIService: what others register themselves. */
export const unregistered: ReadonlySet<string> = new Set([
  'apiregistration.k8s.io/v1',
  'metrics.k8s.io/v1beta1',
]);

interface Ranked {
  readonly name: string;
  readonly priority: number;
}

/** Negative when `a` goes first. */
export function compareGroups(a: Ranked, b: Ranked): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

export function compareGroupVersions(a: Ranked, b: Ranked): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  return compareVersions(b.name, a.name);
}
