// A request and an answer of the API server with no socket in sight: the same pair serves the TLS
// listener, the user interface's listener, the loopback transport and the tests.
import type { Duplex, Readable } from 'node:stream';
import type { HttpMethod, SharedMessage } from '#kube/client/transport.ts';

export interface UserInfo {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  /** What the authenticator knows beside: the pod of a token, for one. */
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface ApiRequest {
  readonly method: HttpMethod;
  /** Decoded by nobody yet: percent-encoded segments, no query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Lower-case names; repeated headers joined by ', ', those that impersonate by a line feed. */
  readonly headers: Readonly<Record<string, string>>;
  /** Reads the whole body; throws a 413 StatusError past the server's limit of 3 MiB. */
  readonly readBody: () => Promise<Uint8Array>;
  /** The body as it comes, without a limit, instead of readBody: for what is only passed on. */
  readonly openBody?: () => Readable;
  /** Aborts when the client went away or the server stops. */
  readonly signal: AbortSignal;
  /** Known already: client certificate, loopback identity, user-interface session. */
  readonly user?: UserInfo;
  readonly remoteAddress?: string;
  /** For the audit log: whoever knows more of the request says so here. Undefined: it is not logged. */
  readonly audit?: AuditNotes;
}

export interface AuditNotes {
  readonly wantsBody: boolean;
  /** Of the object in the body. */
  target?: { readonly name?: string; readonly namespace?: string; readonly uid?: string };
  /** The object in the body, as JSON; only when wanted. */
  body?: string;
  impersonated?: UserInfo;
  decision?: { readonly isAllowed: boolean; readonly reason: string };
  /** What admission puts down. */
  annotations?: Record<string, string>;
}

/** A message of a stream: bytes for a socket, and for a client in this process what they say. */
export interface StreamMessage extends SharedMessage {
  /** Made when asked for. */
  readonly bytes: Uint8Array;
}

export type Chunk = Uint8Array | string | StreamMessage;

/** Bytes that are all there, but put together only as they are written, a slice at a time. */
export interface SlicedBody {
  readonly byteLength: number;
  /** Each may lie where the last one was. */
  slices(): Iterable<Uint8Array>;
}

export interface ApiResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * A stream's chunks are whole messages (one watch event, some log lines): a WebSocket sends each
   * as one message. The server calls `return()` on it when the client goes away.
   */
  readonly body?: Uint8Array | string | SlicedBody | AsyncIterable<Chunk>;
  /**
   * With status 101, instead of a body: the other end of the client's connection, which leaves HTTP.
   * Whoever gets this joins the two, and ends both when one of them ends.
   */
  readonly connection?: Duplex;
}

export type ApiHandler = (request: ApiRequest) => Promise<ApiResponse>;

/** What a URL and method mean. Source: kubernetes apiserver pkg/endpoints/request/requestinfo.go. */
export interface RequestInfo {
  readonly isResourceRequest: boolean;
  /** Kubernetes' verb for resources (`list`, `watch`, `deletecollection` …), else the method in lower case. */
  readonly verb: string;
  readonly path: string;
  /** '' for core, and for requests that are not for a resource; the same for those below. */
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  /** Plural. */
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
  /** Path segments behind the subresource (`nodes/x/proxy/a/b` → ['a','b']), still encoded. */
  readonly rest: readonly string[];
}
