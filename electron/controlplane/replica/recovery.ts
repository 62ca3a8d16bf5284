// What becomes of a cluster whose majority is gone for good: one member's state, taken as it is, is
// what a new cluster is founded behind, by that member alone. Pure: decides, changes nothing.
// The new cluster has another id, so that members of the old one are refused when they come back;
// its revisions go on above all that anybody has seen, and everything before is compacted, so that
// clients list again instead of going back in time (../store/backup.ts).
// Source: etcd etcdutl (snapshot restore with bumped revision); hashicorp/raft RecoverCluster
// (which also keeps the whole log).
import { decodeMembership, nobody } from '../raft/membership.ts';
import type { Entry, MemberId, Membership } from '../raft/types.ts';
import { withoutEnvelope } from './proposals.ts';
import type { AppliedCommand, AppliedMark, RecoveredLog } from './types.ts';

/** Nothing was changed. Its message is a sentence for a person. */
export class RecoveryRefusedError extends Error {
  override readonly name = 'RecoveryRefusedError';
}

export interface RecoveryInput {
  readonly self: MemberId;
  /** Undefined: the state has no log beside it. */
  readonly log: RecoveredLog | undefined;
  readonly applied: AppliedMark;
}

export interface RecoveryPlan {
  /** Of the log, not in the state yet. */
  readonly commands: readonly AppliedCommand[];
  /**
   * Of the state then. It names nobody: a cluster that is founded behind it begins with a
   * membership of its own. Its term is the highest that this member knew, so that the founder's is
   * higher than all of them.
   */
  readonly mark: AppliedMark;
  /**
   * Entries taken over of which this disk does not know whether a majority had them. Most were
   * acknowledged: a commit is not flushed by itself, so the disk learns of it with a later write.
   */
  readonly unconfirmedEntries: number;
  /** The membership that is given up. */
  readonly before: Membership;
}

/** Throws RecoveryRefusedError. */
export function planRecovery({ self, log, applied }: RecoveryInput): RecoveryPlan {
  const { hardState, start, entries } = log ?? emptyLog(applied);
  if (start.index > applied.index)
    throw new RecoveryRefusedError(
      `The state ends at entry ${applied.index}, but its log begins behind entry ${start.index}: ` +
        'what lies between is lost here. Recover on another machine, or from a backup.',
    );
  const last = entries.at(-1)?.index ?? start.index;
  const index = Math.max(applied.index, last);
  const known = Math.max(applied.index, Math.min(hardState.commit, last));
  if (known === 0)
    throw new RecoveryRefusedError(
      'There is no state to recover from: this machine joined, but was never told anything. ' +
        'Recover on another machine, or from a backup.',
    );
  const before = membershipAt(entries, applied);
  if (log !== undefined && isOnlyVoter(self, before) && holds(log, applied))
    throw new RecoveryRefusedError(
      'This machine is the only voter of its cluster: nothing is to be recovered. Start it.',
    );
  const tail = entries.filter((entry) => entry.index > applied.index);
  const term = Math.max(hardState.term, applied.term);
  return {
    commands: tail.flatMap(commandOf),
    mark: { index, term, membership: nobody },
    unconfirmedEntries: index - known,
    before,
  };
}

/** Without the log's end, or the log, it does not start. */
function holds({ start, entries }: RecoveredLog, { index, term }: AppliedMark): boolean {
  const entry = index === start.index ? start : entries[index - start.index - 1];
  return entry?.term === term;
}

function emptyLog({ index, term }: AppliedMark): RecoveredLog {
  return { hardState: { term, vote: 0, commit: index }, start: { index, term }, entries: [] };
}

/** In force: the newest in the log, committed or not. */
function membershipAt(entries: readonly Entry[], applied: AppliedMark): Membership {
  const newest = entries.findLast(({ kind }) => kind === 'membership');
  if (newest === undefined || newest.index <= applied.index) return applied.membership;
  return decodeMembership(newest.data);
}

function isOnlyVoter(self: MemberId, { members }: Membership): boolean {
  const voters = members.filter(({ role }) => role === 'voter');
  return voters.length === 1 && voters[0]?.id === self;
}

function commandOf({ index, term, kind, data }: Entry): AppliedCommand[] {
  return kind === 'command' ? [{ index, term, data: withoutEnvelope(data) }] : [];
}
