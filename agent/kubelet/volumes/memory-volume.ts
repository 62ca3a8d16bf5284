// Pure: how large a volume of memory may grow. Its pages count for the container that wrote them; without a
// size the kernel would let it have half of the machine's memory.
// Source: kubernetes pkg/volume/emptydir/empty_dir.go (calculateEmptyDirMemorySize).
import type { Pod } from '#kube/api/core.ts';
import { toInteger } from '#kube/machinery/quantity.ts';

/** Undefined: the kernel's own bound. */
export function memoryVolumeBytes(
  pod: Pod,
  sizeLimitBytes: number | undefined,
): number | undefined {
  const limits = pod.spec.containers.map(({ resources }) => resources?.limits?.['memory']);
  const podLimit = pod.spec.resources?.limits?.['memory'];
  const isLimited = limits.length > 0 && limits.every((limit) => limit !== undefined);
  const sum = limits.reduce<number>((total, limit) => total + toInteger(limit ?? 0), 0);
  const bounds = [
    sizeLimitBytes,
    podLimit === undefined ? undefined : toInteger(podLimit),
    isLimited ? sum : undefined,
  ].filter((bound) => bound !== undefined && bound > 0);
  return bounds.length === 0 ? undefined : Math.min(...(bounds as number[]));
}
