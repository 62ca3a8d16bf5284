// How handlers reach a node's agent. Implemented over mutual TLS by apiserver/kubelet-client.ts;
// handlers know only this.
import type { Duplex, Readable } from 'node:stream';
import type { HttpMethod, TransportStream } from '#kube/client/transport.ts';

export interface KubeletRequest {
  readonly method: HttpMethod;
  /** Absolute, percent-encoded, without query: `/containerLogs/default/web/main`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream goes on as it comes, at the agent's pace. */
  readonly body?: Uint8Array | Readable;
  /** Until the agent's headers are there, at each of its addresses; left out: half a minute. */
  readonly addressTimeoutMs?: number;
  readonly signal: AbortSignal;
}

/** The agent's answer to an upgrade: taken, or refused as any request may be. */
export type KubeletUpgrade =
  | {
      readonly status: 101;
      readonly headers: Readonly<Record<string, string>>;
      readonly connection: Duplex;
    }
  | TransportStream;

export interface KubeletClient {
  /**
   * Resolves when the agent's headers are there, with whatever HTTP status it gave. Throws a
   * StatusError: 404 when there is no such node, 503 when the agent can't be reached.
   */
  stream(nodeName: string, request: KubeletRequest): Promise<TransportStream>;
  /**
   * For a request with upgrade headers, on a connection of its own. Throws as `stream`, but with
   * Kubernetes' "error dialing backend" when the agent can't be reached.
   */
  upgrade(nodeName: string, request: KubeletRequest): Promise<KubeletUpgrade>;
}
