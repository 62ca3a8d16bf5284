// Pure: whether a pod holds more of the disk than it may. Sentences are Kubernetes'.
// Source: kubernetes pkg/kubelet/eviction/eviction_manager.go (localStorageEviction).
import type { Pod, Volume } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { quantityFromBytes, toInteger } from '#kube/machinery/quantity.ts';

export interface StorageUse {
  /** By name. */
  readonly volumeBytes: ReadonlyMap<string, number>;
  /** By name: each container's own layer. */
  readonly containerBytes: ReadonlyMap<string, number>;
}

/** Volumes on the disk that may not grow at will: those in memory can't outgrow theirs. */
export function limitedVolumes({ spec }: Pod): readonly Volume[] {
  return (spec.volumes ?? []).filter(
    ({ emptyDir }) => emptyDir?.sizeLimit !== undefined && emptyDir.medium !== 'Memory',
  );
}

/** Only such pods have to be looked at. */
export function hasStorageLimits(pod: Pod): boolean {
  return limitedVolumes(pod).length > 0 || [...containerLimits(pod).values()].length > 0;
}

/** Why it has to end; undefined: it keeps to its limits. */
export function overLimit(pod: Pod, use: StorageUse): string | undefined {
  for (const { name, emptyDir } of limitedVolumes(pod)) {
    const limit = emptyDir?.sizeLimit ?? '';
    // A limit of zero is none.
    if (toInteger(limit) > 0 && (use.volumeBytes.get(name) ?? 0) > toInteger(limit))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
  }
  const limits = containerLimits(pod);
  for (const [name, limit] of limits)
    // Nor is one of a container.
    if (toInteger(limit) > 0 && (use.containerBytes.get(name) ?? 0) > toInteger(limit))
      return `Container ${name} exceeded its local ephemeral storage limit "${limit}". `;
  if (limits.size < pod.spec.containers.length) return undefined;
  const allowed = [...limits.values()].reduce<number>((sum, limit) => sum + toInteger(limit), 0);
  const used = [...use.volumeBytes.values(), ...use.containerBytes.values()];
  if (used.reduce((sum, bytes) => sum + bytes, 0) <= allowed) return undefined;
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${quantityFromBytes(allowed)}. `;
}

function containerLimits({ spec }: Pod): ReadonlyMap<string, Quantity> {
  return new Map(
    spec.containers.flatMap(({ name, resources }) => {
      const limit = resources?.limits?.['ephemeral-storage'];
      return limit === undefined ? [] : [[name, limit] as const];
    }),
  );
}
