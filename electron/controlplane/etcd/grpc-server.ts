// gRPC over node:http2: takes calls, hands their messages to handlers, answers with status trailers.
// It knows no service. A call that its client gave up is answered to nobody; deadlines are the
// client's own business (`grpc-timeout` is not read: whoever set it also resets the stream).
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '#kube/base/logger.ts';
import { FrameReader, GrpcError, grpcCodes } from './grpc.ts';
import { WireError, type MessageType } from './wire.ts';

/** One message in, one out. Throws GrpcError. */
export interface UnaryMethod {
  readonly kind: 'unary';
  answer(request: Buffer): Promise<Buffer>;
}

/** Any number in, any number out. */
export interface StreamMethod {
  readonly kind: 'stream';
  open(call: ServerCall): StreamHandler;
}

export interface StreamHandler {
  /** Throwing a GrpcError ends the call with it. */
  message(request: Buffer): void;
  /** The client has said all. */
  end(): void;
  /** The call is over, however it ended. */
  close(): void;
}

export interface ServerCall {
  /** Resolves when more may be sent; at once unless the client is slow to read. */
  send(frame: Buffer): Promise<void>;
  /** Ends the call, with an error or well. */
  finish(error?: unknown): void;
}

export type Method = UnaryMethod | StreamMethod;

export function unary<I extends object, O extends object>(
  request: MessageType<I>,
  response: MessageType<O>,
  answer: (message: I) => Promise<O> | O,
): UnaryMethod {
  return {
    kind: 'unary',
    answer: async (bytes) => response.encodeFrame(await answer(request.decode(bytes))),
  };
}

export interface GrpcTls {
  readonly key: string;
  readonly cert: string;
  /** Who signs clients' certificates: others get no connection. */
  readonly ca: string;
  /** Whether the owner of this certificate may call at all. */
  readonly authorize: (certificate: ReturnType<TLSSocket['getPeerX509Certificate']>) => boolean;
}

export interface GrpcServerOptions {
  /** By path: `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, Method>;
  readonly requestBytesMax: number;
  readonly logger: Logger;
  /** Without: plain text, anybody. For tests and benchmarks on loopback. */
  readonly tls?: GrpcTls;
}

/** A client's calls at once, and what they may hold in memory. */
const streamsMax = 4096;
const sessionMegabytesMax = 256;
/** What a client may send before it is read: with HTTP/2's own 64 KiB, puts wait for the window. */
const windowBytes = 4 * 1024 * 1024;

export class GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server: Http2Server | Http2SecureServer;
  #secured: Http2SecureServer | undefined;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #allowed = new WeakSet<Http2Session>();

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    const { tls } = options;
    const settings = { maxConcurrentStreams: streamsMax, initialWindowSize: windowBytes };
    const common = { settings, maxSessionMemory: sessionMegabytesMax };
    if (tls === undefined) this.#server = createServer(common);
    else {
      const { key, cert, ca } = tls;
      const secure = { key, cert, ca, requestCert: true, rejectUnauthorized: true };
      this.#server = this.#secured = createSecureServer({ ...common, ...secure });
    }
    this.#server.on('session', (session) => this.#greet(session));
    this.#server.on('stream', (stream, headers) => this.#serve(stream, headers));
    this.#server.on('error', (error) => options.logger.error('gRPC server', { error }));
  }

  /** Resolves to the port. */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** For connections from now on; nothing without TLS. */
  setCertificate(certificate: Pick<GrpcTls, 'key' | 'cert'>): void {
    const { tls } = this.#options;
    if (tls !== undefined) this.#secured?.setSecureContext({ ca: tls.ca, ...certificate });
  }

  /** Cuts every connection. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const session of this.#sessions) session.destroy();
    });
  }

  #greet(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.on('close', () => this.#sessions.delete(session));
    // A client's broken connection is its own matter; its calls close.
    session.on('error', () => {});
    session.setLocalWindowSize(windowBytes);
    const { tls } = this.#options;
    if (tls === undefined) this.#allowed.add(session);
    else {
      const certificate = (session.socket as TLSSocket).getPeerX509Certificate();
      if (tls.authorize(certificate)) this.#allowed.add(session);
      else this.#options.logger.warn('Refused a gRPC client', { subject: certificate?.subject });
    }
  }

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => {});
    const { session } = stream;
    if (session === undefined) return;
    const method = this.#options.methods.get(headers[':path'] ?? '');
    if (headers['content-type']?.startsWith('application/grpc') !== true) {
      stream.respond({ ':status': 415 }, { endStream: true });
    } else if (!this.#allowed.has(session)) {
      refuse(stream, new GrpcError(grpcCodes.permissionDenied, 'etcdserver: permission denied'));
    } else if (method === undefined) {
      const text = `${headers[':path']} is not served here`;
      refuse(stream, new GrpcError(grpcCodes.unimplemented, text));
    } else if (method.kind === 'unary') {
      this.#serveUnary(stream, method);
    } else {
      this.#serveStream(stream, method);
    }
  }

  #serveUnary(stream: ServerHttp2Stream, method: UnaryMethod): void {
    const frames = new FrameReader(this.#options.requestBytesMax);
    let isAsked = false;
    const fail = (error: unknown): void => {
      if (!stream.headersSent) refuse(stream, this.#asGrpcError(error));
    };
    stream.on('data', (chunk: Buffer) => {
      if (stream.headersSent) return;
      try {
        frames.push(chunk, (message) => {
          if (isAsked) return;
          isAsked = true;
          method.answer(message).then((frame) => succeed(stream, frame), fail);
        });
      } catch (error) {
        fail(error);
      }
    });
    stream.on('end', () => {
      if (!isAsked) fail(new GrpcError(grpcCodes.internal, 'the request has no message'));
    });
  }

  #serveStream(stream: ServerHttp2Stream, method: StreamMethod): void {
    const frames = new FrameReader(this.#options.requestBytesMax);
    let isDone = false;
    /** Who waits for the client to read on. */
    const waiting: (() => void)[] = [];
    const wake = (): void => {
      for (const resolve of waiting.splice(0)) resolve();
    };
    stream.on('drain', wake);
    stream.on('close', wake);
    const finish = (error?: unknown): void => {
      if (isDone || stream.destroyed) return;
      isDone = true;
      if (error !== undefined) return refuse(stream, this.#asGrpcError(error));
      begin(stream);
      stream.end();
    };
    const handler = method.open({
      send: (frame) => {
        if (isDone || stream.destroyed) return Promise.resolve();
        begin(stream);
        if (stream.write(frame)) return Promise.resolve();
        return new Promise((resolve) => void waiting.push(resolve));
      },
      finish,
    });
    stream.on('data', (chunk: Buffer) => {
      if (isDone) return;
      try {
        frames.push(chunk, (message) => handler.message(message));
      } catch (error) {
        finish(error);
      }
    });
    stream.on('end', () => handler.end());
    stream.on('close', () => handler.close());
  }

  #asGrpcError(error: unknown): GrpcError {
    if (error instanceof GrpcError) return error;
    if (error instanceof WireError) return new GrpcError(grpcCodes.invalidArgument, error.message);
    this.#options.logger.error('A gRPC call failed', { error });
    return new GrpcError(grpcCodes.internal, 'internal error');
  }
}

function begin(stream: ServerHttp2Stream): void {
  if (stream.headersSent) return;
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => sendStatus(stream, 0, ''));
}

function succeed(stream: ServerHttp2Stream, frame: Buffer): void {
  if (stream.destroyed || stream.headersSent) return;
  begin(stream);
  stream.end(frame);
}

function sendStatus(stream: ServerHttp2Stream, code: number, message: string): void {
  if (!stream.destroyed && !stream.closed) stream.sendTrailers(statusHeaders(code, message));
}

function statusHeaders(code: number, message: string): Record<string, string | number> {
  // Percent-encoded, as header values can't hold everything.
  const text = message.replaceAll(/[^\x20-\x24\x26-\x7e]/gu, (char) => encodeURIComponent(char));
  return message === '' ? { 'grpc-status': code } : { 'grpc-status': code, 'grpc-message': text };
}

function refuse(stream: ServerHttp2Stream, error: GrpcError): void {
  if (stream.destroyed || stream.closed) return;
  if (!stream.headersSent) {
    const headers = { ':status': 200, 'content-type': 'application/grpc' };
    stream.respond(
      { ...headers, ...statusHeaders(error.code, error.message) },
      { endStream: true },
    );
  } else {
    stream.removeAllListeners('wantTrailers');
    stream.on('wantTrailers', () => sendStatus(stream, error.code, error.message));
    stream.end();
  }
  // Whatever the client still sends is read and forgotten.
  stream.resume();
}
