// What listens: HTTP, and HTTPS where there is a certificate. Ports are open only while a route needs
// them. Anything a client can do wrong is answered, and bounded in time.
import {
  createServer as createHttp,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContext } from 'node:tls';
import type { Clock } from '#kube/base/clock.ts';
import {
  ambiguous,
  noPods,
  noSuchHost,
  rawAnswer,
  redirection,
  send,
  type Answer,
} from './answers.ts';
import { Turns } from './endpoints.ts';
import { exchange, type Asked } from './exchange.ts';
import { isAmbiguousPath } from './headers.ts';
import { findRoute, hostName, type RouteTable } from './routes.ts';
import { exchangeUpgraded } from './upgrade.ts';
import { Upstreams } from './upstreams.ts';

export interface FrontOptions {
  /** Where to listen; every address of this machine when left out. */
  readonly address: string | undefined;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly certificate: (host: string) => SecureContext | undefined;
  readonly clock: Clock;
}

export interface OpenPorts {
  readonly http: number | undefined;
  readonly https: number | undefined;
}

const headersMs = 30_000;
const keepAliveMs = 75_000;
const connectionsMax = 8_192;

export class Front {
  readonly #options: FrontOptions;
  readonly #upstreams = new Upstreams();
  readonly #turns = new Turns();
  #table: RouteTable | undefined;
  #aliases: ReadonlyMap<string, string> = new Map();
  #http: Server | undefined;
  #https: Server | undefined;
  /** Connections that HTTP has left, and whether they came by TLS: a server waits for them, too. */
  readonly #upgraded = new Map<Duplex, boolean>();

  constructor(options: FrontOptions) {
    this.#options = options;
  }

  get ports(): OpenPorts {
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
  }

  /** Opens what is wanted and closes the other. Throws what listening throws; the rest is done. */
  async open(wants: { readonly http: boolean; readonly https: boolean }): Promise<void> {
    const { httpPort, httpsPort } = this.#options;
    if (!wants.http) this.#http = await this.#closed(this.#http, false);
    if (!wants.https) this.#https = await this.#closed(this.#https, true);
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
        const server = createHttps({
          ...limits,
          SNICallback: (name, done) => done(null, this.#options.certificate(hostName(name))),
          minVersion: 'TLSv1.2',
        });
        // A handshake that failed is the client's to know.
        server.on('tlsClientError', (_error, socket) => socket.destroy());
        this.#https = await this.#listen(server, httpsPort, true);
      });
    if (errors.length > 0) throw errors[0];
  }

  async close(): Promise<void> {
    this.#http = await this.#closed(this.#http, false);
    this.#https = await this.#closed(this.#https, true);
    await this.#upstreams.close();
  }

  async #closed(server: Server | undefined, isTls: boolean): Promise<undefined> {
    if (server === undefined) return undefined;
    const done = new Promise<void>((resolve) => void server.close(() => resolve()));
    server.closeAllConnections();
    for (const [socket, cameByTls] of this.#upgraded) if (cameByTls === isTls) socket.destroy();
    await done;
    return undefined;
  }

  #listen(server: Server, port: number, isTls: boolean): Promise<Server> {
    server.maxConnections = connectionsMax;
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
    const found = this.#find(request, isTls);
    // Both ends' errors are seen where they matter.
    request.on('error', () => {});
    response.on('error', () => {});
    if ('answer' in found) return send(request, response, found.answer);
    const candidates = this.#turns.order(found.route, found.client.address);
    exchange(found, response, this.#upstreams, candidates);
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, isTls: boolean): void {
    this.#upgraded.set(socket, isTls);
    socket.once('close', () => this.#upgraded.delete(socket));
    const found = this.#find(request, isTls);
    if ('answer' in found) return void socket.end(rawAnswer(found.answer));
    const candidates = this.#turns.order(found.route, found.client.address);
    exchangeUpgraded(
      found,
      { socket, head, clock: this.#options.clock },
      this.#upstreams,
      candidates,
    );
  }

  #find(request: IncomingMessage, isTls: boolean): { readonly answer: Answer } | Asked {
    const { host = '', 'transfer-encoding': coding } = request.headers;
    const url = request.url ?? '/';
    const question = url.indexOf('?');
    const path = question < 0 ? url : url.slice(0, question);
    if (!path.startsWith('/') || isAmbiguousPath(path)) return { answer: ambiguous };
    if (coding !== undefined && coding.toLowerCase() !== 'chunked')
      return { answer: unknownCoding };
    const name = hostName(host);
    const route = this.#table && findRoute(this.#table, this.#aliases.get(name) ?? name, path);
    if (route === undefined) return { answer: noSuchHost(host) };
    if (!isTls && route.settings.redirectsToTls && this.#hasCertificate(name)) {
      const port = this.ports.https;
      return { answer: redirection(`https://${name}${port === 443 ? '' : `:${port}`}${url}`) };
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

const unknownCoding: Answer = { status: 501, sentence: 'Only chunked bodies are understood.' };

const limits = {
  headersTimeout: headersMs,
  keepAliveTimeout: keepAliveMs,
  // A film takes its time.
  requestTimeout: 0,
  noDelay: true,
  connectionsCheckingInterval: 10_000,
} as const;

/** `::ffff:192.168.1.7` is an IPv4 client. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

function portOf(server: Server | undefined): number | undefined {
  return (server?.address() as AddressInfo | null | undefined)?.port;
}
