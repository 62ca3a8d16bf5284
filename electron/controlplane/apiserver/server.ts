// The API server's socket: one TLS port that speaks HTTP/1.1 and HTTP/2, asks for a client
// certificate without demanding one, and carries WebSockets. It knows no Kubernetes beyond turning
// certificates into users; everything else is the handler's.
// Invariant: stop() leaves nothing behind: watches end at once, other requests get a moment.
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { AssertionError } from '#kube/base/assert.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { internalError, StatusError, unauthorized } from '#kube/machinery/status.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { certificateUser } from './authentication.ts';
import type { ApiHandler, ApiResponse, UserInfo } from './http.ts';
import { listenError } from './listen-error.ts';
import {
  breakOff,
  clientSignal,
  toApiRequest,
  writeResponse,
  type Incoming,
  type Outgoing,
} from './node-http.ts';
import { statusResponse } from './status-response.ts';
import { WebSocketBridge } from './websocket.ts';

/** A client that sends its request line and headers slower than this is not served. */
const headersTimeoutMs = 10_000;
/** The whole request with a 3 MiB body over slow Wi-Fi. */
const requestTimeoutMs = 60_000;
const handshakeTimeoutMs = 10_000;
/** What requests under way get when the server stops. */
const drainMs = 1500;
/** And what their last bytes get to leave the machine. */
const flushMs = 300;

export interface ApiServerDeps {
  readonly handler: ApiHandler;
  readonly certificate: KeyPairPem;
  /** Signs client certificates. */
  readonly caPem: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ApiServer {
  readonly #deps: ApiServerDeps;
  readonly #server: Http2SecureServer;
  readonly #webSockets: WebSocketBridge;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** One per request, until its answer has left or its client has. */
  readonly #exchanges = new Set<Promise<void>>();
  /** Answers that stream: they end when the server stops, the others are waited for. */
  readonly #streams = new Set<AbortController>();
  #isStopping = false;

  constructor(deps: ApiServerDeps) {
    this.#deps = deps;
    this.#webSockets = new WebSocketBridge(deps);
    this.#server = createSecureServer({
      allowHTTP1: true,
      cert: deps.certificate.certPem,
      key: deps.certificate.keyPem,
      ca: deps.caPem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      handshakeTimeout: handshakeTimeoutMs,
      settings: { maxConcurrentStreams: 1000 },
    });
    // Properties of HTTP/1.1 servers, which this is as well; the types don't know.
    Object.assign(this.#server, {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 5_000,
    });
    this.#listenToServer();
  }

  /** Resolves with the port once connections are taken. Rejects with a sentence for a person. */
  start(options: { readonly host: string; readonly port: number }): Promise<number> {
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void =>
        reject(listenError(error, options, '--port'));
      this.#server.once('error', fail);
      this.#server.listen(options.port, options.host, () => {
        this.#server.removeListener('error', fail);
        this.#server.on('error', (error) =>
          this.#deps.logger.error('The API listener failed', { error }),
        );
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** For certificates made anew while running; open connections keep the old one. */
  setCertificate(certificate: KeyPairPem): void {
    this.#server.setSecureContext({
      cert: certificate.certPem,
      key: certificate.keyPem,
      ca: this.#deps.caPem,
    });
  }

  /** Open connections, for /metrics. */
  get connectionCount(): number {
    return this.#sockets.size;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#server.close();
    this.#webSockets.close();
    for (const stream of this.#streams) stream.abort();
    await this.#within(drainMs, this.#exchanges);
    for (const session of this.#sessions) session.close();
    for (const socket of this.#sockets) if (!this.#isHttp2(socket)) socket.destroySoon();
    await this.#within(flushMs, [...this.#sockets].map(closeOf));
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Waits for all of them, but no longer than `limitMs`. */
  async #within(limitMs: number, all: Iterable<Promise<unknown>>): Promise<void> {
    const enough = new AbortController();
    const limit = delay(this.#deps.clock, limitMs, enough.signal);
    await Promise.race([Promise.allSettled(all), limit]);
    enough.abort();
  }

  #isHttp2(socket: Socket): boolean {
    return (socket as TLSSocket).alpnProtocol === 'h2';
  }

  #listenToServer(): void {
    const server = this.#server;
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 30_000);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', () => session.destroy());
    });
    // A failed handshake is the client's affair: a port scan must not fill the log.
    server.on('tlsClientError', (error, socket) => {
      this.#deps.logger.debug('A TLS handshake failed', { reason: error.message });
      socket.destroy();
    });
    server.on('clientError', (_error: Error, socket: Socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
      else socket.destroy();
    });
    server.on('request', (incoming: Incoming, outgoing: Outgoing) => {
      const exchange = closeOf(outgoing).finally(() => this.#exchanges.delete(exchange));
      this.#exchanges.add(exchange);
      // A rejection is a programmer's error: left unhandled, it ends the process.
      void this.#serve(incoming, outgoing);
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const user = this.#connectionUser(request.socket as TLSSocket);
      if (this.#isStopping || user === 'wrong') return void socket.destroy();
      void this.#webSockets.serve({ request, socket, head, ...(user && { user }) });
    });
  }

  async #serve(incoming: Incoming, outgoing: Outgoing): Promise<void> {
    const controller = clientSignal(outgoing);
    const response = await this.#answer(incoming, controller.signal);
    if (outgoing.destroyed) return;
    const isStream = typeof response.body === 'object' && !(response.body instanceof Uint8Array);
    if (isStream) {
      this.#streams.add(controller);
      if (this.#isStopping) controller.abort();
    }
    try {
      await writeResponse(outgoing, this.#withConnection(incoming, response), {
        isHead: incoming.method === 'HEAD',
        signal: controller.signal,
      });
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      // The head is sent: all that is left is to break the connection, so that the client knows.
      this.#deps.logger.warn('An answer broke off', { path: pathOf(incoming), error });
      breakOff(outgoing);
    } finally {
      this.#streams.delete(controller);
    }
  }

  async #answer(incoming: Incoming, signal: AbortSignal): Promise<ApiResponse> {
    try {
      const user = this.#connectionUser(tlsSocket(incoming));
      const hasToken = incoming.headers.authorization !== undefined;
      if (user === 'wrong' && !hasToken) throw unauthorized();
      const known = user === 'wrong' ? undefined : user;
      return await this.#deps.handler(
        toApiRequest(incoming, { signal, ...(known && { user: known }) }),
      );
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (error instanceof StatusError) return statusResponse(error);
      this.#deps.logger.error('A request failed outside the chain', {
        path: pathOf(incoming),
        error,
      });
      return statusResponse(internalError(error));
    }
  }

  /** The user of the client certificate; `wrong` when one was shown that our CA didn't sign. */
  #connectionUser(socket: TLSSocket): UserInfo | 'wrong' | undefined {
    // A session resumed without a certificate counts as authorized: look for the certificate first.
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    if (!socket.authorized) return 'wrong';
    return certificateUser(certificate) ?? 'wrong';
  }

  /** HTTP/1.1 clients are told that the connection ends; HTTP/2 forbids the header. */
  #withConnection(incoming: Incoming, response: ApiResponse): ApiResponse {
    if (incoming.httpVersionMajor >= 2) return response;
    const mustClose = this.#isStopping || response.status === 413;
    return mustClose
      ? { ...response, headers: { ...response.headers, connection: 'close' } }
      : response;
  }
}

function tlsSocket(incoming: Incoming): TLSSocket {
  const session = 'stream' in incoming ? incoming.stream.session : undefined;
  return (session?.socket ?? incoming.socket) as TLSSocket;
}

function closeOf(closable: Outgoing | Socket): Promise<void> {
  return new Promise((resolve) => {
    (closable as Socket).once('close', () => resolve());
    if ((closable as Socket).closed) resolve();
  });
}

function pathOf(incoming: Incoming): string {
  return (incoming.url ?? '').split('?')[0] ?? '';
}
