// A Transport to whichever of the cluster's API servers is well: server-choice.ts decides, this asks, connects and lets go.
// Each is proved by its certificate: of the cluster's authority, and for the name `kubernetes`. A request that no server
// can have begun with goes on to the next by itself; all others fail, and whoever asked knows whether they may be repeated.
import { assert, unreachable } from '#kube/base/assert.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import {
  TransportError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
  type TransportStream,
} from '#kube/client/transport.ts';
import type { ClientConfig } from '#platform/kubeconfig.ts';
import { messageOf } from '../error-message.ts';
import {
  startOfChoice,
  step,
  wakeAtMs,
  type Choice,
  type ChoiceAction,
  type ChoiceEvent,
  type ServerList,
} from './server-choice.ts';

/** To one server, made when first used. */
export interface Connection extends Transport {
  readonly isConnected: boolean;
  use(config: ClientConfig): void;
  dropUnlessFrom(addresses: ReadonlySet<string>): void;
  /** What is open may finish. */
  retire(): void;
  close(): void;
}

export interface ApiTransportDeps {
  /** As whom; its server is the one that is known in any case. */
  readonly config: ClientConfig;
  readonly connect: (config: ClientConfig) => Connection;
  /** None of the servers that are known answers as it should. */
  readonly onNobody?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

interface Standing {
  readonly server: string;
  readonly connection: Connection;
}

interface Waiting {
  readonly resolve: (standing: Standing) => void;
  readonly reject: (error: TransportError) => void;
}

/** In every API server's certificate: names and addresses of machines change. */
const serverName = 'kubernetes';
/** A server that has not answered by then is asked whether it is well. */
const slowMs = 3_000;
/** Whoever has not said by then that it is ready is not. */
const askMs = 4_000;

export class ApiTransport implements Transport {
  readonly #deps: ApiTransportDeps;
  #config: ClientConfig;
  #choice: Choice;
  #current: Standing | undefined;
  /** Others that are asked whether they are ready. */
  readonly #asked = new Map<string, Connection>();
  readonly #waiting = new Set<Waiting>();
  #timer: Timer | undefined;
  #isClosed = false;
  /** The one in use before. */
  #before = '';

  constructor(deps: ApiTransportDeps) {
    this.#deps = deps;
    this.#config = deps.config;
    this.#choice = startOfChoice({ servers: [deps.config.server], own: undefined });
  }

  /** That is spoken with; undefined: none now. */
  get server(): string | undefined {
    return this.#current?.server;
  }

  request(request: TransportRequest): Promise<TransportResponse> {
    return this.#send(request, ({ connection }) => connection.request(request));
  }

  stream(request: TransportRequest): Promise<TransportStream> {
    return this.#send(request, async (standing) => {
      const answer = await standing.connection.stream(request);
      return { ...answer, chunks: this.#watched(answer.chunks, standing) };
    });
  }

  /** Which servers there are by now. */
  setServers(list: ServerList): void {
    this.#on({ type: 'servers', ...list });
  }

  /** One of these says that this machine should speak with it. */
  heard(servers: readonly string[]): void {
    this.#on({ type: 'heard', servers });
  }

  /** As whom from now on. */
  use(config: ClientConfig): void {
    this.#config = config;
    if (this.#current === undefined) return;
    const { server, connection } = this.#current;
    connection.use(this.#configOf(server));
  }

  /** This machine has these addresses now, and had others. */
  moved(addresses: ReadonlySet<string>): void {
    this.#current?.connection.dropUnlessFrom(addresses);
    this.#on({ type: 'network' });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#current?.connection.close();
    this.#current = undefined;
    this.#forgetAsked();
    this.#tellWaiting(({ reject }) => reject(new TransportError('the transport is closed')));
  }

  async #send<T extends { readonly status: number }>(
    request: TransportRequest,
    send: (standing: Standing) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const standing = await this.#standing(request.signal);
      const unwell = (): void => this.#on({ type: 'unwell', server: standing.server });
      const slow = this.#deps.clock.timer(slowMs, unwell);
      try {
        const answer = await send(standing);
        if (answer.status === 503) unwell();
        return answer;
      } catch (error) {
        if (!(error instanceof TransportError) || request.signal?.aborted === true) throw error;
        this.#look(standing);
        const isLast = attempt >= this.#choice.servers.length;
        if (!error.neverSent || isLast || this.#isClosed) throw error;
      } finally {
        slow.cancel();
      }
    }
  }

  async *#watched(
    chunks: AsyncIterable<Uint8Array>,
    standing: Standing,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      this.#look(standing);
      throw error;
    }
  }

  /** Something failed there: does the connection stand at all? */
  #look(standing: Standing): void {
    if (standing !== this.#current || standing.connection.isConnected) return;
    this.#on({ type: 'lost', server: standing.server });
  }

  /** The server in use, or the next that there is. Rejects when none answers, or the signal aborts. */
  async #standing(signal: AbortSignal | undefined): Promise<Standing> {
    if (this.#isClosed) throw new TransportError('the transport is closed');
    if (signal?.aborted === true) throw new TransportError('the request was aborted');
    if (this.#current !== undefined) return this.#current;
    const { promise, resolve, reject } = Promise.withResolvers<Standing>();
    const waiting: Waiting = { resolve, reject };
    const abort = (): void => reject(new TransportError('the request was aborted'));
    signal?.addEventListener('abort', abort);
    this.#waiting.add(waiting);
    this.#on({ type: 'wanted' });
    try {
      return await promise;
    } finally {
      this.#waiting.delete(waiting);
      signal?.removeEventListener('abort', abort);
    }
  }

  #on(event: ChoiceEvent): void {
    if (this.#isClosed) return;
    const { clock, random } = this.#deps;
    const moment = { nowMs: clock.monotonicMs(), draw: random.next() };
    const { choice, actions } = step(this.#choice, event, moment);
    this.#choice = choice;
    for (const action of actions) this.#act(action);
    if (this.#choice.round === undefined) this.#forgetAsked();
    this.#timer?.cancel();
    const atMs = wakeAtMs(this.#choice);
    this.#timer =
      atMs === undefined
        ? undefined
        : clock.timer(Math.ceil(atMs - clock.monotonicMs()), () => this.#on({ type: 'time' }));
  }

  #act(action: ChoiceAction): void {
    switch (action.type) {
      case 'ask':
        return void this.#ask(action.server);
      case 'use':
        return this.#take(action.server, action.isGentle);
      case 'drop':
        this.#current?.connection.close();
        this.#current = undefined;
        return;
      case 'giveUp':
        this.#deps.logger.debug('No API server', { why: action.why });
        return this.#tellWaiting(({ reject }) =>
          reject(new TransportError(action.why, { neverSent: true })),
        );
      case 'search':
        return this.#deps.onNobody?.();
      default:
        return unreachable(action);
    }
  }

  async #ask(server: string): Promise<void> {
    const { clock, connect } = this.#deps;
    const isCurrent = this.#current?.server === server;
    const connection = isCurrent ? this.#current?.connection : connect(this.#configOf(server));
    assert(connection, 'there is one, or it is made');
    if (!isCurrent) this.#asked.set(server, connection);
    const late = new AbortController();
    const timer = clock.timer(askMs, () => late.abort());
    let event: ChoiceEvent;
    try {
      const { signal } = late;
      const { status } = await connection.request({ method: 'GET', path: '/readyz', signal });
      event = { type: 'answered', server, isReady: status === 200 };
    } catch (error) {
      const why = late.signal.aborted ? `no answer within ${askMs / 1000} s` : messageOf(error);
      event = { type: 'failed', server, why: `${server}: ${why}` };
    } finally {
      timer.cancel();
    }
    // It may be an earlier one of the same server that answers here.
    const isAsked = isCurrent
      ? this.#current?.connection === connection
      : this.#asked.get(server) === connection;
    if (!isAsked) return;
    if (event.type === 'failed' && !isCurrent) this.#forget(server);
    this.#on(event);
  }

  #take(server: string, isGentle: boolean): void {
    const { connect, logger } = this.#deps;
    const connection = this.#asked.get(server) ?? connect(this.#configOf(server));
    this.#asked.delete(server);
    this.#forgetAsked();
    if (isGentle) this.#current?.connection.retire();
    else this.#current?.connection.close();
    const standing = { server, connection };
    this.#current = standing;
    if (this.#before !== server) logger.info('Speaks with an API server', { server });
    this.#before = server;
    this.#tellWaiting(({ resolve }) => resolve(standing));
  }

  #forget(server: string): void {
    this.#asked.get(server)?.close();
    this.#asked.delete(server);
  }

  #forgetAsked(): void {
    for (const server of this.#asked.keys()) this.#forget(server);
  }

  #tellWaiting(tell: (waiting: Waiting) => void): void {
    for (const waiting of this.#waiting) tell(waiting);
    this.#waiting.clear();
  }

  #configOf(server: string): ClientConfig {
    const { server: given } = this.#config;
    return server === given ? this.#config : { ...this.#config, server, serverName };
  }
}
