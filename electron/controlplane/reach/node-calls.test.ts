import { expect, it } from 'vitest';
import { openMax, step, wakeAtMs, type CallsEvent, type NodeCalls } from './node-calls.ts';

/** What is begun at each line, and until when nothing is: `node pi`, `lost pi`, `gone pi`, `place`, `time`, `told pi`, `failed pi`. */
function play(...script: readonly string[]): readonly string[] {
  let calls: NodeCalls = new Map();
  let nowMs = 0;
  return script.map((line) => {
    const [, at, said = ''] = /^(?:at (\d+) )?(.*)$/.exec(line) ?? [];
    nowMs = at === undefined ? nowMs : Number(at) * 1000;
    const next = step(calls, eventOf(said), nowMs);
    calls = next.calls;
    const wakeMs = wakeAtMs(calls);
    const until = wakeMs === undefined ? '' : ` until ${wakeMs / 1000}`;
    return `${next.begin.join(' ')}${until}`.trim();
  });
}

function eventOf(said: string): CallsEvent {
  const [word = '', name = ''] = said.split(' ');
  switch (word) {
    case 'node':
    case 'lost':
      return { type: 'node', name, isLost: word === 'lost' };
    case 'told':
    case 'failed':
      return { type: 'called', name, isTold: word === 'told' };
    case 'gone':
      return { type: 'gone', name };
    case 'place':
    case 'time':
      return { type: word };
    default:
      throw new Error(`no event ${said}`);
  }
}

it('nobody is called while all are well', () => {
  expect(play('node a', 'node b', 'at 100 node a', 'time')).toEqual(['', '', '', '']);
});

it('all are told of a place, once', () => {
  const script = ['node a', 'node b', 'place', 'told a', 'told b', 'at 60 node a'];
  expect(play(...script)).toEqual(['', '', 'a b', '', '', '']);
});

it('who is not reached is called again, ever more seldom, and not for ever while it should be well', () => {
  const script = ['node a', 'place', 'failed a'];
  for (const s of [1, 3, 7, 15, 31, 63]) script.push(`at ${s} time`, 'failed a');
  const want = ['', 'a', 'until 1'];
  for (const s of [3, 7, 15, 31, 63]) want.push('a', `until ${s}`);
  expect(play(...script)).toEqual([...want, 'a', '']);
});

it('one that is lost is called until it is heard of, at most once a minute, also when it took it well', () => {
  const script = ['node a', 'at 40 lost a', 'failed a', 'at 41 time', 'told a'];
  const want = ['', 'a', 'until 41', 'a', 'until 43'];
  let atS = 43;
  for (const waitS of [4, 8, 16, 32, 60, 60, 60]) {
    script.push(`at ${atS} time`, 'failed a');
    want.push('a', `until ${(atS += waitS)}`);
  }
  expect(play(...script, 'node a')).toEqual([...want, '']);
});

it('one that was lost already when it is first seen is called at once, and again after it was well', () => {
  const script = ['lost a', 'told a', 'at 0 node a', 'at 99 lost a'];
  expect(play(...script)).toEqual(['a', 'until 1', '', 'a']);
});

it('another place while somebody is told is told after it, from the start', () => {
  expect(play('node a', 'place', 'place', 'failed a', 'told a')).toEqual(['', 'a', '', 'a', '']);
  const later = ['node a', 'place', 'failed a', 'at 1 time', 'failed a', 'at 2 place', 'failed a'];
  expect(play(...later)).toEqual(['', 'a', 'until 1', 'a', 'until 3', 'a', 'until 3']);
});

it('one that becomes well while it is called is called no more', () => {
  expect(play('lost a', 'node a', 'told a')).toEqual(['a', '', '']);
});

it('one that is gone is forgotten, and what comes of its call is nothing', () => {
  expect(play('lost a', 'gone a', 'failed a', 'place')).toEqual(['a', '', '', '']);
});

it('a few are called at a time, and who waited longest is next', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const script = [...names.map((name) => `node ${name}`), 'place', 'failed b', 'told a'];
  expect(openMax).toBe(4);
  const begun = play(...script, 'at 2 told c').slice(names.length);
  expect(begun).toEqual(['a b c d', 'e', 'f', 'b']);
});
