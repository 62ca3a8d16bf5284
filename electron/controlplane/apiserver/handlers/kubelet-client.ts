// How handlers reach a node's agent. Implemented over mutual TLS by apiserver/kubelet-client.ts;
// handlers know only this.
import type { HttpMethod, TransportStream } from '#kube/client/transport.ts';

export interface KubeletRequest {
  readonly method: HttpMethod;
  /** Absolute, percent-encoded, without query: `/containerLogs/default/web/main`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

export interface KubeletClient {
  /**
   * Resolves when the agent's headers are there, with whatever HTTP status it gave. Throws a
   * StatusError: 404 when there is no such node, 503 when the agent can't be reached.
   */
  stream(nodeName: string, request: KubeletRequest): Promise<TransportStream>;
}
