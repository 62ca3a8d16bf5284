// member.json: who this member is, beside its log. Written when it begins, and once more when its
// log has begun, so that a log which vanished later is told from one that was never there.
import type { Failpoint } from '#platform/failpoints.ts';
import { writeFileAtomic, readFileIfExists } from '#platform/atomic-file.ts';
import {
  beginLog,
  BootstrapError,
  planIdentity,
  planStart,
  type FoundState,
  type MemberRecord,
  type StartWish,
} from './bootstrap.ts';
import type { MemberId, RaftStart } from '../raft/types.ts';
import type { LogStorage, RecoveredLog } from './types.ts';

const formatVersion = 1;

/** Undefined when there is none. Throws BootstrapError when it can't be understood. */
export async function readMemberFile(file: string): Promise<ReadRecord | undefined> {
  const text = await readFileIfExists(file);
  return text === undefined ? undefined : parse(file, text);
}

export async function writeMemberFile(file: string, record: ReadRecord): Promise<void> {
  const { clusterId, memberId, name, incarnation, begunAs, hasBegun } = record;
  const who = { clusterId, memberId, name, incarnation };
  const fields = { version: formatVersion, ...who, begunAs, hasBegun };
  await writeFileAtomic(file, `${JSON.stringify(fields, undefined, 2)}\n`);
}

/** A release that knew no incarnations wrote none. */
export type ReadRecord = Omit<MemberRecord, 'incarnation'> & Partial<MemberRecord>;

function parse(file: string, text: string): ReadRecord {
  const damaged = new BootstrapError(
    `${file} can't be read: put it back from a backup, or choose another data directory.`,
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged;
  }
  if (typeof value !== 'object' || value === null) throw damaged;
  const fields = value as Record<string, unknown>;
  const { version, clusterId, memberId, name, incarnation, begunAs, hasBegun } = fields;
  if (typeof version === 'number' && version > formatVersion)
    throw new BootstrapError(
      `${file} was written by a newer release: start that release again, or a newer one.`,
    );
  const isSound =
    typeof clusterId === 'string' &&
    typeof memberId === 'number' &&
    Number.isSafeInteger(memberId) &&
    typeof name === 'string' &&
    (incarnation === undefined || typeof incarnation === 'string') &&
    (begunAs === 'new' || begunAs === 'join') &&
    typeof hasBegun === 'boolean';
  if (version !== formatVersion || !isSound) throw damaged;
  const known = incarnation === undefined ? {} : { incarnation };
  return { clusterId, memberId, name, ...known, begunAs, hasBegun };
}

export interface BeginMemberDeps {
  /** Of member.json. */
  readonly file: string;
  readonly memberId: MemberId;
  readonly wish: StartWish;
  /** For a cluster that is founded now. */
  readonly newClusterId: string;
  /** For a data directory that has none yet. */
  readonly newIncarnation: string;
  /** The newest that this release knows. */
  readonly entryVersion: number;
  readonly hasLog: () => boolean;
  readonly openLog: (identity: MemberRecord) => {
    readonly log: LogStorage;
    readonly recovered: RecoveredLog | undefined;
  };
  /** As it survived. A state that holds anything has an index of at least 1. */
  readonly state: FoundState;
  readonly failpoint?: Failpoint | undefined;
}

export interface BegunMember {
  readonly record: MemberRecord;
  readonly log: LogStorage;
  readonly start: RaftStart;
}

/** Throws BootstrapError, or what opening the log throws. */
export async function beginMember(deps: BeginMemberDeps): Promise<BegunMember> {
  const { file, memberId, wish, newClusterId, newIncarnation, state, failpoint } = deps;
  const { applied } = state;
  const read = await readMemberFile(file);
  const known = read && { incarnation: newIncarnation, ...read };
  const found = { record: known, hasLog: deps.hasLog(), applied };
  const self = { memberId, clusterId: newClusterId, incarnation: newIncarnation };
  const record = planIdentity(found, wish, self);
  failpoint?.('member:chosen');
  if (read?.incarnation === undefined) await writeMemberFile(file, record);
  failpoint?.('member:written');
  const { log, recovered } = deps.openLog(record);
  try {
    const addresses = wish.type === 'join' ? [] : wish.addresses;
    const { entryVersion } = deps;
    const plan = planStart(record, recovered, state, { addresses, entryVersion });
    await beginLog(log, plan);
    failpoint?.('member:log-begun');
    const begun = { ...record, hasBegun: true };
    if (!record.hasBegun) await writeMemberFile(file, begun);
    return { record: begun, log, start: plan.start };
  } catch (error) {
    log.close();
    throw error;
  }
}
