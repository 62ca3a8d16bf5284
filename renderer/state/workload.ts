// What the three kinds of app workload have in common, read the same way from each. Pure.
import type { DaemonSet, Deployment } from '#kube/api/apps.ts';
import type { Container, ReplicationController, Service } from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';

export type Workload = Deployment | DaemonSet | ReplicationController;
export type WorkloadKind = Workload['kind'];

const workloadKinds: ReadonlySet<string> = new Set([
  'Deployment',
  'DaemonSet',
  'ReplicationController',
]);

export function isWorkload(object: KubeObject): object is Workload {
  return workloadKinds.has(object.kind);
}

export function selectorOf(workload: Workload): LabelSelector {
  if (workload.kind === 'ReplicationController')
    return {
      matchLabels: workload.spec?.selector ?? workload.spec?.template?.metadata?.labels ?? {},
    };
  return workload.spec.selector;
}

/** Services whose selector picks the app's copies. */
export function servicesOf(workload: Workload, services: readonly Service[]): Service[] {
  const labels = workload.spec?.template?.metadata?.labels ?? {};
  return services.filter(({ spec }) => {
    const wanted = Object.entries(spec?.selector ?? {});
    return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
  });
}

export function desiredCopies(workload: Workload): number {
  if (workload.kind === 'DaemonSet') return workload.status?.desiredNumberScheduled ?? 0;
  return workload.spec?.replicas ?? 1;
}

export function readyCopies(workload: Workload): number {
  if (workload.kind === 'DaemonSet') return workload.status?.numberReady ?? 0;
  return workload.status?.readyReplicas ?? 0;
}

export function mainContainer(workload: Workload): Container | undefined {
  return workload.spec?.template?.spec?.containers[0];
}
