// Pure: when images have to make room, and which go first. Only what a registry gave goes: an image
// that was built or loaded on this machine may be nowhere else.
// Source: kubernetes pkg/kubelet/images/image_gc_manager.go.
import type { ImageStatus } from '../../runtime/runtime.ts';

/** Of something that is counted. */
export interface Stock {
  readonly total: number;
  readonly available: number;
}

export interface DiskSpace {
  /** The file system's; left out where it makes no difference. */
  readonly device?: number;
  readonly sizeBytes: number;
  readonly availableBytes: number;
  /** How many files it can have; left out by those that make room for them as they come. */
  readonly inodes?: Stock;
}

export interface KnownImage {
  readonly image: ImageStatus;
  /** Since when this agent knows it. */
  readonly firstSeenMs: number;
  /** When a container or pod last needed it; 0: not since this agent began. */
  readonly lastUsedMs: number;
}

const gib = 1024 ** 3;
/** A pod may be on its way to it. */
const minAgeMs = 120_000;

/** Differs: Kubernetes says 5 %; a hundred thousand files are room enough on any disk. */
export function inodesThreshold({ total }: Stock): number {
  return Math.min(Math.floor(total * 0.05), 100_000);
}

/** It has bytes left maybe, but no more files can be made. */
export function lacksInodes({ inodes }: DiskSpace): boolean {
  return inodes !== undefined && inodes.available < inodesThreshold(inodes);
}

/** How many bytes images should give up; 0: none. */
export function bytesToFree(disk: DiskSpace): number {
  // Differs: Kubernetes begins at 15 % and stops at 20 %, which of a home's big disk is plenty.
  const low = Math.min(0.15 * disk.sizeBytes, 10 * gib);
  return disk.availableBytes >= low ? 0 : Math.ceil(missingBytes(disk));
}

/** Once they give up some: how much is still to come; 0 or less: it is enough. */
export function missingBytes({ sizeBytes, availableBytes }: DiskSpace): number {
  return Math.min(0.2 * sizeBytes, 15 * gib) - availableBytes;
}

/** Those that may go, unused for longest first. What is in use has `lastUsedMs` of now. */
export function removalOrder(images: readonly KnownImage[], nowMs: number): readonly ImageStatus[] {
  return images
    .filter(({ image, firstSeenMs, lastUsedMs }) => {
      const isOld = nowMs - firstSeenMs >= minAgeMs;
      return image.isPulled && isOld && lastUsedMs < nowMs;
    })
    .sort((a, b) => a.lastUsedMs - b.lastUsedMs || a.firstSeenMs - b.firstSeenMs)
    .map(({ image }) => image);
}
