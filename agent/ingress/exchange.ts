// One request and its answer, between a client and a pod. Bodies are streamed both ways with
// back-pressure. Another pod is tried when one can't be reached, and the same once more when a
// connection kept from before turns out to be closed; never after a byte of a body has been passed on.
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Dispatcher } from 'undici';
import { send, tooLarge, tooSlow, unreachable, type Answer } from './answers.ts';
import { requestHeaders, responseHeaders, type Client } from './headers.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import type { Attempts } from './reach.ts';
import type { Route } from './routes.ts';
import type { Upstreams } from './upstreams.ts';

export interface Asked {
  readonly request: IncomingMessage;
  readonly route: Route;
  readonly client: Client;
}

export interface Ways {
  readonly upstreams: Upstreams;
  readonly attempts: Attempts;
}

/** Answers `response` in any case, or ends its connection where an answer has begun. */
export function exchange(asked: Asked, response: ServerResponse, ways: Ways): void {
  const bytesMax = asked.route.settings.bodyBytesMax;
  const { 'content-length': length = '0' } = asked.request.headers;
  if (bytesMax !== undefined && Number(length) > bytesMax)
    send(asked.request, response, tooLarge(bytesMax));
  else new Exchange(asked, response, ways).start();
}

/** Methods of which a second one changes nothing (RFC 9110 section 9.2.2). */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

const heldBytesMax = 16_384;

class ClientGoneError extends Error {}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #asked: Asked;
  readonly #response: ServerResponse;
  readonly #ways: Ways;
  readonly #hasBody: boolean;
  #endpoint: Endpoint | undefined;
  #hasData = false;
  /** The first part of the answer, for the moment in which it may turn out to be all of it. */
  #held: Buffer | undefined;
  #mayRepeat: boolean;
  /** The request is on its way to the pod. */
  #controller: Dispatcher.DispatchController | undefined;

  constructor(asked: Asked, response: ServerResponse, ways: Ways) {
    this.#asked = asked;
    this.#response = response;
    this.#ways = ways;
    const { headers, method = '' } = asked.request;
    const { 'content-length': length = '0' } = headers;
    this.#hasBody =
      asked.request.httpVersionMajor === 2
        ? !isWithoutBody(asked.request)
        : headers['transfer-encoding'] !== undefined || length !== '0';
    this.#mayRepeat = !this.#hasBody && repeatable.has(method);
    response.once('close', () => {
      if (isCutShort(response)) this.#controller?.abort(new ClientGoneError());
    });
  }

  start(): void {
    const { first } = this.#ways.attempts;
    if (first === undefined) void this.#goOn();
    else this.#ask(first);
  }

  /** To the next pod, after one that could not be connected to. */
  async #goOn(failed?: Endpoint, error?: Error): Promise<void> {
    const isLate = error !== undefined && isConnectTimeout(error);
    const next = await this.#ways.attempts.next(failed, isLate);
    if (isGone(this.#response)) return;
    if (next === undefined) this.#answer(unreachable(this.#asked.route.backend));
    else this.#ask(next);
  }

  #ask(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    this.#controller = undefined;
    const { request, route, client } = this.#asked;
    const { protocol, idleMs } = route.settings;
    const options: Dispatcher.DispatchOptions = {
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers: requestHeaders(request.rawHeaders, client),
      body: this.#hasBody ? request : null,
      headersTimeout: idleMs,
      bodyTimeout: idleMs,
    };
    this.#ways.upstreams.of(endpoint, protocol).dispatch(options, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (isGone(this.#response)) return controller.abort(new ClientGoneError());
    const bytesMax = this.#asked.route.settings.bodyBytesMax;
    if (this.#hasBody && bytesMax !== undefined) this.#bound(bytesMax, controller);
  }

  /** Of a body whose length was not said. */
  #bound(bytesMax: number, controller: Dispatcher.DispatchController): void {
    let bytes = 0;
    this.#asked.request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) return;
      this.#answer(tooLarge(bytesMax));
      controller.abort(new Error('the body is too large'));
    });
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200 || this.#response.headersSent) return;
    const raw = (controller.rawHeaders ?? []) as readonly (Buffer | string)[];
    const text = raw.map((one) => (typeof one === 'string' ? one : one.toString('latin1')));
    this.#response.writeHead(status, responseHeaders(text));
    // Of what comes slowly the beginning is for the client at once; what comes with it goes with it.
    setImmediate(() => {
      if (this.#response.writableEnded || isGone(this.#response)) return;
      if (!this.#release()) this.#response.flushHeaders();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#hasData && chunk.length <= heldBytesMax) this.#held = chunk;
    else if (!this.#write(chunk)) {
      controller.pause();
      this.#response.once('drain', () => controller.resume());
    }
    this.#hasData = true;
  }

  /** A short answer is one write, with its headers: as text, which Node joins to theirs. */
  onResponseEnd(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) this.#response.end();
    else if (streamOf(this.#response) === undefined)
      this.#response.end(held.toString('latin1'), 'latin1');
    else this.#response.end(held);
  }

  #write(chunk: Buffer): boolean {
    this.#release();
    return this.#response.write(chunk);
  }

  #release(): boolean {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#response.write(held);
    return held !== undefined;
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const response = this.#response;
    if (isGone(response) || response.writableEnded) return;
    // Cut short there: cut short here, so that nobody takes the part for the whole.
    if (response.headersSent) return cutShort(response);
    const { backend } = this.#asked.route;
    if (isTimeout(error)) return this.#answer(tooSlow(backend));
    if (this.#controller === undefined) return void this.#goOn(this.#endpoint, error);
    if (this.#endpoint !== undefined && this.#mayRepeat) {
      this.#mayRepeat = false;
      return this.#ask(this.#endpoint);
    }
    this.#answer(unreachable(backend));
  }

  #answer(said: Answer): void {
    if (this.#response.headersSent) cutShort(this.#response);
    else send(this.#asked.request, this.#response, said);
  }
}

/** Of HTTP/2. */
function isWithoutBody(request: IncomingMessage): boolean {
  return (request as unknown as Http2ServerRequest).stream.endAfterHeaders;
}

/** Of HTTP/2: answers there don't know of themselves how they ended. */
function streamOf(response: ServerResponse): ServerHttp2Stream | undefined {
  return 'stream' in response ? (response as unknown as Http2ServerResponse).stream : undefined;
}

function isGone(response: ServerResponse): boolean {
  return (streamOf(response) ?? response).destroyed;
}

/** Of one that has closed. */
function isCutShort(response: ServerResponse): boolean {
  const stream = streamOf(response);
  if (stream === undefined) return !response.writableFinished;
  return stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR;
}

function cutShort(response: ServerResponse): void {
  const stream = streamOf(response);
  if (stream === undefined) response.destroy();
  else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}

export function isConnectTimeout(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT';
}

/** While the answer was waited for; one while connecting is the next pod's turn. */
function isTimeout(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT';
}
