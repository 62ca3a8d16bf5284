// A Deployment's versions, newest first, read from the ReplicaSets it owns. Pure.
// Source: kubernetes pkg/controller/deployment/util (deployment.kubernetes.io/revision).
import type { ReplicaSet } from '#kube/api/apps.ts';
import type { PodTemplateSpec } from '#kube/api/core.ts';
import type { Workload } from './workload.ts';

export interface Revision {
  readonly uid: string;
  readonly number: number;
  readonly images: readonly string[];
  readonly createdAt: string | undefined;
  readonly isCurrent: boolean;
  /** The newest before the current one: what undoing the last change brings back. */
  readonly isPrevious: boolean;
  /** The template as the Deployment had it. */
  readonly template: PodTemplateSpec;
}

const hashLabel = 'pod-template-hash';
const revisionAnnotation = 'deployment.kubernetes.io/revision';

export function revisionsOf(workload: Workload, replicaSets: readonly ReplicaSet[]): Revision[] {
  const current = Number(workload.metadata.annotations?.[revisionAnnotation] ?? 0);
  const revisions = replicaSets
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
        template: templateOf(spec?.template),
      };
    })
    .sort((a, b) => b.number - a.number);
  const previous = revisions.find(({ number }) => number < current)?.number;
  return revisions.map((one) => ({ ...one, isPrevious: one.number === previous }));
}

/** Without the label that the Deployment's controller gave it. */
function templateOf(template: PodTemplateSpec | undefined): PodTemplateSpec {
  if (template?.metadata?.labels === undefined) return template ?? {};
  const { [hashLabel]: _hash, ...labels } = template.metadata.labels;
  return { ...template, metadata: { ...template.metadata, labels } };
}

/**
 * What `kubectl rollout undo` writes: the whole template, on top of what the page shows.
 * A change made by somebody else meanwhile is a conflict.
 */
export function rollbackPatch(workload: Workload, { template }: Revision): object[] {
  return [
    {
      op: 'replace',
      path: '/metadata/resourceVersion',
      value: workload.metadata.resourceVersion,
    },
    { op: 'replace', path: '/spec/template', value: template },
  ];
}
