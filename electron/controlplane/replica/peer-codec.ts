// Messages as bytes, and bytes as frames: `length (4), type (1), body`, numbers little-endian.
// Pure; must not know sockets. Sender and receiver are not in the bytes: they are whom the
// connection's certificates name, so nobody can speak for another.
// Invariant: what decodes encodes to the same bytes; anything else is a PeerProtocolError.
import { assert, unreachable } from '#kube/base/assert.ts';
import { decodeMembership, encodeMembership } from '../raft/membership.ts';
import type {
  AppendRequest,
  DropReason,
  Entry,
  EntryKind,
  MemberId,
  Message,
  Proposal,
  SnapshotMark,
} from '../raft/types.ts';
import { ByteReader, ByteWriter, PeerProtocolError } from './peer-bytes.ts';

/** First in a frame. The order of `messageTypes` is the protocol: new ones come last. */
const messageTypes = [
  'vote',
  'vote-response',
  'append',
  'append-response',
  'heartbeat',
  'heartbeat-response',
  'snapshot',
  'timeout-now',
  'propose',
  'propose-dropped',
  'read-index',
  'read-index-response',
] as const satisfies readonly Message['type'][];
const typeNumbers = new Map<Message['type'], number>(messageTypes.map((type, i) => [type, i + 1]));

const entryKinds: readonly EntryKind[] = ['command', 'membership', 'noop'];
const proposalKinds: readonly Proposal['kind'][] = ['command', 'membership'];
const dropReasons: readonly DropReason[] = [
  'no-leader',
  'transferring',
  'too-much-uncommitted',
  'change-in-progress',
  'invalid-change',
  'not-leader',
];

/** Frames that are not messages: signs of life, and what a snapshot's stream is made of. */
export const frameTypes = {
  ping: 64,
  pong: 65,
  snapshotBegin: 66,
  snapshotChunk: 67,
  snapshotEnd: 68,
  snapshotResult: 69,
} as const;

export const pingFrame = new ByteWriter(frameTypes.ping, 0).finish();
export const pongFrame = new ByteWriter(frameTypes.pong, 0).finish();

export interface Ends {
  readonly from: MemberId;
  readonly to: MemberId;
}

/** The whole frame. Entries are copied. */
export function encodeMessage(message: Message): Buffer {
  const type = typeNumbers.get(message.type);
  assert(type !== undefined, `every message has a number, also ${message.type}`);
  const writer = new ByteWriter(type, bodySizeBytes(message));
  writer.number(message.term);
  writeBody(writer, message);
  return writer.finish();
}

/** Several peers are mostly sent the same entries: those are encoded once. Holds one frame. */
export class MessageEncoder {
  private append: AppendRequest | undefined;
  private frame: Buffer | undefined;

  /** As `encodeMessage`; nobody may change the bytes. */
  encode(message: Message): Buffer {
    if (message.type !== 'append' || message.entries.length === 0) return encodeMessage(message);
    if (this.frame === undefined || this.append === undefined || !isSame(this.append, message)) {
      this.append = message;
      this.frame = encodeMessage(message);
    }
    return this.frame;
  }
}

/** But for the receiver, which is not in the bytes. */
function isSame(one: AppendRequest, other: AppendRequest): boolean {
  return (
    one.entries === other.entries &&
    one.term === other.term &&
    one.previousIndex === other.previousIndex &&
    one.previousTerm === other.previousTerm &&
    one.commit === other.commit
  );
}

/** `body`: a frame's. Entries and proposals are views of it. Throws PeerProtocolError. */
export function decodeMessage(frameType: number, body: Buffer, ends: Ends): Message {
  const type = messageTypes[frameType - 1];
  if (type === undefined) throw new PeerProtocolError(`a message of unknown type ${frameType}`);
  const reader = new ByteReader(body);
  const term = reader.number();
  const message = readBody(reader, type, { from: ends.from, to: ends.to, term });
  reader.end();
  return message;
}

/** Of everything behind the term whose size depends on the content; the rest fits in 64 bytes. */
function bodySizeBytes(message: Message): number {
  switch (message.type) {
    case 'append':
      return 64 + message.entries.reduce((sum, { data }) => sum + 13 + data.length, 0);
    case 'propose':
      return 64 + message.proposals.reduce((sum, { data }) => sum + 13 + data.length, 0);
    case 'propose-dropped':
      return 64 + message.ids.length * 8;
    default:
      return 64;
  }
}

function writeBody(writer: ByteWriter, message: Message): void {
  switch (message.type) {
    case 'vote':
      writer.flag(message.isPreVote);
      writer.flag(message.isTransfer);
      writer.number(message.lastIndex);
      writer.number(message.lastTerm);
      return;
    case 'vote-response':
      writer.flag(message.isPreVote);
      writer.flag(message.isGranted);
      return;
    case 'append':
      writer.number(message.previousIndex);
      writer.number(message.previousTerm);
      writer.number(message.commit);
      writer.count(message.entries.length);
      for (const entry of message.entries) writeEntry(writer, entry);
      return;
    case 'append-response':
      writer.flag(message.isRejected);
      writer.number(message.index);
      writer.number(message.hintIndex);
      writer.number(message.hintTerm);
      return;
    case 'heartbeat':
      writer.number(message.commit);
      writer.number(message.readRound);
      return;
    case 'heartbeat-response':
      writer.number(message.readRound);
      return;
    case 'snapshot':
      writeMark(writer, message.snapshot);
      return;
    case 'timeout-now':
      return;
    case 'propose':
      writer.count(message.proposals.length);
      for (const { id, kind, data } of message.proposals) {
        writer.number(id);
        writer.choice(proposalKinds, kind);
        writer.bytes(data);
      }
      return;
    case 'propose-dropped':
      writer.choice(dropReasons, message.reason);
      writer.count(message.ids.length);
      for (const id of message.ids) writer.number(id);
      return;
    case 'read-index':
      writer.number(message.id);
      return;
    case 'read-index-response':
      writer.number(message.id);
      writer.flag(message.index !== undefined);
      if (message.index !== undefined) writer.number(message.index);
      return;
    default:
      unreachable(message);
  }
}

type Envelope = Ends & { readonly term: number };

function readBody(reader: ByteReader, type: Message['type'], envelope: Envelope): Message {
  switch (type) {
    case 'vote':
      return {
        type,
        ...envelope,
        isPreVote: reader.flag(),
        isTransfer: reader.flag(),
        lastIndex: reader.number(),
        lastTerm: reader.number(),
      };
    case 'vote-response':
      return { type, ...envelope, isPreVote: reader.flag(), isGranted: reader.flag() };
    case 'append':
      return readAppend(reader, envelope);
    case 'append-response':
      return {
        type,
        ...envelope,
        isRejected: reader.flag(),
        index: reader.number(),
        hintIndex: reader.number(),
        hintTerm: reader.number(),
      };
    case 'heartbeat':
      return { type, ...envelope, commit: reader.number(), readRound: reader.number() };
    case 'heartbeat-response':
      return { type, ...envelope, readRound: reader.number() };
    case 'snapshot':
      return { type, ...envelope, snapshot: readMark(reader) };
    case 'timeout-now':
      return { type, ...envelope };
    case 'propose':
      return { type, ...envelope, proposals: reader.list(13, () => readProposal(reader)) };
    case 'propose-dropped': {
      const reason = reader.choice(dropReasons);
      return { type, ...envelope, reason, ids: reader.list(8, () => reader.number()) };
    }
    case 'read-index':
      return { type, ...envelope, id: reader.number() };
    case 'read-index-response': {
      const id = reader.number();
      return { type, ...envelope, id, index: reader.flag() ? reader.number() : undefined };
    }
    default:
      return unreachable(type);
  }
}

/** Indexes follow from previousIndex. */
function readAppend(reader: ByteReader, envelope: Envelope): Message {
  const previousIndex = reader.number();
  const previousTerm = reader.number();
  const commit = reader.number();
  const entries = reader.list(13, (i) => readEntry(reader, previousIndex + 1 + i));
  return { type: 'append', ...envelope, previousIndex, previousTerm, commit, entries };
}

function writeEntry(writer: ByteWriter, { term, kind, data }: Entry): void {
  writer.number(term);
  writer.choice(entryKinds, kind);
  writer.bytes(data);
}

function readEntry(reader: ByteReader, index: number): Entry {
  return { index, term: reader.number(), kind: reader.choice(entryKinds), data: reader.bytes() };
}

function readProposal(reader: ByteReader): Proposal {
  return { id: reader.number(), kind: reader.choice(proposalKinds), data: reader.bytes() };
}

/** Also the first of what a snapshot's stream carries. */
export function writeMark(writer: ByteWriter, { index, term, membership }: SnapshotMark): void {
  writer.number(index);
  writer.number(term);
  writer.bytes(encodeMembership(membership));
}

export function readMark(reader: ByteReader): SnapshotMark {
  const index = reader.number();
  const term = reader.number();
  const data = reader.bytes();
  try {
    return { index, term, membership: decodeMembership(data) };
  } catch (error) {
    throw new PeerProtocolError('a membership that can not be read', { cause: error });
  }
}
