// The log on disk: HardState and entries, in segments that are written once and used again.
// One batch is one synchronous write (O_DSYNC) into space that is there already, so one flush and
// no growing file. Opening plays it back, or refuses with a sentence; it never repairs.
// The format and its reasons: README.md, "The log".
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Entry, HardState } from '../raft/types.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import {
  decodeSegmentHeader,
  encodeFrame,
  frameSizeBytes,
  type SegmentHeader,
  segmentHeaderBytes,
} from './log-codec.ts';
import { LogCorruptError, LogFullError, LogRefusedError } from './log-errors.ts';
import { isUnfinished, sequenceOf, segmentName } from './log-preparing.ts';
import { type FoundSegment, recover } from './log-recovery.ts';
import { Segments } from './log-segments.ts';
import { LogTerms } from './log-terms.ts';
import type { Disk, LogBatch, LogStorage, RecoveredLog } from './types.ts';

/** Small enough that a cluster of few objects takes little space, large enough to be made rarely. */
const segmentBytesDefault = 8 * 1024 * 1024;
/** A batch is split into writes of at most this size, unless one entry alone is larger. */
const frameBytesMax = 1024 * 1024;

export interface LogDeps {
  readonly disk: Disk;
  /** Both must be those of whoever wrote the log. */
  readonly clusterId: string;
  readonly memberId: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Calls back soon, never synchronously. */
  readonly schedule: (work: () => void) => void;
  /** Multiple of 4096. An entry, with 5 KiB and a hundredth for what is around it, must fit in. */
  readonly segmentBytes?: number;
  readonly failpoint?: Failpoint | undefined;
}

export interface OpenedLog {
  readonly log: LogStorage;
  /** Undefined: nothing was ever written. */
  readonly recovered: RecoveredLog | undefined;
}

/**
 * Throws LogCorruptError (damaged or incomplete), LogRefusedError (of another cluster or member, or
 * of a newer release), or what the disk throws.
 */
export function openLog(deps: LogDeps): OpenedLog {
  const { disk, logger, failpoint, segmentBytes = segmentBytesDefault } = deps;
  const names = disk.list();
  for (const name of names.filter(isUnfinished)) disk.remove(name);
  const sequences = names.flatMap((name) => sequenceOf(name) ?? []).sort((a, b) => a - b);
  // Older ones than those without a gap are leftovers of a crash, unless an entry is missing then.
  const firstOfAll = sequences.findLastIndex((n, i) => n - 1 !== sequences[i - 1]);
  const found = sequences.slice(Math.max(0, firstOfAll));
  const recovery = recover(readSegments(deps, found));
  for (const leftover of sequences.slice(0, Math.max(0, firstOfAll)))
    disk.remove(segmentName(leftover));
  if (recovery.torn !== undefined)
    logger.warn('Left out a write that a crash had cut off', recovery.torn);
  const segments = new Segments({ ...deps, segmentBytes, failpoint }, recovery);
  return { log: new SegmentedLog(deps, segments, recovery.log), recovered: recovery.log };
}

function* readSegments(deps: LogDeps, sequences: readonly number[]): Iterable<FoundSegment> {
  for (const sequence of sequences) {
    const name = segmentName(sequence);
    const bytes = deps.disk.read(name);
    const result = decodeSegmentHeader(bytes);
    if (result.type === 'damaged') throw new LogCorruptError(name, 0, result.problem);
    if (result.type === 'newer')
      throw new LogRefusedError(
        `The log was written by a newer release (${name} has format ${result.version}): start ` +
          'that release again, or a newer one.',
      );
    checkHeader(deps, name, result.header, sequence, bytes.length);
    yield { name, header: result.header, bytes };
  }
}

function checkHeader(
  deps: LogDeps,
  name: string,
  header: SegmentHeader,
  sequence: number,
  sizeBytes: number,
): void {
  const { clusterId, memberId } = deps;
  if (header.clusterId !== clusterId)
    throw new LogRefusedError(
      `The log is of another cluster (${name} is of ${header.clusterId}, not of ${clusterId}): ` +
        'start with the data directory that belongs to this cluster.',
    );
  if (header.memberId !== memberId)
    throw new LogRefusedError(
      `The log is another member's (${name} is of member ${header.memberId}, not ${memberId}): ` +
        "start with this member's own data directory; a copied one may never be used.",
    );
  if (header.sequence !== sequence)
    throw new LogCorruptError(name, 16, `by its header it is ${segmentName(header.sequence)}`);
  if (header.sizeBytes !== sizeBytes)
    throw new LogCorruptError(
      name,
      sizeBytes,
      `it has ${sizeBytes} bytes and should have ${header.sizeBytes}`,
    );
}

type Done = (error?: Error) => void;

class SegmentedLog implements LogStorage {
  readonly #deps: LogDeps;
  readonly #segments: Segments;
  readonly #terms: LogTerms;
  /** The newest, written or not: one that only tells a commit waits for the next write. */
  #hardState: HardState;
  #buffer = Buffer.alloc(64 * 1024);
  readonly #capacityBytes: number;
  #isWriting = false;
  #isClosed = false;

  constructor(deps: LogDeps, segments: Segments, recovered: RecoveredLog | undefined) {
    this.#deps = deps;
    this.#segments = segments;
    this.#capacityBytes = (deps.segmentBytes ?? segmentBytesDefault) - segmentHeaderBytes;
    const { hardState, start, entries } = recovered ?? emptyLog;
    this.#hardState = hardState;
    this.#terms = new LogTerms(start, entries);
  }

  write(batch: LogBatch, done: Done): void {
    assert(!this.#isWriting && !this.#isClosed, 'one write at a time, and none after close');
    this.#isWriting = true;
    const { hardState, snapshot, entries } = batch;
    const finish: Done = (error) => {
      this.#isWriting = false;
      if (this.#isClosed) this.#segments.close();
      done(error);
    };
    if (entries.length === 0 && snapshot === undefined && !batch.mustSync) {
      this.#hardState = hardState ?? this.#hardState;
      this.#deps.schedule(finish);
    } else this.#writeFrom(batch, 0, finish);
  }

  hasRoom(): boolean {
    return this.#segments.hasRoom;
  }

  compact(index: number): void {
    this.#terms.compact(index);
  }

  close(): void {
    this.#isClosed = true;
    if (!this.#isWriting) this.#segments.close();
  }

  /** Writes the batch's entries from `from` on, a frame at a time. */
  #writeFrom(batch: LogBatch, from: number, done: Done): void {
    const to = frameEnd(batch.entries, from, Math.min(frameBytesMax, this.#capacityBytes));
    const entries = batch.entries.slice(from, to);
    const size = sizeOf(entries);
    assert(size <= this.#capacityBytes, `an entry of ${size} bytes does not fit into a segment`);
    this.#whenRoom(size, (error) => {
      if (error !== undefined) return done(error);
      this.#writeFrame(batch, entries, from === 0, (failure) => {
        if (failure !== undefined || to === batch.entries.length) done(failure);
        else this.#writeFrom(batch, to, done);
      });
    });
  }

  /** Calls back when the segment in use has room for `size` bytes, maybe synchronously. */
  #whenRoom(size: number, done: Done): void {
    const segments = this.#segments;
    const later: Done = (error) => this.#deps.schedule(() => done(error));
    const { active } = segments;
    if (segments.failure !== undefined) return later(segments.failure);
    if (active !== undefined && active.end + size <= active.sizeBytes) return done();
    try {
      if (segments.advance()) return this.#whenRoom(size, done);
    } catch (error) {
      return later(error as Error);
    }
    segments.whenDecided(() => {
      if (segments.hasRoom) this.#whenRoom(size, done);
      else done(new LogFullError('The disk is full: the log can not get its next segment.'));
    });
  }

  #writeFrame(batch: LogBatch, entries: readonly Entry[], isFirst: boolean, done: Done): void {
    const { active, file } = this.#segments;
    assert(active !== undefined, 'there is a segment');
    const snapshot = isFirst ? batch.snapshot : undefined;
    if (snapshot !== undefined) {
      this.#terms.beginAnew(snapshot);
      this.#segments.forgetEntries();
    }
    this.#terms.append(entries);
    const { start, lastIndex } = this.#terms;
    this.#hardState = batch.hardState ?? this.#hardState;
    // What is committed must be in the log, also when only the first part of the batch survives.
    const commit = Math.min(this.#hardState.commit, lastIndex);
    const frame = {
      hardState: { ...this.#hardState, commit },
      start,
      beginsAnew: snapshot !== undefined,
      firstIndex: entries[0]?.index ?? lastIndex + 1,
      entries,
      previousEnd: this.#segments.previousEnd,
    };
    const size = sizeOf(entries);
    if (size > this.#buffer.length) this.#buffer = Buffer.alloc(size);
    encodeFrame(this.#buffer, frame, active.key, active.end);
    this.#deps.failpoint?.('log:before-write');
    file.write(this.#buffer.subarray(0, size), active.end, (error) => {
      if (error !== undefined) return done(error);
      this.#deps.failpoint?.('log:after-write');
      active.end += size;
      if (entries.length > 0) active.lastIndex = Math.max(active.lastIndex, lastIndex);
      // What this frame tells as the log's start is durable now.
      this.#segments.release(start.index);
      done();
    });
  }
}

const emptyLog: RecoveredLog = {
  hardState: { term: 0, vote: 0, commit: 0 },
  start: { index: 0, term: 0 },
  entries: [],
};

/** How far a frame that begins with entry `from` reaches: at least over that one. */
function frameEnd(entries: readonly Entry[], from: number, sizeBytesMax: number): number {
  let dataBytes = 0;
  let to = from;
  for (; to < entries.length; to++) {
    dataBytes += entries[to]?.data.length ?? 0;
    if (to > from && frameSizeBytes(to + 1 - from, dataBytes) > sizeBytesMax) break;
  }
  return to;
}

function sizeOf(entries: readonly Entry[]): number {
  const dataBytes = entries.reduce((sum, { data }) => sum + data.length, 0);
  return frameSizeBytes(entries.length, dataBytes);
}
