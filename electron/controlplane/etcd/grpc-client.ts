// gRPC calls to one of several servers that say the same: over HTTP/2, one connection at a time.
// When it breaks, the next call connects to the next server. A call that may have reached its
// server before the connection broke says so (`isSent`); nothing is ever sent twice.
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { FrameReader, GrpcError, grpcCodes } from './grpc.ts';
import type { MessageType } from './wire.ts';

/** The connection could not be made, or broke before an answer came. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** The server may have acted on the call. */
  readonly isSent: boolean;
  constructor(message: string, isSent: boolean, cause?: unknown) {
    super(message, { cause });
    this.isSent = isSent;
  }
}

export interface GrpcClientOptions {
  /** `https://host:port`, or `http://…` for plain text. At least one. */
  readonly endpoints: readonly string[];
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly clock: Clock;
}

/** What a call of many messages is told. */
export interface ClientStreamHandler {
  message(bytes: Buffer): void;
  /** GrpcError or ConnectionError; undefined: the server ended the call well. Called once, last. */
  close(error: Error | undefined): void;
}

export interface ClientStream {
  send(frame: Buffer): void;
  /** No more messages, soon; the server notices that it has to wait. */
  pause(): void;
  resume(): void;
  cancel(): void;
}

interface Connection {
  readonly session: ClientHttp2Session;
  readonly endpoint: string;
  isUp: boolean;
  openCalls: number;
  ping: Timer | undefined;
}

const connectTimeoutMs = 5000;
/** Asked while calls are open, so that a server that is gone without a word is noticed. */
const pingEveryMs = 5000;
const pingTimeoutMs = 5000;
/** What may come before it is read: of each call, and of all. */
const windowBytes = 4 * 1024 * 1024;
/** Longer than any answer to a list with a limit. */
const messageBytesMax = 512 * 1024 * 1024;

export class GrpcClient {
  readonly #options: GrpcClientOptions;
  #connection: Connection | undefined;
  #next = 0;
  #isClosed = false;

  constructor(options: GrpcClientOptions) {
    this.#options = options;
  }

  /** Rejects with GrpcError when the server refuses, with ConnectionError when none answers. */
  unary<I extends object, O extends object>(
    path: string,
    types: { readonly request: MessageType<I>; readonly response: MessageType<O> },
    request: I,
    timeoutMs: number,
  ): Promise<O> {
    return new Promise((resolve, reject) => {
      let answer: Buffer | undefined;
      const call = this.open(path, {
        message: (bytes) => void (answer = bytes),
        close: (error) => {
          timer.cancel();
          if (error !== undefined) reject(error);
          else if (answer === undefined)
            reject(new GrpcError(grpcCodes.internal, 'the answer has no message'));
          else resolve(types.response.decode(answer));
        },
      });
      const timer = this.#options.clock.timer(timeoutMs, () => {
        reject(new ConnectionError(`no answer within ${timeoutMs / 1000} s`, true));
        call.cancel();
      });
      call.send(types.request.encodeFrame(request));
      call.end();
    });
  }

  open(path: string, handler: ClientStreamHandler): ClientStream & { end(): void } {
    const connection = this.#connect();
    const { session } = connection;
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#watchOver(connection, stream);
    listen(stream, handler, connection);
    return {
      send: (frame) => void stream.write(frame),
      end: () => void stream.end(),
      pause: () => void stream.pause(),
      resume: () => void stream.resume(),
      cancel: () => stream.close(constants.NGHTTP2_CANCEL),
    };
  }

  /** Open calls end with a ConnectionError. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.session.destroy();
    this.#connection = undefined;
  }

  #connect(): Connection {
    const current = this.#connection;
    if (current !== undefined && !current.session.closed && !current.session.destroyed)
      return current;
    if (this.#isClosed) throw new ConnectionError('the client is closed', false);
    const { endpoints, tls, clock } = this.#options;
    const endpoint = endpoints[this.#next++ % endpoints.length] ?? '';
    const session = connect(endpoint, {
      ...tls,
      settings: { initialWindowSize: windowBytes, enablePush: false },
      maxSessionMemory: 1024,
    });
    const connection: Connection = {
      session,
      endpoint,
      isUp: false,
      openCalls: 0,
      ping: undefined,
    };
    this.#connection = connection;
    const patience = clock.timer(connectTimeoutMs, () =>
      session.destroy(new Error(`no connection within ${connectTimeoutMs / 1000} s`)),
    );
    session.once('connect', () => {
      connection.isUp = true;
      patience.cancel();
      session.setLocalWindowSize(4 * windowBytes);
    });
    // Each call reports the failure to its caller.
    session.on('error', () => {});
    session.on('goaway', () => this.#forget(connection));
    session.once('close', () => {
      patience.cancel();
      connection.ping?.cancel();
      this.#forget(connection);
    });
    return connection;
  }

  #forget(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined;
  }

  #watchOver(connection: Connection, stream: ClientHttp2Stream): void {
    connection.openCalls++;
    connection.ping ??= this.#schedulePing(connection);
    stream.once('close', () => connection.openCalls--);
  }

  /** One timer, however many calls come and go; it ends when it finds none open. */
  #schedulePing(connection: Connection): Timer {
    const { clock } = this.#options;
    return clock.timer(pingEveryMs, () => {
      connection.ping = undefined;
      const { session } = connection;
      if (session.destroyed || connection.openCalls === 0) return;
      const patience = clock.timer(pingTimeoutMs, () =>
        session.destroy(new Error(`no sign of life within ${pingTimeoutMs / 1000} s`)),
      );
      session.ping(() => patience.cancel());
      connection.ping = this.#schedulePing(connection);
    });
  }
}

function listen(
  stream: ClientHttp2Stream,
  handler: ClientStreamHandler,
  connection: Connection,
): void {
  const frames = new FrameReader(messageBytesMax);
  let failure: Error | undefined;
  let status: IncomingHttpHeaders | undefined;
  stream.on('response', (headers) => {
    if (headers['grpc-status'] !== undefined) status = headers;
    else if (headers[':status'] !== 200)
      failure = new GrpcError(grpcCodes.unknown, `HTTP status ${headers[':status']}`);
  });
  stream.on('trailers', (headers) => void (status = headers));
  stream.on('data', (chunk: Buffer) => {
    try {
      frames.push(chunk, (bytes) => handler.message(bytes));
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      stream.close(constants.NGHTTP2_CANCEL);
    }
  });
  let cause: Error | undefined;
  stream.on('error', (error: Error) => void (cause = error));
  stream.once('close', () => {
    const { endpoint, isUp } = connection;
    const reason = cause === undefined ? '' : `: ${messageOf(cause)}`;
    const broken = new ConnectionError(`no answer from ${endpoint}${reason}`, isUp, cause);
    handler.close(failure ?? (status === undefined ? broken : errorOf(status)));
  });
}

function errorOf(status: IncomingHttpHeaders): GrpcError | undefined {
  const code = Number(status['grpc-status']);
  if (code === grpcCodes.ok) return undefined;
  return new GrpcError(code, decoded(String(status['grpc-message'] ?? '')));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function messageOf(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
