// The real store in a process of its own, killed at each failpoint while it is written to: all that
// was acknowledged is there afterwards, and of what was not, all or nothing.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FailpointName } from '#platform/failpoints.ts';
import {
  MemberProcess,
  type ArmedFailpoint,
  type MemberConfig,
} from '../../../test/setup/member-process.ts';
import { Promised } from '../../../test/setup/member-work.ts';
import { openStoreIn } from '../../../test/setup/store.ts';

/** In memory where there is such a disk: what the kernel was given survives a process either way. */
const folder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(folder, 'flotilla-crash-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** So small that everything happens often. */
const limits = {
  segmentBytes: 64 * 1024,
  replica: { logLimits: { tailEntries: 20, stepEntries: 40 } },
};

function config(more: Partial<MemberConfig> = {}): MemberConfig {
  const wish = { type: 'new', name: 'one', addresses: [] } as const;
  return { directory: path.join(directory, 'store'), memberId: 7, wish, limits, ...more };
}

async function check(promised: Promised, at = config().directory): Promise<void> {
  const { store, state } = await openStoreIn(at, limits);
  await promised.check(store);
  await state.swept();
  await store.close();
  expect(readdirSync(at).filter((name) => /copy|received|unfinished/.test(name))).toEqual([]);
}

/** Each crash meets what the one before left behind. */
const failpoints: ArmedFailpoint[] = [
  'log:before-write*60',
  'log:after-write*61',
  'state:log-synced',
  'log:segment-taken*2',
  'state:checkpointed',
  'log:segment-written*4',
  'state:in-transaction*2',
  'log:segment-named*4',
  'state:committed*2',
  'state:swept',
];

describe('a store killed while it works', () => {
  it('keeps all it acknowledged, wherever that is', { timeout: 600_000 }, async () => {
    const promised = new Promised();
    for (const [seed, failpoint] of failpoints.entries()) {
      const member = new MemberProcess(config(), failpoint, promised);
      await member.ready();
      const before = promised.writes;
      const killed = member.ask({ ask: 'work', seed, name: `run${seed}`, lanes: 4 });
      await expect(killed, failpoint).rejects.toThrow('it ended');
      await member.gone();
      expect([member.killedAt, member.refused]).toEqual([failpoint.split('*')[0], undefined]);
      await check(promised);
      expect(promised.writes).toBeGreaterThan(before);
    }
  });
});

describe('a cluster whose founding is cut short', () => {
  const beginnings: FailpointName[] = [
    'member:chosen',
    'member:written',
    'log:segment-written',
    'log:segment-named',
    'log:before-write',
    'log:after-write',
    'member:log-begun',
  ];
  for (const failpoint of beginnings)
    it(`at ${failpoint} is founded by the next start`, { timeout: 60_000 }, async () => {
      const cut = new MemberProcess(config(), failpoint);
      await cut.gone();
      expect([cut.killedAt, cut.refused]).toEqual([failpoint, undefined]);
      const next = await new MemberProcess(config()).ready();
      const put = { ask: 'put', key: 'a', value: 'b', expected: 0 } as const;
      expect(await next.ask(put)).toMatchObject({ ok: true, revision: 1 });
      await next.stop();
    });
});

describe('a backup that is cut short', () => {
  it('leaves no file that looks like one, and no copy', { timeout: 60_000 }, async () => {
    const promised = new Promised();
    const file = path.join(directory, 'backup');
    const member = await new MemberProcess(config(), 'snapshot:copied', promised).ready();
    await member.ask({ ask: 'work', seed: 1, name: 'a', lanes: 4, writes: 8 });
    const backup = member.ask({ ask: 'backup', file });
    await expect(backup).rejects.toThrow('it ended');
    expect([member.killedAt, existsSync(file)]).toEqual(['snapshot:copied', false]);
    await check(promised);
  });
});
