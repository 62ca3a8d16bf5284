import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { DataDirectoryLockedError, lockDataDirectory } from '#platform/sqlite.ts';
import { decodeMembership, encodeMembership } from '../raft/membership.ts';
import type { Entry, Member, MemberRole } from '../raft/types.ts';
import type { MemberRecord } from './bootstrap.ts';
import { openDisk } from './disk.ts';
import { LogRefusedError } from './log-errors.ts';
import { openLog } from './log-storage.ts';
import { beginMember, writeMemberFile } from './member-file.ts';
import { Proposals } from './proposals.ts';
import {
  finishRecovery,
  previewRecovery,
  recoverMember,
  setAside,
  type RecoverableState,
  type RecoveryDeps,
  type StateRecovery,
} from './recovery-run.ts';
import { planRecovery, RecoveryRefusedError } from './recovery.ts';
import type { AppliedMark, LogBatch, RecoveredLog } from './types.ts';

function member(id: number, role: MemberRole = 'voter'): Member {
  return { id, role, name: `m${id}`, addresses: [] };
}

const self = member(1);
const three = { members: [self, member(2), member(3)] };

/** As the log has it: with an envelope around it. */
function command(index: number, term: number, text: string): Entry {
  const proposals = new Proposals<void>({ origin: 1, random: seededRandom(index) });
  void proposals.add(Buffer.from(text), 0);
  const [proposal] = proposals.take(term);
  return { index, term, kind: 'command', data: proposal?.data ?? new Uint8Array(0) };
}

function noop(index: number, term: number): Entry {
  return { index, term, kind: 'noop', data: new Uint8Array(0) };
}

function logOf(
  commit: number,
  entries: readonly Entry[],
  start = { index: 0, term: 0 },
): RecoveredLog {
  return { hardState: { term: 4, vote: 2, commit }, start, entries };
}

const entries = [
  noop(1, 1),
  command(2, 1, 'a'),
  command(3, 2, 'b'),
  noop(4, 3),
  command(5, 3, 'c'),
  command(6, 3, 'd'),
];

describe('the plan', () => {
  const applied: AppliedMark = { index: 2, term: 1, membership: three };

  it('takes all there is, tells what may not be committed, and is above all terms', () => {
    const plan = planRecovery({ self: 1, log: logOf(5, entries), applied });
    expect(plan.commands.map(({ index, data }) => [index, Buffer.from(data).toString()])).toEqual([
      [3, 'b'],
      [5, 'c'],
      [6, 'd'],
    ]);
    expect(plan).toMatchObject({
      mark: { index: 6, term: 4, membership: { members: [] } },
      unconfirmedEntries: 1,
      before: three,
    });
  });

  const reaches = [
    { name: 'the last entry', commit: 3, applied: 2, index: 6, unconfirmed: 3 },
    {
      name: 'the last entry, when what is applied is ahead of the commit',
      commit: 2,
      applied: 4,
      index: 6,
      unconfirmed: 2,
    },
    {
      name: 'the last entry, when the commit is ahead of it',
      commit: 9,
      applied: 2,
      index: 6,
      unconfirmed: 0,
    },
    {
      name: 'the state, when the log ends before it',
      commit: 9,
      applied: 8,
      index: 8,
      unconfirmed: 0,
    },
  ];
  for (const { name, commit, applied: at, index, unconfirmed } of reaches)
    it(`goes up to ${name}`, () => {
      const mark = { index: at, term: at >= 4 ? 3 : 1, membership: three };
      const plan = planRecovery({ self: 1, log: logOf(commit, entries), applied: mark });
      expect(plan.mark).toMatchObject({ index, term: 4 });
      expect(plan.unconfirmedEntries).toBe(unconfirmed);
      expect(plan.commands.every((entry) => entry.index > at && entry.index <= index)).toBe(true);
    });

  it('works on a state without a log', () => {
    const plan = planRecovery({ self: 1, log: undefined, applied });
    expect(plan).toMatchObject({
      mark: { index: 2, term: 1 },
      commands: [],
      unconfirmedEntries: 0,
    });
  });

  it('goes by the newest membership in the log', () => {
    const data = encodeMembership({ members: [self, member(2, 'learner')] });
    const change: Entry = { index: 7, term: 3, kind: 'membership', data };
    const log = logOf(5, [...entries, change]);
    expect(() => planRecovery({ self: 1, log, applied })).toThrow(/only voter/);
  });

  const alone = { members: [self] };
  for (const [name, log] of [
    ['is gone', undefined],
    ['was put back from an older backup', logOf(5, entries)],
  ] as const)
    it(`is made for the only voter when its log ${name}`, () => {
      const mark = { index: 9, term: 4, membership: alone };
      expect(planRecovery({ self: 1, log, applied: mark })).toMatchObject({ mark: { index: 9 } });
    });

  const learner = { members: [member(1, 'learner'), member(2)] };
  it('is made for a learner, too', () => {
    const mark = { ...applied, membership: learner };
    const plan = planRecovery({ self: 1, log: logOf(5, entries), applied: mark });
    expect(plan.before).toEqual(learner);
  });

  const nothing = { index: 0, term: 0, membership: learner };
  const refusals = [
    { name: 'there is no state', log: undefined, applied: nothing, says: /never told anything/ },
    { name: 'nothing is committed', log: logOf(0, entries), applied: nothing, says: /never told/ },
    {
      name: 'the log begins behind the state',
      log: logOf(5, entries.slice(3), { index: 3, term: 2 }),
      applied,
      says: /lies between is lost/,
    },
    {
      name: 'it is the only voter',
      log: logOf(5, entries),
      applied: { ...applied, membership: { members: [self, member(2, 'learner')] } },
      says: /only voter .* Start it/,
    },
  ];
  for (const { name, says, ...given } of refusals)
    it(`is refused when ${name}`, () => {
      expect(() => planRecovery({ self: 1, ...given })).toThrow(RecoveryRefusedError);
      expect(() => planRecovery({ self: 1, ...given })).toThrow(says);
    });
});

// ---- on disk, with a state that is a small file ----

interface State {
  mark: AppliedMark;
  values: string[];
  recovered?: StateRecovery;
}

const stateFile = (folder: string): string => path.join(folder, 'state.json');
const memberFile = (folder: string): string => path.join(folder, 'member.json');

function readJson(file: string): unknown {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

class FileState implements RecoverableState {
  readonly #file: string;
  readonly #state: State;
  isClosed = false;

  constructor(file: string, state: State) {
    this.#file = file;
    this.#state = state;
  }
  applied(): AppliedMark {
    return this.#state.mark;
  }
  apply(...[commands, mark]: Parameters<RecoverableState['apply']>): readonly unknown[] {
    this.#state.values.push(...commands.map(({ data }) => Buffer.from(data).toString()));
    expect(mark.index).toBe(commands.at(-1)?.index);
    this.#state.mark = mark;
    return commands;
  }
  recover(change: StateRecovery): Promise<void> {
    const state: State = { ...this.#state, mark: change.mark, recovered: change };
    writeFileSync(this.#file, JSON.stringify(state));
    return Promise.resolve();
  }
  close(): void {
    this.isClosed = true;
  }
}

let dataDirectory: string;
let folder: string;
let deps: RecoveryDeps;
const record: MemberRecord = {
  clusterId: 'old',
  memberId: 1,
  name: 'm1',
  incarnation: 'disk',
  begunAs: 'join',
  hasBegun: true,
};
const clock = new ManualClock(Date.parse('2026-11-24T05:06:07Z'));

beforeEach(() => {
  dataDirectory = mkdtempSync(path.join(tmpdir(), 'flotilla-recovery-'));
  folder = path.join(dataDirectory, 'store');
  deps = {
    dataDirectory,
    folder,
    memberFile: 'member.json',
    logFolder: 'log',
    newClusterId: 'new',
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    openState(at) {
      const state = readJson(stateFile(at)) as State | undefined;
      return Promise.resolve(state === undefined ? undefined : new FileState(stateFile(at), state));
    },
  };
});
afterEach(() => {
  rmSync(dataDirectory, { recursive: true, force: true });
});

function openLogAt(at: string, clusterId: string): ReturnType<typeof openLog> {
  const disk = openDisk(path.join(at, 'log'));
  const { random } = deps;
  const logger = silentLogger;
  return openLog({ disk, clusterId, memberId: 1, clock, random, logger, schedule: setImmediate });
}

/** The member as it was when it was stopped. */
async function makeMember(): Promise<void> {
  mkdirSync(folder, { mode: 0o700 });
  await writeMemberFile(memberFile(folder), record);
  const mark = { index: 2, term: 1, membership: three };
  writeFileSync(stateFile(folder), JSON.stringify({ mark, values: ['a'] }));
  const { log } = openLogAt(folder, 'old');
  const hardState = { term: 4, vote: 2, commit: 5 };
  const batch: LogBatch = { hardState, entries, snapshot: undefined, mustSync: true };
  await new Promise<void>((resolve, reject) => {
    log.write(batch, (error) => (error === undefined ? resolve() : reject(error)));
  });
  // Then nothing goes on in the background any more.
  while (!existsSync(path.join(folder, 'log', 'log-0000000002'))) await new Promise(setImmediate);
  log.close();
}

/** Everything in the member's folder, to see that nothing changed. */
function contentsOf(at: string): [string, string][] {
  return readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry): [string, string] => {
      const file = path.join(entry.parentPath, entry.name);
      return [path.relative(at, file), readFileSync(file, 'base64')];
    })
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

describe('a recovery', () => {
  it('makes the state the beginning of a new cluster, and keeps the old folder', async () => {
    await makeMember();
    const before = contentsOf(folder);
    const report = await recoverMember(deps);
    expect(report).toMatchObject({
      clusterId: 'new',
      index: 6,
      unconfirmedEntries: 1,
      before: three,
    });
    const mark = { index: 6, term: 4, membership: { members: [] } };
    expect(readJson(stateFile(folder))).toEqual({
      mark,
      values: ['a', 'b', 'c', 'd'],
      recovered: { clusterId: 'new', mark },
    });
    expect(readJson(memberFile(folder))).toMatchObject({ clusterId: 'new', memberId: 1 });
    expect(path.basename(report.superseded)).toBe('superseded-2026-11-24T05-06-07Z');
    expect(contentsOf(report.superseded)).toEqual(before);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('is what the next start founds a cluster behind, with this member alone', async () => {
    await makeMember();
    const { superseded } = await recoverMember(deps);
    const applied = (readJson(stateFile(folder)) as State).mark;
    const begun = await beginMember({
      file: memberFile(folder),
      memberId: 1,
      wish: { type: 'restart', name: 'm1', addresses: [] },
      newClusterId: 'never',
      newIncarnation: 'anew',
      entryVersion: 2,
      hasLog: () => existsSync(path.join(folder, 'log')),
      openLog: (found) => openLogAt(folder, found.clusterId),
      state: { applied, installedIndex: undefined },
    });
    begun.log.close();
    expect(begun.record).toMatchObject({ clusterId: 'new', hasBegun: true });
    const { start } = begun;
    expect(start).toMatchObject({ hardState: { term: 5, commit: 7 }, snapshot: { index: 6 } });
    const [entry] = start.entries;
    expect(decodeMembership(entry?.data ?? new Uint8Array(0)).members).toMatchObject([
      { id: 1, role: 'voter' },
    ]);
    // What was set aside is of another cluster, for ever.
    expect(() => openLogAt(superseded, 'new')).toThrow(LogRefusedError);
  });

  it('can be looked at before, without a trace', async () => {
    await makeMember();
    const before = contentsOf(folder);
    const preview = await previewRecovery(deps);
    expect(preview).toEqual({ index: 6, unconfirmedEntries: 1, before: three });
    expect(contentsOf(folder)).toEqual(before);
    expect(existsSync(`${folder}.recovering`)).toBe(false);
    expect(await recoverMember(deps)).toMatchObject(preview);
  });

  const refusals = [
    { name: 'there is no folder', prepare: () => undefined, says: /no control-plane member/ },
    {
      name: 'there is no state',
      prepare: async () => {
        await makeMember();
        rmSync(stateFile(folder));
      },
      says: /There is no state/,
    },
    {
      name: 'the log is damaged',
      prepare: async () => {
        await makeMember();
        const file = path.join(folder, 'log', readdirSync(path.join(folder, 'log'))[0] ?? '');
        writeFileSync(file, 'nonsense');
      },
      says: /damaged/,
    },
  ];
  for (const { name, prepare, says } of refusals)
    it(`is refused when ${name}, and nothing changes`, async () => {
      await prepare();
      const before = contentsOf(dataDirectory);
      await expect(recoverMember(deps)).rejects.toThrow(says);
      finishRecovery(folder);
      const after = contentsOf(dataDirectory).filter(([file]) => !file.startsWith('lock.'));
      expect(after).toEqual(before);
    });

  it('is refused while the control plane runs', async () => {
    await makeMember();
    const lock = lockDataDirectory(dataDirectory, 'flotilla control plane', clock);
    await expect(recoverMember(deps)).rejects.toThrow(DataDirectoryLockedError);
    lock.release();
    await expect(recoverMember(deps)).resolves.toMatchObject({ index: 6 });
  });

  it('can be done again after a crash on the way', async () => {
    await makeMember();
    const openState = async (at: string): Promise<RecoverableState | undefined> => {
      const state = await deps.openState(at);
      if (state !== undefined) state.recover = () => Promise.reject(new Error('crash'));
      return state;
    };
    const crash = { ...deps, openState };
    await expect(recoverMember(crash)).rejects.toThrow('crash');
    expect(readJson(memberFile(folder))).toMatchObject(record);
    await expect(recoverMember(deps)).resolves.toMatchObject({ index: 6 });
    expect(existsSync(`${folder}.recovering`)).toBe(false);
  });

  it('that stopped between its renames is undone or completed, never half', async () => {
    await makeMember();
    const { superseded } = await recoverMember(deps);
    // Before the second rename: both are there, the old one counts.
    renameSync(folder, `${folder}.recovered`);
    renameSync(superseded, folder);
    finishRecovery(folder);
    expect(readJson(memberFile(folder))).toMatchObject(record);
    expect(existsSync(`${folder}.recovered`)).toBe(false);
    // Before the third: the new one waits.
    const again = await recoverMember(deps);
    renameSync(folder, `${folder}.recovered`);
    finishRecovery(folder);
    expect(readJson(memberFile(folder))).toMatchObject({ clusterId: 'new' });
    expect(existsSync(again.superseded)).toBe(true);
  });
});

describe('a folder that is set aside', () => {
  it('takes the place of no other', async () => {
    await makeMember();
    const first = setAside(folder, clock);
    await makeMember();
    const second = setAside(folder, clock);
    expect(second).not.toBe(first);
    expect(readdirSync(dataDirectory).filter((name) => name.startsWith('superseded'))).toHaveLength(
      2,
    );
  });
});
