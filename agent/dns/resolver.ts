// From the bytes of a question to the bytes of its answer: the cluster's names by answer.ts, at once; all
// others by the forwarder. What fails here is SERVFAIL for the client, never an exception.
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import { answer, rotated, type ZoneState } from './answer.ts';
import type { Asked, Forwarded, Forwarder } from './upstream/forwarder.ts';
import { isName } from './wire/names.ts';
import {
  classIn,
  flag,
  rcodes,
  readQuery,
  types,
  type Query,
  type Question,
} from './wire/query.ts';
import {
  encodeError,
  encodeReply,
  failure,
  limitOf,
  type DnsRecord,
  type Reply,
} from './wire/reply.ts';
import { answersOf, deliver } from './wire/upstream-reply.ts';

export interface ResolverDeps {
  readonly state: () => ZoneState;
  readonly forwarder: Forwarder;
  readonly logger: Logger;
}

/** Of an answer from before the servers went silent (RFC 8767). */
const staleTtlSeconds = 30;

export class Resolver {
  readonly #deps: ResolverDeps;
  #turn = 0;

  constructor(deps: ResolverDeps) {
    this.#deps = deps;
  }

  /** Undefined: nothing is to be said. A promise only where another server has to be asked. */
  respond(message: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined | Promise<Buffer> {
    const read = readQuery(message);
    if (read.kind === 'noise') return undefined;
    if (read.kind === 'bad') return encodeError(read.id, read.flags, read.rcode);
    const { query } = read;
    const limitBytes = limitOf(query, transport);
    try {
      const outcome = this.#resolve(query, limitBytes);
      if (!(outcome instanceof Promise)) return outcome;
      return outcome.catch((error: unknown) => this.#failed(query, error));
    } catch (error) {
      return this.#failed(query, error);
    }
  }

  /** Instead of an answer, when there is too much to do. */
  refuse(message: Buffer): Buffer | undefined {
    const read = readQuery(message);
    if (read.kind !== 'query') return undefined;
    return encodeReply(read.query, failure(rcodes.servFail), limitOf(read.query, 'udp'));
  }

  #failed(query: Query, error: unknown): Buffer {
    this.#deps.logger.warn('A question could not be answered', { error: messageOf(error) });
    return encodeReply(query, failure(rcodes.servFail), limitOf(query, 'udp'));
  }

  #resolve(query: Query, limitBytes: number): Buffer | Promise<Buffer> {
    const { question, edns } = query;
    const reply = (given: Reply) => encodeReply(query, rotated(given, this.#turn++), limitBytes);
    if (edns !== undefined && edns.version !== 0) return reply(failure(rcodes.badVers));
    if (question.class !== classIn) return reply(failure(rcodes.refused));
    if (question.type === types.AXFR || question.type === types.IXFR)
      return reply(failure(rcodes.refused));
    const found = answer(question, this.#deps.state());
    switch (found.kind) {
      case 'reply':
        return reply(found.reply);
      case 'follow':
        return this.#follow(query, found).then(reply);
      case 'foreign':
        return this.#forward(query, limitBytes);
    }
  }

  #forward(query: Query, limitBytes: number): Buffer | Promise<Buffer> {
    const { forwarder } = this.#deps;
    const asked = askedOf(query, query.question);
    const give = (found: Forwarded | undefined): Buffer => {
      if (found === undefined) return encodeReply(query, failure(rcodes.servFail), limitBytes);
      const { reply, ageSeconds, isStale } = found;
      const stale = isStale ? { staleTtlSeconds } : {};
      return deliver(reply, query, { ageSeconds, limitBytes, ...stale });
    };
    const cached = forwarder.fromCache(asked);
    return cached === undefined ? forwarder.resolve(asked).then(give) : give(cached);
  }

  /** A Service that stands for a name elsewhere: its CNAME, and what that name leads to. */
  async #follow(
    query: Query,
    { chain, target }: { readonly chain: readonly DnsRecord[]; readonly target: string },
  ): Promise<Reply> {
    if (!isName(target)) return failure(rcodes.servFail);
    const question = questionOf(target, query.question.type);
    const found = await this.#deps.forwarder.resolve(askedOf(query, question));
    if (found === undefined) return failure(rcodes.servFail);
    const { reply, ageSeconds } = found;
    return {
      rcode: reply.rcode & 0xf,
      isAuthoritative: true,
      answers: [...chain, ...answersOf(reply, ageSeconds)],
      authorities: [],
      additionals: [],
    };
  }
}

function askedOf(query: Query, question: Question): Asked {
  return {
    question,
    wantsDnssec: query.edns?.wantsDnssec === true,
    isCheckingDisabled: (query.flags & flag.checkingDisabled) !== 0,
  };
}

function questionOf(name: string, type: number): Question {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  const parts = labels.flatMap((label) => [Buffer.from([label.length]), label]);
  const tail = Buffer.from([0, type >> 8, type & 0xff, 0, classIn]);
  return { name, type, class: classIn, bytes: Buffer.concat([...parts, tail]) };
}
