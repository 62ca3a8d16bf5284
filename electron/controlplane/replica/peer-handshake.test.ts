import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerProtocolError } from './peer-bytes.ts';
import {
  encodeAnswer,
  encodeGreeting,
  encodeHello,
  GreetingReader,
  judgeHello,
  judgeMember,
  readAnswer,
  type Greeting,
  type Hello,
  type Judge,
} from './peer-handshake.ts';

const judge: Judge = {
  clusterId: 'ours',
  id: 2,
  membership: () => ({ members: [], removed: [13] }),
  acknowledged: () => undefined,
};
const hello: Hello = {
  clusterId: 'ours',
  from: 1,
  to: 2,
  lane: 'bulk',
  addresses: ['10.0.0.1:7000', '[fd00::1]:7000'],
  isAlwaysOn: false,
};

function greetingOf(bytes: Buffer): Greeting {
  const read = new GreetingReader().push(bytes);
  if (read === undefined) throw new Error('incomplete');
  return read.greeting;
}

/** Undefined when it throws what it may. */
function refusedOr<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    expect(error).toBeInstanceOf(PeerProtocolError);
    return undefined;
  }
}

describe('a greeting', () => {
  it('is understood however it is cut, and what follows is left alone', () => {
    const bytes = Buffer.concat([encodeHello(hello), Buffer.from('rest')]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: bytes.length - 1 }), (cut) => {
        const reader = new GreetingReader();
        const first = reader.push(bytes.subarray(0, cut));
        const read = first ?? reader.push(bytes.subarray(cut));
        expect(judgeHello(read?.greeting as Greeting, 1, judge)).toEqual(hello);
        const rest = first === undefined ? [] : [bytes.subarray(cut)];
        expect(Buffer.concat([read?.rest ?? Buffer.alloc(0), ...rest]).toString()).toBe('rest');
      }),
    );
  });

  it('of arbitrary bytes is refused or waited for', () => {
    const magic = encodeHello(hello).subarray(0, 8);
    const anything = fc
      .tuple(fc.boolean(), fc.uint8Array({ maxLength: 60 }))
      .map(([isNear, bytes]) => Buffer.concat(isNear ? [magic, bytes] : [bytes]));
    fc.assert(
      fc.property(anything, (bytes) => {
        const read = refusedOr(() => new GreetingReader().push(bytes));
        if (read === undefined) return;
        refusedOr(() => judgeHello(read.greeting, 1, judge));
        refusedOr(() => readAnswer(read.greeting));
      }),
      { numRuns: 2000 },
    );
  });

  it('of arbitrary content is refused, or is what it must be', () => {
    const content = fc.oneof(
      fc.dictionary(fc.constantFrom(...Object.keys(hello)), fc.jsonValue()),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(content, (value) => {
        const greeting = { newest: 1, oldest: 1, content: value };
        const judged = refusedOr(() => judgeHello(greeting, 1, judge));
        if (judged === undefined || 'reason' in judged) return;
        expect(judged).toMatchObject({ clusterId: 'ours', from: 1, to: 2 });
      }),
      { numRuns: 1000 },
    );
  });

  it('that is too long is refused before it has come', () => {
    const head = encodeHello(hello).subarray(0, 16);
    const long = Buffer.from(head);
    long.writeUInt32LE(70_000, 12);
    expect(() => new GreetingReader().push(long)).toThrow(PeerProtocolError);
  });
});

describe('a hello', () => {
  const cases = [
    { name: 'as it should be', change: {}, want: undefined },
    { name: 'of another cluster', change: { clusterId: 'theirs' }, want: 'wrong-cluster' },
    { name: "with another's number", change: { from: 3 }, want: 'wrong-key' },
    { name: 'for another', change: { to: 3 }, want: 'not-me' },
    { name: 'of a removed member', change: { from: 13 }, certified: 13, want: 'removed' },
    {
      name: 'of a removed member of another cluster: the cluster is said first',
      change: { clusterId: 'theirs', from: 13 },
      certified: 13,
      want: 'wrong-cluster',
    },
  ];
  for (const { name, change, certified = 1, want } of cases)
    it(`${name}: ${want ?? 'welcome'}`, () => {
      const greeting = greetingOf(encodeHello({ ...hello, ...change }));
      const judged = judgeHello(greeting, certified, judge);
      expect('reason' in judged ? judged.reason : undefined).toBe(want);
      // The other side reads the same.
      const refusal = 'reason' in judged ? judged : undefined;
      expect(readAnswer(greetingOf(encodeAnswer(refusal)))).toEqual(refusal);
    });

  const versions = [
    { newest: 1, oldest: 1, isWelcome: true },
    { newest: 7, oldest: 1, isWelcome: true },
    { newest: 7, oldest: 2, isWelcome: false },
    { newest: 0, oldest: 0, isWelcome: false },
  ];
  for (const { newest, oldest, isWelcome } of versions)
    it(`of versions ${oldest} to ${newest}: ${isWelcome ? 'welcome' : 'refused'}`, () => {
      const judged = judgeHello(greetingOf(encodeGreeting(hello, newest, oldest)), 1, judge);
      expect('reason' in judged).toBe(!isWelcome);
    });
});

describe('a member that says what it is', () => {
  const disk = { incarnation: 'first', run: 'r', term: 4, lastIndex: 20 };
  const pi = { id: 1, role: 'voter', name: 'pi', addresses: [] } as const;
  const known = { ...pi, incarnation: 'first', entryVersion: 2 };
  const cases = [
    { name: 'is welcome as what it joined as', hello: { disk, entryVersion: 2 }, member: known },
    { name: 'is welcome when it was updated', hello: { disk, entryVersion: 3 }, member: known },
    { name: 'is welcome before anybody noted it', hello: { disk }, member: pi },
    { name: 'is welcome with a log that only grew', hello: { disk }, member: pi, index: 20 },
    {
      name: 'is welcome when a newer leader had it give entries up',
      hello: { disk: { ...disk, term: 6 } },
      member: pi,
      index: 25,
    },
    {
      name: 'of an older release than what is written',
      hello: { disk },
      member: known,
      want: 'too-old',
    },
    {
      name: 'on another disk',
      hello: { disk: { ...disk, incarnation: 'second' }, entryVersion: 2 },
      member: known,
      want: 'lost-data',
    },
    {
      name: 'with less than it acknowledged',
      hello: { disk, entryVersion: 2 },
      member: known,
      index: 21,
      want: 'lost-data',
    },
  ];
  for (const { name, hello: said, member, index, want } of cases)
    it(`${name}: ${want ?? 'welcome'}`, () => {
      const greeting = greetingOf(encodeHello({ ...hello, ...said }));
      const judged = judgeHello(greeting, 1, {
        ...judge,
        membership: () => ({ members: [member] }),
        acknowledged: () => (index === undefined ? undefined : { term: 5, index }),
      });
      expect('reason' in judged ? judged.reason : undefined).toBe(want);
      if ('reason' in judged) expect(judged.message).toContain('Member pi');
    });

  it('is refused by name when it is a newcomer of an old release', () => {
    const refusal = judgeMember(
      { from: 9 },
      { ...judge, membership: () => ({ members: [known] }) },
    );
    expect(refusal).toMatchObject({ reason: 'too-old' });
    expect(refusal?.message).toContain('update Flotilla on that machine');
  });
});

describe('an answer', () => {
  it('with a reason of a newer release is still a refusal', () => {
    const content = { reason: 'full-moon', message: 'Not tonight.' };
    const answer = readAnswer(greetingOf(encodeGreeting(content, 1, 1)));
    expect(answer?.message).toBe('Not tonight.');
  });
});
