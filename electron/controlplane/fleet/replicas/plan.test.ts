// Who keeps the state: stories as tables, and what holds whatever happens.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MachineFacts } from './fitness.ts';
import {
  awayMs,
  joinMs,
  nextStep,
  retryMs,
  sentenceOf,
  type Chosen,
  type Home,
  type MemberFacts,
} from './plan.ts';

const nowMs = 1_000_000_000;
const stableMs = 180_000;

function machine(name: string, more: Partial<MachineFacts> = {}): MachineFacts {
  return {
    name,
    uid: `uid-${name}`,
    isOurs: true,
    is64Bit: true,
    memoryBytes: 4 * 2 ** 30,
    syncMs: 5,
    isAlwaysOn: true,
    isForbidden: false,
    hasPressure: false,
    readySinceMs: nowMs - stableMs,
    stableMs,
    failure: undefined,
    waitsFor: undefined,
    ...more,
  };
}

function member(name: string, more: Partial<MemberFacts> = {}): MemberFacts {
  return {
    name,
    isVoter: true,
    isAlwaysOn: true,
    isRunning: true,
    awaySinceMs: undefined,
    hasCaughtUp: true,
    ...more,
  };
}

const laptop = member('laptop', { isAlwaysOn: false });
const chosen = (name: string, more: Partial<Chosen> = {}): [string, Chosen] => [
  name,
  { uid: `uid-${name}`, state: 'member', sinceMs: nowMs - 1000, ...more },
];
const gone = { isRunning: false, awaySinceMs: nowMs - awayMs };

function home(more: Partial<Home>): Home {
  return { machines: [], members: [laptop], chosen: new Map(), wanted: 3, nowMs, ...more };
}

const three = [machine('pi1'), machine('pi2'), machine('pi3')];
const settled: Partial<Home> = {
  machines: three,
  members: [laptop, member('pi1'), member('pi2'), member('pi3')],
  chosen: new Map([chosen('pi1'), chosen('pi2'), chosen('pi3')]),
};

const cases: readonly { name: string; given: Partial<Home>; want: string | undefined }[] = [
  { name: 'nobody is there', given: {}, want: undefined },
  { name: 'a fit machine', given: { machines: [machine('pi1')] }, want: 'choose pi1' },
  {
    name: 'the quicker disk first',
    given: { machines: [machine('pi1', { syncMs: 60 }), machine('pi2')] },
    want: 'choose pi2',
  },
  {
    name: 'a laptop only after what runs day and night',
    given: { machines: [machine('book', { isAlwaysOn: false }), machine('pi2', { syncMs: 90 })] },
    want: 'choose pi2',
  },
  {
    name: 'a second laptop where there is nothing else',
    given: { machines: [machine('book', { isAlwaysOn: false })] },
    want: 'choose book',
  },
  {
    name: 'one that came a moment ago is waited for',
    given: { machines: [machine('pi1', { readySinceMs: nowMs - stableMs + 1 })] },
    want: undefined,
  },
  {
    name: 'not ready',
    given: { machines: [machine('pi1', { readySinceMs: undefined })] },
    want: undefined,
  },
  { name: 'a slow card', given: { machines: [machine('pi1', { syncMs: 180 })] }, want: undefined },
  {
    name: 'a small memory',
    given: { machines: [machine('pi1', { memoryBytes: 512 * 2 ** 20 })] },
    want: undefined,
  },
  {
    name: 'forbidden',
    given: { machines: [machine('pi1', { isForbidden: true })] },
    want: undefined,
  },
  {
    name: 'one change at a time',
    given: { machines: three, chosen: new Map([chosen('pi1', { state: 'chosen' })]) },
    want: undefined,
  },
  {
    name: 'it came up',
    given: {
      machines: three,
      members: [laptop, member('pi1', { isVoter: false })],
      chosen: new Map([chosen('pi1', { state: 'chosen' })]),
    },
    want: 'settle pi1',
  },
  {
    name: 'it says that it can not',
    given: {
      machines: [machine('pi1', { failure: 'port 7443 is taken' }), machine('pi2')],
      chosen: new Map([chosen('pi1', { state: 'chosen' })]),
    },
    want: 'fail pi1: port 7443 is taken',
  },
  {
    name: 'it never comes up',
    given: {
      machines: three,
      chosen: new Map([chosen('pi1', { state: 'chosen', sinceMs: nowMs - joinMs })]),
    },
    want: 'fail pi1: it did not come up within 15 minutes (nothing was heard of it)',
  },
  {
    name: 'after one that failed, the next',
    given: { machines: three.slice(0, 2), chosen: new Map([chosen('pi1', { state: 'failed' })]) },
    want: 'choose pi2',
  },
  {
    name: 'one that failed is asked again some hours later',
    given: {
      machines: three.slice(0, 1),
      chosen: new Map([chosen('pi1', { state: 'failed', sinceMs: nowMs - retryMs })]),
    },
    want: 'choose pi1',
  },
  {
    name: 'one that failed and is another machine by now',
    given: {
      machines: [machine('pi1', { uid: 'new' })],
      chosen: new Map([chosen('pi1', { state: 'failed' })]),
    },
    want: 'choose pi1',
  },
  {
    name: 'three are enough',
    given: { ...settled, machines: [...three, machine('pi4')] },
    want: undefined,
  },
  {
    name: 'five, when asked for',
    given: { ...settled, machines: [...three, machine('pi4')], wanted: 5 },
    want: 'choose pi4',
  },
  {
    name: 'none any more, when asked for: one after the other',
    given: { ...settled, wanted: 1 },
    want: 'remove pi3: there are more copies than wanted',
  },
  {
    name: 'a blip of one',
    given: {
      ...settled,
      machines: [...three, machine('pi4')],
      members: [
        laptop,
        member('pi1'),
        member('pi2'),
        member('pi3', { isRunning: false, awaySinceMs: nowMs - 60_000 }),
      ],
    },
    want: undefined,
  },
  {
    name: 'one is away for long: another first',
    given: {
      ...settled,
      machines: [...three, machine('pi4')],
      members: [laptop, member('pi1'), member('pi2'), member('pi3', gone)],
    },
    want: 'choose pi4',
  },
  {
    name: 'then the one that is away goes',
    given: {
      ...settled,
      members: [laptop, member('pi1'), member('pi2'), member('pi3', gone), member('pi4')],
    },
    want: 'remove pi3: it was away for long, and others are there',
  },
  {
    name: 'away for long, and nobody else: it stays',
    given: { ...settled, members: [laptop, member('pi1'), member('pi2'), member('pi3', gone)] },
    want: undefined,
  },
  {
    name: 'its Node was deleted',
    given: { ...settled, machines: three.slice(0, 2) },
    want: 'remove pi3: its Node was deleted',
  },
  {
    name: 'a person forbids it later',
    given: { ...settled, machines: [machine('pi1', { isForbidden: true }), ...three.slice(1)] },
    want: 'remove pi1: it is not to keep the state',
  },
  {
    name: 'members that a person made are counted and left alone',
    given: {
      machines: [machine('pi4')],
      members: [member('nas'), member('pc'), member('box', gone), member('shed')],
    },
    want: undefined,
  },
];

describe('the next step', () => {
  it.each(cases)('$name', ({ given, want }) => {
    const step = nextStep(home(given));
    const why = step !== undefined && 'why' in step ? `: ${step.why}` : '';
    expect(step && `${step.type} ${step.name}${why}`).toBe(want);
  });
});

describe('the sentence', () => {
  it.each([
    {
      given: home({ machines: [machine('pi1', { syncMs: 180 })] }),
      want: "Keeps no copy of the cluster's state: its disk takes 180 ms for a write that is to last, which all writes of the cluster would wait for.",
    },
    { given: home({ ...settled }), want: "Keeps the cluster's state, with one of 4 votes." },
    {
      given: home({
        machines: three,
        members: [laptop, member('pi1')].map((one) => ({ ...one, isVoter: one.name === 'pi1' })),
      }),
      want: "Keeps the cluster's state, and alone decides: of two machines one has the vote, since two votes would stop at the loss of either.",
    },
    {
      given: home({ machines: [machine('pi1', { isOurs: false })] }),
      want: "Keeps no copy of the cluster's state: its agent was not placed there by this app.",
    },
  ])('$want', ({ given, want }) => {
    const [first = machine('')] = given.machines;
    expect(sentenceOf(given, first)).toBe(want);
  });
});

/** Machines that come, go, fail and are forbidden; each step is carried out, and every member does as it is told. */
it("whatever happens, settles with enough copies, and never acts on a person's members", () => {
  const some = fc.record({
    isAlwaysOn: fc.boolean(),
    isForbidden: fc.boolean(),
    syncMs: fc.constantFrom(undefined, 2, 40, 180),
    fails: fc.boolean(),
  });
  const homes = fc.tuple(fc.array(some, { maxLength: 8 }), fc.constantFrom(1, 3, 5));
  fc.assert(
    fc.property(homes, ([drawn, wanted]) => {
      const machines = drawn.map(({ fails, ...more }, index) =>
        machine(`m${index}`, { ...more, failure: fails ? 'it fails' : undefined }),
      );
      let world = home({ machines, wanted });
      let steps = 0;
      for (let step = nextStep(world); step !== undefined; step = nextStep(world)) {
        expect(++steps).toBeLessThan(40);
        const { name, type } = step;
        expect(name).not.toBe('laptop');
        const marks = new Map(world.chosen);
        let { members } = world;
        const { isAlwaysOn = true, failure } = machines.find((one) => one.name === name) ?? {};
        const note = (state: Chosen['state']) =>
          marks.set(name, { uid: `uid-${name}`, state, sinceMs: nowMs });
        if (type === 'choose') {
          note('chosen');
          if (failure === undefined) members = [...members, member(name, { isAlwaysOn })];
        }
        if (type === 'settle') note('member');
        if (type === 'fail') note('failed');
        if (type === 'remove') marks.delete(name);
        if (type === 'fail' || type === 'remove')
          members = members.filter((one) => one.name !== name);
        world = { ...world, chosen: marks, members };
      }
      const able = machines.filter((one, index) => {
        const { fails = true } = drawn[index] ?? {};
        return !fails && !one.isForbidden && (one.syncMs ?? 0) <= 100;
      });
      const lasting = able.filter((one) => one.isAlwaysOn).length;
      const got = world.members.filter((one) => one.isAlwaysOn).length;
      expect(got).toBe(wanted === 1 ? 0 : Math.min(lasting, wanted));
      if (wanted > 1)
        expect(world.members.length).toBeGreaterThanOrEqual(Math.min(able.length + 1, wanted));
    }),
  );
});
