// Recovery on the disk of a stopped member, by recovery.ts' plan. All work is done on a copy beside
// the folder; two renames then put it in the folder's place, and the old one is kept.
// Invariant: whenever it is interrupted, the folder is the old one or the new one, or
// `finishRecovery`, which must run before anything else looks at the folder, makes it so.
import {
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import path from 'node:path';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { lockDataDirectory, syncDirectory } from '#platform/sqlite.ts';
import type { Membership } from '../raft/types.ts';
import { openDisk } from './disk.ts';
import type { MemberIdentity, MemberRecord } from './bootstrap.ts';
import { openLog } from './log-storage.ts';
import { readMemberFile, writeMemberFile } from './member-file.ts';
import { planRecovery, RecoveryRefusedError, type RecoveryPlan } from './recovery.ts';
import type { AppliedCommand, AppliedMark, RecoveredLog, StateMachine } from './types.ts';

const commandsAtOnce = 500;

type Identity = Omit<MemberIdentity, 'incarnation'>;

/** A member's state, opened for recovery. */
export interface RecoverableState extends Pick<
  StateMachine<unknown>,
  'applied' | 'apply' | 'close'
> {
  /**
   * Makes it the first state of another cluster, whose revisions nobody has seen. Durable, with all that was
   * applied, when done.
   */
  recover(change: StateRecovery): Promise<void>;
}

export interface StateRecovery {
  readonly clusterId: string;
  /** Takes the place of the applied mark, at the same index. */
  readonly mark: AppliedMark;
}

export interface RecoveryDeps {
  /** The data directory: held while this runs, so that no control plane does. */
  readonly dataDirectory: string;
  /** The member's folder in it: identity, state, log. */
  readonly folder: string;
  /** Names in it. */
  readonly memberFile: string;
  readonly logFolder: string;
  readonly newClusterId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where tests kill the process. */
  readonly failpoint?: Failpoint | undefined;
  /** Undefined: there is none. */
  openState(folder: string): Promise<RecoverableState | undefined>;
}

export interface RecoveryPreview {
  /** Up to which entry of the old cluster's log the state goes. */
  readonly index: number;
  /** The last of them: whether a majority had them is not known here. */
  readonly unconfirmedEntries: number;
  /** Its other members have to join anew. */
  readonly before: Membership;
}

export interface RecoveryReport extends RecoveryPreview {
  readonly clusterId: string;
  /** Where the old folder is kept. */
  readonly superseded: string;
}

/**
 * What `recoverMember` would come to, for the person who decides. Throws what that throws; changes
 * nothing in any case.
 */
export async function previewRecovery(deps: RecoveryDeps): Promise<RecoveryPreview> {
  return await whileStopped(deps, async (identity) => {
    try {
      return previewOf(await recoverInto(unfinished(deps.folder), identity, deps));
    } finally {
      finishRecovery(deps.folder);
    }
  });
}

/**
 * Throws RecoveryRefusedError, DataDirectoryLockedError (it is in use), and what the log or the
 * state are refused with when they are damaged. In all these cases nothing has changed.
 */
export async function recoverMember(deps: RecoveryDeps): Promise<RecoveryReport> {
  return await whileStopped(deps, async (identity) => {
    const { folder, clock, newClusterId: clusterId } = deps;
    const copy = unfinished(folder);
    const preview = previewOf(await recoverInto(copy, identity, deps));
    syncTree(copy);
    renameSync(copy, finished(folder));
    deps.failpoint?.('recover:named');
    const superseded = setAside(folder, clock);
    deps.failpoint?.('recover:set-aside');
    finishRecovery(folder);
    deps.failpoint?.('recover:in-place');
    const { index, unconfirmedEntries } = preview;
    const fields = { clusterId, index, unconfirmedEntries, superseded };
    deps.logger.warn('Recovered the cluster from this member alone', fields);
    return { ...preview, clusterId, superseded };
  });
}

async function whileStopped<T>(
  { dataDirectory, folder, memberFile, clock }: RecoveryDeps,
  work: (identity: Identity) => Promise<T>,
): Promise<T> {
  const lock = lockDataDirectory(dataDirectory, 'flotilla recovery', clock);
  try {
    finishRecovery(folder);
    const identity = await readMemberFile(path.join(folder, memberFile));
    if (identity === undefined)
      throw new RecoveryRefusedError(
        `There is no control-plane member in ${folder}: nothing can be recovered from it. ` +
          'Recover on a machine that was one.',
      );
    return await work(identity);
  } finally {
    lock.release();
  }
}

function previewOf({ mark, unconfirmedEntries, before }: RecoveryPlan): RecoveryPreview {
  return { index: mark.index, unconfirmedEntries, before };
}

/** Completes a recovery that was interrupted, or throws away what was not complete. */
export function finishRecovery(folder: string): void {
  rmSync(unfinished(folder), { recursive: true, force: true });
  if (!existsSync(finished(folder))) return;
  // Interrupted before the old folder was set aside: it is still the one that counts.
  if (existsSync(folder)) rmSync(finished(folder), { recursive: true });
  else renameSync(finished(folder), folder);
  syncDirectory(path.dirname(folder));
}

/** Keeps a member's folder that its cluster has no use for any more, beside it. Where it is then. */
export function setAside(folder: string, clock: Clock): string {
  const date = rfc3339(clock.now()).replaceAll(':', '-');
  const base = path.join(path.dirname(folder), `superseded-${date}`);
  let target = base;
  for (let i = 2; existsSync(target); i += 1) target = `${base}-${i}`;
  renameSync(folder, target);
  syncDirectory(path.dirname(folder));
  return target;
}

function unfinished(folder: string): string {
  return `${folder}.recovering`;
}

function finished(folder: string): string {
  return `${folder}.recovered`;
}

/** Everything that is new, in the folder `copy`. */
async function recoverInto(
  copy: string,
  identity: Identity,
  deps: RecoveryDeps,
): Promise<RecoveryPlan> {
  const { folder, logFolder, newClusterId } = deps;
  // Copying does not copy a folder's mode.
  mkdirSync(copy, { mode: 0o700 });
  cpSync(folder, copy, { recursive: true });
  deps.failpoint?.('recover:copied');
  const logCopy = path.join(copy, logFolder);
  const state = await deps.openState(copy);
  if (state === undefined)
    throw new RecoveryRefusedError(
      `There is no state in ${folder}: nothing can be recovered from it. Recover on another ` +
        'machine, or from a backup.',
    );
  let plan: RecoveryPlan;
  try {
    plan = planRecovery({
      self: identity.memberId,
      log: readLog(logCopy, identity, deps),
      applied: state.applied(),
    });
    applyAll(state, plan.commands);
    const { mark } = plan;
    await state.recover({ clusterId: newClusterId, mark });
  } finally {
    state.close();
  }
  rmSync(logCopy, { recursive: true });
  await writeMemberFile(path.join(copy, deps.memberFile), founderOf(identity, newClusterId));
  deps.failpoint?.('recover:begun-anew');
  return plan;
}

/** There is no log: the next start founds the cluster behind the state. */
function founderOf(
  { memberId, name }: Identity,
  clusterId: string,
): Omit<MemberRecord, 'incarnation'> {
  return { clusterId, memberId, name, begunAs: 'new', hasBegun: false };
}

function applyAll(state: RecoverableState, commands: readonly AppliedCommand[]): void {
  for (let at = 0; at < commands.length; at += commandsAtOnce) {
    const slice = commands.slice(at, at + commandsAtOnce);
    const { index, term } = slice.at(-1) ?? state.applied();
    state.apply(slice, { ...state.applied(), index, term });
  }
}

/** Only to read it: nothing is made ready in the background. */
function readLog(
  folder: string,
  { clusterId, memberId }: Identity,
  { clock, random, logger }: RecoveryDeps,
): RecoveredLog | undefined {
  const disk = openDisk(folder);
  const schedule = (): void => undefined;
  const { log, recovered } = openLog({
    disk,
    clusterId,
    memberId,
    clock,
    random,
    logger,
    schedule,
  });
  log.close();
  return recovered;
}

/** Before a name says that it is complete, it must be, also after a power cut. */
function syncTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) syncTree(file);
    else if (entry.isFile()) syncFile(file);
  }
  syncDirectory(folder);
}

function syncFile(file: string): void {
  const descriptor = openSync(file, 'r+');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
