// API servers that fail in every way that a home knows, for tests: what is asked of one is answered by a function.
import {
  TransportError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '#kube/client/transport.ts';
import type { ClientConfig } from '#platform/kubeconfig.ts';
import type { Connection } from './api-transport.ts';

/** `refuses`: nothing listens. `frozen`: takes everything and answers nothing. `unready`: no majority behind it. */
export type Condition = 'well' | 'refuses' | 'frozen' | 'unready';

export class FailingServer {
  readonly name: string;
  condition: Condition = 'well';
  /** Nothing comes of what is asked here. */
  hangsAt = '';
  /** That it has begun with; not those whether it is ready. */
  readonly begun: TransportRequest[] = [];
  readonly connections = new Set<FailingConnection>();
  readonly #behind: Transport;

  constructor(name: string, behind: Transport) {
    this.name = name;
    this.#behind = behind;
  }

  /** The process is gone: with it all connections. */
  die(): void {
    this.condition = 'refuses';
    for (const connection of this.connections) connection.break();
  }

  async answer(request: TransportRequest): Promise<TransportResponse> {
    if (request.path === '/readyz') return this.#plain(this.condition === 'unready' ? 500 : 200);
    this.begun.push(request);
    if (this.condition === 'unready') return this.#plain(503);
    if (request.path === this.hangsAt) return new Promise(() => {});
    return this.#behind.request(request);
  }

  stream(request: TransportRequest): Promise<TransportStream> {
    this.begun.push(request);
    return this.#behind.stream(request);
  }

  #plain(status: number): TransportResponse {
    return { status, headers: {}, body: new TextEncoder().encode(this.name) };
  }
}

export class FailingConnection implements Connection {
  readonly #server: FailingServer;
  readonly #broken = new AbortController();
  isConnected = false;
  /** How the transport let go of it. */
  end: 'open' | 'retired' | 'closed' = 'open';
  config: ClientConfig;

  constructor(server: FailingServer, config: ClientConfig) {
    this.#server = server;
    this.config = config;
    server.connections.add(this);
  }

  request(request: TransportRequest): Promise<TransportResponse> {
    return this.#sent(request, () => this.#server.answer(request));
  }

  async stream(request: TransportRequest): Promise<TransportStream> {
    const answer = await this.#sent(request, () => this.#server.stream(request));
    return { ...answer, chunks: this.#untilBroken(answer.chunks) };
  }

  use(config: ClientConfig): void {
    this.config = config;
  }

  dropUnlessFrom(): void {
    this.break();
  }

  retire(): void {
    this.end = 'retired';
    this.#server.connections.delete(this);
  }

  close(): void {
    this.end = 'closed';
    this.break();
    this.#server.connections.delete(this);
  }

  break(): void {
    this.isConnected = false;
    this.#broken.abort();
  }

  async #sent<T>(request: TransportRequest, answer: () => Promise<T>): Promise<T> {
    const { condition, name } = this.#server;
    if (condition === 'refuses' || this.#broken.signal.aborted)
      throw new TransportError(`${name} refuses`, { neverSent: true });
    this.isConnected = true;
    return Promise.race([
      condition === 'frozen' ? new Promise<T>(() => {}) : answer(),
      failing(this.#broken.signal, 'the connection broke'),
      ...(request.signal === undefined ? [] : [failing(request.signal, 'the request was aborted')]),
    ]);
  }

  async *#untilBroken(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const reader = chunks[Symbol.asyncIterator]();
    const broken = failing(this.#broken.signal, 'the connection broke');
    for (;;) {
      const next = await Promise.race([reader.next(), broken]);
      if (next.done === true) return;
      yield next.value;
    }
  }
}

function failing(signal: AbortSignal, message: string): Promise<never> {
  const failed = new Promise<never>((_resolve, reject) => {
    const fail = (): void => reject(new TransportError(message));
    if (signal.aborted) fail();
    signal.addEventListener('abort', fail, { once: true });
  });
  // Whoever races with it may have won.
  failed.catch(() => undefined);
  return failed;
}

/** For `connect`: by the server's address. */
export function connectTo(servers: readonly FailingServer[]) {
  return (config: ClientConfig): FailingConnection => {
    const server = servers.find(({ name }) => name === config.server);
    if (server === undefined) throw new Error(`there is no server ${config.server}`);
    return new FailingConnection(server, config);
  };
}
