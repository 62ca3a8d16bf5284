// A Transport to an API server over HTTP/2 with a client certificate. HTTP/2 because an agent keeps
// a dozen watches open: here they share one TLS connection, and one ping tells for all of them when
// a cable was pulled, where HTTP/1.1 would need a connection and a guess for each.
// Connects when first used, and again by itself after a failure.
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { pipeline } from 'node:stream/promises';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { Clock, Timer } from '#kube/base/clock.ts';
import {
  TransportError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '#kube/client/transport.ts';
import type { ClientConfig } from './kubeconfig.ts';

/** While something is open, the server is asked this often whether it is still there. */
const pingEveryMs = 30_000;
const pingTimeoutMs = 15_000;
const connectTimeoutMs = 10_000;

export class HttpsTransport implements Transport {
  #config: ClientConfig;
  readonly #clock: Clock;
  #session: ClientHttp2Session | undefined;
  readonly #watched = new WeakMap<ClientHttp2Session, Watched>();
  /** That were made: the server has shown who it is. */
  readonly #made = new WeakSet<ClientHttp2Session>();

  constructor(config: ClientConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** `upload`: the body, as it comes. An answer before its end makes the rest void. */
  async request(
    request: TransportRequest,
    upload?: AsyncIterable<Uint8Array>,
  ): Promise<TransportResponse> {
    const { status, headers, stream } = await this.#open(request, upload);
    const parts: Uint8Array[] = [];
    try {
      for await (const chunk of stream) parts.push(chunk as Uint8Array);
    } catch (error) {
      throw new TransportError(`the answer broke off: ${messageOf(error)}`, { cause: error });
    }
    if (isBroken(stream) || request.signal?.aborted === true)
      throw new TransportError('the answer broke off');
    return { status, headers, body: new Uint8Array(Buffer.concat(parts)) };
  }

  async stream(request: TransportRequest): Promise<TransportStream> {
    const { status, headers, stream } = await this.#open(request);
    return { status, headers, chunks: chunksOf(stream, request.signal) };
  }

  /** Ends the connection and all that is open on it. */
  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  /** A connection stands, as far as is known. */
  get isConnected(): boolean {
    const session = this.#session;
    return (
      session !== undefined && !session.closed && !session.destroyed && this.#made.has(session)
    );
  }

  /** What is open may finish; the next request makes a new connection. */
  retire(): void {
    this.#session?.close();
    this.#session = undefined;
  }

  /** As whom, and where, from the next connection on; what is open may finish on the old one. */
  use(config: ClientConfig): void {
    this.#config = config;
    this.retire();
  }

  /**
   * Ends a connection that began at an address which this machine no longer has: nothing comes back by it, and
   * a ping would take most of a minute to tell. What was open on it fails, and connects anew.
   */
  dropUnlessFrom(addresses: ReadonlySet<string>): void {
    const from = this.#session?.socket?.localAddress;
    if (from !== undefined && !addresses.has(from))
      this.#session?.destroy(new Error(`this machine no longer has the address ${from}`));
  }

  #open(
    request: TransportRequest,
    upload?: AsyncIterable<Uint8Array>,
  ): Promise<{
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly stream: ClientHttp2Stream;
  }> {
    return new Promise((resolve, reject) => {
      if (request.signal?.aborted === true)
        return reject(new TransportError('the request was aborted'));
      const session = this.#connection();
      const stream = session.request(this.#headers(request), {
        endStream: request.body === undefined && upload === undefined,
      });
      this.#watchOver(session, stream);
      const abort = (): void => {
        stream.close(constants.NGHTTP2_CANCEL);
        // While there is no connection the stream closes only when one comes, or can't.
        reject(new TransportError('the request was aborted'));
      };
      request.signal?.addEventListener('abort', abort);
      // A server that refuses a stream has not looked at it: RFC 9113 section 8.7.
      const neverSent = (): boolean =>
        !this.#made.has(session) || stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
      stream.once('close', () => {
        request.signal?.removeEventListener('abort', abort);
        const message = `no answer from ${this.#config.server}`;
        reject(new TransportError(message, { neverSent: neverSent() }));
      });
      stream.on('error', (error: Error) => {
        const message = `no answer from ${this.#config.server}: ${messageOf(error)}`;
        reject(new TransportError(message, { cause: error, neverSent: neverSent() }));
      });
      stream.once('response', (raw) => {
        const headers: Record<string, string> = {};
        for (const [name, value] of Object.entries(raw))
          if (!name.startsWith(':')) headers[name] = String(value);
        resolve({ status: raw[':status'] ?? 0, headers, stream });
      });
      if (upload !== undefined) pipeline(upload, stream).catch(reject);
      else if (request.body !== undefined) stream.end(request.body);
    });
  }

  #headers(request: TransportRequest): Record<string, string> {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) query.set(key, String(value));
    const path = query.size === 0 ? request.path : `${request.path}?${query.toString()}`;
    const { token } = this.#config;
    return {
      ':method': request.method,
      ':path': path,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...request.headers,
    };
  }

  #connection(): ClientHttp2Session {
    const current = this.#session;
    if (current !== undefined && !current.closed && !current.destroyed) return current;
    const { server, caPem, certPem, keyPem, serverName } = this.#config;
    const session = connect(server, {
      ca: caPem,
      cert: certPem,
      key: keyPem,
      ...(serverName !== undefined && {
        servername: serverName,
        checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
          checkServerIdentity(serverName, certificate),
      }),
    });
    this.#session = session;
    const patience = this.#clock.timer(connectTimeoutMs, () =>
      session.destroy(new Error(`no connection within ${connectTimeoutMs / 1000} s`)),
    );
    session.once('connect', () => {
      patience.cancel();
      this.#made.add(session);
    });
    // Each stream reports the failure to its caller.
    session.on('error', () => undefined);
    // The server is going: what is open may finish, the next request connects anew.
    session.on('goaway', () => this.#forget(session));
    session.once('close', () => {
      patience.cancel();
      this.#forget(session);
    });
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  /** Pings for as long as the stream is open: nobody else would notice that the server is gone. */
  #watchOver(session: ClientHttp2Session, stream: ClientHttp2Stream): void {
    const watched = this.#watched.get(session) ?? { streams: new Set(), ping: undefined };
    this.#watched.set(session, watched);
    watched.streams.add(stream);
    watched.ping ??= this.#schedulePing(session, watched);
    stream.once('close', () => {
      watched.streams.delete(stream);
      if (watched.streams.size > 0) return;
      // Nothing waits for the server any more: be still.
      watched.ping?.cancel();
      watched.ping = undefined;
    });
  }

  #schedulePing(session: ClientHttp2Session, watched: Watched): Timer {
    return this.#clock.timer(pingEveryMs, () => {
      if (session.destroyed) return;
      const patience = this.#clock.timer(pingTimeoutMs, () =>
        session.destroy(new Error(`no sign of life within ${pingTimeoutMs / 1000} s`)),
      );
      session.ping(() => patience.cancel());
      watched.ping = this.#schedulePing(session, watched);
    });
  }
}

interface Watched {
  readonly streams: Set<ClientHttp2Stream>;
  ping: Timer | undefined;
}

async function* chunksOf(
  stream: ClientHttp2Stream,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
    isWhole = !isBroken(stream);
  } catch (error) {
    if (signal?.aborted === true) return;
    throw new TransportError(`the connection broke: ${messageOf(error)}`, { cause: error });
  } finally {
    if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
  }
  if (signal?.aborted !== true && !isWhole) throw new TransportError('the connection broke');
}

/** A reset other than "no error": the server gave up on this answer. */
function isBroken(stream: ClientHttp2Stream): boolean {
  return (
    stream.aborted ||
    (stream.rstCode !== undefined && stream.rstCode !== constants.NGHTTP2_NO_ERROR)
  );
}

/** Node wraps "connection refused" in a sentence about streams: the cause says it better. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
