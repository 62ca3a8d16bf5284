// How a member begins: explicitly, and once. A cluster is founded by whoever says so, never because
// discovery found nobody; a joiner begins with nothing and can't elect itself; where there is data
// it is a restart, whatever was asked for. Decided purely from what the directory holds; what does
// not belong together is refused with a sentence.
// A state without a log (restored from a backup, or of a release that had no log) founds a cluster
// behind itself: newcomers get that state as a snapshot.
// Source: etcd-io/raft doc.go (StartNode, RestartNode), etcd server/etcdserver/bootstrap.go.
import { unreachable } from '#kube/base/assert.ts';
import { encodeMembership } from '../raft/membership.ts';
import type { Entry, HardState, Member, MemberId, RaftStart, SnapshotMark } from '../raft/types.ts';
import type { AppliedMark, LogBatch, LogStorage, RecoveredLog } from './types.ts';

/** Who this member is; kept in member.json beside the log. */
export interface MemberIdentity {
  readonly clusterId: string;
  readonly memberId: MemberId;
  /** The machine's, for people. */
  readonly name: string;
  /** Of this data directory: see announcements.ts. */
  readonly incarnation: string;
}

export interface MemberRecord extends MemberIdentity {
  readonly begunAs: 'new' | 'join';
  /** The log was written to: from then on it must be there. */
  readonly hasBegun: boolean;
}

export type StartWish =
  /** Found a cluster with this member as its only voter. */
  | { readonly type: 'new'; readonly name: string; readonly addresses: readonly string[] }
  /** Be sent everything by the members of a cluster that has added this one. */
  | { readonly type: 'join'; readonly name: string; readonly clusterId: string }
  /** Go on; there must be something. Name and addresses are for a state that never had a log. */
  | { readonly type: 'restart'; readonly name: string; readonly addresses: readonly string[] };

export class BootstrapError extends Error {
  override readonly name = 'BootstrapError';
}

export interface FoundMember {
  /** Undefined: there is no member.json. */
  readonly record: MemberRecord | undefined;
  /** There are files of a log. */
  readonly hasLog: boolean;
  /** What the state holds; index 0: nothing, or a state that never had a log and is empty. */
  readonly applied: AppliedMark;
}

/** What becomes of a member that begins. */
export interface NewIdentity {
  readonly memberId: MemberId;
  /** Of a cluster that is founded. */
  readonly clusterId: string;
  readonly incarnation: string;
}

/**
 * Who this member is to be, to be written to member.json before its log is opened. Throws
 * BootstrapError.
 */
export function planIdentity(
  found: FoundMember,
  wish: StartWish,
  { memberId, clusterId, incarnation }: NewIdentity,
): MemberRecord {
  const { record, hasLog, applied } = found;
  if (record !== undefined) return checkRecord(record, found, wish, memberId);
  if (hasLog)
    throw new BootstrapError(
      'There is a log, but member.json is missing: whose log it is cannot be told. Put the file ' +
        'back from a backup, or choose another data directory.',
    );
  const { name } = wish;
  const founder: MemberRecord = {
    clusterId,
    memberId,
    name,
    incarnation,
    begunAs: 'new',
    hasBegun: false,
  };
  switch (wish.type) {
    case 'new':
      return founder;
    case 'join':
      if (applied.index > 0)
        throw new BootstrapError(
          'This data directory holds a cluster of its own, and joining another would replace it: ' +
            'choose an empty data directory.',
        );
      return { ...founder, clusterId: wish.clusterId, begunAs: 'join' };
    case 'restart':
      if (applied.index > 0) return founder;
      throw new BootstrapError(
        'This data directory had a cluster, but its state and its log are gone: put a backup back ' +
          '(`npm run cluster -- restore FILE`), or, if other machines keep the state as well, remove ' +
          'this one there and invite it anew.',
      );
    default:
      return unreachable(wish);
  }
}

function checkRecord(
  record: MemberRecord,
  { hasLog }: FoundMember,
  wish: StartWish,
  memberId: MemberId,
): MemberRecord {
  if (record.memberId !== memberId)
    throw new BootstrapError(
      `This data directory is member ${record.memberId}'s, but the key is member ${memberId}'s: ` +
        'put the key back from a backup, or join with an empty data directory.',
    );
  if (wish.type === 'join' && wish.clusterId !== record.clusterId)
    throw new BootstrapError(
      `This data directory belongs to cluster ${record.clusterId}, and can't join cluster ` +
        `${wish.clusterId}: choose an empty data directory.`,
    );
  if (record.hasBegun && !hasLog) throw logIsGone();
  return record;
}

function founderOf({ memberId: id, name, incarnation }: MemberIdentity): Omit<Member, 'addresses'> {
  return { id, role: 'voter', name, incarnation };
}

function logIsGone(): BootstrapError {
  return new BootstrapError(
    'The log is gone: what this member promised to hold is lost. Restore its data directory from a ' +
      `backup. Without one: ${withoutLog}`,
  );
}

const withoutLog =
  'take this member out of the cluster and invite it anew; if it is the only one, go on from its ' +
  'database by `npm run cluster -- recover`.';

export interface StartPlan {
  readonly start: RaftStart;
  /** To be written before anything else. */
  readonly firstWrite: LogBatch | undefined;
}

/** What the state holds, and how it came to that (StateMachine.installedIndex). */
export interface FoundState {
  readonly applied: AppliedMark;
  readonly installedIndex: number | undefined;
}

/** Throws BootstrapError. */
export function planStart(
  record: MemberRecord,
  recovered: RecoveredLog | undefined,
  { applied, installedIndex }: FoundState,
  founder: Pick<Member, 'addresses' | 'entryVersion'> = { addresses: [] },
): StartPlan {
  if (recovered === undefined && record.hasBegun) throw logIsGone();
  if (recovered === undefined)
    return record.begunAs === 'new'
      ? foundBehind(applied, { ...founderOf(record), ...founder })
      : beginEmpty(applied);
  const { start, entries, hardState } = recovered;
  const { index, term, membership } = applied;
  if (index < start.index)
    throw new BootstrapError(
      `The log begins behind entry ${start.index}, but the database ends at ${index}: it was ` +
        'replaced by an older one, or lost. Put the newer database back, or take this member out ' +
        'of the cluster and invite it anew; one that is alone goes on from a backup ' +
        '(`npm run cluster -- restore FILE`).',
    );
  if (termAt(recovered, index) !== term) {
    if (installedIndex !== index) throw logIsOlder(recovered, applied);
    return beginBehind(applied, hardState);
  }
  const snapshot: SnapshotMark = { ...start, membership };
  return {
    start: { hardState, snapshot, entries, appliedIndex: index },
    firstWrite: undefined,
  };
}

/** Nothing is applied that the log does not hold, but for a snapshot. */
function logIsOlder(
  { start, entries }: RecoveredLog,
  { index, term }: AppliedMark,
): BootstrapError {
  const last = entries.at(-1) ?? start;
  return new BootstrapError(
    `The database goes up to entry ${index} of term ${term}, which the log (up to entry ` +
      `${last.index} of term ${last.term}) does not hold: it was put back from an older backup, and ` +
      `what this member promised to hold is lost. Put the newer log back. Without it: ${withoutLog}`,
  );
}

/** The first entry of the log makes the founder its only voter. */
function foundBehind(state: AppliedMark, founder: Member): StartPlan {
  const [index, term] = [state.index + 1, state.term + 1];
  const data = encodeMembership({ members: [founder] });
  const entry: Entry = { index, term, kind: 'membership', data };
  const hardState: HardState = { term, vote: 0, commit: index };
  // Of the members of a cluster gone by, none has a say.
  const snapshot: SnapshotMark = { ...state, membership: { members: [] } };
  const isBehindData = state.index > 0;
  return {
    start: { hardState, snapshot, entries: [entry], appliedIndex: state.index },
    firstWrite: {
      hardState,
      entries: [entry],
      snapshot: isBehindData ? snapshot : undefined,
      mustSync: true,
    },
  };
}

/** Nothing yet, which is written down: from now on the log is there. */
function beginEmpty(applied: AppliedMark): StartPlan {
  const hardState: HardState = { term: 0, vote: 0, commit: 0 };
  return {
    start: { hardState, snapshot: applied, entries: [], appliedIndex: applied.index },
    firstWrite: { hardState, entries: [], snapshot: undefined, mustSync: true },
  };
}

/**
 * A snapshot was installed, and a crash came before the log knew. All that the log was good for is
 * in the state; only its term and vote are still needed.
 */
function beginBehind(applied: AppliedMark, before: HardState): StartPlan {
  const isNewTerm = applied.term > before.term;
  const hardState: HardState = {
    term: isNewTerm ? applied.term : before.term,
    vote: isNewTerm ? 0 : before.vote,
    commit: applied.index,
  };
  return {
    start: { hardState, snapshot: applied, entries: [], appliedIndex: applied.index },
    firstWrite: { hardState, entries: [], snapshot: applied, mustSync: true },
  };
}

function termAt({ start, entries }: RecoveredLog, index: number): number | undefined {
  return index === start.index ? start.term : entries[index - start.index - 1]?.term;
}

/** Writes what the plan asks for. */
export function beginLog(log: Pick<LogStorage, 'write'>, plan: StartPlan): Promise<void> {
  const { firstWrite } = plan;
  if (firstWrite === undefined) return Promise.resolve();
  return new Promise((resolve, reject) => {
    log.write(firstWrite, (error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}
