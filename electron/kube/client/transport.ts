// How an API client reaches the API server: HTTPS, browser fetch, or in process (loopback).
// The transport knows nothing of Kubernetes; rest-client.ts builds on it.

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS';

export interface TransportRequest {
  readonly method: HttpMethod;
  /** Absolute path without query, segments already percent-encoded. */
  readonly path: string;
  /** Repeated keys are not needed by the API; undefined values are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** What a message of a stream says, for who need not parse it: deeply frozen, since others share it. */
export interface SharedMessage {
  readonly document: unknown;
}

export interface TransportStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The body as it arrives. Chunk borders mean nothing. Ends when the server ends; throws when the
   * connection breaks; ends quietly when the request's signal aborts.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** In place of `chunks`, where the server is in this process. Objects have no managedFields. */
  readonly messages?: AsyncIterable<Uint8Array | SharedMessage>;
}

export interface Transport {
  /** Throws TransportError when no answer came; any HTTP status is an answer. */
  request(request: TransportRequest): Promise<TransportResponse>;
  /** For watches, followed logs and stats: resolves when the headers are there. */
  stream(request: TransportRequest): Promise<TransportStream>;
}

/** The server could not be reached, or the connection broke before the answer was whole. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  /** No server can have begun with it: it may be sent again, whatever it is. */
  readonly neverSent: boolean;

  constructor(message: string, options: ErrorOptions & { readonly neverSent?: boolean } = {}) {
    super(message, options);
    this.neverSent = options.neverSent === true;
  }
}
