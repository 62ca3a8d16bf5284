// The requests and connections of one listener: answers each, turns what goes wrong into a Status
// or a broken connection, and ends them all in order when the listener stops. Shared by the API's
// listener and the user interface's.
// Invariant: after stop() no socket is open and no stream runs.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AssertionError } from '#kube/base/assert.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { internalError, StatusError } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import {
  breakOff,
  clientSignal,
  writeResponse,
  type Incoming,
  type Outgoing,
} from './node-http.ts';
import { isStream } from '../response-body.ts';
import { statusResponse } from '../status-response.ts';

/** What requests under way get when the listener stops. */
const drainMs = 1500;
/** And what their last bytes get to leave the machine. */
const flushMs = 300;
/** What the rest of a body gets once its request is answered: a connection is no place to drip into. */
const restOfBodyMs = 60_000;

export interface ExchangesDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

export type Answer = (incoming: Incoming, signal: AbortSignal) => Promise<ApiResponse>;

export class Exchanges {
  readonly #deps: ExchangesDeps;
  readonly #sockets = new Set<Socket>();
  /** One per request, until its answer has left or its client has. */
  readonly #running = new Set<Outgoing>();
  /** Answers that stream: they end when the listener stops, the others are waited for. */
  readonly #streams = new Set<AbortController>();
  #isStopping = false;

  constructor(deps: ExchangesDeps) {
    this.#deps = deps;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  /** Rejects for programmers' errors only: left unhandled, they end the process. */
  async serve(incoming: Incoming, outgoing: Outgoing, answer: Answer): Promise<void> {
    this.#running.add(outgoing);
    const controller = clientSignal(outgoing, () => this.#running.delete(outgoing));
    const response = await this.#answer(incoming, controller.signal, answer);
    if (outgoing.destroyed) return;
    if (isStream(response.body)) {
      this.#streams.add(controller);
      if (this.#isStopping) controller.abort();
    }
    try {
      await writeResponse(outgoing, this.#withConnection(incoming, response), {
        isHead: incoming.method === 'HEAD',
        signal: controller.signal,
      });
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      // The head is sent: all that is left is to break off, so that the client knows.
      this.#deps.logger.warn('An answer broke off', { path: pathOf(incoming), error });
      breakOff(outgoing);
    } finally {
      this.#streams.delete(controller);
      this.#boundRest(incoming);
    }
  }

  /** HTTP/1.1 reads a body to its end, whoever still wants it, before the next request. */
  #boundRest(incoming: Incoming): void {
    if (incoming.httpVersionMajor >= 2 || incoming.complete) return;
    const { socket } = incoming;
    const timer = this.#deps.clock.timer(restOfBodyMs, () => socket.destroy());
    incoming.once('end', () => timer.cancel()).once('close', () => timer.cancel());
  }

  /** From here on new streams end at once and connections are not kept. */
  beginStop(): void {
    this.#isStopping = true;
    for (const stream of this.#streams) stream.abort();
  }

  /** Waits for what is under way, a moment at most; `release` lets go of idle connections. */
  async finish(release: () => void = () => undefined): Promise<void> {
    await this.#within(drainMs, [...this.#running].map(closeOf));
    release();
    for (const socket of this.#sockets)
      if ((socket as TLSSocket).alpnProtocol !== 'h2') socket.destroySoon();
    await this.#within(flushMs, [...this.#sockets].map(closeOf));
    for (const socket of this.#sockets) socket.destroy();
  }

  async #answer(incoming: Incoming, signal: AbortSignal, answer: Answer): Promise<ApiResponse> {
    try {
      return await answer(incoming, signal);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (error instanceof StatusError) return statusResponse(error);
      const path = pathOf(incoming);
      this.#deps.logger.error('A request failed outside the chain', { path, error });
      return statusResponse(internalError(error));
    }
  }

  /** HTTP/1.1 clients are told that the connection ends; HTTP/2 forbids the header. */
  #withConnection(incoming: Incoming, response: ApiResponse): ApiResponse {
    const mustClose = this.#isStopping || response.status === 413;
    if (!mustClose || incoming.httpVersionMajor >= 2) return response;
    return { ...response, headers: { ...response.headers, connection: 'close' } };
  }

  /** Waits for all of them, but no longer than `limitMs`. */
  async #within(limitMs: number, all: Iterable<Promise<unknown>>): Promise<void> {
    const enough = new AbortController();
    const limit = delay(this.#deps.clock, limitMs, enough.signal);
    await Promise.race([Promise.allSettled(all), limit]);
    enough.abort();
  }
}

function closeOf(closable: Outgoing | Socket): Promise<void> {
  return new Promise((resolve) => {
    (closable as Socket).once('close', () => resolve());
    if ((closable as Socket).closed) resolve();
  });
}

function pathOf(incoming: Incoming): string {
  return (incoming.url ?? '').split('?')[0] ?? '';
}
