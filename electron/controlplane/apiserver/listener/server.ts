// The API server's socket: one TLS port that speaks HTTP/1.1 and HTTP/2, asks for a client
// certificate without demanding one, and carries WebSockets. It knows no Kubernetes beyond turning
// certificates into users; everything else is the handler's.
import { X509Certificate } from 'node:crypto';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { unauthorized } from '#kube/machinery/status.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { certificateUser } from '../identity/authentication.ts';
import { lapsedNode } from '../identity/lapsed-node.ts';
import { Exchanges } from './exchanges.ts';
import type { ApiHandler, ApiResponse, UserInfo } from '../http.ts';
import { listenError } from './listen-error.ts';
import { toApiRequest, type Incoming, type Outgoing } from './node-http.ts';
import { WebSocketBridge } from './websocket.ts';

/** A client that sends its request line and headers slower than this is not served. */
const headersTimeoutMs = 10_000;
/** The whole request with an image of gigabytes over slow Wi-Fi; the deadline bounds others, and their rest `Exchanges`. */
const requestTimeoutMs = 3_600_000;
const handshakeTimeoutMs = 10_000;
/** What a connection may lie idle, as in Kubernetes: Node's 5 s hang up on clients that go on as if it stood. */
const idleTimeoutMs = 90_000;

/** What HTTP/1.1's parser refuses, by its code. */
const malformed: Readonly<Record<string, string | undefined>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};
/** Of all headers together; Node's own limit is 16 KiB. Tokens and client certificates are smaller. */
const maxHeadersBytes = 64 * 1024;

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
  readonly #exchanges: Exchanges;
  readonly #users = new WeakMap<TLSSocket, { readonly user: ConnectionUser }>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #ca: X509Certificate;

  constructor(deps: ApiServerDeps) {
    this.#deps = deps;
    this.#ca = new X509Certificate(deps.caPem);
    this.#webSockets = new WebSocketBridge(deps);
    this.#exchanges = new Exchanges(deps);
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
      // An option of HTTP/1.1 servers, which this is as well; the types don't know.
      ...({ maxHeaderSize: maxHeadersBytes } as object),
    });
    // Their properties.
    Object.assign(this.#server, {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
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
    return this.#exchanges.connectionCount;
  }

  /** Watches end at once, other requests get a moment; resolves in less than 2 s. */
  async stop(): Promise<void> {
    this.#server.close();
    this.#exchanges.beginStop();
    this.#webSockets.close();
    await this.#exchanges.finish(() => {
      for (const session of this.#sessions) session.close();
    });
  }

  #listenToServer(): void {
    const server = this.#server;
    server.on('secureConnection', (socket: TLSSocket) => this.#exchanges.track(socket));
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
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      // Also comes of connections that break while nothing is asked.
      if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
      const refusal = malformed[error.code ?? ''] ?? '400 Bad Request';
      this.#deps.logger.info('A request was refused before it was whole', {
        refusal,
        reason: error.message,
        from: socket.remoteAddress,
      });
      const text = `${refusal}\n`;
      socket.end(
        `HTTP/1.1 ${refusal}\r\ncontent-type: text/plain\r\n` +
          `content-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
      );
    });
    server.on('request', (incoming: Incoming, outgoing: Outgoing) => {
      void this.#exchanges.serve(incoming, outgoing, (request, signal) =>
        this.#answer(request, signal),
      );
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const user = this.#connectionUser(request.socket as TLSSocket);
      if (this.#exchanges.isStopping || user === 'wrong') return void socket.destroy();
      void this.#webSockets.serve({ request, socket, head, ...(user && { user }) });
    });
  }

  async #answer(incoming: Incoming, signal: AbortSignal): Promise<ApiResponse> {
    const user = this.#userOf(tlsSocket(incoming));
    if (user !== 'wrong')
      return this.#deps.handler(toApiRequest(incoming, { signal, ...(user && { user }) }));
    // A certificate of a stranger leaves the word to a token, if there is one.
    if (incoming.headers.authorization === undefined) throw unauthorized();
    return this.#deps.handler(toApiRequest(incoming, { signal }));
  }

  /** A connection's certificate stays; reading it costs as much as the rest of a small request. */
  #userOf(socket: TLSSocket): ConnectionUser {
    let known = this.#users.get(socket);
    if (known === undefined) {
      known = { user: this.#connectionUser(socket) };
      this.#users.set(socket, known);
    }
    return known.user;
  }

  #connectionUser(socket: TLSSocket): ConnectionUser {
    // A session resumed without a certificate counts as authorized: look for the certificate first.
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    const user = socket.authorized
      ? certificateUser(certificate)
      : lapsedNode(certificate, this.#ca, this.#deps.clock.now());
    return user ?? 'wrong';
  }
}

/** Of the client certificate; `wrong` when one was shown that our CA didn't sign. */
type ConnectionUser = UserInfo | 'wrong' | undefined;

function tlsSocket(incoming: Incoming): TLSSocket {
  const session = 'stream' in incoming ? incoming.stream.session : undefined;
  return (session?.socket ?? incoming.socket) as TLSSocket;
}
