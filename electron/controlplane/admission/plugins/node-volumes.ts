// What an agent may change of a PersistentVolume: what it tells of its disk and its directory, and the
// finalizer by which the directory's volume waits for it.
import type { PersistentVolume } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { diskAnnotation, localPath } from '#kube/machinery/volume-binding.ts';
import { moveAnnotations } from '#kube/machinery/volume-move.ts';

const ownAnnotations: readonly string[] = [
  diskAnnotation,
  localPath.madeAnnotation,
  moveAnnotations.state,
];

/** Why not; undefined: it may. */
export function problemOfVolumeWrite(
  nodeName: string,
  old: PersistentVolume,
  next: PersistentVolume,
): string | undefined {
  if (!deepEqual(bare(old), bare(next)))
    return `node "${nodeName}" can only update annotations ${ownAnnotations.join(', ')} of persistent volumes`;
  const before = old.metadata.finalizers ?? [];
  const after = next.metadata.finalizers ?? [];
  if (deepEqual(before, after)) return undefined;
  const isItsOwn = old.metadata.labels?.[localPath.nodeLabel] === nodeName;
  const allowed = before.filter((finalizer) => finalizer !== localPath.finalizer);
  if (isItsOwn && old.metadata.deletionTimestamp !== undefined && deepEqual(after, allowed))
    return undefined;
  return `node "${nodeName}" can only remove finalizer ${localPath.finalizer} from its own persistent volumes that are being deleted`;
}

function bare({ metadata, spec }: PersistentVolume): object {
  const { labels, ownerReferences, annotations = {} } = metadata;
  const others = Object.entries(annotations).filter(([name]) => !ownAnnotations.includes(name));
  return {
    spec,
    labels: labels ?? {},
    owners: ownerReferences ?? [],
    annotations: Object.fromEntries(others),
  };
}
