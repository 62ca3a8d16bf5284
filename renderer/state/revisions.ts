// A Deployment's versions, newest first, read from the ReplicaSets it owns. Pure.
// Source: kubernetes pkg/controller/deployment/util (deployment.kubernetes.io/revision).
import type { ReplicaSet } from '#kube/api/apps.ts';
import type { Workload } from './workload.ts';

export interface Revision {
  readonly uid: string;
  readonly number: number;
  readonly images: readonly string[];
  readonly createdAt: string | undefined;
  readonly isCurrent: boolean;
}

const revisionAnnotation = 'deployment.kubernetes.io/revision';

export function revisionsOf(workload: Workload, replicaSets: readonly ReplicaSet[]): Revision[] {
  const current = Number(workload.metadata.annotations?.[revisionAnnotation] ?? 0);
  return replicaSets
    .filter(
      ({ metadata }) =>
        metadata.ownerReferences?.some(({ uid }) => uid === workload.metadata.uid) === true,
    )
    .map(({ metadata, spec }) => {
      const number = Number(metadata.annotations?.[revisionAnnotation] ?? 0);
      return {
        uid: metadata.uid ?? metadata.name,
        number,
        images: (spec?.template?.spec?.containers ?? []).map(({ image = '' }) => image),
        createdAt: metadata.creationTimestamp,
        isCurrent: number === current,
      };
    })
    .sort((a, b) => b.number - a.number);
}
