// Reaches a node's agent over mutual TLS: where from its Node object, whether it is the right one by
// the node's name in its certificate, so that it doesn't matter which of its addresses answered.
// Source: kubernetes pkg/kubelet/client/kubelet_client.go.
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { checkServerIdentity } from 'node:tls';
import type { Node } from '#kube/api/core.ts';
import type { TransportStream } from '#kube/client/transport.ts';
import { nodeAddresses } from '#kube/machinery/node-addresses.ts';
import {
  badRequest,
  notFound,
  serviceUnavailable,
  unknownFailure,
} from '#kube/machinery/status.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import type { KubeletClient, KubeletRequest, KubeletUpgrade } from './handlers/kubelet-client.ts';

/** Until the agent's headers are there; its streams may last. */
const answerTimeoutMs = 30_000;
/** Nothing moves: of a body that is handed on, whose sender may be slow, and its agent's disk, too. */
const uploadTimeoutMs = 600_000;

interface Reply {
  readonly answer: IncomingMessage;
  /** The agent has agreed to upgrade it. */
  readonly connection?: Socket;
}

export interface KubeletClientDeps {
  readonly getNode: (name: string) => Promise<Node | undefined>;
  /** As whom we ask: `ClusterPki.kubeletClient()`. */
  readonly certificate: KeyPairPem;
  readonly caPem: string;
  /** The node on this machine: its agent listens on loopback. */
  readonly localNodeName?: string;
}

export class HttpsKubeletClient implements KubeletClient {
  readonly #deps: KubeletClientDeps;
  readonly #agent: Agent;
  readonly #singleUse: Agent;

  constructor(deps: KubeletClientDeps) {
    this.#deps = deps;
    const { certPem: cert, keyPem: key } = deps.certificate;
    const identity = { ca: deps.caPem, cert, key };
    this.#agent = new Agent({ ...identity, keepAlive: true, maxFreeSockets: 4 });
    this.#singleUse = new Agent({ ...identity, keepAlive: false });
  }

  async stream(nodeName: string, request: KubeletRequest): Promise<TransportStream> {
    // A connection that was kept may be dead, and a stream can't be sent twice.
    const agent = request.body instanceof Readable ? this.#singleUse : this.#agent;
    const answer = await this.#ask(nodeName, request, agent);
    if ('message' in answer)
      throw serviceUnavailable(
        `the agent of node "${nodeName}" can't be reached: ${answer.message}`,
      );
    return streamOf(answer.answer, request.signal);
  }

  async upgrade(nodeName: string, request: KubeletRequest): Promise<KubeletUpgrade> {
    // A connection of its own: it does not come back.
    const answer = await this.#ask(nodeName, request, this.#singleUse);
    if ('message' in answer) throw unknownFailure(`error dialing backend: ${answer.message}`);
    const { connection } = answer;
    if (connection === undefined) return streamOf(answer.answer, request.signal);
    return { status: 101, headers: headersOf(answer.answer), connection };
  }

  /** Asks at one address after the other; an error when it is reached at none. */
  async #ask(nodeName: string, request: KubeletRequest, agent: Agent): Promise<Reply | Error> {
    const node = await this.#deps.getNode(nodeName);
    if (node === undefined) throw notFound({ group: '', resource: 'nodes' }, nodeName);
    const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
    const addresses = this.#addressesOf(node, nodeName);
    if (port === 0 || addresses.length === 0)
      throw serviceUnavailable(`node "${nodeName}" has not said yet where its agent listens`);
    let lastError: unknown;
    for (const host of addresses) {
      try {
        return await this.#send(nodeName, { host, port, agent }, request);
      } catch (error) {
        lastError = error;
        // What may have been done must not be done again elsewhere.
        if (request.signal.aborted || !isRepeatable(request, error)) break;
      }
    }
    return lastError instanceof Error ? lastError : new Error(String(lastError));
  }

  close(): void {
    this.#agent.destroy();
    this.#singleUse.destroy();
  }

  #addressesOf(node: Node, nodeName: string): string[] {
    const found = nodeAddresses(node);
    return nodeName === this.#deps.localNodeName ? ['127.0.0.1', ...found] : found;
  }

  #send(
    nodeName: string,
    target: { readonly host: string; readonly port: number; readonly agent: Agent },
    request: KubeletRequest,
  ): Promise<Reply> {
    if (!request.path.startsWith('/'))
      throw badRequest('the path of the request must start with a slash');
    const query = request.query.toString();
    const options: RequestOptions = {
      ...target,
      method: request.method,
      path: query === '' ? request.path : `${request.path}?${query}`,
      headers: { ...request.headers },
      signal: request.signal,
      timeout: timeoutOf(request),
      // An IP address has no server name: without this, sockets would be shared across nodes.
      servername: nodeName,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(nodeName, certificate),
    };
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(options, (answer) => {
        // The timeout was for the headers: a followed log may be silent for hours.
        outgoing.setTimeout(0);
        resolve({ answer });
      });
      outgoing.once('upgrade', (answer, connection, head) => {
        outgoing.setTimeout(0);
        connection.setTimeout(0);
        if (head.length > 0) connection.unshift(head);
        resolve({ answer, connection });
      });
      outgoing.once('timeout', () =>
        outgoing.destroy(new Error(`no answer within ${Number(options.timeout) / 1000} s`)),
      );
      outgoing.on('error', reject);
      if (request.body instanceof Readable) sendWhenConnected(outgoing, request.body);
      else outgoing.end(request.body);
    });
  }
}

/** What is read from the body is gone for another address. */
function sendWhenConnected(outgoing: ClientRequest, body: Readable): void {
  outgoing.once('socket', (socket) =>
    socket.once('secureConnect', () => {
      body.once('error', (error) => outgoing.destroy(error));
      body.pipe(outgoing);
    }),
  );
}

function timeoutOf({ addressTimeoutMs, body }: KubeletRequest): number {
  return addressTimeoutMs ?? (body instanceof Readable ? uploadTimeoutMs : answerTimeoutMs);
}

function isRepeatable(request: KubeletRequest, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  const isPut = request.method === 'PUT' && !(request.body instanceof Readable);
  const isSafe = request.method === 'GET' || isPut;
  return isSafe || code === 'ECONNREFUSED' || code === 'EHOSTUNREACH';
}

function streamOf(answer: IncomingMessage, signal: AbortSignal): TransportStream {
  const chunks = chunksOf(answer, signal);
  return { status: answer.statusCode ?? 502, headers: headersOf(answer), chunks };
}

function headersOf(answer: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(answer.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  return headers;
}

async function* chunksOf(answer: IncomingMessage, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of answer) yield chunk as Uint8Array;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
