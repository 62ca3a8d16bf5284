// The Transport of a browser: fetch for requests, a WebSocket per stream (a browser gives one host
// only six connections), all on this page's own origin. Owns one more thing: knowing whether the
// server answers. While it doesn't, streams wait here and one probe looks for it; writes fail at once.
import { type Clock, delay } from '#kube/base/clock.ts';
import {
  type Transport,
  TransportError,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '#kube/client/transport.ts';
import { openSocketStream, type SocketFactory, SocketRefusedError } from './socket-stream.ts';

export type ConnectionState =
  | { readonly kind: 'connected' }
  | { readonly kind: 'lost'; readonly sinceMs: number }
  /** The server answers, but doesn't know this page any more. */
  | { readonly kind: 'signed-out' };

export interface ConnectionDeps {
  readonly fetch: typeof fetch;
  readonly openSocket: SocketFactory;
  /** `http://127.0.0.1:8080`. */
  readonly origin: string;
  readonly clock: Clock;
  readonly onStateChange: (state: ConnectionState) => void;
}

const probeDelaysMs = [250, 500, 1000, 2000, 3000];

export class Connection implements Transport {
  readonly #deps: ConnectionDeps;
  #state: ConnectionState = { kind: 'connected' };
  /** Resolves when the server answers again, and knows this page. */
  #recovery: Promise<void> | undefined;
  #signedIn: () => void = () => undefined;

  constructor(deps: ConnectionDeps) {
    this.#deps = deps;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  async request(request: TransportRequest): Promise<TransportResponse> {
    if (request.method === 'GET') await this.#whenReachable(request.signal);
    const response = await this.#fetch(request);
    return {
      status: response.status,
      headers: headersOf(response),
      body: await this.#guard(response.bytes(), request.signal),
    };
  }

  async stream(request: TransportRequest): Promise<TransportStream> {
    await this.#whenReachable(request.signal);
    // A WebSocket can't carry headers of ours, such as the wish for Tables.
    if (request.headers?.['accept']?.includes('as=Table') === true)
      return this.#fetchStream(request);
    const url = `${this.#deps.origin.replace(/^http/, 'ws')}${target(request)}`;
    try {
      const chunks = await openSocketStream(this.#deps.openSocket, url, request.signal);
      this.#noteAnswer(200);
      return { status: 200, headers: {}, chunks: this.#watchOver(chunks, request.signal) };
    } catch (error) {
      if (!(error instanceof SocketRefusedError)) throw error;
      // A browser hides why: the same request over fetch tells the status, or streams itself.
      return this.#fetchStream(request);
    }
  }

  async #fetchStream(request: TransportRequest): Promise<TransportStream> {
    const response = await this.#fetch(request);
    const body = response.body ?? new ReadableStream<Uint8Array>();
    const chunks = this.#watchOver(readAll(body), request.signal);
    return { status: response.status, headers: headersOf(response), chunks };
  }

  async #fetch(request: TransportRequest): Promise<Response> {
    const { method, headers = {}, body, signal } = request;
    const response = await this.#guard(
      this.#deps.fetch(`${this.#deps.origin}${target(request)}`, {
        method,
        headers,
        body: body as BodyInit | undefined,
        signal: signal ?? null,
        credentials: 'same-origin',
        cache: 'no-store',
      }),
      signal,
    );
    this.#noteAnswer(response.status);
    return response;
  }

  /** Turns a broken connection into a TransportError, and remembers it. */
  async #guard<T>(pending: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    try {
      return await pending;
    } catch (error) {
      if (signal?.aborted !== true) this.#noteLoss();
      throw new TransportError('the connection to the server broke', { cause: error });
    }
  }

  async *#watchOver(
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* chunks;
    } catch (error) {
      if (signal?.aborted === true) return;
      this.#noteLoss();
      if (error instanceof TransportError) throw error;
      throw new TransportError('the stream broke', { cause: error });
    }
  }

  /** Looks again whether this page is known: somebody may have signed in beside it. */
  async recheck(): Promise<void> {
    if (this.#state.kind === 'signed-out' && (await this.#askVersion()) < 400) this.#signedIn();
  }

  #noteAnswer(status: number): void {
    if (status !== 401) {
      if (this.#state.kind === 'signed-out') this.#signedIn();
      return;
    }
    if (this.#state.kind === 'signed-out') return;
    // Asking on would only be refused again: reads wait until the page is known.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#recovery = promise;
    this.#signedIn = () => {
      this.#recovery = undefined;
      this.#setState({ kind: 'connected' });
      resolve();
    };
    this.#setState({ kind: 'signed-out' });
  }

  #noteLoss(): void {
    if (this.#recovery !== undefined) return;
    this.#setState({ kind: 'lost', sinceMs: this.#deps.clock.now() });
    this.#recovery = this.#probe();
  }

  /** Asks until the server answers anything at all. */
  async #probe(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const last = probeDelaysMs.length - 1;
      await delay(this.#deps.clock, probeDelaysMs[Math.min(attempt, last)] ?? 0);
      const status = await this.#askVersion();
      if (status >= 500) continue;
      this.#recovery = undefined;
      if (status === 401) this.#noteAnswer(status);
      else this.#setState({ kind: 'connected' });
      return;
    }
  }

  /** 503 stands for no answer. */
  #askVersion(): Promise<number> {
    const options: RequestInit = { credentials: 'same-origin', cache: 'no-store' };
    return this.#deps.fetch(`${this.#deps.origin}/version`, options).then(
      (response) => response.status,
      () => 503,
    );
  }

  async #whenReachable(signal: AbortSignal | undefined): Promise<void> {
    while (this.#recovery !== undefined) {
      const aborted = Promise.withResolvers<void>();
      const abort = (): void => aborted.resolve();
      signal?.addEventListener('abort', abort, { once: true });
      await Promise.race([this.#recovery, aborted.promise]);
      signal?.removeEventListener('abort', abort);
      if (signal?.aborted === true) throw new TransportError('the request was given up');
    }
  }

  #setState(state: ConnectionState): void {
    if (state.kind === this.#state.kind) return;
    this.#state = state;
    this.#deps.onStateChange(state);
  }
}

function target({ path, query = {} }: TransportRequest): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query))
    if (value !== undefined) search.set(key, String(value));
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}

function headersOf(response: Response): Record<string, string> {
  return Object.fromEntries(response.headers);
}

async function* readAll(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
