// What a member does with what its leader sends: append, heartbeat, snapshot; and what it asks of
// the leader on behalf of its own clients. Acknowledgements are promises: they leave when
// everything handed out is durable. A committed entry is never cut off.
// Source: Raft thesis §3.5; etcd-io/raft raft.go handleAppendEntries, log.go.
import { assert } from '#kube/base/assert.ts';
import type { Core } from './core.ts';
import type { AppendRequest, Heartbeat, MemberId, Proposal, SnapshotMessage } from './types.ts';

/** Nothing can mend it: this member's word does not hold. */
export class LostEntriesError extends Error {
  override readonly name = 'LostEntriesError';

  constructor(acknowledged: number, lastIndex: number) {
    super(
      `Entry ${acknowledged} was acknowledged here, but the log ends at ${lastIndex}: this disk lost ` +
        'data, or was put back from an older copy. Remove this member on the machine that leads, ' +
        'invite it anew, and start it with an unused data directory.',
    );
  }
}

/** From the leader of our term: whoever campaigned gives up, and the timer starts again. */
export function hearLeader(core: Core, leader: MemberId): void {
  assert(core.role.kind !== 'leader', `members ${core.id} and ${leader} lead term ${core.term}`);
  if (core.role.kind !== 'follower') core.becomeFollower(core.term, leader);
  core.electionElapsed = 0;
  core.follow(leader);
}

export function onAppend(core: Core, request: AppendRequest): void {
  const { log } = core;
  const { previousIndex, previousTerm, entries } = request;
  if (previousIndex < log.commit) return accept(core, request.from, log.commit);
  if (log.termAt(previousIndex) !== previousTerm) return refuse(core, request);
  const last = previousIndex + entries.length;
  takeOver(core, request);
  log.commit = Math.max(log.commit, Math.min(request.commit, last));
  accept(core, request.from, last);
}

/** Only from the first difference on: an append that comes late must cut nothing off. */
function takeOver(core: Core, { entries }: AppendRequest): void {
  const { log } = core;
  let at = 0;
  for (const entry of entries) {
    if (log.termAt(entry.index) !== entry.term) break;
    at += 1;
  }
  const first = entries[at];
  if (first === undefined) return;
  if (first.index <= log.lastIndex) core.truncateFrom(first.index);
  for (; at < entries.length; at += 1) {
    const entry = entries[at];
    if (entry !== undefined) core.append(entry);
  }
}

function accept(core: Core, to: MemberId, index: number): void {
  core.sendAfterPersist({
    type: 'append-response',
    from: core.id,
    to,
    term: core.term,
    isRejected: false,
    index,
    hintIndex: 0,
    hintTerm: 0,
  });
}

function refuse(core: Core, { from, previousIndex, previousTerm }: AppendRequest): void {
  const hint = core.log.lastUpTo(previousIndex, previousTerm);
  core.sendAfterPersist({
    type: 'append-response',
    from: core.id,
    to: from,
    term: core.term,
    isRejected: true,
    index: previousIndex,
    hintIndex: hint.index,
    hintTerm: hint.term,
  });
}

/** A leader of a term gone by is told the present one, or it would never know (checklist 4). */
export function refuseOldLeader(core: Core, to: MemberId): void {
  core.sendAfterPersist({
    type: 'append-response',
    from: core.id,
    to,
    term: core.term,
    isRejected: true,
    index: 0,
    hintIndex: 0,
    hintTerm: 0,
  });
}

export function onHeartbeat(core: Core, { from, commit, readRound }: Heartbeat): void {
  const { log } = core;
  if (commit > log.lastIndex) throw new LostEntriesError(commit, log.lastIndex);
  log.commit = Math.max(log.commit, commit);
  core.send({ type: 'heartbeat-response', from: core.id, to: from, term: core.term, readRound });
}

/** Nothing to install when the log already holds what the snapshot does. */
export function onSnapshot(core: Core, { from, snapshot }: SnapshotMessage): void {
  const { log } = core;
  if (snapshot.index > log.commit) {
    if (log.termAt(snapshot.index) === snapshot.term) log.commit = snapshot.index;
    else core.restore(snapshot);
  }
  accept(core, from, log.commit);
}

/** Commands go to the leader once; what is lost on the way is of unknown outcome. */
export function forward(core: Core, proposals: readonly Proposal[]): void {
  const commands: Proposal[] = [];
  for (const proposal of proposals) {
    if (core.leader === 0) core.drop(proposal.id, 'no-leader');
    else if (proposal.kind === 'membership') core.drop(proposal.id, 'not-leader');
    else commands.push(proposal);
  }
  if (commands.length === 0) return;
  const { id, leader, term } = core;
  core.send({ type: 'propose', from: id, to: leader, term, proposals: commands });
}

export function forwardRead(core: Core, id: number): void {
  if (core.leader === 0) return core.answerRead(id, undefined);
  core.forwardedReads.add(id);
  core.send({ type: 'read-index', from: core.id, to: core.leader, term: core.term, id });
}
