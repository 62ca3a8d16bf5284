// A file of zeros beside the database that is given up when the disk is full: with its space,
// deletes and compaction go on, by which a person gets out. Taken again when there is plenty.
// It holds nothing: losing it loses nothing.
import { rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';

const sizeBytes = 1024 * 1024;
/** Taken only where this much would still be left. */
const leftBytesMin = 8 * sizeBytes;

export class DiskReserve {
  readonly #file: string;
  readonly #directory: string;
  readonly #freeBytes: (directory: string) => number;

  /** `file` lies in `directory`. Nothing is taken yet; what an earlier process held is held. */
  constructor(file: string, directory: string, free = freeBytes) {
    this.#file = file;
    this.#directory = directory;
    this.#freeBytes = free;
  }

  get #isHeld(): boolean {
    return statSync(this.#file, { throwIfNoEntry: false })?.size === sizeBytes;
  }

  /** Does nothing when it is held, or when space is scarce. */
  take(): void {
    if (this.#isHeld || this.#freeBytes(this.#directory) < leftBytesMin + sizeBytes) return;
    try {
      writeFileSync(this.#file, Buffer.alloc(sizeBytes), { mode: 0o600 });
    } catch {
      // The space went to somebody else in between; half a reserve is none.
      this.#remove();
    }
  }

  /** False when there was nothing to give up. */
  release(): boolean {
    return this.#remove();
  }

  #remove(): boolean {
    const wasHeld = this.#isHeld;
    rmSync(this.#file, { force: true });
    return wasHeld;
  }
}

/** What this user may still write. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
