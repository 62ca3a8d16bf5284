// A WebSocket as an async iterable of byte chunks: one message is one chunk. Bounded: a reader that
// falls behind loses the stream rather than the memory. Knows nothing of HTTP or Kubernetes.
import { TransportError } from '#kube/client/transport.ts';

/** What is used of a browser's WebSocket. */
export interface SocketLike {
  binaryType: BinaryType;
  addEventListener(type: 'open', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly code: number }) => void): void;
  close(code?: number): void;
}
export type SocketFactory = (url: string) => SocketLike;

/** The socket never opened: the server refused the upgrade, or could not be reached. */
export class SocketRefusedError extends Error {
  override readonly name = 'SocketRefusedError';
}

const queuedBytesMax = 64 * 1024 * 1024;
const normalClosure = 1000;
const encoder = new TextEncoder();

/** Resolves when the socket is open; throws SocketRefusedError when it closes before. */
export async function openSocketStream(
  openSocket: SocketFactory,
  url: string,
  signal?: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const opened = Promise.withResolvers<void>();
  const queue = new ChunkQueue();
  const socket = openSocket(url);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', () => opened.resolve());
  socket.addEventListener('message', ({ data }) => {
    if (!queue.push(bytesOf(data))) socket.close();
  });
  socket.addEventListener('close', ({ code }) => {
    opened.reject(new SocketRefusedError(`the socket closed with ${code} before it opened`));
    if (code === normalClosure) queue.end();
    else queue.fail(new TransportError(`the stream broke (${code})`));
  });
  const abort = (): void => {
    queue.end();
    opened.resolve();
    socket.close(normalClosure);
  };
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  await opened.promise;
  return drain(queue, () => {
    signal?.removeEventListener('abort', abort);
    socket.close(normalClosure);
  });
}

async function* drain(
  queue: ChunkQueue,
  close: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for (let chunk = await queue.next(); chunk !== undefined; chunk = await queue.next())
      yield chunk;
  } finally {
    close();
  }
}

/** A text message is a whole JSON document, with or without its line feed; bytes are as they come. */
function bytesOf(data: unknown): Uint8Array {
  if (typeof data !== 'string') return new Uint8Array(data as ArrayBuffer);
  return encoder.encode(data.endsWith('\n') ? data : `${data}\n`);
}

class ChunkQueue {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #end: { readonly error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  /** False: the reader is too far behind, and the stream has failed. */
  push(chunk: Uint8Array): boolean {
    if (this.#end !== undefined) return true;
    this.#bytes += chunk.length;
    if (this.#bytes > queuedBytesMax) {
      this.fail(new TransportError('the stream is faster than this page can read it'));
      return false;
    }
    this.#chunks.push(chunk);
    this.#wake?.();
    return true;
  }

  end(): void {
    this.#end ??= { error: undefined };
    this.#wake?.();
  }

  fail(error: Error): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** Undefined at the end; throws what the stream failed with, after its last chunk. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bytes -= chunk.length;
        return chunk;
      }
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
