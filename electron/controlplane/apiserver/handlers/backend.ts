// HTTP to a server behind this one, over a connection that is open already: a request passed on,
// upgrades included, and what came back as our own answer.
// Source: kubernetes apimachinery pkg/util/proxy/{upgradeaware,transport}.go.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { serviceUnavailable, StatusError } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { passedHeaders } from './proxy-target.ts';
import { isUpgrade, upgradeHeadersOf } from './streams.ts';

export function unreachable(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return serviceUnavailable(`error trying to reach service: ${why}`, 0);
}

export interface BackendRequest {
  /** With its query. */
  readonly path: string;
  /** Unless `headers` name one. */
  readonly host: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
}

export interface BackendAnswer {
  readonly incoming: IncomingMessage;
  readonly isUpgraded: boolean;
}

/** Passes `request` on. Rejects when the connection breaks before there is an answer. */
export function askBackend(
  request: ApiRequest,
  connection: Socket,
  { path, host, headers: given }: BackendRequest,
): Promise<BackendAnswer> {
  const headers: Record<string, string | string[]> = { host, ...given };
  if (isUpgrade(request)) Object.assign(headers, upgradeHeadersOf(request));
  else headers['connection'] = 'close';
  const forwarded = request.headers['x-forwarded-for'];
  const { remoteAddress } = request;
  if (remoteAddress !== undefined)
    headers['x-forwarded-for'] =
      forwarded === undefined ? remoteAddress : `${forwarded}, ${remoteAddress}`;
  const { method, signal } = request;
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      createConnection: () => connection,
      method,
      path,
      headers,
      signal,
    });
    // Node by itself frames no body of a DELETE: its options would be lost.
    outgoing.useChunkedEncodingByDefault = method !== 'GET' && method !== 'HEAD';
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => resolve({ incoming, isUpgraded: false }));
    outgoing.once('upgrade', (incoming, _socket, head) => {
      if (head.length > 0) connection.unshift(head);
      resolve({ incoming, isUpgraded: true });
    });
    if (method === 'GET' || method === 'HEAD') outgoing.end();
    else if (request.openBody !== undefined) request.openBody().on('error', reject).pipe(outgoing);
    else request.readBody().then((body) => outgoing.end(body), reject);
  });
}

export function backendResponse(
  { incoming, isUpgraded }: BackendAnswer,
  connection: Socket,
): ApiResponse {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers))
    if (value !== undefined) given[name] = Array.isArray(value) ? value.join(', ') : value;
  const status = incoming.statusCode ?? 502;
  if (isUpgraded) return { status: 101, headers: given, connection };
  return { status, headers: passedHeaders(given), body: bodyOf(incoming, connection) };
}

async function* bodyOf(incoming: IncomingMessage, connection: Socket): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of incoming) yield chunk as Uint8Array;
  } finally {
    connection.destroy();
  }
}
