// Makes a segment ready: zeros written once so that no later write has to find space, or an emptied
// segment taken again; then a header of its own, and last its name.
// Invariant: a file has a segment's name only while its header is durable, and loses the name
// before a byte of it is overwritten. So a segment whose header can't be read is damaged.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { encodeSegmentHeader, type SegmentHeader } from './log-codec.ts';
import type { Disk, DiskFile } from './types.ts';

const zeroBytesMax = 1024 * 1024;

export interface PrepareDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Calls back soon, never synchronously. */
  readonly schedule: (work: () => void) => void;
  readonly clusterId: string;
  readonly memberId: number;
  readonly segmentBytes: number;
  readonly failpoint: Failpoint | undefined;
  /** False once the log is closed: its files may be another's by then, and are left alone. */
  readonly isOpen: () => boolean;
}

type Done = (error: Error | undefined, header?: SegmentHeader) => void;

export function segmentName(sequence: number): string {
  return `log-${String(sequence).padStart(10, '0')}`;
}

/** The sequence in a segment's name; undefined for other files. */
export function sequenceOf(name: string): number | undefined {
  const digits = /^log-(\d{10})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** A segment in the making; a crash leaves it behind. */
export function isUnfinished(name: string): boolean {
  return /^new-\d{10}$/.test(name);
}

/**
 * `spare`: a segment to take again. `done` is called once, never synchronously, and never after a
 * crash of the disk or when the log is closed. When it fails, nothing is left of the file.
 */
export function prepareSegment(
  deps: PrepareDeps,
  sequence: number,
  spare: string | undefined,
  done: Done,
): void {
  const { disk, failpoint, segmentBytes, clusterId, memberId } = deps;
  const header = {
    sequence,
    salt: deps.random.bytes(8),
    clusterId,
    memberId,
    sizeBytes: segmentBytes,
  };
  const unfinished = segmentName(sequence).replace('log', 'new');
  let file: DiskFile | undefined;

  deps.schedule(() => next(undefined, begin));

  function begin(): void {
    if (spare === undefined) return fill(0);
    disk.rename(spare, unfinished, (error) =>
      next(error, () => {
        failpoint?.('log:segment-taken');
        writeHeader();
      }),
    );
  }
  function fill(offset: number): void {
    file ??= disk.open(unfinished);
    const count = Math.min(zeroBytesMax, segmentBytes - offset);
    if (count === 0) return writeHeader();
    file.write(new Uint8Array(count), offset, (error) => next(error, () => fill(offset + count)));
  }
  function writeHeader(): void {
    file ??= disk.open(unfinished);
    file.write(encodeSegmentHeader(header), 0, (error) => next(error, giveName));
  }
  function giveName(): void {
    failpoint?.('log:segment-written');
    file?.close();
    file = undefined;
    disk.rename(unfinished, segmentName(sequence), (error) => {
      if (!deps.isOpen()) return;
      if (error !== undefined) return giveUp(error);
      failpoint?.('log:segment-named');
      done(undefined, header);
    });
  }
  /** Goes on, or gives up with the first error. */
  function next(error: Error | undefined, work: () => void): void {
    if (!deps.isOpen()) return file?.close();
    let failure = error;
    try {
      if (failure === undefined) work();
    } catch (thrown) {
      failure = thrown as Error;
    }
    if (failure !== undefined) giveUp(failure);
  }
  function giveUp(error: Error): void {
    try {
      file?.close();
      disk.remove(unfinished);
    } catch {
      // There was no such file yet, or it stays behind until the next start.
    }
    done(error);
  }
}
