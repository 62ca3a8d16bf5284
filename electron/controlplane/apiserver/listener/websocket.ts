// Requests that ask to leave HTTP. If the handler gives a connection (exec, port forwarding,
// proxies), the client's is joined to it, whatever they speak. Else any streaming GET is a WebSocket: the answer's stream, one message per chunk (a watch event, some
// log lines, a sample). JSON goes as text, all else as binary, since log bytes need not be UTF-8.
// A browser can't set headers: its token comes as a subprotocol, beside one that is echoed.
// Source: kubernetes apiserver pkg/authentication/request/websocket/protocol.go, pkg/endpoints/
// handlers/watch.go (HandleWS).
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Logger } from '#kube/base/logger.ts';
import { joined } from '#platform/streams/join.ts';
import { badRequest, StatusError, unauthorized } from '#kube/machinery/status.ts';
import type { ApiHandler, ApiRequest, ApiResponse, Chunk, UserInfo } from '../http.ts';
import { Interruption } from './interruption.ts';
import { toApiRequest } from './node-http.ts';
import { bytesOfChunk, isStream } from '../response-body.ts';
import { statusResponse } from '../status-response.ts';

const tokenPrefix = 'base64url.bearer.authorization.k8s.io.';

/** Clients have nothing to say on these sockets. */
const maxMessageBytes = 64 * 1024;

export interface WebSocketDeps {
  readonly handler: ApiHandler;
  readonly logger: Logger;
}

export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly user?: UserInfo;
}

export class WebSocketBridge {
  readonly #deps: WebSocketDeps;
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) =>
      [...offered].find((name) => !name.startsWith(tokenPrefix)) ?? false,
  });
  readonly #open = new Set<AbortController>();

  constructor(deps: WebSocketDeps) {
    this.#deps = deps;
  }

  /** Runs one upgrade to its end: answered with an error, or bridged until either side closes. */
  async serve(upgrade: Upgrade): Promise<void> {
    const controller = new AbortController();
    this.#open.add(controller);
    upgrade.socket.on('error', () => controller.abort());
    upgrade.socket.once('close', () => controller.abort());
    try {
      const response = await this.#answer(upgrade, controller.signal);
      if (controller.signal.aborted) return void upgrade.socket.destroy();
      if (response.connection !== undefined) await joinConnections(upgrade, response, controller);
      else if (isStreamed(response)) await this.#bridge(upgrade, response, controller);
      else refuse(upgrade, response);
    } finally {
      this.#open.delete(controller);
      controller.abort();
    }
  }

  /** Ends all sockets, as the end of a watch does. */
  close(): void {
    for (const controller of this.#open) controller.abort();
  }

  async #answer(upgrade: Upgrade, signal: AbortSignal): Promise<ApiResponse> {
    try {
      const plain = toApiRequest(upgrade.request, {
        signal,
        ...(upgrade.user === undefined ? {} : { user: upgrade.user }),
      });
      const response = await this.#deps.handler(withProtocolToken(plain));
      const isTaken = response.connection !== undefined || isStreamed(response);
      if (response.status >= 400 || isTaken) return response;
      return statusResponse(badRequest('only requests that stream can be upgraded to a WebSocket'));
    } catch (error) {
      if (error instanceof StatusError) return statusResponse(error);
      throw error;
    }
  }

  async #bridge(
    upgrade: Upgrade,
    response: StreamResponse,
    controller: AbortController,
  ): Promise<void> {
    const socket = await this.#accept(upgrade);
    const isText = (response.headers['content-type'] ?? '').startsWith('application/json');
    const chunks = response.body[Symbol.asyncIterator]();
    const interruption = new Interruption();
    controller.signal.addEventListener('abort', interruption.stop);
    if (controller.signal.aborted) interruption.stop();
    socket.on('error', () => controller.abort());
    socket.once('close', () => controller.abort());
    try {
      for (;;) {
        const next = await interruption.wait(chunks.next());
        if (next === undefined || next.done === true) break;
        const chunk = bytesOfChunk(next.value);
        await send(socket, chunk, isText || typeof chunk === 'string');
      }
      socket.close(1000);
    } catch (error) {
      this.#deps.logger.warn('A stream over a WebSocket failed', {
        path: upgrade.request.url?.split('?')[0],
        error,
      });
      socket.close(1011);
    } finally {
      controller.abort();
      chunks.return?.()?.catch(() => undefined);
    }
  }

  #accept({ request, socket, head }: Upgrade): Promise<WebSocket> {
    return new Promise((resolve) => this.#server.handleUpgrade(request, socket, head, resolve));
  }
}

/** Leaves HTTP: what the handler agreed on goes to the client, then bytes go both ways. */
async function joinConnections(
  { socket, head }: Upgrade,
  { headers, connection }: ApiResponse,
  { signal }: AbortController,
): Promise<void> {
  if (connection === undefined) return;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.write(['HTTP/1.1 101 Switching Protocols', ...lines, '', ''].join('\r\n'));
  if (head.length > 0) connection.write(head);
  const close = (): void => void connection.destroy();
  signal.addEventListener('abort', close);
  await joined(socket, connection);
  signal.removeEventListener('abort', close);
}

type StreamResponse = ApiResponse & { readonly body: AsyncIterable<Chunk> };

function isStreamed(response: ApiResponse): response is StreamResponse {
  return response.status < 400 && isStream(response.body);
}

/** Resolves when the bytes are on their way, so that a slow reader slows the stream down. */
function send(socket: WebSocket, chunk: Uint8Array | string, asText: boolean): Promise<void> {
  return new Promise((resolve) => {
    // An error means that the socket is closing: the loop sees that itself.
    socket.send(chunk, { binary: !asText }, () => resolve());
  });
}

/** The token among the offered subprotocols, as the header it stands for. */
function withProtocolToken(request: ApiRequest): ApiRequest {
  const offered = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const tokens = offered.filter((name) => name.startsWith(tokenPrefix));
  if (tokens.length === 0 || request.headers['authorization'] !== undefined) return request;
  // As Kubernetes: exactly one token, and another protocol that can be echoed in its place.
  if (tokens.length > 1 || offered.length === 1) throw unauthorized();
  const encoded = tokens[0]?.slice(tokenPrefix.length) ?? '';
  const token = Buffer.from(encoded, 'base64url').toString('utf8');
  return { ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } };
}

/** As the HTTP answer to the upgrade, like Kubernetes: a browser asks again by fetch to see it. */
function refuse({ socket }: Upgrade, response: ApiResponse): void {
  const text = typeof response.body === 'string' ? response.body : '';
  const headers = {
    ...response.headers,
    connection: 'close',
    'content-length': Buffer.byteLength(text),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const first = `HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ''}`;
  socket.end([first, ...lines, '', text].join('\r\n'));
}
