// From the segments on disk to the log they hold. Pure: bytes in, log or LogCorruptError out.
// The rule: a broken record is cut off only where it is the very last thing of the log and looks
// like a write that was cut off, so it was never acknowledged. Whatever comes after a broken or
// missing record proves that it had been acknowledged, and then nothing is cut.
import { assert } from '#kube/base/assert.ts';
import type { Entry, HardState } from '../raft/types.ts';
import {
  decodeFrame,
  type Frame,
  hasFrame,
  type Position,
  sectorBytes,
  segmentHeaderBytes,
  type SegmentHeader,
  segmentKey,
} from './log-codec.ts';
import { LogCorruptError } from './log-errors.ts';
import type { RecoveredLog } from './types.ts';

/** A segment as found. */
export interface FoundSegment {
  readonly name: string;
  readonly header: SegmentHeader;
  /** The whole file. */
  readonly bytes: Uint8Array;
}

export interface RecoveredSegment {
  readonly name: string;
  readonly header: SegmentHeader;
  /** Where its frames end. */
  readonly end: number;
  /** The highest index of an entry in it; 0: none that counts. */
  readonly lastIndex: number;
}

export interface Recovery {
  /** Undefined when nothing was ever written. */
  readonly log: RecoveredLog | undefined;
  /** Ascending; the last is the one to go on in. Empty when nothing was ever written. */
  readonly segments: readonly RecoveredSegment[];
  /** Made ready for what comes, ascending; they hold nothing. */
  readonly prepared: readonly RecoveredSegment[];
  /** A write that was cut off; it is not part of the log. */
  readonly torn: { readonly file: string; readonly offset: number } | undefined;
}

interface ParsedSegment extends RecoveredSegment {
  readonly frames: readonly Frame[];
  /** What lies behind the last frame. */
  readonly tail: 'nothing' | 'torn' | 'damaged';
  readonly problem: string;
}

/** `found`: ascending by sequence, without gaps; read one by one, so that only one is in memory. */
export function recover(found: Iterable<FoundSegment>): Recovery {
  const parsed = Array.from(found, parseSegment);
  const used = parsed.findLastIndex((segment) => segment.frames.length > 0) + 1;
  for (let i = 1; i < used; i++) checkSeam(parsed[i - 1], parsed[i]);
  let torn: Recovery['torn'];
  // Behind the last frame, in its segment or already in the next one.
  for (const { tail, name, end, problem } of parsed.slice(Math.max(0, used - 1))) {
    if (tail === 'damaged') throw new LogCorruptError(name, end, problem);
    if (tail === 'torn') torn ??= { file: name, offset: end };
  }
  const [first] = parsed;
  const isNew = used === 0 && (first === undefined || first.header.sequence === 1);
  if (first !== undefined && used === 0 && !isNew)
    throw new LogCorruptError(first.name, 0, 'it is empty, and those before it are missing');
  const segments = parsed.slice(0, used);
  return {
    log: first === undefined || isNew ? undefined : replay(first.name, segments),
    segments: segments.map((segment, i) => withLastIndex(segment, segments.slice(i + 1))),
    prepared: parsed.slice(used),
    torn,
  };
}

/** Frames from the beginning to the first thing that is none. Throws for a gap between frames. */
function parseSegment({ name, header, bytes }: FoundSegment): ParsedSegment {
  const key = segmentKey(header);
  const frames: Frame[] = [];
  let end = segmentHeaderBytes;
  let result = decodeFrame(bytes, key, end);
  while (result.type === 'frame') {
    frames.push(result.frame);
    end = result.end;
    result = decodeFrame(bytes, key, end);
  }
  for (let later = end + sectorBytes; later < bytes.length; later += sectorBytes)
    if (hasFrame(bytes, key, later))
      throw new LogCorruptError(name, end, `a record is broken, and one follows at ${later}`);
  return {
    name,
    header,
    end,
    frames,
    lastIndex: 0,
    tail: result.type === 'end' ? 'nothing' : result.type,
    problem: result.type === 'damaged' ? result.problem : '',
  };
}

/** A segment's first frame knows where the one before ended: a lost last record is noticed. */
function checkSeam(before: ParsedSegment | undefined, after: ParsedSegment | undefined): void {
  assert(before !== undefined && after !== undefined, 'a seam has two sides');
  const want = after.frames[0]?.previousEnd ?? before.end;
  if (want === before.end) return;
  const problem = `its records end here, but ${after.name} says at ${want}`;
  throw new LogCorruptError(before.name, before.end, problem);
}

/** Plays all frames in order, as they were written. `firstFile` only for errors. */
function replay(firstFile: string, segments: readonly ParsedSegment[]): RecoveredLog {
  let entries: Entry[] = [];
  let before: number | undefined;
  let hardState: HardState = { term: 0, vote: 0, commit: 0 };
  let start: Position = { index: 0, term: 0 };
  for (const { name, frames } of segments)
    for (const frame of frames) {
      ({ hardState, start } = frame);
      if (before === undefined || frame.beginsAnew || frame.firstIndex <= before) {
        entries = [];
        before = frame.firstIndex - 1;
      }
      const kept = frame.firstIndex - 1 - before;
      if (kept > entries.length || (frame.entries.length === 0 && kept < entries.length))
        throw new LogCorruptError(name, 0, `entries before ${frame.firstIndex} are missing`);
      entries.length = kept;
      for (const entry of frame.entries) entries.push(entry);
    }
  before ??= 0;
  if (before > start.index)
    throw new LogCorruptError(
      firstFile,
      0,
      `the log begins behind entry ${before}, but must hold all behind ${start.index}: segments before this one are missing`,
    );
  const known = entries[start.index - before - 1];
  if (before < start.index && known?.term !== start.term)
    throw new LogCorruptError(firstFile, 0, `entry ${start.index} is not of term ${start.term}`);
  return { hardState, start, entries: entries.slice(start.index - before) };
}

function withLastIndex(segment: ParsedSegment, later: readonly ParsedSegment[]): RecoveredSegment {
  const { name, header, end, frames } = segment;
  const isForgotten = later.some((other) => other.frames.some((frame) => frame.beginsAnew));
  const anew = frames.findLastIndex((frame) => frame.beginsAnew);
  const counting = isForgotten ? [] : frames.slice(Math.max(0, anew));
  const lastIndex = counting.reduce((max, { firstIndex, entries }) => {
    return entries.length === 0 ? max : Math.max(max, firstIndex + entries.length - 1);
  }, 0);
  return { name, header, end, lastIndex };
}
