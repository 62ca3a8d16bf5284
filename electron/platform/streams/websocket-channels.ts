// Several byte streams over one WebSocket: a message's first byte is its channel. In base64 form,
// for clients that know only text, the channel is a digit and the rest is encoded. Bounded: a
// channel that nobody reads stops the socket, a slow socket slows down who writes.
// Source: kubernetes apimachinery pkg/util/httpstream/wsstream/conn.go, client-go
// tools/remotecommand/websocket.go (the close signal of v5).
import { PassThrough, Writable, type Readable } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Clock } from '#kube/base/clock.ts';
import { PauseWatch } from './pause-watch.ts';

/** What one message may weigh; clients send some ten KiB. */
export const messageMaxBytes = 4 * 1024 * 1024;
const queuedMaxBytes = 256 * 1024;
/** v5: the message's second byte is the channel that the client has no more for. */
const closeChannel = 255;
const asciiZero = 0x30;
const closeNormally = 1000;

export interface ChannelForm {
  readonly isBase64: boolean;
  /** The client can close one channel: v5. */
  readonly hasCloseSignal: boolean;
}

export class WebSocketChannels {
  readonly #socket: WebSocket;
  readonly #form: ChannelForm;
  readonly #sources = new Map<number, PassThrough>();
  readonly #full = new Set<PassThrough>();
  readonly #pauseWatch: PauseWatch;
  readonly #gone = new AbortController();

  constructor(socket: WebSocket, form: ChannelForm, clock: Clock) {
    this.#socket = socket;
    this.#pauseWatch = new PauseWatch(clock, () => {
      if (socket.readyState === socket.OPEN) socket.ping();
    });
    this.#form = form;
    socket.on('message', (data) => this.#receive(bytesOf(data)));
    socket.on('error', () => socket.terminate());
    socket.on('close', () => this.#onClose());
  }

  /** Aborts when the client is gone. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** What the client says on a channel; what it says on others is dropped. Once per channel. */
  source(channel: number): Readable {
    const source = new PassThrough({ highWaterMark: queuedMaxBytes });
    this.#sources.set(channel, source);
    source.on('drain', () => this.#setFull(source, false));
    source.on('close', () => this.#setFull(source, false));
    ignoreErrors(source);
    return source;
  }

  sink(channel: number): Writable {
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => void this.send(channel, chunk).then(() => done()),
    });
    ignoreErrors(sink);
    return sink;
  }

  /** Resolves when the bytes are on their way; also when the client is gone. */
  send(channel: number, bytes: Uint8Array): Promise<void> {
    const { isBase64 } = this.#form;
    const message = isBase64
      ? `${channel}${Buffer.from(bytes).toString('base64')}`
      : Buffer.concat([Buffer.of(channel), bytes]);
    return new Promise((resolve) => {
      this.#socket.send(message, { binary: !isBase64 }, () => resolve());
    });
  }

  /** Resolves when the client has closed as well. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#gone.signal.aborted) return resolve();
      this.#socket.once('close', () => resolve());
      // The client's answer has to be read, whatever else it may have sent.
      this.#sources.clear();
      this.#socket.resume();
      this.#socket.close(closeNormally);
    });
  }

  #receive(message: Buffer): void {
    const { isBase64, hasCloseSignal } = this.#form;
    if (message.length === 0) return;
    const first = message[0] ?? 0;
    if (hasCloseSignal && first === closeChannel && message.length === 2)
      return void this.#sources.get(message[1] ?? 0)?.end();
    const source = this.#sources.get(isBase64 ? first - asciiZero : first);
    if (source === undefined || source.writableEnded || source.destroyed) return;
    const rest = message.subarray(1);
    const bytes = isBase64 ? Buffer.from(rest.toString('latin1'), 'base64') : rest;
    if (bytes.length > 0 && !source.write(bytes)) this.#setFull(source, true);
  }

  #setFull(source: PassThrough, isFull: boolean): void {
    if (isFull) this.#full.add(source);
    else if (!this.#full.delete(source)) return;
    if (this.#full.size > 0) {
      this.#socket.pause();
      this.#pauseWatch.start();
    } else {
      this.#pauseWatch.stop();
      this.#socket.resume();
    }
  }

  #onClose(): void {
    this.#gone.abort();
    this.#pauseWatch.stop();
    for (const source of this.#sources.values()) source.end();
  }
}

/** Whoever reads or writes sees it end; an error that nobody listens to would end the process. */
function ignoreErrors(stream: Readable | Writable): void {
  stream.on('error', () => undefined);
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
