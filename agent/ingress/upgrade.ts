// A WebSocket, or whatever the pod agrees to: from then on bytes both ways, for as long as both want.
import type { IncomingHttpHeaders } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '#kube/base/clock.ts';
import { noPods, rawAnswer, unreachable } from './answers.ts';
import type { Asked } from './exchange.ts';
import { requestHeaders, responseHeaders } from './headers.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import type { Upstreams } from './upstreams.ts';

export interface Opened {
  readonly socket: Duplex;
  /** What came behind the request. */
  readonly head: Buffer;
  readonly clock: Clock;
}

/** Answers the socket in any case, or ends it. */
export function exchangeUpgraded(
  asked: Asked,
  opened: Opened,
  upstreams: Upstreams,
  candidates: readonly Endpoint[],
): void {
  opened.socket.on('error', () => opened.socket.destroy());
  new Upgrade(asked, opened, upstreams).attempt(candidates);
}

class Upgrade implements Dispatcher.DispatchHandler {
  readonly #asked: Asked;
  readonly #socket: Duplex;
  readonly #head: Buffer;
  readonly #clock: Clock;
  readonly #upstreams: Upstreams;
  #left: readonly Endpoint[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #hasAnswered = false;

  constructor(asked: Asked, { socket, head, clock }: Opened, upstreams: Upstreams) {
    this.#asked = asked;
    this.#socket = socket;
    this.#head = head;
    this.#clock = clock;
    this.#upstreams = upstreams;
    socket.once('close', () => this.#controller?.abort(new Error('the client is gone')));
  }

  attempt(candidates: readonly Endpoint[]): void {
    this.#left = candidates;
    const { request, route, client } = this.#asked;
    const [endpoint] = candidates;
    if (endpoint === undefined) return void this.#socket.end(rawAnswer(noPods(route.backend)));
    const { protocol, idleMs } = route.settings;
    const options: Dispatcher.DispatchOptions = {
      method: 'GET',
      path: request.url ?? '/',
      headers: requestHeaders(request.rawHeaders, client),
      upgrade: request.headers.upgrade ?? '',
      headersTimeout: idleMs,
    };
    this.#upstreams.of(endpoint, protocol).dispatch(options, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#socket.destroyed) controller.abort(new Error('the client is gone'));
  }

  onRequestUpgrade(
    { rawHeaders }: Dispatcher.DispatchController,
    status: number,
    _headers: IncomingHttpHeaders,
    pod: Duplex,
  ): void {
    this.#hasAnswered = true;
    const upgrade = ['Connection', 'Upgrade', 'Upgrade', this.#asked.request.headers.upgrade ?? ''];
    this.#socket.write(rawHead(status, [...responseHeaders(texts(rawHeaders)), ...upgrade]));
    if (this.#head.length > 0) pod.write(this.#head);
    join(this.#socket, pod, this.#clock);
  }

  /** The pod does not agree, and says why. */
  onResponseStart({ rawHeaders }: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return;
    this.#hasAnswered = true;
    const headers = [...responseHeaders(texts(rawHeaders)), 'Connection', 'close'];
    this.#socket.write(rawHead(status, headers));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#socket.write(chunk)) return;
    controller.pause();
    this.#socket.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    this.#socket.end();
  }

  onResponseError(): void {
    if (this.#socket.destroyed) return;
    if (this.#hasAnswered) return void this.#socket.destroy();
    if (this.#controller === undefined && this.#left.length > 1)
      return this.attempt(this.#left.slice(1));
    this.#socket.end(rawAnswer(unreachable(this.#asked.route.backend)));
  }
}

function texts(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  const given = (raw ?? []) as readonly (Buffer | string)[];
  return given.map((one) => (typeof one === 'string' ? one : one.toString('latin1')));
}

function rawHead(status: number, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}\r\n`;
}

/** A side that has said all may hear the rest for a while. */
const halfOpenMs = 60_000;

/** A side that breaks takes the other with it. */
function join(a: Duplex, b: Duplex, clock: Clock): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('error', () => from.destroy());
    from.once('close', () => to.destroy());
    from.once('end', () => {
      const timer = clock.timer(halfOpenMs, () => to.destroy());
      to.once('close', () => timer.cancel());
    });
    from.pipe(to);
  }
}
