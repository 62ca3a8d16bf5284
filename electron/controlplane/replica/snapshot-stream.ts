// A snapshot on its way over a connection of its own: begin (the mark), chunks, each with a
// checksum, an end with the SHA-256 of the whole, then the receiver's verdict.
// Both sides wait for each other: neither holds more than a few chunks. A stream that breaks is
// begun anew by whoever wanted it; nothing is resumed.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { TLSSocket } from 'node:tls';
import { delay, type Clock, type Timer } from '#kube/base/clock.ts';
import type { SnapshotMark } from '../raft/types.ts';
import { ByteReader, ByteWriter, FrameReader, PeerProtocolError } from './peer-bytes.ts';
import { frameTypes, readMark, writeMark } from './peer-codec.ts';
import type { SnapshotSource } from './types.ts';

const chunkBytesMax = 256 * 1024;
const chunksHeldMax = 2;
/** Without any progress for so long the stream is given up. */
const stallMs = 30_000;
/** The receiver checks and flushes all of it before its verdict, perhaps to an SD card. */
const verdictMs = 300_000;

/** The peer did not take the snapshot. */
export class SnapshotFailedError extends Error {
  override readonly name = 'SnapshotFailedError';
}

/** How fast a snapshot may go, so that others on the same line and disk get their turn. */
export interface Pace {
  readonly clock: Clock;
  readonly bytesPerSecond: number;
}

/** Resolves with the receiver's word that it is durable there. The socket is ended in any case. */
export async function streamSnapshot(
  socket: TLSSocket,
  source: SnapshotSource,
  pace: Pace,
): Promise<void> {
  const sender = new Sender(socket, pace);
  try {
    await sender.send(source);
  } finally {
    sender.close();
  }
}

class Sender {
  private readonly socket: TLSSocket;
  private readonly pace: Pace;
  private readonly verdict: Promise<void>;
  private readonly startMs: number;
  private sentBytes = 0;
  private stall: Timer | undefined;
  private settle: (error?: Error) => void = () => undefined;

  constructor(socket: TLSSocket, pace: Pace) {
    this.socket = socket;
    this.pace = pace;
    this.startMs = pace.clock.monotonicMs();
    this.verdict = new Promise((resolve, reject) => {
      this.settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // Looked at only where there is something to wait for.
    this.verdict.catch(() => undefined);
    const frames = new FrameReader((type, body) => this.heard(type, body));
    socket.on('data', (chunk: Buffer) => {
      try {
        frames.push(chunk);
      } catch (error) {
        this.settle(error as Error);
      }
    });
    socket.on('error', (error) => this.settle(error));
    socket.on('close', () => this.settle(new SnapshotFailedError('the connection broke')));
  }

  async send(source: SnapshotSource): Promise<void> {
    const begin = new ByteWriter(frameTypes.snapshotBegin, 64);
    writeMark(begin, source.mark);
    await this.write(begin.finish());
    const whole = createHash('sha256');
    for await (const bytes of source.chunks())
      for (let at = 0; at < bytes.length; at += chunkBytesMax) {
        const chunk = bytes.subarray(at, at + chunkBytesMax);
        whole.update(chunk);
        await this.write(encodeChunk(chunk));
        this.sentBytes += chunk.length;
        await this.keepPace();
      }
    const end = new ByteWriter(frameTypes.snapshotEnd, 64);
    end.bytes(whole.digest());
    await this.write(end.finish());
    this.expectProgress(verdictMs);
    await this.verdict;
  }

  close(): void {
    this.stall?.cancel();
    this.settle(new SnapshotFailedError('given up'));
    this.socket.destroy();
  }

  private async write(frame: Buffer): Promise<void> {
    const { socket } = this;
    this.expectProgress(stallMs);
    const hasRoom = socket.write(frame);
    if (socket.destroyed) return this.verdict;
    if (hasRoom) return;
    // A verdict before the end is a refusal, and ends the wait as well.
    await Promise.race([this.verdict, new Promise((resolve) => socket.once('drain', resolve))]);
  }

  private async keepPace(): Promise<void> {
    const { clock, bytesPerSecond } = this.pace;
    const dueMs = this.startMs + (this.sentBytes / bytesPerSecond) * 1000;
    const earlyMs = dueMs - clock.monotonicMs();
    if (earlyMs > 1) await delay(clock, earlyMs);
  }

  private expectProgress(withinMs: number): void {
    this.stall?.cancel();
    this.stall = this.pace.clock.timer(withinMs, () => {
      this.settle(new SnapshotFailedError(`no progress within ${withinMs / 1000} s`));
    });
  }

  private heard(type: number, body: Buffer): void {
    if (type !== frameTypes.snapshotResult)
      throw new PeerProtocolError(`a frame of type ${type} about a snapshot`);
    const reader = new ByteReader(body);
    const isOk = reader.flag();
    const message = reader.bytes().toString('utf8');
    this.settle(isOk ? undefined : new SnapshotFailedError(`the peer says: ${message}`));
  }
}

function encodeChunk(chunk: Uint8Array): Buffer {
  const writer = new ByteWriter(frameTypes.snapshotChunk, chunk.length + 8);
  writer.count(crc32(chunk));
  writer.bytes(chunk);
  return writer.finish();
}

export interface IntakeDeps {
  readonly socket: TLSSocket;
  readonly clock: Clock;
  /** Takes the snapshot in; what it rejects with is told to the sender. */
  accept(mark: SnapshotMark, chunks: AsyncIterable<Uint8Array>): Promise<void>;
}

/** The receiving end of one stream. Fed with the connection's frames. */
export class SnapshotIntake {
  private readonly deps: IntakeDeps;
  private readonly whole = createHash('sha256');
  private readonly chunks: ChunkQueue;
  private state: 'new' | 'begun' | 'ended' | 'over' = 'new';
  private stall: Timer | undefined;

  constructor(deps: IntakeDeps) {
    this.deps = deps;
    this.chunks = new ChunkQueue(() => deps.socket.resume());
    this.expectProgress();
  }

  /** Throws PeerProtocolError when the stream is not what it should be. */
  frame(type: number, body: Buffer): void {
    if (this.state === 'over') return;
    this.expectProgress();
    const reader = new ByteReader(body);
    if (type === frameTypes.snapshotBegin && this.state === 'new') this.begin(readMark(reader));
    else if (type === frameTypes.snapshotChunk && this.state === 'begun') this.chunk(reader);
    else if (type === frameTypes.snapshotEnd && this.state === 'begun') this.end(reader);
    else throw new PeerProtocolError(`a frame of type ${type} in a snapshot that is ${this.state}`);
  }

  /** The connection is gone, or of no use any more. */
  broke(why: Error): void {
    this.stall?.cancel();
    if (this.state === 'over') return;
    this.state = 'over';
    this.chunks.fail(why);
  }

  private begin(mark: SnapshotMark): void {
    this.state = 'begun';
    this.deps.accept(mark, this.chunks).then(
      () => this.answer(undefined),
      (error: unknown) => this.answer(error instanceof Error ? error : new Error(String(error))),
    );
  }

  private chunk(reader: ByteReader): void {
    const checksum = reader.count();
    const bytes = reader.bytes();
    reader.end();
    if (crc32(bytes) !== checksum) throw new PeerProtocolError('a chunk with a wrong checksum');
    this.whole.update(bytes);
    if (this.chunks.push(bytes) >= chunksHeldMax) this.deps.socket.pause();
  }

  private end(reader: ByteReader): void {
    const hash = reader.bytes();
    reader.end();
    if (!this.whole.digest().equals(hash))
      throw new PeerProtocolError('a snapshot that is not what was sent');
    this.state = 'ended';
    this.stall?.cancel();
    this.chunks.end();
  }

  private answer(error: Error | undefined): void {
    this.stall?.cancel();
    if (this.state === 'over') return;
    this.state = 'over';
    const { socket } = this.deps;
    const writer = new ByteWriter(frameTypes.snapshotResult, 256);
    writer.flag(error === undefined);
    writer.bytes(Buffer.from(error?.message ?? '', 'utf8'));
    socket.resume();
    socket.end(writer.finish());
  }

  /** While the consumer is slow the socket is paused: that is no stall of the sender. */
  private expectProgress(): void {
    this.stall?.cancel();
    this.stall = this.deps.clock.timer(stallMs, () => {
      if (this.deps.socket.isPaused()) return this.expectProgress();
      const why = new PeerProtocolError(`nothing of the snapshot came within ${stallMs / 1000} s`);
      this.deps.socket.destroy(why);
    });
  }
}

/** What has come and was not taken yet. For one consumer. */
class ChunkQueue implements AsyncIterable<Uint8Array> {
  private readonly onTaken: () => void;
  private readonly chunks: Uint8Array[] = [];
  private outcome: 'open' | 'ended' | Error = 'open';
  private wake: () => void = () => undefined;

  constructor(onTaken: () => void) {
    this.onTaken = onTaken;
  }

  /** How many wait now. */
  push(chunk: Uint8Array): number {
    this.chunks.push(chunk);
    this.wake();
    return this.chunks.length;
  }

  end(): void {
    this.outcome = 'ended';
    this.wake();
  }

  fail(error: Error): void {
    if (this.outcome === 'open') this.outcome = error;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const chunk = this.chunks.shift();
      if (chunk !== undefined) {
        yield chunk;
        if (this.chunks.length === 0) this.onTaken();
      } else if (this.outcome === 'ended') return;
      else if (this.outcome !== 'open') throw this.outcome;
      else
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
    }
  }
}
