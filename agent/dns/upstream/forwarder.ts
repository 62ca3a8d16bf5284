// Questions that are not ours, brought to the machine's own resolvers: from the cache, from whoever
// answers first in turn, and once for all who ask the same at the same time. Where nobody answers, what
// was known before does, and without that the failure comes within `totalMs`.
import { randomInt } from 'node:crypto';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../../error-message.ts';
import { flag, rcodes, type Question } from '../wire/query.ts';
import { encodeQuestion, readUpstreamReply, type UpstreamReply } from '../wire/upstream-reply.ts';
import { isFresh, ReplyCache, type CachedReply, type CacheLimits } from './cache.ts';
import type { Exchange, Server } from './exchange.ts';

export interface ForwarderDeps {
  readonly exchange: Exchange;
  /** The newest list, in the order in which they are to be asked. */
  readonly servers: () => readonly Server[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly cache?: CacheLimits;
  /** Of a message; drawn anew for each. */
  readonly messageId?: () => number;
}

export interface Forwarded {
  readonly reply: UpstreamReply;
  readonly ageSeconds: number;
  readonly isStale: boolean;
}

export interface Asked {
  readonly question: Question;
  readonly wantsDnssec: boolean;
  readonly isCheckingDisabled: boolean;
}

/** How long each attempt waits: most answers take less than the first, a slow line has the last. */
const attemptsMs = [800, 1_200, 2_000];
/** Longer than any question takes. */
export const totalMs = 4_000;
/** A server that did not answer is asked last for so long, twice as long each time. More than `totalMs`. */
const firstPauseMs = 5_000;
const pauseMaxMs = 60_000;
/** Each is a socket. */
const inFlightMax = 500;

interface Health {
  readonly failures: number;
  readonly untilMs: number;
}

export class Forwarder {
  readonly #deps: ForwarderDeps;
  readonly #cache: ReplyCache;
  readonly #inFlight = new Map<string, Promise<CachedReply | undefined>>();
  /** Of servers that did not answer last. */
  readonly #health = new Map<string, Health>();

  constructor(deps: ForwarderDeps) {
    this.#deps = deps;
    this.#cache = new ReplyCache(deps.cache);
  }

  /** At once, when it is known; undefined otherwise. */
  fromCache(asked: Asked): Forwarded | undefined {
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#cache.get(keyOf(asked), nowMs);
    return known !== undefined && isFresh(known, nowMs) ? this.#forwarded(known, false) : undefined;
  }

  /** Undefined: nobody answers. */
  async resolve(asked: Asked): Promise<Forwarded | undefined> {
    const { clock } = this.#deps;
    const key = keyOf(asked);
    const known = this.#cache.get(key, clock.monotonicMs());
    if (known !== undefined && isFresh(known, clock.monotonicMs()))
      return this.#forwarded(known, false);
    const asking = this.#askOnce(key, asked);
    const answer = await (known === undefined ? asking : this.#unlessSlow(asking));
    if (answer !== undefined && (known === undefined || isAnswer(answer.reply)))
      return this.#forwarded(answer, false);
    return known && this.#forwarded(known, true);
  }

  #forwarded({ reply, storedAtMs }: CachedReply, isStale: boolean): Forwarded {
    const ageSeconds = Math.floor((this.#deps.clock.monotonicMs() - storedAtMs) / 1000);
    return { reply, ageSeconds, isStale };
  }

  /** With an answer of old at hand nobody waits for long; the new one is in the cache later. */
  #unlessSlow(asking: Promise<CachedReply | undefined>): Promise<CachedReply | undefined> {
    if (this.#deps.servers().every((server) => this.#isPaused(server)))
      return Promise.resolve(undefined);
    const { clock } = this.#deps;
    return new Promise((resolve) => {
      const timer = clock.timer(attemptsMs[0] ?? 0, () => resolve(undefined));
      void asking.then((answer) => {
        timer.cancel();
        resolve(answer);
      });
    });
  }

  #askOnce(key: string, asked: Asked): Promise<CachedReply | undefined> {
    const known = this.#inFlight.get(key);
    if (known !== undefined) return known;
    if (this.#inFlight.size >= inFlightMax) return Promise.resolve(undefined);
    const asking = this.#ask(asked)
      .then((reply) => {
        if (reply === undefined) return undefined;
        const entry = { reply, storedAtMs: this.#deps.clock.monotonicMs() };
        this.#cache.set(key, entry);
        return entry;
      })
      .finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, asking);
    return asking;
  }

  async #ask(asked: Asked): Promise<UpstreamReply | undefined> {
    const { servers, clock, logger } = this.#deps;
    const startMs = clock.monotonicMs();
    const tried = new Set<Server>();
    let refusal: UpstreamReply | undefined;
    for (const [attempt, waitMs] of attemptsMs.entries()) {
      const inTurn = this.#inTurn(servers());
      const untried = inTurn.find((one) => !tried.has(one));
      // All of them refused or kept silent: silence alone may have been a lost packet.
      if (untried === undefined && refusal !== undefined) break;
      const server = untried ?? inTurn[attempt % inTurn.length];
      const leftMs = startMs + totalMs - clock.monotonicMs();
      if (server === undefined || leftMs <= 0) break;
      tried.add(server);
      try {
        const reply = await this.#askServer(server, asked, Math.min(waitMs, leftMs));
        this.#health.delete(keyOfServer(server));
        if (isAnswer(reply)) return reply;
        refusal = reply;
      } catch (error) {
        this.#pause(server);
        logger.debug('Name server', { server: server.address, error: messageOf(error) });
      }
    }
    return refusal;
  }

  async #askServer(server: Server, asked: Asked, timeoutMs: number): Promise<UpstreamReply> {
    const deadlineMs = this.#deps.clock.monotonicMs() + timeoutMs;
    const leftMs = () => Math.max(1, deadlineMs - this.#deps.clock.monotonicMs());
    let reply = await this.#exchange({ server, asked, timeoutMs, transport: 'udp' });
    // Servers from before EDNS say that they understand nothing.
    const isOld = reply.rcode === rcodes.formErr || reply.rcode === rcodes.badVers;
    if (isOld)
      reply = await this.#exchange({
        server,
        asked,
        timeoutMs: leftMs(),
        transport: 'udp',
        withEdns: false,
      });
    if (!reply.isTruncated) return reply;
    return this.#exchange({ server, asked, timeoutMs: leftMs(), transport: 'tcp' });
  }

  async #exchange(request: {
    readonly server: Server;
    readonly asked: Asked;
    readonly timeoutMs: number;
    readonly transport: 'udp' | 'tcp';
    readonly withEdns?: boolean;
  }): Promise<UpstreamReply> {
    const { server, asked, timeoutMs, transport, withEdns = true } = request;
    const { question, wantsDnssec, isCheckingDisabled } = asked;
    const id = this.#deps.messageId?.() ?? randomInt(0x10000);
    const flags = flag.authenticData | (isCheckingDisabled ? flag.checkingDisabled : 0);
    let reply: UpstreamReply | undefined;
    await this.#deps.exchange({
      server,
      message: encodeQuestion(question, { id, flags, wantsDnssec, withEdns }),
      transport,
      timeoutMs,
      accepts: (message) => {
        reply = readUpstreamReply(message, { id, question });
        return reply !== undefined;
      },
    });
    if (reply === undefined) throw new Error('no answer to the question');
    return reply;
  }

  /** Those that answer first, each kind in its own order. */
  #inTurn(servers: readonly Server[]): Server[] {
    const paused = servers.filter((server) => this.#isPaused(server));
    return [...servers.filter((server) => !paused.includes(server)), ...paused];
  }

  #isPaused(server: Server): boolean {
    const health = this.#health.get(keyOfServer(server));
    return health !== undefined && health.untilMs > this.#deps.clock.monotonicMs();
  }

  #pause(server: Server): void {
    const key = keyOfServer(server);
    const failures = (this.#health.get(key)?.failures ?? 0) + 1;
    const pauseMs = Math.min(firstPauseMs * 2 ** (failures - 1), pauseMaxMs);
    this.#health.set(key, { failures, untilMs: this.#deps.clock.monotonicMs() + pauseMs });
  }
}

/** A failure of the server's says nothing about the name. */
function isAnswer({ rcode }: UpstreamReply): boolean {
  return rcode === rcodes.noError || rcode === rcodes.nxDomain;
}

function keyOf({ question, wantsDnssec, isCheckingDisabled }: Asked): string {
  const how = (wantsDnssec ? 2 : 0) + (isCheckingDisabled ? 1 : 0);
  return `${question.type}/${question.class}/${how}/${question.name}`;
}

function keyOfServer({ address, port }: Server): string {
  return `${address} ${port}`;
}
