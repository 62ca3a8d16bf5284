// The kubelet's HTTPS server: mutual TLS, only the API server and administrators get in (other nodes
// where images are handed over), streams
// keep to the reader's pace. What is answered is in routes.ts.
// Source: kubernetes pkg/kubelet/server/{server,auth}.go.
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Logger } from '#kube/base/logger.ts';
import { isForNodes } from './image-share-routes.ts';
import { text, type KubeletResponse, type Routes } from './routes.ts';
import { refuse, type Streams } from './streams.ts';
import { messageOf } from '../../error-message.ts';

export interface KubeletServerDeps {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  readonly bindAddress: string;
  readonly port: number;
  readonly routes: Routes;
  readonly streams: Streams;
  readonly logger: Logger;
}

const headersTimeoutMs = 10_000;
/** A whole request: an image that somebody hands over may be gigabytes on a slow line. */
const requestTimeoutMs = 3_600_000;
const connectionsMax = 256;

export class KubeletServer {
  readonly #deps: KubeletServerDeps;
  readonly #server: Server;

  constructor(deps: KubeletServerDeps) {
    this.#deps = deps;
    const { certPem: cert, keyPem: key, caPem: ca } = deps;
    // Refused by hand, with a sentence, instead of with a broken handshake.
    const tls = { cert, key, ca, requestCert: true, rejectUnauthorized: false };
    this.#server = createServer(
      {
        ...tls,
        minVersion: 'TLSv1.2',
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const refusal = refusalOf(request);
      if (refusal !== undefined) refuse(socket, refusal.status, refusal.why);
      else void deps.streams.serve({ request, socket, head });
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

  /** Resolves when what the streams started is ended. */
  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#deps.streams.stop();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    // Who may not enter has no time to send what nobody reads.
    if (refusalOf(request) !== undefined) response.shouldKeepAlive = false;
    try {
      const answer = await this.#answer(request, gone.signal);
      response.writeHead(answer.status, { 'content-type': answer.contentType });
      if (typeof answer.body === 'string') {
        response.end(answer.body);
        return;
      }
      response.flushHeaders();
      for await (const chunk of answer.body) {
        if (gone.signal.aborted) break;
        if (!response.write(chunk)) await writable(response, gone.signal);
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

  async #answer(request: IncomingMessage, signal: AbortSignal): Promise<KubeletResponse> {
    const refusal = refusalOf(request);
    if (refusal !== undefined) return text(refusal.status, refusal.why);
    const url = new URL(request.url ?? '/', 'https://node');
    const length = request.headers['content-length'];
    return this.#deps.routes.handle({
      method: request.method ?? 'GET',
      url,
      signal,
      body: request,
      sizeBytes: length === undefined ? undefined : Number(length),
    });
  }
}

function refusalOf(request: IncomingMessage): { status: number; why: string } | undefined {
  const socket = request.socket as TLSSocket;
  if (!socket.authorized) return { status: 401, why: 'Unauthorized' };
  const peer = socket.getPeerCertificate();
  const { pathname } = new URL(request.url ?? '/', 'https://node');
  const isRead = request.method === 'GET' && request.headers.upgrade === undefined;
  if (mayEnter(peer) || (isRead && isForNodes(pathname) && isNode(peer))) return undefined;
  return { status: 403, why: `Forbidden (user=${String(peer.subject?.CN)})` };
}

interface PeerCertificate {
  readonly subject?: { readonly CN?: string | string[]; readonly O?: string | string[] };
}

/** The API server as the kubelets' client, and administrators. */
export function mayEnter(peer: PeerCertificate): boolean {
  return peer.subject?.CN === 'kube-apiserver-kubelet-client' || isOf(peer, 'system:masters');
}

/** Another machine of the cluster. */
export function isNode(peer: PeerCertificate): boolean {
  const name = peer.subject?.CN;
  return typeof name === 'string' && name.startsWith('system:node:') && isOf(peer, 'system:nodes');
}

function isOf({ subject }: PeerCertificate, group: string): boolean {
  return [subject?.O].flat().includes(group);
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
