// A SPDY/3.1 client as Kubernetes' is: it opens streams, sends no window updates, and counts on a
// reply before data. For tests of what serves it.
import type { Duplex } from 'node:stream';
import {
  dataFrameHead,
  pingFrame,
  rstStreamFrame,
  SpdyFrameReader,
  synStreamFrame,
  type SpdyFrame,
} from '#platform/streams/spdy-frames.ts';
import { HeaderEncoder } from '#platform/streams/spdy-headers.ts';

export interface Received {
  text: string;
  sizeBytes: number;
  isEnded: boolean;
  resetStatus: number | undefined;
}

export class SpdyTestClient {
  readonly transport: Duplex;
  readonly #reader = new SpdyFrameReader();
  readonly #encoder = new HeaderEncoder();
  readonly #streams = new Map<number, Received & { isReplied: boolean }>();
  readonly pings: number[] = [];
  isClosed = false;
  hasGoAway = false;
  #nextId = 1;
  #wake: () => void = () => undefined;

  constructor(transport: Duplex, head: Uint8Array = new Uint8Array()) {
    this.transport = transport;
    transport.on('error', () => undefined);
    transport.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
    this.#read(head);
    transport.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Opens a stream; its id. */
  open(headers: Readonly<Record<string, string>>, fin = false): number {
    const id = this.#nextId;
    this.#nextId += 2;
    const none = { text: '', sizeBytes: 0, isEnded: false, resetStatus: undefined };
    this.#streams.set(id, { ...none, isReplied: false });
    this.transport.write(synStreamFrame(id, this.#encoder.encode(headers), { fin }));
    return id;
  }

  send(id: number, bytes: string | Uint8Array, fin = false): boolean {
    const data = Buffer.from(bytes);
    return this.transport.write(Buffer.concat([dataFrameHead(id, data.length, fin), data]));
  }

  reset(id: number): void {
    this.transport.write(rstStreamFrame(id, 5));
  }

  ping(id: number): void {
    this.transport.write(pingFrame(id));
  }

  of(id: number): Received {
    const stream = this.#streams.get(id);
    if (stream === undefined) throw new Error(`no stream ${id}`);
    return stream;
  }

  /** Resolves when `check` holds; asked again whenever something came. */
  async until(check: () => boolean): Promise<void> {
    while (!check()) {
      if (this.isClosed) throw new Error('the connection is closed');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  #read(chunk: Uint8Array): void {
    for (const frame of this.#reader.push(chunk)) this.#handle(frame);
    this.#wake();
  }

  #handle(frame: SpdyFrame): void {
    if (frame.type === 'goAway') this.hasGoAway = true;
    if (frame.type === 'ping') this.pings.push(frame.id);
    if (!('streamId' in frame)) return;
    const stream = this.#streams.get(frame.streamId);
    if (stream === undefined) throw new Error(`a frame of stream ${frame.streamId}`);
    if (frame.type === 'synReply') stream.isReplied = true;
    if (frame.type === 'rstStream') stream.resetStatus = frame.status;
    if (frame.type !== 'data') return;
    if (!stream.isReplied) throw new Error('data before the reply, which clients lose');
    stream.sizeBytes += frame.bytes.length;
    if (stream.text.length < 10_000) stream.text += Buffer.from(frame.bytes).toString();
    stream.isEnded ||= frame.fin;
  }
}
