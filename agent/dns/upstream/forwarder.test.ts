import { packet, type Packet } from '../../../test/setup/dns-packet.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { ask } from '../../../test/setup/dns-messages.ts';
import { readQuery } from '../wire/query.ts';
import { isFresh, ReplyCache } from './cache.ts';
import type { Request, Server } from './exchange.ts';
import { Forwarder, totalMs, type Asked } from './forwarder.ts';

type Reaction = 'silent' | Partial<Packet> | ((request: Request) => Partial<Packet>);

const server = (address: string): Server => ({ address, port: 53 });
let clock: ManualClock;
/** By address; what is not here says nothing. */
let reactions: Record<string, Reaction>;
let servers: Server[];
let log: string[];
let forwarder: Forwarder;

beforeEach(() => {
  clock = new ManualClock();
  reactions = {};
  servers = [server('A'), server('B')];
  log = [];
  forwarder = new Forwarder({
    exchange,
    servers: () => servers,
    clock,
    logger: silentLogger,
    messageId: () => 7,
  });
});

/** Answers at once or after the time is up. */
function exchange(request: Request): Promise<Buffer> {
  const { address } = request.server;
  const hasEdns = packet.decode(request.message).additionals.length > 0;
  log.push(`${address} ${request.transport}${hasEdns ? '' : ' plain'}`);
  const given = reactions[address] ?? 'silent';
  const reaction = typeof given === 'function' ? given(request) : given;
  if (reaction === 'silent')
    return new Promise((_resolve, reject) =>
      clock.timer(request.timeoutMs, () => reject(new Error('no answer in time'))),
    );
  const message = packet.encode({
    type: 'response',
    id: 7,
    questions: packet.decode(request.message).questions,
    ...reaction,
  });
  return request.accepts(message)
    ? Promise.resolve(message)
    : Promise.reject(new Error('no answer to the question'));
}

function asked(name = 'example.com', ednsBytes?: number): Asked {
  const read = readQuery(ask(name, 'A', ednsBytes === undefined ? {} : { ednsBytes }));
  if (read.kind !== 'query') throw new Error(read.kind);
  return { question: read.query.question, wantsDnssec: false, isCheckingDisabled: false };
}

const says = (data: string, ttl = 60): Partial<Packet> => ({
  answers: [{ name: 'example.com', type: 'A', ttl, data }],
});
const fails = (rcode: number): Partial<Packet> => ({ flags: rcode });

/** What an answer says, while time goes by as it must. */
async function resolve(question = asked()): Promise<string | undefined> {
  let outcome: { text: string | undefined } | undefined;
  void forwarder.resolve(question).then((found) => {
    const message = found && packet.decode(found.reply.bytes);
    const text = message && `${message.rcode} ${message.answers.map(({ data }) => data).join()}`;
    outcome = { text: found?.isStale === true ? `stale ${text}` : text };
  });
  const startMs = clock.now();
  for (;;) {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    if (outcome !== undefined) return outcome.text;
    if (clock.now() - startMs > 2 * totalMs) throw new Error('it takes too long');
    clock.advance(100);
  }
}

describe('a question', () => {
  it('goes to the first server, and to the cache for as long as its answer holds', async () => {
    reactions = { A: says('192.0.2.1') };
    expect(await resolve()).toBe('NOERROR 192.0.2.1');
    clock.advance(59_000);
    expect(forwarder.fromCache(asked())?.ageSeconds).toBe(59);
    expect(await resolve()).toBe('NOERROR 192.0.2.1');
    expect(log).toEqual(['A udp']);
    clock.advance(1_000);
    expect(forwarder.fromCache(asked())).toBeUndefined();
    await resolve();
    expect(log).toEqual(['A udp', 'A udp']);
  });

  it('is asked once, however many ask it at the same time', async () => {
    reactions = { A: says('192.0.2.1') };
    const all = await Promise.all(Array.from({ length: 20 }, () => forwarder.resolve(asked())));
    expect(all.every((found) => found !== undefined)).toBe(true);
    expect(log).toEqual(['A udp']);
  });

  it('goes to the next when one is silent, which is asked last from then on', async () => {
    reactions = { B: says('192.0.2.2', 0) };
    expect(await resolve()).toBe('NOERROR 192.0.2.2');
    expect(await resolve()).toBe('NOERROR 192.0.2.2');
    expect(log).toEqual(['A udp', 'B udp', 'B udp']);
    reactions = { A: says('192.0.2.1', 0), B: says('192.0.2.2', 0) };
    clock.advance(5_000);
    expect(await resolve()).toBe('NOERROR 192.0.2.1');
  });

  it('goes to the next when one fails, and ends with that failure when all do', async () => {
    reactions = { A: fails(2), B: fails(5) };
    expect(await resolve()).toBe('REFUSED ');
    expect(log).toEqual(['A udp', 'B udp']);
    reactions = { A: fails(2), B: says('192.0.2.2') };
    expect(await resolve()).toBe('NOERROR 192.0.2.2');
  });

  it('has no answer in bounded time when nobody answers', async () => {
    const startMs = clock.now();
    expect(await resolve()).toBeUndefined();
    expect(clock.now() - startMs).toBeLessThanOrEqual(totalMs);
    expect(log).toEqual(['A udp', 'B udp', 'A udp']);
  });

  it('has none at once where there is no server', async () => {
    servers = [];
    const startMs = clock.now();
    expect(await resolve()).toBeUndefined();
    expect(clock.now()).toBe(startMs);
  });

  it('goes by TCP when the answer is cut off', async () => {
    reactions = {
      A: ({ transport }) =>
        transport === 'tcp' ? says('192.0.2.1') : { flags: packet.TRUNCATED_RESPONSE },
    };
    expect(await resolve()).toBe('NOERROR 192.0.2.1');
    expect(log).toEqual(['A udp', 'A tcp']);
  });

  it('goes without EDNS to a server from before it', async () => {
    reactions = {
      A: ({ message }) =>
        packet.decode(message).additionals.length > 0 ? fails(1) : says('192.0.2.1'),
    };
    expect(await resolve()).toBe('NOERROR 192.0.2.1');
    expect(log).toEqual(['A udp', 'A udp plain']);
  });

  it('is not the same with another type, or with a wish for proof', async () => {
    reactions = { A: says('192.0.2.1') };
    await resolve();
    expect(forwarder.fromCache({ ...asked(), wantsDnssec: true })).toBeUndefined();
    expect(forwarder.fromCache({ ...asked(), isCheckingDisabled: true })).toBeUndefined();
    expect(forwarder.fromCache(asked('EXAMPLE.com'))).toBeDefined();
  });
});

describe('an answer that is out of date', () => {
  beforeEach(async () => {
    reactions = { A: says('192.0.2.1') };
    await resolve();
    clock.advance(120_000);
    log = [];
  });

  it('is given while servers are silent: first after a short wait, then at once', async () => {
    reactions = {};
    const startMs = clock.now();
    expect(await resolve()).toBe('stale NOERROR 192.0.2.1');
    expect(clock.now() - startMs).toBeLessThanOrEqual(800);
    // The question goes on without whoever asked it.
    for (let step = 0; step < 40; step++) {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      clock.advance(100);
    }
    const laterMs = clock.now();
    expect(await resolve()).toBe('stale NOERROR 192.0.2.1');
    expect(clock.now()).toBe(laterMs);
  });

  it('is given while servers fail', async () => {
    reactions = { A: fails(2), B: fails(2) };
    expect(await resolve()).toBe('stale NOERROR 192.0.2.1');
  });

  it('gives way to a new one, also one that says no', async () => {
    reactions = { A: fails(3) };
    expect(await resolve()).toBe('NXDOMAIN ');
  });

  it('is forgotten after a day', async () => {
    reactions = {};
    clock.advance(86_400_000);
    expect(await resolve()).toBeUndefined();
  });
});

describe('the cache', () => {
  const entry = (bytes: number) => ({
    reply: {
      bytes: Buffer.alloc(bytes),
      rcode: 0,
      isTruncated: false,
      ttlSeconds: 10,
      ttlStarts: [],
      ends: [[], [], []] as const,
    },
    storedAtMs: 0,
  });

  it('drops what was not asked for the longest, by count and by bytes', () => {
    const cache = new ReplyCache({ entriesMax: 3, bytesMax: 5_000 });
    for (const key of ['a', 'b', 'c']) cache.set(key, entry(100));
    cache.get('a', 1);
    cache.set('d', entry(100));
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key, 1) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ]);
    cache.set('e', entry(3_500));
    expect(cache.bytes).toBeLessThanOrEqual(5_000);
    expect(cache.get('e', 1)).toBeDefined();
    for (const key of ['a', 'b', 'c', 'd', 'e']) cache.get(key, 1e9);
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  it('takes neither what is cut off nor what is huge', () => {
    const cache = new ReplyCache();
    const given = entry(10);
    cache.set('cut', { ...given, reply: { ...given.reply, isTruncated: true } });
    cache.set('huge', entry(9_000));
    expect(cache.size).toBe(0);
    expect([isFresh(given, 9_999), isFresh(given, 10_000)]).toEqual([true, false]);
  });
});
