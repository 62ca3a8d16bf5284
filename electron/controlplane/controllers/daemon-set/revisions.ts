// The history of a DaemonSet's template as ControllerRevisions: what `kubectl rollout history`
// lists and `undo` applies. Source: kubernetes pkg/controller/daemon/update.go constructHistory.
import type { ControllerRevision, DaemonSet } from '#kube/api/apps.ts';
import type { Pod } from '#kube/api/core.ts';
import { controllerRevisions, daemonSets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { templateHash } from '#kube/machinery/hash.ts';
import { controllerRef, isControlledBy } from '#kube/machinery/ownership.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { ignoreNotFound } from '../ownership.ts';
import { revisionHashLabel } from './daemon-pods.ts';

const toStatus = { subresource: 'status' } as const;

/** A strategic merge patch that makes the template what it was. */
function dataOf(daemonSet: DaemonSet): unknown {
  return { spec: { template: { ...daemonSet.spec.template, $patch: 'replace' } } };
}

/** The revision of the current template: found, brought to the front, or made. */
export async function syncRevision(
  client: RestClient,
  daemonSet: DaemonSet,
  owned: readonly ControllerRevision[],
): Promise<ControllerRevision> {
  const newest = Math.max(0, ...owned.map(({ revision }) => revision));
  const data = dataOf(daemonSet);
  const known = owned.find((revision) => deepEqual(revision.data, data));
  if (known === undefined) return create(client, daemonSet, newest + 1);
  if (known.revision === newest) return known;
  return client.update(controllerRevisions, { ...known, revision: newest + 1 });
}

async function create(
  client: RestClient,
  daemonSet: DaemonSet,
  revision: number,
): Promise<ControllerRevision> {
  const { namespace, name } = daemonSet.metadata;
  const hash = templateHash(daemonSet.spec.template, daemonSet.status?.collisionCount);
  const wanted: ControllerRevision = {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels: { ...daemonSet.spec.template.metadata?.labels, [revisionHashLabel]: hash },
      annotations: daemonSet.metadata.annotations,
      ownerReferences: [controllerRef(daemonSet)],
    },
    data: dataOf(daemonSet),
    revision,
  };
  try {
    return await client.create(controllerRevisions, wanted);
  } catch (error) {
    if (!hasReason(error, 'AlreadyExists')) throw error;
    const existing = await client.get(controllerRevisions, {
      namespace,
      name: wanted.metadata.name,
    });
    // Ours already, only not in the cache yet.
    if (isControlledBy(existing, daemonSet) && deepEqual(existing.data, wanted.data))
      return existing;
    // Somebody else's: the next hash is another.
    const collisionCount = (daemonSet.status?.collisionCount ?? 0) + 1;
    await client.patch(daemonSets, { namespace, name }, { status: { collisionCount } }, toStatus);
    throw error;
  }
}

/** Deletes the oldest revisions past the limit that no pod runs any more. */
export async function removeHistory(
  client: RestClient,
  daemonSet: DaemonSet,
  owned: readonly ControllerRevision[],
  pods: readonly Pod[],
): Promise<void> {
  const limit = daemonSet.spec.revisionHistoryLimit ?? 10;
  const newest = Math.max(0, ...owned.map(({ revision }) => revision));
  const live = new Set(pods.map((pod) => pod.metadata.labels?.[revisionHashLabel]));
  const old = owned
    .filter(
      ({ metadata, revision }) =>
        revision !== newest && !live.has(metadata.labels?.[revisionHashLabel]),
    )
    .toSorted((a, b) => a.revision - b.revision);
  for (const { metadata } of old.slice(0, Math.max(0, old.length - limit))) {
    const { namespace, name } = metadata;
    await client.delete(controllerRevisions, { namespace, name }).catch(ignoreNotFound);
  }
}
