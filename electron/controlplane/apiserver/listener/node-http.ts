// Between Node's HTTP (1.1 and 2) and the server's own request and answer: bodies with a limit,
// streams with backpressure, and a signal that says when the client is gone. Used by both
// listeners, the TLS one and the user interface's.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { HttpMethod } from '#kube/client/transport.ts';
import { badRequest, methodNotAllowed, requestTooLarge } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse, Chunk, SlicedBody, UserInfo } from '../http.ts';
import { bytesOfChunk, isSliced, isStream } from '../response-body.ts';
import { Interruption } from './interruption.ts';

export type Incoming = IncomingMessage | Http2ServerRequest;
export type Outgoing = ServerResponse | Http2ServerResponse;

/** What a body may weigh, as in Kubernetes. */
export const bodyLimitBytes = 3 * 1024 * 1024;

/** After an over-long body is refused, this much of its rest is thrown away before hanging up. */
const discardLimitBytes = 32 * 1024 * 1024;

const methods: ReadonlySet<string> = new Set<HttpMethod>([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]);

export interface RequestOrigin {
  readonly signal: AbortSignal;
  readonly user?: UserInfo;
}

/** Throws a StatusError when the request line makes no sense. */
export function toApiRequest(incoming: Incoming, origin: RequestOrigin): ApiRequest {
  const url = incoming.url ?? '';
  const method = incoming.method ?? '';
  if (!url.startsWith('/')) throw badRequest('the path of the request must start with a slash');
  if (!methods.has(method))
    throw methodNotAllowed({ group: '', resource: url }, method.toLowerCase());
  const mark = url.indexOf('?');
  const { remoteAddress } = incoming.socket;
  return {
    method: method as HttpMethod,
    path: mark < 0 ? url : url.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    headers: plainHeaders(incoming),
    readBody: () => readBody(incoming),
    openBody: () => incoming,
    signal: origin.signal,
    ...(origin.user === undefined ? {} : { user: origin.user }),
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
  };
}

export interface WriteOptions {
  /** Send the headers only. */
  readonly isHead: boolean;
  /** Ends a stream as if its source had ended: the server stops. */
  readonly signal: AbortSignal;
}

/** Resolves when the answer is handed over, or the client is gone. Rejects when a stream fails. */
export async function writeResponse(
  target: Outgoing,
  response: ApiResponse,
  { isHead, signal }: WriteOptions,
): Promise<void> {
  // The two kinds of responses differ in types only, as far as it goes here.
  const outgoing = target as ServerResponse;
  const { status, headers, body } = response;
  if (isSliced(body)) {
    outgoing.writeHead(status, { ...headers, 'content-length': body.byteLength });
    if (!isHead) await writeSlices(outgoing, body);
    outgoing.end();
    return;
  }
  if (!isStream(body)) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array());
    outgoing.writeHead(status, { ...headers, 'content-length': bytes.length });
    outgoing.end(isHead ? undefined : bytes);
    return;
  }
  outgoing.writeHead(status, { ...headers });
  outgoing.flushHeaders();
  if (isHead) outgoing.end();
  await pump(outgoing, body[Symbol.asyncIterator](), signal);
}

/** Others are served between two slices, and no more is held than the client takes. */
async function writeSlices(outgoing: ServerResponse, body: SlicedBody): Promise<void> {
  const interruption = new Interruption();
  outgoing.once('close', interruption.stop);
  for (const slice of body.slices()) {
    if (interruption.isOver) return;
    await interruption.wait(new Promise((resolve) => outgoing.write(slice, resolve)));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function pump(
  outgoing: ServerResponse,
  chunks: AsyncIterator<Chunk>,
  signal: AbortSignal,
): Promise<void> {
  const interruption = new Interruption();
  outgoing.once('close', interruption.stop);
  signal.addEventListener('abort', interruption.stop);
  if (signal.aborted) interruption.stop();
  try {
    while (!outgoing.writableEnded && !outgoing.destroyed) {
      const next = await interruption.wait(chunks.next());
      if (next === undefined || next.done === true) break;
      if (!outgoing.write(bytesOfChunk(next.value))) await interruption.wait(drained(outgoing));
    }
  } finally {
    signal.removeEventListener('abort', interruption.stop);
    // Not awaited: a generator that waits for data would hold it up. Its signal ends it.
    chunks.return?.()?.catch(() => undefined);
  }
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => outgoing.once('drain', resolve));
}

/** Of every request in the end; without one, each abort would make an exception with its stack. */
const gone = new Error('the client has its answer, or went away');

/** Aborts when the exchange is over: answered, or the client went away before. */
export function clientSignal(outgoing: Outgoing, onClose?: () => void): AbortController {
  const controller = new AbortController();
  outgoing.once('close', () => {
    controller.abort(gone);
    onClose?.();
  });
  // A connection reset while writing is the client's leave, not our failure.
  outgoing.on('error', () => controller.abort(gone));
  return controller;
}

/** Ends an answer that can't be completed so that the client can tell it from a whole one. */
export function breakOff(outgoing: Outgoing): void {
  // Closing an HTTP/2 stream would end it first, and look whole; destroying resets it.
  if ('stream' in outgoing) outgoing.stream.destroy(new Error('the answer broke off'));
  else outgoing.destroy();
}

const impersonationPrefix = 'impersonate-';

function plainHeaders(incoming: Incoming): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value === undefined || name.startsWith(':')) continue;
    const isImpersonation = name.startsWith(impersonationPrefix);
    if (isImpersonation) headers[name] = valuesOf(incoming, name).join('\n');
    else headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

/** As they came: a group's name may hold commas. */
function valuesOf({ rawHeaders }: Incoming, name: string): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
}

async function readBody(incoming: Incoming): Promise<Uint8Array> {
  const declaredBytes = Number(incoming.headers['content-length'] ?? 0);
  const body = declaredBytes > bodyLimitBytes ? undefined : await readWithinLimit(incoming);
  if (body !== undefined) return body;
  await discard(incoming);
  throw requestTooLarge(bodyLimitBytes);
}

/** Undefined: it is too large, and there may be more. */
function readWithinLimit(incoming: Incoming): Promise<Uint8Array | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    function finish(settle: () => void): void {
      incoming.removeListener('data', onData);
      incoming.removeListener('end', onEnd);
      incoming.removeListener('close', onBroken);
      settle();
    }
    function onData(chunk: Uint8Array): void {
      sizeBytes += chunk.length;
      if (sizeBytes <= bodyLimitBytes) return void chunks.push(chunk);
      finish(() => resolve(undefined));
    }
    function onEnd(): void {
      const [first] = chunks;
      const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
      finish(() => resolve(body));
    }
    function onBroken(): void {
      finish(() => reject(badRequest('the body of the request ended early')));
    }
    incoming.on('data', onData);
    incoming.on('end', onEnd);
    incoming.on('close', onBroken);
    // A reset while reading: 'close' follows and tells.
    incoming.on('error', () => undefined);
    if (incoming.destroyed) onBroken();
  });
}

/**
 * Reads on into the void until the client has sent all, or far too much: an answer while it still
 * sends ends in a reset, and may never be read.
 */
function discard(incoming: Incoming): Promise<void> {
  return new Promise((resolve) => {
    let sizeBytes = 0;
    incoming.on('data', (chunk: Uint8Array) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= discardLimitBytes) return;
      incoming.pause();
      resolve();
    });
    incoming.once('end', resolve).once('close', resolve).once('error', resolve);
    if (incoming.destroyed || incoming.readableEnded) resolve();
    incoming.resume();
  });
}
