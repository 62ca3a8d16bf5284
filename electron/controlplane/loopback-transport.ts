// A Transport that calls the API server's chain in the same process, as a given user: no socket, no
// TLS, but the same door as everyone (authentication, authorization, admission).
import type {
  HttpMethod,
  Transport,
  TransportRequest,
  TransportStream,
} from '#kube/client/transport.ts';
import { TransportError } from '#kube/client/transport.ts';
import { requestTooLarge } from '#kube/machinery/status.ts';
import type { ApiHandler, ApiRequest, ApiResponse, Chunk, UserInfo } from './apiserver/http.ts';
import { Interruption } from './apiserver/listener/interruption.ts';
import { bodyLimitBytes } from './apiserver/listener/node-http.ts';
import { bytesOfChunk, isSliced, isStream, joined } from './apiserver/response-body.ts';

export interface LoopbackOptions {
  readonly handler: ApiHandler;
  readonly user: UserInfo;
}

export class LoopbackTransport implements Transport {
  readonly #options: LoopbackOptions;

  constructor(options: LoopbackOptions) {
    this.#options = options;
  }

  async request(request: TransportRequest): Promise<{
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Uint8Array;
  }> {
    const response = await this.#call(request);
    const { status, headers } = response;
    if (request.method === 'HEAD') return { status, headers, body: new Uint8Array() };
    const parts: Uint8Array[] = [];
    for await (const chunk of bytesOf(response, request.signal)) parts.push(chunk);
    if (request.signal?.aborted === true) throw new TransportError('the request was aborted');
    return { status, headers, body: parts.length === 1 && parts[0] ? parts[0] : concat(parts) };
  }

  async stream(request: TransportRequest): Promise<TransportStream> {
    const response = await this.#call(request);
    const { status, headers } = response;
    const { body } = response;
    const { signal } = request;
    const chunks = bytesOf(response, signal);
    if (!isStream(body)) return { status, headers, chunks };
    const messages = new Messages(body, signal, (chunk) =>
      typeof chunk === 'string' ? asBytes(chunk) : chunk,
    );
    return { status, headers, chunks, messages };
  }

  async #call(request: TransportRequest): Promise<ApiResponse> {
    if (request.signal?.aborted === true) throw new TransportError('the request was aborted');
    return this.#options.handler(toApiRequest(request, this.#options.user));
  }
}

function toApiRequest(request: TransportRequest, user: UserInfo): ApiRequest {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(request.query ?? {}))
    if (value !== undefined) query.set(key, String(value));
  return {
    method: request.method satisfies HttpMethod,
    path: request.path,
    query,
    headers: request.headers ?? {},
    readBody: async () => {
      const { body = '' } = request;
      const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
      if (bytes.length > bodyLimitBytes) throw requestTooLarge(bodyLimitBytes);
      return bytes;
    },
    signal: request.signal ?? new AbortController().signal,
    user,
  };
}

async function* bytesOf(
  { body }: ApiResponse,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (isStream(body)) yield* new Messages(body, signal, asBytes);
  else if (isSliced(body)) yield joined(body);
  else if (body !== undefined) yield asBytes(body);
}

/**
 * A stream's chunks, each in the form of `made`. Ends quietly on abort, also while the source is waiting
 * for its next chunk. Not a generator: every event passes here for every informer.
 */
class Messages<T> implements AsyncIterableIterator<T, undefined> {
  readonly #body: AsyncIterable<Chunk>;
  readonly #signal: AbortSignal | undefined;
  readonly #made: (chunk: Chunk) => T;
  readonly #interruption = new Interruption();
  /** Opened by the first reader. */
  #source: AsyncIterator<Chunk> | undefined;
  #isOver = false;

  constructor(
    body: AsyncIterable<Chunk>,
    signal: AbortSignal | undefined,
    made: (chunk: Chunk) => T,
  ) {
    this.#body = body;
    this.#signal = signal;
    this.#made = made;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isOver) return { done: true, value: undefined };
    this.#source ??= this.#open();
    try {
      const next = await this.#interruption.wait(this.#source.next());
      if (next !== undefined && next.done !== true)
        return { done: false, value: this.#made(next.value) };
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#end();
    return { done: true, value: undefined };
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  #open(): AsyncIterator<Chunk> {
    this.#signal?.addEventListener('abort', this.#interruption.stop);
    if (this.#signal?.aborted === true) this.#interruption.stop();
    return this.#body[Symbol.asyncIterator]();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#interruption.stop);
    // Not awaited: a source that waits for data ends by the signal it has been given as well.
    this.#source?.return?.()?.catch(() => undefined);
  }
}

function asBytes(chunk: Chunk): Uint8Array {
  const bytes = bytesOfChunk(chunk);
  return typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
