import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import {
  assertNotSuperseded,
  noteSuperseded,
  parseSuccession,
  supersedes,
  tellPredecessors,
} from './succession.ts';

const since = '2026-11-24T05:06:07Z';
let data: string;
beforeEach(async () => {
  data = await mkdtemp(path.join(tmpdir(), 'flotilla-succession-'));
});
afterEach(() => rm(data, { recursive: true }));

describe('who goes on', () => {
  const told = (...lineage: readonly string[]) => ({ lineage, nodeName: 'new', since });
  const cases = [
    { name: 'from this state', lineage: ['new', 'mine'], own: ['mine'], want: true },
    {
      name: 'from a later one of this state',
      lineage: ['newer', 'new', 'mine'],
      own: ['mine', 'past'],
      want: true,
    },
    { name: 'is this one itself', lineage: ['mine', 'past'], own: ['mine', 'past'], want: false },
    {
      name: 'from the same past, beside this one',
      lineage: ['new', 'past'],
      own: ['mine', 'past'],
      want: false,
    },
    { name: 'is a stranger', lineage: ['new', 'other'], own: ['mine'], want: false },
    { name: 'is not known here', lineage: ['new', 'mine'], own: [], want: false },
  ] as const;
  for (const { name, lineage, own, want } of cases)
    it(`${name}: ${want ? 'this one gives way' : 'nothing changes'}`, () =>
      expect(supersedes(told(...lineage), own)).toBe(want));

  it('is told in a form of its own', () => {
    const text = JSON.stringify(told('new', 'mine'));
    expect(parseSuccession(text)).toEqual(told('new', 'mine'));
    for (const bad of [
      '',
      '{}',
      'null',
      '{"lineage":["a"]}',
      '{"lineage":[1,2],"nodeName":"n","since":"s"}',
    ])
      expect(parseSuccession(bad)).toBeUndefined();
  });

  it('is remembered by who gave way, over each start', async () => {
    assertNotSuperseded(data);
    const error = await noteSuperseded(data, told('new', 'mine'));
    expect(error.message).toContain(`goes on on new, which adopted its backup on ${since}`);
    expect(() => assertNotSuperseded(data)).toThrow(error.message);
    await writeFile(path.join(data, 'superseded.json'), 'garbled');
    expect(() => assertNotSuperseded(data)).toThrow('goes on on another computer');
  });
});

describe('those of before', () => {
  it('are told each minute until they have heard it, also after a restart', async () => {
    const clock = new ManualClock();
    const file = path.join(data, 'adopted.json');
    await writeFile(file, JSON.stringify({ since, addresses: ['a:1', 'b:2'] }));
    const asked: string[] = [];
    const hearing = new Set<string>(['b:2']);
    const tell = (address: string): Promise<boolean> => {
      asked.push(address);
      return hearing.has(address) ? Promise.resolve(true) : Promise.reject(new Error('nobody'));
    };
    const deps = { dataDirectory: data, tell, clock, logger: silentLogger };
    const stop = new AbortController();
    const first = tellPredecessors(deps, stop.signal);
    await until(() => clock.nextTimerMs() !== undefined);
    expect(asked).toEqual(['a:1', 'b:2']);
    stop.abort();
    await first;
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ since, addresses: ['a:1'] });
    const second = tellPredecessors(deps, new AbortController().signal);
    await until(() => clock.nextTimerMs() !== undefined);
    hearing.add('a:1');
    clock.advance(60_000);
    await until(() => asked.length === 4 && clock.nextTimerMs() !== undefined);
    clock.advance(60_000);
    await second;
    expect(asked).toEqual(['a:1', 'b:2', 'a:1', 'a:1']);
  });

  it('are none where nothing was adopted', async () => {
    const tell = () => Promise.reject(new Error('nobody is told'));
    const deps = { dataDirectory: data, tell, clock: new ManualClock(), logger: silentLogger };
    await tellPredecessors(deps, new AbortController().signal);
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
}
