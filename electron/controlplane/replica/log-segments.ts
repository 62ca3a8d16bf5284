// The files of a log: those that hold entries, the one that is written to, and the next, made ready
// in the background (log-preparing.ts): a write never waits for a new file, nor for one to grow.
// Bound: one prepared segment and two spare ones beside those that are needed.
import { assert } from '#kube/base/assert.ts';
import type { Timer } from '#kube/base/clock.ts';
import { isDiskFull } from './disk.ts';
import {
  segmentHeaderBytes,
  type SegmentHeader,
  segmentKey,
  type SegmentKey,
} from './log-codec.ts';
import { prepareSegment, type PrepareDeps, segmentName } from './log-preparing.ts';
import type { Recovery, RecoveredSegment } from './log-recovery.ts';
import type { DiskFile } from './types.ts';

/** Emptied segments kept for later; more are removed. */
const sparesMax = 2;
/** How often a full disk is asked again. */
const retryFullMs = 5000;

export interface Segment {
  readonly name: string;
  readonly key: SegmentKey;
  readonly sizeBytes: number;
  /** Where the next frame goes. */
  end: number;
  /** The highest index of an entry in it; 0: none that counts. */
  lastIndex: number;
}

export class Segments {
  readonly #deps: Omit<PrepareDeps, 'isOpen'>;
  /** Ascending; the last is written to. */
  readonly #used: Segment[];
  readonly #prepared: Segment[];
  /** Names of segments that nothing needs. */
  readonly #spares: string[] = [];
  #file: DiskFile | undefined;
  #previousEnd = 0;
  #nextSequence = 1;
  #isPreparing = false;
  #isFull = false;
  #failure: Error | undefined;
  #retry: Timer | undefined;
  #isClosed = false;
  #onDecided: (() => void) | undefined;

  /** Goes on with what was recovered. Throws what Disk.open throws. */
  constructor(deps: Omit<PrepareDeps, 'isOpen'>, recovery: Recovery) {
    this.#deps = deps;
    this.#used = recovery.segments.map(recovered);
    this.#prepared = recovery.prepared.map(recovered);
    const newest = this.#prepared.at(-1) ?? this.#used.at(-1);
    if (newest !== undefined) this.#nextSequence = newest.key.sequence + 1;
    const active = this.active;
    if (active !== undefined) this.#file = deps.disk.open(active.name);
    this.#prepare();
  }

  /** The one written to; undefined before the first write. */
  get active(): Segment | undefined {
    return this.#used.at(-1);
  }

  get file(): DiskFile {
    assert(this.#file !== undefined, 'a segment is open');
    return this.#file;
  }

  /** Where the frames of the segment before the active one end; 0: there is none. */
  get previousEnd(): number {
    return this.#previousEnd;
  }

  /** False while the disk has no room for another segment. */
  get hasRoom(): boolean {
    return !this.#isFull;
  }

  /** What went wrong in the background: the disk can't be trusted any more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Goes over to the next segment; false when there is none (yet): see `whenDecided`. */
  advance(): boolean {
    const next = this.#prepared.shift();
    if (next !== undefined) {
      this.#file?.close();
      this.#file = this.#deps.disk.open(next.name);
      this.#previousEnd = this.active?.end ?? 0;
      this.#used.push(next);
    }
    this.#prepare();
    return next !== undefined;
  }

  /** Calls back once there is a next segment, or it failed: see `hasRoom` and `failure`. */
  whenDecided(callback: () => void): void {
    assert(this.#isPreparing && this.#onDecided === undefined, 'one waits for what is under way');
    this.#onDecided = callback;
  }

  /** The log begins anew: what the segments hold counts no more. */
  forgetEntries(): void {
    for (const segment of this.#used) segment.lastIndex = 0;
  }

  /** Entries up to `index` are forgotten, and a crash would not change that. */
  release(index: number): void {
    for (;;) {
      const [oldest] = this.#used;
      if (oldest === undefined || this.#used.length === 1 || oldest.lastIndex > index) break;
      this.#used.shift();
      // A file of another size was made by a release that had other segments.
      if (oldest.sizeBytes === this.#deps.segmentBytes) this.#spares.push(oldest.name);
      else this.#deps.disk.remove(oldest.name);
    }
    while (this.#spares.length > sparesMax) this.#deps.disk.remove(this.#spares.shift() ?? '');
    if (this.#isFull && this.#spares.length > 0) this.#prepare();
  }

  /** No write may be in flight. */
  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#file?.close();
    this.#file = undefined;
  }

  #prepare(): void {
    if (this.#isPreparing || this.#isClosed || this.#failure !== undefined) return;
    if (this.#prepared.length > 0) return;
    this.#isPreparing = true;
    this.#retry?.cancel();
    const sequence = this.#nextSequence;
    const deps = { ...this.#deps, isOpen: () => !this.#isClosed };
    prepareSegment(deps, sequence, this.#spares.shift(), (error, header) => {
      this.#isPreparing = false;
      if (header !== undefined) this.#addPrepared(header);
      else if (isDiskFull(error)) this.#waitForRoom();
      else this.#fail(error);
      const onDecided = this.#onDecided;
      this.#onDecided = undefined;
      onDecided?.();
    });
  }

  /** Not full any more, but broken: the next write must come here, and be told. */
  #fail(error: Error | undefined): void {
    this.#failure = error;
    this.#isFull = false;
  }

  #addPrepared(header: SegmentHeader): void {
    this.#nextSequence = header.sequence + 1;
    const name = segmentName(header.sequence);
    this.#prepared.push(recovered({ name, header, end: segmentHeaderBytes, lastIndex: 0 }));
    if (this.#isFull) this.#deps.logger.info('The log has room again');
    this.#isFull = false;
  }

  #waitForRoom(): void {
    // Before the first write its caller is told, and need not be told twice.
    if (!this.#isFull && this.#used.length > 0)
      this.#deps.logger.error('The disk is full: the log can not get its next segment', {
        freeBytesNeeded: this.#deps.segmentBytes,
      });
    this.#isFull = true;
    if (!this.#isClosed) this.#retry = this.#deps.clock.timer(retryFullMs, () => this.#prepare());
  }
}

function recovered({ name, header, end, lastIndex }: RecoveredSegment): Segment {
  return { name, key: segmentKey(header), sizeBytes: header.sizeBytes, end, lastIndex };
}
