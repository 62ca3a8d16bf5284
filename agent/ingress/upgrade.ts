// A WebSocket, or whatever the pod agrees to: from then on bytes both ways, for as long as both want.
import type { IncomingHttpHeaders } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '#kube/base/clock.ts';
import { rawAnswer, unreachable } from './answers.ts';
import { isConnectTimeout, type Asked, type Ways } from './exchange.ts';
import { requestHeaders, responseHeaders } from './headers.ts';
import type { Endpoint } from '../proxy/endpoints.ts';

export interface Opened {
  readonly socket: Duplex;
  /** What came behind the request. */
  readonly head: Buffer;
  readonly clock: Clock;
}

/** Answers the socket in any case, or ends it. */
export function exchangeUpgraded(asked: Asked, opened: Opened, ways: Ways): void {
  opened.socket.on('error', () => opened.socket.destroy());
  new Upgrade(asked, opened, ways).start();
}

class Upgrade implements Dispatcher.DispatchHandler {
  readonly #asked: Asked;
  readonly #socket: Duplex;
  readonly #head: Buffer;
  readonly #clock: Clock;
  readonly #ways: Ways;
  #endpoint: Endpoint | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #hasAnswered = false;

  constructor(asked: Asked, { socket, head, clock }: Opened, ways: Ways) {
    this.#asked = asked;
    this.#socket = socket;
    this.#head = head;
    this.#clock = clock;
    this.#ways = ways;
    socket.once('close', () => this.#controller?.abort(new Error('the client is gone')));
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
    if (this.#socket.destroyed) return;
    if (next === undefined) this.#socket.end(rawAnswer(unreachable(this.#asked.route.backend)));
    else this.#ask(next);
  }

  #ask(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    const { request, route, client } = this.#asked;
    const { protocol, idleMs } = route.settings;
    const options: Dispatcher.DispatchOptions = {
      method: 'GET',
      path: request.url ?? '/',
      headers: requestHeaders(request.rawHeaders, client),
      upgrade: request.headers.upgrade ?? '',
      headersTimeout: idleMs,
    };
    this.#ways.upstreams.of(endpoint, protocol).dispatch(options, this);
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

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#socket.destroyed) return;
    if (this.#hasAnswered) return void this.#socket.destroy();
    if (this.#controller === undefined) return void this.#goOn(this.#endpoint, error);
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
