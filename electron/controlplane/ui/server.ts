// The way in for a browser, by one of two doors. Serves the renderer, trades a one-time token for a
// session cookie, and with it answers the whole API on the same origin, WebSockets included, as one
// user who may do everything.
// Everything here rests on three checks: the Host must be the door's (DNS rebinding), what writes or
// upgrades must come from our own pages (Origin), the cookie must be ours.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { badRequest, forbiddenPath, unauthorized } from '#kube/machinery/status.ts';
import { Exchanges } from '../apiserver/listener/exchanges.ts';
import type { ApiHandler, ApiRequest, ApiResponse, UserInfo } from '../apiserver/http.ts';
import { listenError } from '../apiserver/listener/listen-error.ts';
import { toApiRequest, type Incoming } from '../apiserver/listener/node-http.ts';
import { textResponse } from '../apiserver/status-response.ts';
import { WebSocketBridge } from '../apiserver/listener/websocket.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import type { Door } from './door.ts';
import { UiFiles } from './files.ts';
import type { UiSessions } from './sessions.ts';
import type { Tokens } from './tokens.ts';

/** As whom the page acts. */
export const uiUser: UserInfo = {
  name: 'flotilla:ui',
  groups: ['system:masters', 'system:authenticated'],
};

export interface UiServerDeps {
  readonly handler: ApiHandler;
  readonly door: Door;
  readonly sessions: UiSessions;
  readonly tokens: Tokens;
  /** The built renderer: index.html, assets/. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

const apiPath = /^\/(api|apis|openapi|version)(\/|$)/;
/** Read only: an invitation holds the authority's key, which no page needs to have. */
const membersPath = /^\/flotilla\/members(\?|$)/;
/** Links for other devices: whoever is in may ask somebody in, and sign everybody out. */
const linksPath = /^\/flotilla\/page-links(\?|$)/;
/** A backup is encrypted; one that is taken in only replaces a cluster that holds nothing. */
const backupPath = /^\/flotilla\/cluster-backup(\?|$)/;
const recoveryPath = '/flotilla/recovery';
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** `{"token": "…"}` is smaller than this. */
const sessionBodyLimitBytes = 4096;

export class UiServer {
  readonly #deps: UiServerDeps;
  readonly #server: Server | SecureServer;
  readonly #files: UiFiles;
  readonly #exchanges: Exchanges;
  readonly #webSockets: WebSocketBridge;

  constructor(deps: UiServerDeps) {
    this.#deps = deps;
    this.#files = new UiFiles(deps.directory);
    this.#exchanges = new Exchanges(deps);
    this.#webSockets = new WebSocketBridge({
      handler: (request) => deps.handler(asPage(request)),
      logger: deps.logger,
    });
    // A person may hand over an image of gigabytes, to a machine with a slow disk.
    const limits = { headersTimeout: 10_000, requestTimeout: 3_600_000 };
    const { certificate } = deps.door;
    this.#server =
      certificate === undefined
        ? createServer(limits)
        : createSecureServer({
            ...limits,
            ...contextOf(certificate),
            minVersion: 'TLSv1.2',
            handshakeTimeout: 10_000,
          });
    this.#listenToServer();
  }

  /** Resolves with the port. Rejects with a sentence for a person. */
  start(port: number, host = '127.0.0.1'): Promise<number> {
    const options = { host, port };
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void =>
        reject(listenError(error, options, this.#deps.door.flag));
      this.#server.once('error', fail);
      this.#server.listen(options, () => {
        this.#server.removeListener('error', fail);
        this.#server.on('error', (error) =>
          this.#deps.logger.error('The UI listener failed', { error }),
        );
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** For one made anew; open connections keep the old one. */
  setCertificate(certificate: KeyPairPem): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(contextOf(certificate));
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#exchanges.beginStop();
    this.#webSockets.close();
    await this.#exchanges.finish(() => this.#server.closeIdleConnections());
  }

  #listenToServer(): void {
    this.#server.on('connection', (socket: Socket) => this.#exchanges.track(socket));
    // Handshakes that fail are the browser's affair: it doesn't trust the home's authority yet.
    this.#server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
    this.#server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      void this.#exchanges.serve(incoming, outgoing, (request, signal) =>
        this.#answer(request, signal),
      );
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const refusal = this.#refusal(request, true);
      const isIn = this.#deps.sessions.isSignedIn(request.headers.cookie);
      const isApi = isServed('GET', request.url ?? '');
      if (refusal !== undefined || !isIn || !isApi || this.#exchanges.isStopping) {
        const status = refusal !== undefined ? '403 Forbidden' : '401 Unauthorized';
        return void socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n`);
      }
      void this.#webSockets.serve({ request, socket, head, user: uiUser });
    });
  }

  async #answer(incoming: Incoming, signal: AbortSignal): Promise<ApiResponse> {
    const host = incoming.headers.host ?? '';
    if (!this.#deps.door.isServed(host)) return textResponse(421, this.#deps.door.elsewhere);
    const request = toApiRequest(incoming, { signal, user: uiUser });
    if (isServed(request.method, request.path)) {
      const refusal = this.#refusal(incoming, !safeMethods.has(request.method));
      if (refusal !== undefined) throw forbiddenPath(refusal);
      if (!this.#deps.sessions.isSignedIn(request.headers['cookie'])) throw unauthorized();
      const response = await this.#deps.handler(asPage(request));
      return { ...response, headers: { ...response.headers, ...dataHeaders } };
    }
    if (request.path === '/session') return this.#session(incoming, request);
    const response = await this.#files.answer(request);
    return { ...response, headers: { ...this.#pageHeaders(host), ...response.headers } };
  }

  async #session(incoming: Incoming, request: ApiRequest): Promise<ApiResponse> {
    const refusal = this.#refusal(incoming, true);
    if (refusal !== undefined) throw forbiddenPath(refusal);
    const { sessions, tokens } = this.#deps;
    const headers = { 'cache-control': 'no-store' };
    if (request.method === 'DELETE')
      return { status: 204, headers: { ...headers, 'set-cookie': sessions.expiredCookie() } };
    if (request.method !== 'POST') return textResponse(405, 'POST a token, or DELETE\n');
    if (await tokens.redeem(tokenOf(await request.readBody())))
      return { status: 204, headers: { ...headers, 'set-cookie': sessions.open() } };
    // The same address opened a second time in the same browser: it is signed in already.
    if (sessions.isSignedIn(request.headers['cookie'])) return { status: 204, headers };
    throw unauthorized();
  }

  /** Why a request can't have come from our own page; undefined when it can. */
  #refusal(incoming: Incoming, needsOrigin: boolean): string | undefined {
    const { host = '', origin } = incoming.headers;
    const { isServed: isOurs, scheme } = this.#deps.door;
    if (!isOurs(host)) return `host "${host}" is not served here`;
    if (origin === undefined && needsOrigin) return 'the request has no Origin header';
    if (origin !== undefined && origin !== `${scheme}://${host}`)
      return `origin "${origin}" is not this page`;
    const site = incoming.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      return 'the request comes from another page';
    return undefined;
  }

  #pageHeaders(host: string): Record<string, string> {
    const socket = this.#deps.door.scheme === 'https' ? 'wss' : 'ws';
    return {
      'content-security-policy': [
        "default-src 'self'",
        `connect-src 'self' ${socket}://${host}`,
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ].join('; '),
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    };
  }
}

function isServed(method: string, path: string): boolean {
  if (apiPath.test(path) || path === recoveryPath) return true;
  if (backupPath.test(path)) return method === 'GET' || method === 'POST';
  if (linksPath.test(path)) return method === 'POST' || method === 'DELETE';
  return method === 'GET' && membersPath.test(path);
}

function tokenOf(body: Uint8Array): string {
  if (body.length > sessionBodyLimitBytes) throw badRequest('the body is too large for a token');
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    const { token } = parsed as { token?: unknown };
    if (typeof token === 'string') return token;
  } catch {
    // Told below.
  }
  throw badRequest('the body must be {"token": "…"}');
}

/** Without its cookie; and what the page writes is the page's, not the browser's. */
function asPage(request: ApiRequest): ApiRequest {
  const { cookie: _cookie, ...headers } = request.headers;
  if (safeMethods.has(request.method)) return { ...request, headers };
  return { ...request, headers: { ...headers, 'user-agent': 'flotilla-ui' } };
}

/**
 * What the API answers is data, never a page of this origin: nodes/proxy passes on whatever a node
 * says, and a node must not get to act as the person who looks at it.
 */
const dataHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
};

function contextOf({ certPem, keyPem }: KeyPairPem): {
  readonly cert: string;
  readonly key: string;
} {
  return { cert: certPem, key: keyPem };
}
