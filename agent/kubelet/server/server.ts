// The kubelet's HTTPS server: mutual TLS or a token, streams keep to the reader's pace. Who gets in is
// in access.ts, what is answered in routes.ts.
// Source: kubernetes pkg/kubelet/server/{server,auth}.go.
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { AgentMetrics } from '../../metrics/agent-metrics.ts';
import { nodeOf, type Access, type Refusal } from './access.ts';
import { routeOf, text, type KubeletResponse, type Routes } from './routes.ts';
import type { Streams } from './streams.ts';
import { refuse } from './upgrade.ts';
import { messageOf } from '../../error-message.ts';

export interface ServerCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  /** Of those who may ask. */
  readonly caPem: string;
}

export interface KubeletServerDeps extends ServerCertificate {
  readonly bindAddress: string;
  readonly port: number;
  readonly access: Pick<Access, 'refusal'>;
  readonly metrics: Pick<AgentMetrics, 'request'>;
  readonly clock: Clock;
  readonly routes: Routes;
  /** Asked for by the first upgrade: what they are made of stays unread until then. */
  readonly streams: () => Promise<Streams>;
  readonly logger: Logger;
}

const headersTimeoutMs = 10_000;
/** A whole request: an image that somebody hands over may be gigabytes on a slow line. */
const requestTimeoutMs = 3_600_000;
const connectionsMax = 256;

export class KubeletServer {
  readonly #deps: KubeletServerDeps;
  readonly #server: Server;
  #streams: Promise<Streams> | undefined;

  constructor(deps: KubeletServerDeps) {
    this.#deps = deps;
    this.#server = createServer(
      {
        ...contextOf(deps),
        // Refused by hand, with a sentence, instead of with a broken handshake.
        requestCert: true,
        rejectUnauthorized: false,
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      void this.#upgrade(request, socket, head);
    });
  }

  /** Resolves with the port. Throws a sentence when it can't listen. */
  start(): Promise<number> {
    const { bindAddress, port } = this.#deps;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) =>
        reject(
          new Error(`the agent can't listen on ${bindAddress}:${port}: ${error.message}`, {
            cause: error,
          }),
        ),
      );
      this.#server.listen(port, bindAddress, () =>
        resolve((this.#server.address() as AddressInfo).port),
      );
    });
  }

  /** For connections from now on. */
  setCertificate(certificate: ServerCertificate): void {
    this.#server.setSecureContext(contextOf(certificate));
  }

  /** Resolves when what the streams started is ended. */
  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await (await this.#streams?.catch(() => undefined))?.stop();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // It may break while it is asked who may.
    socket.on('error', () => socket.destroy());
    try {
      const url = URL.parse(request.url ?? '/', 'https://node');
      if (url === null) return refuse(socket, 400, 'bad request');
      const refusal = await this.#refusal(request, url);
      if (socket.destroyed) return;
      this.#deps.metrics.request(request.method ?? '', routeOf(url.pathname), undefined);
      if (refusal !== undefined) refuse(socket, refusal.status, refusal.why);
      else await (await this.#loadedStreams()).serve({ request, socket, head });
    } catch (error) {
      // Nobody waits for this: thrown further it would end the agent.
      const why = messageOf(error);
      this.#deps.logger.warn('Stream failed', { path: request.url?.split('?')[0], error: why });
      refuse(socket, 500, why);
    }
  }

  #loadedStreams(): Promise<Streams> {
    this.#streams ??= this.#deps.streams();
    return this.#streams;
  }

  #refusal(request: IncomingMessage, { pathname }: URL): Promise<Refusal | undefined> {
    const socket = request.socket as TLSSocket;
    const { method = 'GET', headers } = request;
    const certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
    const { authorization } = headers;
    return this.#deps.access.refusal({ method, pathname, certificate, authorization });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const url = URL.parse(request.url ?? '/', 'https://node');
      if (url === null) {
        response.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' });
        return void response.end('bad request');
      }
      const refusal = await this.#refusal(request, url);
      // Who may not enter has no time to send what nobody reads.
      if (refusal !== undefined) response.shouldKeepAlive = false;
      const answer =
        refusal === undefined
          ? await this.#answer(request, url, gone.signal)
          : text(refusal.status, refusal.why);
      response.writeHead(answer.status, { 'content-type': answer.contentType });
      if (typeof answer.body === 'string') {
        response.end(answer.body);
        return;
      }
      const { stalledMaxMs } = answer;
      response.flushHeaders();
      for await (const chunk of answer.body) {
        if (gone.signal.aborted) break;
        if (response.write(chunk)) continue;
        const timer =
          stalledMaxMs !== undefined
            ? this.#deps.clock.timer(stalledMaxMs, () => response.destroy())
            : undefined;
        await writable(response, gone.signal);
        timer?.cancel();
      }
      response.end();
    } catch (error) {
      if (gone.signal.aborted) return;
      const why = messageOf(error);
      this.#deps.logger.warn('Request failed', { path: request.url?.split('?')[0], error: why });
      // Broken off rather than ended: half an answer must not look whole.
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' }).end(why);
    }
  }

  async #answer(request: IncomingMessage, url: URL, signal: AbortSignal): Promise<KubeletResponse> {
    const { clock, metrics, routes } = this.#deps;
    const startMs = clock.monotonicMs();
    const { method = 'GET' } = request;
    const length = request.headers['content-length'];
    const sizeBytes = length === undefined ? undefined : Number(length);
    const socket = request.socket as TLSSocket;
    const node = socket.authorized ? nodeOf(socket.getPeerCertificate()) : undefined;
    const from = socket.remoteAddress;
    const asked = { method, url, signal, body: request, sizeBytes, node, from };
    const answer = await routes.handle(asked);
    const seconds = (clock.monotonicMs() - startMs) / 1000;
    const isStream = typeof answer.body !== 'string';
    metrics.request(method, routeOf(url.pathname), isStream ? undefined : seconds);
    return answer;
  }
}

function contextOf({ certPem: cert, keyPem: key, caPem: ca }: ServerCertificate) {
  return { cert, key, ca, minVersion: 'TLSv1.2' } as const;
}

function writable(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
