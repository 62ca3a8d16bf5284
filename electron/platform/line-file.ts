// Lines that are appended to a file without anybody waiting: they gather for a moment, then one
// write takes them all. Bounded in memory and, by rotation, on disk. What a disk does not take is
// lost and counted; it ends nobody. An SD card sees one append a second at most, and none at rest.
import { appendFileSync, mkdirSync } from 'node:fs';
import { appendFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';

export interface LineFileOptions {
  /** Ends in `.log`; rotated ones are `<name>.1.log` and so on, 1 the newest. */
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxBytes?: number;
  /** Rotated files that are kept. */
  readonly keep?: number;
  readonly maxPendingBytes?: number;
}

const gatherMs = 1_000;

export class LineFile {
  readonly #options: Required<LineFileOptions>;
  #pending: string[] = [];
  #pendingBytes = 0;
  #writingBytes = 0;
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();
  #sizeBytes: number | undefined;
  #isBroken = false;

  constructor(options: LineFileOptions) {
    this.#options = {
      maxBytes: 10 * 1024 * 1024,
      keep: 3,
      maxPendingBytes: 4 * 1024 * 1024,
      ...options,
    };
  }

  /** `line` with its end. False: too much is waiting already, it is lost. */
  write(line: string): boolean {
    const bytes = Buffer.byteLength(line);
    const waiting = this.#pendingBytes + this.#writingBytes;
    if (waiting + bytes > this.#options.maxPendingBytes) return false;
    this.#pending.push(line);
    this.#pendingBytes += bytes;
    this.#timer ??= this.#options.clock.timer(gatherMs, () => void this.flush());
    return true;
  }

  /** Resolves when all lines so far are in the file, or lost. */
  flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#append());
    return this.#writing;
  }

  /** For a process that is about to end. */
  flushSync(): void {
    const text = this.#pending.join('');
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      mkdirSync(path.dirname(this.#options.file), { recursive: true, mode: 0o700 });
      if (text !== '') appendFileSync(this.#options.file, text, { mode: 0o600 });
    } catch (error) {
      this.#failed(error);
    }
  }

  async #append(): Promise<void> {
    const { file, maxBytes } = this.#options;
    const lines = this.#pending;
    const bytes = this.#pendingBytes;
    if (lines.length === 0) return;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#writingBytes = bytes;
    try {
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      this.#sizeBytes ??= await sizeOf(file);
      if (this.#sizeBytes > 0 && this.#sizeBytes + bytes > maxBytes) await this.#rotate();
      await appendFile(file, lines.join(''), { mode: 0o600 });
      this.#sizeBytes += bytes;
      this.#isBroken = false;
    } catch (error) {
      this.#failed(error);
    }
    this.#writingBytes = 0;
  }

  #failed(error: unknown): void {
    const { file, logger } = this.#options;
    this.#sizeBytes = undefined;
    if (!this.#isBroken) logger.error('Cannot write lines, they are lost', { file, error });
    this.#isBroken = true;
  }

  async #rotate(): Promise<void> {
    const { file, keep } = this.#options;
    const numbered = (n: number): string => file.replace(/\.log$/, `.${n}.log`);
    await rm(numbered(keep), { force: true });
    for (let n = keep - 1; n >= 0; n--)
      await rename(n === 0 ? file : numbered(n), numbered(n + 1)).catch(ignoreMissing);
    this.#sizeBytes = 0;
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    ignoreMissing(error);
    return 0;
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
