import { describe, expect, it } from 'vitest';
import {
  startOfChoice,
  step,
  wakeAtMs,
  type Choice,
  type ChoiceEvent,
  type ServerList,
} from './server-choice.ts';

/** What is done at each line: `at 250 time` says that it is time, `failed a`, `ready a`, `unready a`, `lost a`, `unwell a`, `servers a,b own b`. */
function play(
  script: readonly string[],
  list: ServerList = { servers: ['a', 'b', 'c'], own: undefined },
) {
  let choice = startOfChoice(list);
  let nowMs = 0;
  const told: string[] = [];
  for (const line of script) {
    const [, at, said = ''] = /^(?:at (\d+) )?(.*)$/.exec(line) ?? [];
    nowMs = at === undefined ? nowMs : Number(at);
    const { choice: next, actions } = step(choice, eventOf(said), { nowMs, draw: 0 });
    choice = next;
    const words = actions.map((action) => {
      if (action.type === 'use') return `use ${action.server}${action.isGentle ? ' gently' : ''}`;
      return action.type === 'ask' ? `ask ${action.server}` : action.type;
    });
    const wake = wakeAtMs(choice);
    const until = wake === undefined ? '' : ` until ${wake}`;
    told.push(`${words.join(', ')}${until}`.trim());
  }
  return { told, choice };
}

function eventOf(said: string): ChoiceEvent {
  const [word = '', server = '', , own] = said.split(' ');
  switch (word) {
    case 'wanted':
    case 'time':
    case 'network':
      return { type: word };
    case 'lost':
    case 'unwell':
      return { type: word, server };
    case 'heard':
      return { type: word, servers: server.split(',') };
    case 'ready':
    case 'unready':
      return { type: 'answered', server, isReady: word === 'ready' };
    case 'failed':
      return { type: 'failed', server, why: `${server} is dead` };
    case 'servers':
      return { type: 'servers', servers: server.split(','), own };
    default:
      throw new Error(`no event ${said}`);
  }
}

const cases: readonly {
  readonly rule: string;
  readonly list?: ServerList;
  readonly script: readonly string[];
  readonly want: readonly string[];
}[] = [
  {
    rule: 'a single server is taken without a question, also after it failed',
    list: { servers: ['a'], own: undefined },
    script: ['wanted', 'lost a', 'wanted', 'unwell a'],
    want: ['use a', 'drop, search', 'use a', ''],
  },
  {
    rule: 'the first that is ready is taken, and no other is asked',
    script: ['wanted', 'at 100 ready a', 'wanted'],
    want: ['ask a until 250', 'use a', ''],
  },
  {
    rule: 'one that is silent costs a quarter of a second, and may still be first',
    script: ['wanted', 'at 250 time', 'at 300 ready b', 'at 400 ready a'],
    want: ['ask a until 250', 'ask b until 500', 'use b', ''],
  },
  {
    rule: 'one that refuses costs nothing',
    script: ['wanted', 'at 10 failed a', 'at 20 failed b', 'at 30 ready c'],
    want: ['ask a until 250', 'ask b until 260', 'ask c', 'use c'],
  },
  {
    rule: 'when none answers whoever waits is told, and the next round waits longer each time',
    script: [
      'wanted',
      'at 10 failed a',
      'failed b',
      'failed c',
      'at 100 wanted',
      'at 260 time',
      'failed a',
      'failed b',
      'failed c',
      'at 300 wanted',
      'at 760 time',
    ],
    want: [
      'ask a until 250',
      'ask b until 260',
      'ask c',
      'giveUp, search',
      'until 260',
      'ask a until 510',
      'ask b until 510',
      'ask c',
      'giveUp, search',
      'until 760',
      'ask a until 1010',
    ],
  },
  {
    rule: 'nobody is asked while nobody waits',
    script: ['wanted', 'failed a', 'failed b', 'failed c', 'at 9000 time', 'at 9001 network'],
    want: ['ask a until 250', 'ask b until 250', 'ask c', 'giveUp, search', '', ''],
  },
  {
    rule: 'other addresses of this machine end the wait',
    script: ['wanted', 'failed a', 'failed b', 'failed c', 'wanted', 'at 5 network'],
    want: [
      'ask a until 250',
      'ask b until 250',
      'ask c',
      'giveUp, search',
      'until 250',
      'ask a until 255',
    ],
  },
  {
    rule: 'one that answers but is not ready is better than none, and others are looked for',
    script: ['wanted', 'failed a', 'unready b', 'failed c', 'at 250 time', 'unready b', 'ready a'],
    want: [
      'ask a until 250',
      'ask b until 250',
      'ask c',
      'use b, search until 250',
      'ask b until 500',
      'ask a until 500',
      'use a',
    ],
  },
  {
    rule: 'one that says that it is missed is asked beside the one in use, which stays when it is well',
    script: ['wanted', 'ready a', 'at 5000 heard b', 'at 5010 ready a', 'at 5020 heard a'],
    want: ['ask a until 250', 'use a', 'ask a until 5250', '', ''],
  },
  {
    rule: 'and taken from one that is gone without having said so',
    list: { servers: ['a'], own: undefined },
    script: ['wanted', 'at 100 servers a,b', 'heard b', 'at 350 time', 'at 360 ready b'],
    want: ['use a', '', 'ask a until 350', 'ask b', 'use b'],
  },
  {
    rule: 'and ends the wait for the next round, also before somebody asks',
    script: ['wanted', 'failed a', 'failed b', 'failed c', 'at 5 heard c', 'wanted'],
    want: ['ask a until 250', 'ask b until 250', 'ask c', 'giveUp, search', '', 'ask a until 255'],
  },
  {
    rule: 'one that is lost is left at once, and tried last',
    script: ['wanted', 'ready a', 'at 5000 lost a', 'wanted', 'ready b'],
    want: ['ask a until 250', 'use a', 'drop', 'ask b until 5250', 'use b'],
  },
  {
    rule: 'two that are lost one after the other are not asked without a pause',
    script: ['wanted', 'ready a', 'at 5 lost a', 'wanted', 'at 1000 time'],
    want: ['ask a until 250', 'use a', 'drop', 'until 1000', 'ask b until 1250'],
  },
  {
    rule: 'one that is unwell is asked itself, and kept when it is ready',
    script: ['wanted', 'ready a', 'at 5000 unwell a', 'at 5010 ready a', 'at 5020 unwell a'],
    want: ['ask a until 250', 'use a', 'ask a until 5250', '', ''],
  },
  {
    rule: 'one that is frozen is left for the next that is ready',
    script: ['wanted', 'ready a', 'at 5000 unwell a', 'at 5250 time', 'at 5300 ready b'],
    want: ['ask a until 250', 'use a', 'ask a until 5250', 'ask b until 5500', 'use b'],
  },
  {
    rule: 'one that is frozen is given up, also when there is no other',
    script: ['wanted', 'ready a', 'at 5000 unwell a', 'failed a', 'failed b', 'failed c'],
    want: [
      'ask a until 250',
      'use a',
      'ask a until 5250',
      'drop, ask b until 5250',
      'ask c',
      'giveUp, search',
    ],
  },
  {
    rule: 'without a majority anywhere the one in use is kept, and looked at again',
    script: [
      'wanted',
      'ready a',
      'at 5000 unwell a',
      'unready a',
      'unready b',
      'unready c',
      'at 5250 time',
    ],
    want: [
      'ask a until 250',
      'use a',
      'ask a until 5250',
      'ask b until 5250',
      'ask c',
      'search until 5250',
      'ask a until 5500',
    ],
  },
  {
    rule: 'the one on this machine is gone back to, gently, once it is ready',
    list: { servers: ['a', 'b'], own: 'a' },
    script: [
      'wanted',
      'failed a',
      'ready b',
      'at 60000 time',
      'failed a',
      'at 120000 time',
      'ready a',
    ],
    want: [
      'ask a until 250',
      'ask b',
      'use b until 60000',
      'ask a',
      'until 120000',
      'ask a',
      'use a gently',
    ],
  },
  {
    rule: 'one on this machine that was only just heard of is gone to soon',
    list: { servers: ['a'], own: undefined },
    script: ['wanted', 'servers own,a own own', 'at 5000 time', 'ready own'],
    want: ['use a', 'until 5000', 'ask own', 'use own gently'],
  },
  {
    rule: 'servers that are heard of while none answers are asked at once',
    list: { servers: ['a', 'b'], own: undefined },
    script: ['wanted', 'failed a', 'failed b', 'wanted', 'at 100 servers a,b,c', 'at 101 failed a'],
    want: [
      'ask a until 250',
      'ask b',
      'giveUp, search',
      'until 250',
      'ask a until 350',
      'ask b until 351',
    ],
  },
  {
    rule: 'one that is told of no more goes on being used while it answers',
    script: ['wanted', 'ready a', 'servers b,c', 'wanted', 'lost a', 'at 2000 wanted'],
    want: ['ask a until 250', 'use a', '', '', 'drop', 'ask b until 2250'],
  },
];

describe('the choice of an API server', () => {
  for (const { rule, list, script, want } of cases)
    it(rule, () => expect(play(script, list).told).toEqual(want));

  it('answers of a server that nobody asked change nothing', () => {
    const { choice } = play(['wanted', 'ready a']);
    for (const said of ['ready b', 'failed a', 'unready c', 'lost b', 'unwell b'])
      expect(step(choice, eventOf(said), { nowMs: 9_999, draw: 0 })).toEqual({
        choice,
        actions: [],
      });
  });

  it('says of all that failed why, once', () => {
    let choice: Choice = startOfChoice({ servers: ['a', 'b'], own: undefined });
    const moment = { nowMs: 0, draw: 0 };
    ({ choice } = step(choice, { type: 'wanted' }, moment));
    ({ choice } = step(choice, { type: 'failed', server: 'a', why: 'refused' }, moment));
    const { actions } = step(choice, { type: 'failed', server: 'b', why: 'refused' }, moment);
    const why = 'none of the API servers a, b answers: refused';
    expect(actions).toContainEqual({ type: 'giveUp', why });
  });

  it('rests up to twice as long by chance, and never longer than ten seconds', () => {
    let choice = startOfChoice({ servers: ['a', 'b'], own: undefined });
    let nowMs = 0;
    const rests: number[] = [];
    for (let round = 0; round < 8; round++) {
      ({ choice } = step(choice, { type: 'wanted' }, { nowMs, draw: 0.5 }));
      ({ choice } = step(choice, { type: 'time' }, { nowMs, draw: 0.5 }));
      for (const server of ['a', 'b'])
        ({ choice } = step(choice, { type: 'failed', server, why: '' }, { nowMs, draw: 0.5 }));
      rests.push(choice.restUntilMs - nowMs);
      nowMs = choice.restUntilMs;
    }
    expect(rests).toEqual([375, 750, 1_500, 3_000, 6_000, 7_500, 7_500, 7_500]);
  });
});
