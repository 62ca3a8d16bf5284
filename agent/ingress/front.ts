// What listens: HTTP, and HTTPS where there is a certificate. Ports are open only while a route needs
// them. Anything a client can do wrong is answered, and bounded in time.
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo, Server as TcpServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContext } from 'node:tls';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { isHomePageName } from '#kube/machinery/home-page.ts';
import type { ServedPorts } from '#kube/machinery/ingress.ts';
import {
  ambiguous,
  noCertificateYet,
  noPods,
  noSuchHost,
  rawAnswer,
  redirection,
  send,
  sendFile,
  type Answer,
} from './answers.ts';
import { Turns } from './endpoints.ts';
import { dialler } from './dial.ts';
import { exchange, type Asked, type Ways } from './exchange.ts';
import { authorityOf, isAmbiguousPath } from './headers.ts';
import { Attempts, Reach } from './reach.ts';
import { findRoute, hostName, type RouteTable } from './routes.ts';
import { isTrustPath, shortTrustPath, trustPath } from './trust/paths.ts';
import { exchangeUpgraded } from './upgrade.ts';
import { Upstreams } from './upstreams.ts';

export interface FrontOptions {
  /** Where to listen; every address of this machine when left out. */
  readonly address: string | undefined;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly certificate: (host: string) => SecureContext | undefined;
  /** Whether one is named for it that nobody could be asked for yet. */
  readonly awaitsCertificate: (host: string) => boolean;
  /** Whose certificates those of the cluster are, PEM. */
  readonly trustedRoot: () => string | undefined;
  readonly clock: Clock;
}

const headersMs = 30_000;
const keepAliveMs = 75_000;
const connectionsMax = 8_192;

export class Front {
  readonly #options: FrontOptions;
  readonly #upstreams = new Upstreams();
  readonly #turns = new Turns();
  readonly #reach: Reach;
  #table: RouteTable | undefined;
  #aliases: ReadonlyMap<string, string> = new Map();
  /** Of Flotilla's own page, on this machine. */
  #pagePort: number | undefined;
  #http: TcpServer | undefined;
  #https: TcpServer | undefined;
  /** A server waits for its connections, also for those that HTTP has left. */
  readonly #connections = new Map<TcpServer, Set<Socket>>();

  constructor(options: FrontOptions) {
    this.#options = options;
    const { clock } = options;
    this.#reach = new Reach({ dial: dialler(clock), clock });
  }

  get ports(): ServedPorts {
    return { http: portOf(this.#http), https: portOf(this.#https) };
  }

  /**
   * Connections go on as they are; what comes next goes by the new table. `aliases`: hosts that are
   * reached by another name, by that name.
   */
  use(table: RouteTable, aliases: ReadonlyMap<string, string> = new Map()): void {
    this.#table = table;
    this.#aliases = aliases;
    const routes = [...table.hosts.values()].flat();
    if (table.fallback !== undefined) routes.push(table.fallback);
    this.#turns.keep(new Set(routes.map(({ backend }) => backend)));
    this.#upstreams.keep(table);
    this.#reach.keep(routes.flatMap(({ endpoints }) => endpoints));
  }

  /** Who asks for Flotilla's own page is sent there. */
  usePage(port: number | undefined): void {
    this.#pagePort = port;
  }

  /** Opens what is wanted and closes the other. Throws what listening throws; the rest is done. */
  async open(wants: { readonly http: boolean; readonly https: boolean }): Promise<void> {
    const { httpPort, httpsPort } = this.#options;
    if (!wants.http) this.#http = await this.#closed(this.#http);
    if (!wants.https) this.#https = await this.#closed(this.#https);
    const errors: unknown[] = [];
    const tried = async (open: () => Promise<void>): Promise<void> => {
      await open().catch((error: unknown) => errors.push(error));
    };
    if (wants.http && this.#http === undefined)
      await tried(async () => {
        const server = createHttp(limits);
        this.#http = await this.#listen(server, httpPort, false);
      });
    if (wants.https && this.#https === undefined)
      await tried(async () => {
        const server = createSecureServer({
          ...limits,
          ...http2Limits,
          // WebSockets, and who knows no other.
          allowHTTP1: true,
          SNICallback: (name, done) => done(null, this.#options.certificate(hostName(name))),
          minVersion: 'TLSv1.2',
        });
        server.on('session', (session) => endsIdle(session, this.#options.clock));
        server.on('sessionError', () => {});
        // A handshake that failed is the client's to know.
        server.on('tlsClientError', (_error, socket) => socket.destroy());
        this.#https = await this.#listen(server, httpsPort, true);
      });
    if (errors.length > 0) throw new AggregateError(errors, 'not all ports could be opened');
  }

  async close(): Promise<void> {
    this.#http = await this.#closed(this.#http);
    this.#https = await this.#closed(this.#https);
    await this.#upstreams.close();
  }

  async #closed(server: TcpServer | undefined): Promise<undefined> {
    if (server === undefined) return undefined;
    const done = new Promise<void>((resolve) => void server.close(() => resolve()));
    for (const socket of this.#connections.get(server) ?? []) socket.destroy();
    await done;
    this.#connections.delete(server);
    return undefined;
  }

  #listen(server: TcpServer, port: number, isTls: boolean): Promise<TcpServer> {
    server.maxConnections = connectionsMax;
    const connections = new Set<Socket>();
    this.#connections.set(server, connections);
    server.on('connection', (socket: Socket) => {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
    });
    server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#onRequest(request, response, isTls),
    );
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#onUpgrade(request, socket, head, isTls),
    );
    const { address } = this.#options;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(
        { ...(address === undefined ? {} : { host: address }), port, exclusive: true },
        () => {
          server.off('error', reject);
          // Out of file descriptors, say: the client sees it, and the next may fare better.
          server.on('error', () => {});
          resolve(server);
        },
      );
    });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, isTls: boolean): void {
    // Both ends' errors are seen where they matter.
    request.on('error', () => {});
    response.on('error', () => {});
    if (request.url?.startsWith('/.') === true && isTrustPath(pathOf(request)))
      return void this.#answerTrust(request, response);
    const found = this.#find(request, isTls);
    if ('answer' in found) return send(request, response, found.answer);
    exchange(found, response, this.#ways(found));
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, isTls: boolean): void {
    const found = this.#find(request, isTls);
    if ('answer' in found) return void socket.end(rawAnswer(found.answer));
    exchangeUpgraded(found, { socket, head, clock: this.#options.clock }, this.#ways(found));
  }

  #ways({ route, client }: Asked): Ways {
    const candidates = this.#reach.order(this.#turns.order(route, client.address));
    return { upstreams: this.#upstreams, attempts: new Attempts(candidates, this.#reach) };
  }

  /** Its code is loaded when the first asks: that is seldom. */
  async #answerTrust(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { trustAnswer } = await import('./trust/trust.ts');
    const rootPem = this.#options.trustedRoot();
    const { 'user-agent': userAgent = '' } = request.headers;
    const asked = { path: pathOf(request), host: authorityOf(request), userAgent };
    const answer = rootPem === undefined ? undefined : trustAnswer(rootPem, asked);
    if (answer === undefined) send(request, response, nothingToTrust);
    else sendFile(request, response, answer);
  }

  #find(request: IncomingMessage, isTls: boolean): { readonly answer: Answer } | Asked {
    const { 'transfer-encoding': coding } = request.headers;
    const host = authorityOf(request);
    const url = request.url ?? '/';
    const path = pathOf(request);
    if (!path.startsWith('/') || isAmbiguousPath(path)) return { answer: ambiguous };
    if (coding !== undefined && coding.toLowerCase() !== 'chunked')
      return { answer: unknownCoding };
    const name = hostName(host);
    if (isHomePageName(name))
      return {
        answer:
          this.#pagePort === undefined
            ? noSuchHost(host, undefined)
            : redirection(`https://${name}:${this.#pagePort}${url}`),
      };
    const route = this.#table && findRoute(this.#table, this.#aliases.get(name) ?? name, path);
    if (route === undefined) {
      const mayTrust = this.#options.trustedRoot() !== undefined;
      if (mayTrust && path === shortTrustPath) return { answer: redirection(trustPath) };
      return { answer: noSuchHost(host, mayTrust ? trustPath : undefined) };
    }
    if (!isTls && route.settings.redirectsToTls) {
      const port = this.ports.https;
      if (this.#hasCertificate(name))
        return { answer: redirection(`https://${name}${port === 443 ? '' : `:${port}`}${url}`) };
      // What is only for HTTPS is not told to a whole network meanwhile.
      if (this.#options.awaitsCertificate(name)) return { answer: noCertificateYet(name) };
    }
    if (route.endpoints.length === 0) return { answer: noPods(route.backend) };
    const { remoteAddress = '', localPort = 0 } = request.socket;
    const client = { address: plainAddress(remoteAddress), isTls, port: localPort };
    return { request, route, client };
  }

  #hasCertificate(name: string): boolean {
    return this.#https !== undefined && this.#options.certificate(name) !== undefined;
  }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  const question = url.indexOf('?');
  return question < 0 ? url : url.slice(0, question);
}

const nothingToTrust: Answer = {
  status: 404,
  sentence: 'There is no certificate of this home to trust (yet): no app is served with one.',
};

const unknownCoding: Answer = { status: 501, sentence: 'Only chunked bodies are understood.' };

const limits = {
  headersTimeout: headersMs,
  keepAliveTimeout: keepAliveMs,
  // A film takes its time.
  requestTimeout: 0,
  noDelay: true,
  connectionsCheckingInterval: 10_000,
} as const;

/**
 * Of HTTP/2: what one connection may have under way, and how many requests it may take back (a burst, and so many
 * a second) before it is ended. nghttp2 bounds frames, pings and settings that nobody asked for.
 */
const http2Limits = {
  settings: { maxConcurrentStreams: 100, enablePush: false, maxHeaderListSize: 65_536 },
  streamResetBurst: 200,
  streamResetRate: 20,
  maxSessionMemory: 10,
  // An app's mistake is for its client to judge.
  strictSingleValueFields: false,
} as const;

/** One on which nothing is asked any more; what runs through it comes to its end. */
function endsIdle(session: ServerHttp2Session, clock: Clock): void {
  const start = (): Timer => clock.timer(keepAliveMs, () => session.close());
  let timer = start();
  session.on('stream', () => {
    timer.cancel();
    timer = start();
  });
  session.once('close', () => timer.cancel());
}

/** `::ffff:192.168.1.7` is an IPv4 client. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

function portOf(server: TcpServer | undefined): number | undefined {
  return (server?.address() as AddressInfo | null | undefined)?.port;
}
