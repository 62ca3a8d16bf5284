import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeMembership } from '../raft/membership.ts';
import type { Entry } from '../raft/types.ts';
import {
  BootstrapError,
  planIdentity,
  planStart,
  type FoundMember,
  type FoundState,
  type MemberRecord,
  type StartWish,
} from './bootstrap.ts';
import {
  beginMember,
  readMemberFile,
  writeMemberFile,
  type BeginMemberDeps,
} from './member-file.ts';
import type { AppliedMark, LogBatch, RecoveredLog } from './types.ts';

const nobody = { members: [] };
const nothing: AppliedMark = { index: 0, term: 0, membership: nobody };
const some: AppliedMark = { index: 7, term: 2, membership: nobody };
const founded: MemberRecord = {
  clusterId: 'c',
  memberId: 5,
  name: 'nas',
  incarnation: 'disk',
  begunAs: 'new',
  hasBegun: true,
};
const unfinished: MemberRecord = { ...founded, hasBegun: false };
const joined: MemberRecord = { ...founded, begunAs: 'join' };
const asNew: StartWish = { type: 'new', name: 'nas', addresses: ['nas:1'] };
const asJoiner: StartWish = { type: 'join', name: 'nas', clusterId: 'c' };
const asBefore: StartWish = { type: 'restart', name: 'nas', addresses: ['nas:1'] };

describe('who a member is', () => {
  const empty: FoundMember = { record: undefined, hasLog: false, applied: nothing };
  const cases: readonly {
    readonly name: string;
    readonly found: FoundMember;
    readonly wish: StartWish;
    readonly want: MemberRecord | RegExp;
  }[] = [
    {
      name: 'founds a cluster when told so',
      found: empty,
      wish: asNew,
      want: { ...unfinished, clusterId: 'fresh' },
    },
    {
      name: 'joins when told so',
      found: empty,
      wish: asJoiner,
      want: { ...joined, hasBegun: false },
    },
    {
      name: 'does not begin by itself',
      found: empty,
      wish: asBefore,
      want: /state and its log are gone/,
    },
    ...[asNew, asBefore].map((wish) => ({
      name: `founds a cluster around a state that never had a log when told "${wish.type}"`,
      found: { ...empty, applied: some },
      wish,
      want: { ...unfinished, clusterId: 'fresh' },
    })),
    {
      name: 'does not join with a state of its own',
      found: { ...empty, applied: some },
      wish: asJoiner,
      want: /holds a cluster of its own/,
    },
    ...[asNew, asJoiner, asBefore].map((wish) => ({
      name: `goes on where there is data, also when told "${wish.type}"`,
      found: { record: founded, hasLog: true, applied: some },
      wish,
      want: founded,
    })),
    {
      name: 'finishes a beginning that was cut short',
      found: { ...empty, record: unfinished },
      wish: asNew,
      want: unfinished,
    },
    {
      name: 'does not guess whose log it is',
      found: { ...empty, hasLog: true },
      wish: asNew,
      want: /member\.json is missing/,
    },
    {
      name: 'does not begin anew when its log is gone',
      found: { record: founded, hasLog: false, applied: some },
      wish: asNew,
      want: /The log is gone/,
    },
    {
      name: 'is not taken for another: the key decides',
      found: { record: { ...founded, memberId: 6 }, hasLog: true, applied: some },
      wish: asBefore,
      want: /is member 6's, but the key is member 5's/,
    },
    {
      name: 'does not join another cluster than its own',
      found: { record: founded, hasLog: true, applied: some },
      wish: { ...asJoiner, clusterId: 'other' },
      want: /can't join cluster other/,
    },
  ];
  for (const { name, found, wish, want } of cases)
    it(name, () => {
      const self = { memberId: 5, clusterId: 'fresh', incarnation: 'disk' };
      const plan = (): MemberRecord => planIdentity(found, wish, self);
      if (!(want instanceof RegExp)) return expect(plan()).toEqual(want);
      expect(plan).toThrow(want);
      expect(plan).toThrow(BootstrapError);
    });
});

function of(applied: AppliedMark, installedIndex?: number): FoundState {
  return { applied, installedIndex };
}

describe('where a member begins', () => {
  const entry = (index: number, term: number): Entry => ({
    index,
    term,
    kind: 'noop',
    data: new Uint8Array(),
  });
  const log: RecoveredLog = {
    hardState: { term: 3, vote: 9, commit: 8 },
    start: { index: 5, term: 2 },
    entries: [entry(6, 2), entry(7, 2), entry(8, 3)],
  };

  it('founds by the first entry: itself as the only voter, committed', () => {
    const { start, firstWrite } = planStart(unfinished, undefined, of(nothing), {
      addresses: ['nas:1'],
      entryVersion: 2,
    });
    const [first] = start.entries;
    expect(first && decodeMembership(first.data).members).toEqual([
      {
        id: 5,
        role: 'voter',
        name: 'nas',
        addresses: ['nas:1'],
        incarnation: 'disk',
        entryVersion: 2,
      },
    ]);
    expect(start).toMatchObject({
      hardState: { term: 1, vote: 0, commit: 1 },
      snapshot: { index: 0, term: 0 },
      appliedIndex: 0,
    });
    expect(firstWrite).toEqual({
      hardState: start.hardState,
      entries: start.entries,
      snapshot: undefined,
      mustSync: true,
    });
  });

  it('founds behind a state, so that newcomers are sent it, and of a later term', () => {
    const old = { ...some, membership: { members: [] } };
    const { start, firstWrite } = planStart(unfinished, undefined, of(old));
    expect(start.entries.map(({ index, term }) => [index, term])).toEqual([[8, 3]]);
    expect(firstWrite?.snapshot).toEqual({ index: 7, term: 2, membership: nobody });
    expect(start).toMatchObject({ appliedIndex: 7, hardState: { term: 3, vote: 0, commit: 8 } });
  });

  it('joins with nothing, in no membership, which is written down', () => {
    const { start, firstWrite } = planStart({ ...joined, hasBegun: false }, undefined, of(nothing));
    expect([start.entries, start.snapshot]).toEqual([[], nothing]);
    expect(firstWrite?.hardState).toEqual({ term: 0, vote: 0, commit: 0 });
  });

  it('goes on from log and state, without a write', () => {
    const { start, firstWrite } = planStart(founded, log, of(some));
    expect(firstWrite).toBeUndefined();
    expect(start).toEqual({
      hardState: log.hardState,
      snapshot: { index: 5, term: 2, membership: nobody },
      entries: log.entries,
      appliedIndex: 7,
    });
  });

  const installed: readonly { name: string; mark: AppliedMark; want: object }[] = [
    {
      name: 'ahead of the log, of a later term: the vote was for an earlier one',
      mark: { index: 20, term: 4, membership: nobody },
      want: { term: 4, vote: 0, commit: 20 },
    },
    {
      name: 'ahead of the log, of its term: the vote still counts',
      mark: { index: 20, term: 3, membership: nobody },
      want: { term: 3, vote: 9, commit: 20 },
    },
    {
      name: 'within the log, which went another way',
      mark: { index: 7, term: 3, membership: nobody },
      want: { term: 3, vote: 9, commit: 7 },
    },
  ];
  for (const { name, mark, want } of installed)
    it(`begins behind a snapshot that was installed just before a crash: ${name}`, () => {
      const { start, firstWrite } = planStart(founded, log, of(mark, mark.index));
      expect(start).toEqual({
        hardState: want,
        snapshot: mark,
        entries: [],
        appliedIndex: mark.index,
      });
      expect(firstWrite).toMatchObject({ snapshot: mark, entries: [] });
    });

  for (const { name, mark } of installed)
    for (const [what, installedIndex] of [
      ['no snapshot', undefined],
      ['a snapshot that it has moved on from', 3],
    ] as const)
      it(`refuses a state that is ${what}, ${name.replace(/:.*/, '')}`, () => {
        const begin = (): unknown => planStart(founded, log, of(mark, installedIndex));
        expect(begin).toThrow(BootstrapError);
        expect(begin).toThrow(
          new RegExp(
            `up to entry ${mark.index} of term ${mark.term}.*up to entry 8 of term 3.*Put`,
          ),
        );
      });

  it('refuses a state that is older than where the log begins', () => {
    const old = { index: 4, term: 2, membership: nobody };
    expect(() => planStart(founded, log, of(old))).toThrow(/begins behind entry 5.* ends at 4/);
  });

  it('refuses to begin with an empty log where there was one', () => {
    expect(() => planStart(founded, undefined, of(some))).toThrow('The log is gone');
  });
});

describe('member.json', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'member-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const batches: LogBatch[] = [];
  function deps(more: Partial<BeginMemberDeps> = {}): BeginMemberDeps {
    batches.length = 0;
    return {
      file: join(directory, 'member.json'),
      memberId: 5,
      wish: asNew,
      newClusterId: 'fresh',
      newIncarnation: 'disk',
      entryVersion: 2,
      hasLog: () => false,
      openLog: () => ({
        log: {
          write: (batch, done) => {
            batches.push(batch);
            setImmediate(done);
          },
          hasRoom: () => true,
          compact() {},
          close() {},
        },
        recovered: undefined,
      }),
      state: { applied: nothing, installedIndex: undefined },
      ...more,
    };
  }

  it('is there before the log is opened, and says afterwards that it has begun', async () => {
    const given = deps();
    let before: MemberRecord | undefined;
    const openLog: BeginMemberDeps['openLog'] = (record) => {
      before = record;
      return given.openLog(record);
    };
    const { record } = await beginMember({ ...given, openLog });
    expect(before).toEqual({ ...unfinished, clusterId: 'fresh' });
    expect(record).toEqual({ ...founded, clusterId: 'fresh' });
    expect(await readMemberFile(given.file)).toEqual(record);
    expect(batches).toHaveLength(1);
  });

  it('keeps the cluster it began with when the beginning was cut short', async () => {
    const broken = deps({
      openLog: () => {
        throw new Error('killed');
      },
    });
    await expect(beginMember(broken)).rejects.toThrow('killed');
    const { record } = await beginMember(deps({ newClusterId: 'another' }));
    expect(record.clusterId).toBe('fresh');
    await expect(beginMember(deps())).rejects.toThrow('The log is gone');
  });

  it('of a release that knew no incarnations is given one, once, which stays', async () => {
    const given = deps();
    const { incarnation: _none, ...old } = unfinished;
    await writeMemberFile(given.file, old);
    expect((await beginMember(given)).record.incarnation).toBe('disk');
    const { newIncarnation: _other, ...same } = deps({ newClusterId: 'another' });
    const later = { ...same, newIncarnation: 'never', hasLog: () => true };
    await expect(beginMember(later)).rejects.toThrow('The log is gone');
    expect((await readMemberFile(given.file))?.incarnation).toBe('disk');
  });

  const damaged: readonly [string, RegExp][] = [
    ['', /can't be read/],
    ['{"version":1,"clusterId":"c"}', /can't be read/],
    ['[1]', /can't be read/],
    [JSON.stringify({ ...founded, version: 2 }), /newer release/],
  ];
  for (const [text, want] of damaged)
    it(`is refused when it is ${text === '' ? 'empty' : text}`, async () => {
      writeFileSync(join(directory, 'member.json'), text);
      await expect(beginMember(deps())).rejects.toThrow(want);
    });
});
