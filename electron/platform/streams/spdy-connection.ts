// The server's side of a SPDY/3.1 connection as Kubernetes' clients use it: they open streams, each
// is a Duplex here. Rests on what their library (moby/spdystream) does: it sends no window updates
// and heeds none, takes data only after a reply, and loses what it has not read when the socket
// closes under it. So back pressure is the socket's own, for all streams of a connection together:
// a stream that nobody reads holds up the others once it has `queuedMaxBytes`.
// Rejected: spdy-transport, which waits for window updates after 64 KiB of a stream.
import { Duplex } from 'node:stream';
import type { Clock } from '#kube/base/clock.ts';
import { PauseWatch } from './pause-watch.ts';
import {
  dataFrameHead,
  goAwayFrame,
  pingFrame,
  rstStatus,
  rstStreamFrame,
  SpdyFrameReader,
  synReplyFrame,
  type SpdyFrame,
} from './spdy-frames.ts';
import { HeaderDecoder, HeaderEncoder, SpdyError, type SpdyHeaders } from './spdy-headers.ts';

/** Read ahead of a slow reader, for each stream, before the whole connection waits. */
const queuedMaxBytes = 256 * 1024;
const dataFrameMaxBytes = 64 * 1024;
export const spdyStreamsMax = 1024;
const ownPingId = 2;

export interface SpdyConnectionOptions {
  /** The connection after the upgrade. Owned from here on. */
  readonly transport: Duplex;
  /** What came with the upgrade already. */
  readonly head?: Uint8Array;
  readonly onStream: (stream: SpdyStream) => void;
  readonly streamsMax?: number;
  readonly clock: Clock;
}

export class SpdyConnection {
  readonly #transport: Duplex;
  readonly #options: SpdyConnectionOptions;
  readonly #pauseWatch: PauseWatch;
  readonly #reader = new SpdyFrameReader();
  readonly #decoder = new HeaderDecoder();
  readonly #encoder = new HeaderEncoder();
  readonly #streams = new Map<number, SpdyStream>();
  /** Streams that have more than they should. */
  readonly #full = new Set<SpdyStream>();
  readonly #drained: (() => void)[] = [];
  #lastStreamId = 0;
  #isClosed = false;
  readonly #closed = Promise.withResolvers<Error | undefined>();

  constructor(options: SpdyConnectionOptions) {
    this.#options = options;
    const { transport, head } = options;
    this.#transport = transport;
    this.#pauseWatch = new PauseWatch(options.clock, () => void this.send(pingFrame(ownPingId)));
    transport.on('error', (error) => this.destroy(error));
    transport.on('close', () => this.destroy());
    transport.on('end', () => this.destroy());
    transport.on('drain', () => this.#onDrain());
    if (head !== undefined && head.length > 0) this.#read(head);
    transport.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Resolves when the connection is gone; with what broke it, if something did. */
  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** No new streams; what is under way goes on. */
  goAway(): void {
    void this.send(goAwayFrame(this.#lastStreamId));
  }

  /** Ends the socket and every stream at once. */
  destroy(error?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#transport.destroy();
    this.#pauseWatch.stop();
    for (const stream of this.#streams.values()) stream.cutOff();
    this.#onDrain();
    this.#closed.resolve(error);
  }

  /** Resolves when the socket takes more. */
  send(...parts: Uint8Array[]): Promise<void> | void {
    if (this.#isClosed) return;
    let hasRoom = true;
    this.#transport.cork();
    for (const part of parts) hasRoom = this.#transport.write(part);
    this.#transport.uncork();
    if (!hasRoom) return new Promise((resolve) => this.#drained.push(resolve));
  }

  setFull(stream: SpdyStream, isFull: boolean): void {
    if (isFull) this.#full.add(stream);
    else this.#full.delete(stream);
    if (this.#full.size > 0) {
      this.#transport.pause();
      this.#pauseWatch.start();
    } else {
      this.#pauseWatch.stop();
      if (this.#transport.isPaused()) this.#transport.resume();
    }
  }

  forget(stream: SpdyStream): void {
    this.#streams.delete(stream.id);
    this.setFull(stream, false);
  }

  #onDrain(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  #read(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      for (const frame of this.#reader.push(chunk)) this.#handle(frame);
    } catch (error) {
      if (!(error instanceof SpdyError)) throw error;
      void this.send(goAwayFrame(this.#lastStreamId, rstStatus.protocolError));
      this.destroy(error);
    }
  }

  #handle(frame: SpdyFrame): void {
    switch (frame.type) {
      case 'synStream':
        return this.#open(frame.streamId, frame.fin, this.#decoder.decode(frame.headerBlock));
      case 'data':
        return this.#data(frame.streamId, frame.bytes, frame.fin);
      case 'rstStream':
        return this.#streams.get(frame.streamId)?.cutOff();
      case 'ping':
        // Even ones are answers to ours.
        if (frame.id % 2 === 1) void this.send(pingFrame(frame.id));
        return;
      case 'synReply':
      case 'headers':
        // For the window's sake: later blocks refer to it.
        this.#decoder.decode(frame.headerBlock);
        if (frame.fin) this.#streams.get(frame.streamId)?.receive(new Uint8Array(), true);
        return;
      case 'goAway':
      case 'ignored':
    }
  }

  #open(id: number, fin: boolean, headers: SpdyHeaders): void {
    if (id % 2 === 0 || id <= this.#lastStreamId) throw new SpdyError(`a stream with id ${id}`);
    this.#lastStreamId = id;
    if (this.#streams.size >= (this.#options.streamsMax ?? spdyStreamsMax))
      return void this.send(rstStreamFrame(id, rstStatus.refusedStream));
    const stream = new SpdyStream(this, id, headers);
    this.#streams.set(id, stream);
    void this.send(synReplyFrame(id, this.#encoder.encode({})));
    if (fin) stream.receive(new Uint8Array(), true);
    this.#options.onStream(stream);
  }

  #data(id: number, bytes: Uint8Array, fin: boolean): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) return stream.receive(bytes, fin);
    // One that was just closed here: its peer doesn't know yet.
    const wasOpen = id <= this.#lastStreamId && id % 2 === 1;
    if (!wasOpen) throw new SpdyError(`data of a stream ${id} that was never opened`);
  }
}

/** Its `end()` is a half close, as is the peer's; `destroy()` resets it. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #connection: SpdyConnection;
  #isEnded = false;

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders) {
    super({ allowHalfOpen: true, readableHighWaterMark: queuedMaxBytes });
    this.#connection = connection;
    this.id = id;
    this.headers = headers;
    // Cut off or reset: whoever reads or writes sees it end; nobody else has to care.
    this.on('error', () => undefined);
  }

  /** From the connection: bytes of the peer. */
  receive(bytes: Uint8Array, fin: boolean): void {
    if (this.#isEnded) return;
    if (bytes.length > 0 && !this.push(bytes)) this.#connection.setFull(this, true);
    if (!fin) return;
    this.#isEnded = true;
    this.push(null);
  }

  /** From the connection: reset by the peer, or the connection is gone. */
  cutOff(): void {
    this.#isEnded = true;
    this.destroy(new SpdyError('the stream was reset'));
  }

  override _read(): void {
    this.#connection.setFull(this, false);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    void this.#write(chunk).then(() => done(), done);
  }

  async #write(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length && !this.destroyed; at += dataFrameMaxBytes) {
      const part = chunk.subarray(at, at + dataFrameMaxBytes);
      await this.#connection.send(dataFrameHead(this.id, part.length, false), part);
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    void this.#connection.send(dataFrameHead(this.id, 0, true));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const isWhole = this.#isEnded && this.writableFinished;
    if (!isWhole && error?.name !== 'SpdyError')
      void this.#connection.send(rstStreamFrame(this.id, rstStatus.cancel));
    this.#connection.forget(this);
    done(error);
  }
}
