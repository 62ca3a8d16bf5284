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
import type {
  ApiHandler,
  ApiRequest,
  ApiResponse,
  Chunk,
  StreamMessage,
  UserInfo,
} from './apiserver/http.ts';
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
    const chunks = bytesOf(response, request.signal);
    const { body } = response;
    if (!isStream(body)) return { status, headers, chunks };
    return { status, headers, chunks, messages: messagesOf(body, request.signal) };
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
  if (isStream(body)) for await (const chunk of chunksOf(body, signal)) yield asBytes(chunk);
  else if (isSliced(body)) yield joined(body);
  else if (body !== undefined) yield asBytes(body);
}

async function* messagesOf(
  body: AsyncIterable<Chunk>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array | StreamMessage> {
  for await (const chunk of chunksOf(body, signal))
    yield typeof chunk === 'string' ? asBytes(chunk) : chunk;
}

/** Ends quietly on abort, also while the source is waiting for its next chunk. */
async function* chunksOf(
  body: AsyncIterable<Chunk>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk> {
  const source = body[Symbol.asyncIterator]();
  const interruption = new Interruption();
  signal?.addEventListener('abort', interruption.stop);
  if (signal?.aborted === true) interruption.stop();
  try {
    for (;;) {
      const next = await interruption.wait(source.next());
      if (next === undefined || next.done === true) return;
      yield next.value;
    }
  } finally {
    signal?.removeEventListener('abort', interruption.stop);
    // Not awaited: a source that waits for data ends by the signal it has been given as well.
    source.return?.()?.catch(() => undefined);
  }
}

function asBytes(chunk: Chunk): Uint8Array {
  const bytes = bytesOfChunk(chunk);
  return typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
