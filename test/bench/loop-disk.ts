// A disk of its own in a file: what is written to it, and how often it is told to flush, can be
// counted. `/proc/PID/io` can't: it leaves out what overwrites a file that has its blocks already.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface DiskCount {
  readonly bytesWritten: number;
  readonly flushes: number;
}

const sectorBytes = 512;
/** Positions in /sys/block/<device>/stat. Source: Linux Documentation/block/stat.rst. */
const [sectorsWrittenAt, flushesAt] = [6, 15];

/** An ext4 file system on a loop device. Needs root. */
export class LoopDisk {
  readonly directory: string;
  readonly #folder: string;
  readonly #device: string;

  constructor(sizeMebibytes: number) {
    this.#folder = mkdtempSync(path.join(tmpdir(), 'flotilla-loop-'));
    const image = path.join(this.#folder, 'image');
    this.directory = path.join(this.#folder, 'mnt');
    writeFileSync(image, '');
    truncateSync(image, sizeMebibytes * 1024 * 1024);
    execFileSync('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
    this.#device = execFileSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).trim();
    execFileSync('mkdir', [this.directory]);
    execFileSync('mount', ['-o', 'noatime', this.#device, this.directory]);
    process.once('exit', this.#atExit);
  }

  /** A benchmark that is broken off leaves nothing behind either. */
  readonly #atExit = (): void => this.destroy();

  /** Since the disk was made; what the kernel still holds back is written first. */
  count(): DiskCount {
    execFileSync('sync', ['-f', this.directory]);
    const file = `/sys/block/${path.basename(this.#device)}/stat`;
    const fields = readFileSync(file, 'utf8').trim().split(/\s+/).map(Number);
    return {
      bytesWritten: (fields[sectorsWrittenAt] ?? Number.NaN) * sectorBytes,
      flushes: fields[flushesAt] ?? Number.NaN,
    };
  }

  destroy(): void {
    process.off('exit', this.#atExit);
    execFileSync('umount', ['--lazy', this.directory]);
    execFileSync('losetup', ['-d', this.#device]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
