// The bytes of a log: segment headers and frames. A frame is what one write brings: some entries
// and what else must survive. Pure; must not know files.
// Invariants: a frame starts on a sector, one checksum covers all of it, and each of its sectors
// ends in the same mark, so that a write that was cut off (a sector holds something older) can be
// told from damage (all sectors were written, yet the checksum is wrong).
// The picture is in README.md, "The log".
import { crc32 } from 'node:zlib';
import type { Entry, EntryKind, HardState } from '../raft/types.ts';
import { LogRefusedError } from './log-errors.ts';

export const sectorBytes = 512;
const markBytes = 4;
const dataBytes = sectorBytes - markBytes;
/** The segment header has a page to itself: no later write comes near it. */
export const segmentHeaderBytes = 4096;
const frameHeaderBytes = 80;
const entryHeaderBytes = 16;

const magic = Buffer.from('FLTLLOG\n', 'latin1');
const formatVersion = 1;
const clusterIdBytesMax = 256;
const kinds: readonly EntryKind[] = ['command', 'membership', 'noop'];
const flagBeginsAnew = 1;

/** Whose segment it is, and which. */
export interface SegmentHeader {
  /** From 1, one higher than the segment before. */
  readonly sequence: number;
  /** Random for each use of a file: nobody can put bytes into an entry that look like a frame. */
  readonly salt: Uint8Array;
  readonly clusterId: string;
  readonly memberId: number;
  readonly sizeBytes: number;
}

/** Tells this segment's frames from all others. */
export interface SegmentKey {
  readonly sequence: number;
  readonly seed: number;
}

export interface Position {
  readonly index: number;
  readonly term: number;
}

export interface Frame {
  readonly hardState: HardState;
  /** The log begins behind it. */
  readonly start: Position;
  /** What the log held before is discarded. */
  readonly beginsAnew: boolean;
  /** Of the first entry; without entries: of the next. */
  readonly firstIndex: number;
  readonly entries: readonly Entry[];
  /** Where the frames of the segment before this one end. Looked at in a segment's first frame. */
  readonly previousEnd: number;
}

export type ReadFrame =
  | { readonly type: 'frame'; readonly frame: Frame; readonly end: number }
  /** Nothing of this segment. */
  | { readonly type: 'end' }
  /** A write that did not reach all of its sectors. */
  | { readonly type: 'torn' }
  | { readonly type: 'damaged'; readonly problem: string };

export type ReadSegmentHeader =
  | { readonly type: 'header'; readonly header: SegmentHeader }
  | { readonly type: 'newer'; readonly version: number }
  | { readonly type: 'damaged'; readonly problem: string };

export function segmentKey(header: SegmentHeader): SegmentKey {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(header.sequence);
  return { sequence: header.sequence, seed: crc32(bytes, crc32(header.salt)) };
}

/** `version`: other than ours only in tests. */
export function encodeSegmentHeader(header: SegmentHeader, version = formatVersion): Uint8Array {
  const clusterId = Buffer.from(header.clusterId, 'utf8');
  if (clusterId.length > clusterIdBytesMax)
    throw new RangeError(`a cluster id of ${clusterId.length} bytes, at most ${clusterIdBytesMax}`);
  const bytes = Buffer.alloc(segmentHeaderBytes);
  bytes.set(magic);
  bytes.writeUInt32LE(version, 8);
  bytes.writeUInt32LE(header.sizeBytes, 12);
  bytes.writeUInt32LE(header.sequence, 16);
  bytes.writeUInt16LE(clusterId.length, 20);
  putNumber(bytes, 24, header.memberId);
  bytes.set(header.salt, 32);
  bytes.set(clusterId, 40);
  const end = 40 + clusterIdBytesMax;
  bytes.writeUInt32LE(crc32(bytes.subarray(0, end)), end);
  return bytes;
}

export function decodeSegmentHeader(segment: Uint8Array): ReadSegmentHeader {
  const bytes = asBuffer(segment);
  if (bytes.length < segmentHeaderBytes) return damaged('it is too short to have a header');
  const head = bytes.subarray(0, segmentHeaderBytes);
  if (head.every((byte) => byte === 0)) return damaged('its header is all zeros');
  if (!head.subarray(0, magic.length).equals(magic)) return damaged('it does not start as a log');
  // Magic, version and checksum keep their places in every version to come.
  const end = 40 + clusterIdBytesMax;
  if (crc32(head.subarray(0, end)) !== head.readUInt32LE(end))
    return damaged("its header's checksum is wrong");
  const version = head.readUInt32LE(8);
  if (version !== formatVersion) return { type: 'newer', version };
  const header = {
    sizeBytes: head.readUInt32LE(12),
    sequence: head.readUInt32LE(16),
    memberId: getNumber(head, 24),
    salt: Uint8Array.from(head.subarray(32, 40)),
    clusterId: head.toString('utf8', 40, 40 + head.readUInt16LE(20)),
  };
  return { type: 'header', header };
}

/** Bytes on disk of a frame with entries whose data have these lengths in sum. */
export function frameSizeBytes(entryCount: number, entryDataBytes: number): number {
  const content = frameHeaderBytes + entryCount * entryHeaderBytes + entryDataBytes;
  return Math.ceil(content / dataBytes) * sectorBytes;
}

/** Writes a frame to the beginning of `target`, to lie at `offset` of its segment. Its size. */
export function encodeFrame(target: Buffer, frame: Frame, key: SegmentKey, offset: number): number {
  let at = frameHeaderBytes;
  let bodyBytes = 0;
  const head = Buffer.allocUnsafe(entryHeaderBytes);
  for (const entry of frame.entries) {
    head.writeUInt32LE(entry.data.length, 0);
    head.writeUInt32LE(kinds.indexOf(entry.kind), 4);
    putNumber(head, 8, entry.term);
    at = put(target, put(target, at, head), entry.data);
    bodyBytes += entryHeaderBytes + entry.data.length;
  }
  const size = Math.ceil(at / sectorBytes) * sectorBytes;
  target.fill(0, at, size);
  setMarks(target, size, 0);
  target.writeUInt32LE(key.sequence, 4);
  target.writeUInt32LE(offset, 8);
  target.writeUInt32LE(bodyBytes, 12);
  target.writeUInt32LE(crc32(target.subarray(frameHeaderBytes, size), key.seed), 16);
  target.writeUInt32LE(frame.entries.length, 20);
  target.writeUInt32LE(frame.beginsAnew ? flagBeginsAnew : 0, 24);
  target.writeUInt32LE(frame.previousEnd, 28);
  putNumber(target, 32, frame.hardState.term);
  putNumber(target, 40, frame.hardState.vote);
  putNumber(target, 48, frame.hardState.commit);
  putNumber(target, 56, frame.start.index);
  putNumber(target, 64, frame.start.term);
  putNumber(target, 72, frame.firstIndex);
  const mark = headerMark(target, key);
  target.writeUInt32LE(mark, 0);
  setMarks(target, size, mark);
  return size;
}

/** What lies at `offset`. Entries are copies: they don't keep the segment's bytes alive. */
export function decodeFrame(segment: Uint8Array, key: SegmentKey, offset: number): ReadFrame {
  const bytes = asBuffer(segment);
  if (offset + sectorBytes > bytes.length) return { type: 'end' };
  const head = bytes.subarray(offset, offset + sectorBytes);
  const mark = headerMark(head, key);
  const isSameChecksum = head.readUInt32LE(0) === mark;
  const isSameMark = head.readUInt32LE(dataBytes) === mark;
  const isSameSequence = head.readUInt32LE(4) === key.sequence;
  // Two of three: a flipped bit in one of them spoils nothing.
  if (Number(isSameChecksum) + Number(isSameMark) + Number(isSameSequence) < 2) {
    const isWhole = head.readUInt32LE(0) === head.readUInt32LE(dataBytes);
    if (isSameSequence && isWhole) return damaged("a record's header is damaged");
    return { type: 'end' };
  }
  const bodyBytes = head.readUInt32LE(12);
  const size = frameSizeBytes(0, bodyBytes);
  if (head.readUInt32LE(8) !== offset || offset + size > bytes.length)
    return damaged('a record is not where it belongs');
  const frame = Buffer.from(bytes.subarray(offset, offset + size));
  const isWhole = everyMark(frame, mark);
  setMarks(frame, size, 0);
  if (crc32(frame.subarray(frameHeaderBytes), key.seed) !== frame.readUInt32LE(16)) {
    if (!isWhole) return { type: 'torn' };
    return damaged('a record was written in full, but its checksum is wrong');
  }
  return { type: 'frame', frame: readContent(frame), end: offset + size };
}

/** Whether a frame was begun at `offset`, by its header alone. */
export function hasFrame(segment: Uint8Array, key: SegmentKey, offset: number): boolean {
  const bytes = asBuffer(segment);
  if (bytes.readUInt32LE(offset + 4) !== key.sequence) return false;
  const mark = headerMark(bytes.subarray(offset), key);
  return (
    bytes.readUInt32LE(offset) === mark &&
    bytes.readUInt32LE(offset + dataBytes) === mark &&
    bytes.readUInt32LE(offset + 8) === offset
  );
}

/** `frame`: a sound frame's own copy. Its sectors' data are moved together. */
function readContent(frame: Buffer): Frame {
  for (let from = sectorBytes, to = dataBytes; from < frame.length; from += sectorBytes) {
    frame.copyWithin(to, from, from + dataBytes);
    to += dataBytes;
  }
  const firstIndex = getNumber(frame, 72);
  const count = frame.readUInt32LE(20);
  const entries: Entry[] = [];
  let at = frameHeaderBytes;
  for (let i = 0; i < count; i++) {
    const length = frame.readUInt32LE(at);
    const kind = kinds[frame.readUInt32LE(at + 4)];
    if (kind === undefined)
      throw new LogRefusedError(
        'The log holds an entry of a kind that this release does not know: update Flotilla on this ' +
          'machine. Nothing is lost.',
      );
    const data = frame.subarray(at + entryHeaderBytes, at + entryHeaderBytes + length);
    entries.push({ index: firstIndex + i, term: getNumber(frame, at + 8), kind, data });
    at += entryHeaderBytes + length;
  }
  return {
    hardState: {
      term: getNumber(frame, 32),
      vote: getNumber(frame, 40),
      commit: getNumber(frame, 48),
    },
    start: { index: getNumber(frame, 56), term: getNumber(frame, 64) },
    beginsAnew: (frame.readUInt32LE(24) & flagBeginsAnew) !== 0,
    previousEnd: frame.readUInt32LE(28),
    firstIndex,
    entries,
  };
}

/** Copies `source` to `at`, around the marks; where the next byte goes. */
function put(target: Buffer, at: number, source: Uint8Array): number {
  let to = at;
  for (let from = 0; from < source.length;) {
    const count = Math.min(source.length - from, dataBytes - (to % sectorBytes));
    target.set(count === source.length ? source : source.subarray(from, from + count), to);
    from += count;
    to += count;
    if (to % sectorBytes === dataBytes) to += markBytes;
  }
  return to;
}

function setMarks(bytes: Buffer, size: number, mark: number): void {
  for (let at = dataBytes; at < size; at += sectorBytes) bytes.writeUInt32LE(mark, at);
}

function everyMark(frame: Buffer, mark: number): boolean {
  for (let at = dataBytes; at < frame.length; at += sectorBytes)
    if (frame.readUInt32LE(at) !== mark) return false;
  return true;
}

/** The sequence is covered by the seed, so that damage to the field itself is noticed as such. */
function headerMark(frame: Buffer, key: SegmentKey): number {
  return crc32(frame.subarray(8, frameHeaderBytes), key.seed);
}

/** Whole numbers up to 2^53 - 1, little-endian in 8 bytes. */
function putNumber(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value % 0x100000000, at);
  bytes.writeUInt32LE(Math.floor(value / 0x100000000), at + 4);
}

function getNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x100000000;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(problem: string): { readonly type: 'damaged'; readonly problem: string } {
  return { type: 'damaged', problem };
}
