// A disk of a few megabytes in memory, which a test can fill to the last byte and empty again.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, rmdirSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export class SmallDisk {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'flotilla-disk-'));

  constructor(sizeMebibytes: number) {
    const options = `size=${Math.round(sizeMebibytes * 1024)}k,mode=0755`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'flotilla-test', this.directory]);
  }

  get #filler(): string {
    return path.join(this.directory, 'filler');
  }

  /** Not a byte is left. */
  fill(): void {
    const descriptor = openSync(this.#filler, 'a');
    try {
      for (const sizeBytes of [1024 * 1024, 4096, 1]) fillWith(descriptor, sizeBytes);
    } finally {
      closeSync(descriptor);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  makeReadOnly(): void {
    execFileSync('mount', ['-o', 'remount,ro', this.directory]);
  }

  destroy(): void {
    execFileSync('umount', ['--lazy', this.directory]);
    rmdirSync(this.directory);
  }
}

function fillWith(descriptor: number, sizeBytes: number): void {
  const bytes = Buffer.alloc(sizeBytes, 1);
  try {
    for (;;) writeSync(descriptor, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
