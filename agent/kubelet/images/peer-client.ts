// Asks another machine's agent over mutual TLS, as this node: at the addresses its Node shows, and it
// has to have that node's certificate.
import { request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { checkServerIdentity } from 'node:tls';
import type { Node } from '#kube/api/core.ts';
import { nodeAddresses } from '#kube/machinery/node-addresses.ts';
import type { KeyPairPem } from '#platform/certificate.ts';

export interface PeerAnswer {
  readonly status: number;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface PeerRequest {
  /** With its query. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Given up when nothing moves for this long. */
  readonly silenceMs: number;
  /** Sent by POST. Read once: an address that does not answer has read nothing of it. */
  readonly body?: Readable;
}

/** As whom it asks, and whom it believes. */
export interface PeerIdentity extends KeyPairPem {
  readonly caPem: string;
}

export interface PeerClient {
  /** Rejects when it is reached at none of its addresses. */
  get(node: Node, request: PeerRequest): Promise<PeerAnswer>;
}

export class HttpsPeerClient implements PeerClient {
  readonly #identity: () => PeerIdentity;

  /** `identity`: as it is by now. */
  constructor(identity: () => PeerIdentity) {
    this.#identity = identity;
  }

  async get(node: Node, request: PeerRequest): Promise<PeerAnswer> {
    const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
    const addresses = nodeAddresses(node);
    let lastError: unknown = new Error('it has not said where its agent listens');
    for (const host of port === 0 ? [] : addresses)
      try {
        const answer = await this.#ask(node.metadata.name, { host, port }, request);
        return { status: answer.statusCode ?? 502, body: answer };
      } catch (error) {
        lastError = error;
        if (request.signal.aborted) break;
      }
    throw lastError;
  }

  #ask(
    name: string,
    target: { readonly host: string; readonly port: number },
    { path, signal, silenceMs, body }: PeerRequest,
  ): Promise<IncomingMessage> {
    const { caPem: ca, certPem: cert, keyPem: key } = this.#identity();
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          ...target,
          ca,
          cert,
          key,
          path,
          method: body === undefined ? 'GET' : 'POST',
          signal,
          agent: false,
          timeout: silenceMs,
          // An IP address has no server name.
          servername: name,
          checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
        },
        resolve,
      );
      outgoing.once('timeout', () =>
        outgoing.destroy(new Error(`nothing came for ${silenceMs / 1000} s`)),
      );
      outgoing.on('error', reject);
      if (body === undefined) outgoing.end();
      else
        outgoing.once('socket', (socket) => {
          socket.once('secureConnect', () => body.pipe(outgoing));
          body.once('error', (error) => outgoing.destroy(error));
        });
    });
  }
}
