// Who keeps the state, for people: the list, invitations, removals, a backup, and one sentence on
// why nothing can be answered when that is so. Changes are made on the member that leads.
import path from 'node:path';
import type { MemberReport, MembersReport, RecoveryReport } from '#kube/api/flotilla.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { ClusterPki } from '#platform/pki.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import { isHostAndPort } from '../../options.ts';
import type { ClusterInfo } from '../etcd/cluster-info.ts';
import type { Member } from '../raft/types.ts';
import { MembershipRefusedError } from '../replica/membership-changes.ts';
import type { ReplicaStatus } from '../replica/replica.ts';
import { ReplicaUnavailableError } from '../replica/types.ts';
import { backupBytes, backupChunks } from '../store/backup.ts';
import type { Invitation } from './invitation.ts';
import type { MemberStore } from './member-store.ts';
import { requestRecovery } from './recovery-request.ts';
import { stageRestore } from './restoring.ts';

export interface MembersDeps {
  readonly opened: MemberStore;
  readonly pki: ClusterPki;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends this process in order; whoever started it starts it again. */
  readonly restart: (why: string) => void;
}

export interface StateBackup {
  /** The cluster's id in the store, and those it comes from. */
  readonly lineage: readonly string[];
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
  close(): void;
}

/** How often a report is made while somebody watches; it costs no I/O. */
const lookMs = 1_000;
/** Less is what is under way between two members that are well. */
const behindEntries = 1_000;

export class Members {
  readonly #deps: MembersDeps;

  constructor(deps: MembersDeps) {
    this.#deps = deps;
  }

  report(): MembersReport {
    const { replica, kv, clusterId } = this.#deps.opened;
    const status = replica.status();
    return {
      clusterId,
      term: status.term,
      revision: kv.currentRevision(),
      members: status.membership.members.map((member) => memberReport(member, status)),
      problem: this.problem() ?? null,
    };
  }

  /**
   * The report now, and again whenever a person would see a difference. Made from what this member
   * knows, so that it also tells of a lost majority, when no object could be written or read.
   */
  async *watch(signal: AbortSignal): AsyncGenerator<MembersReport> {
    let told = '';
    while (!signal.aborted) {
      const report = this.report();
      const seen = JSON.stringify(visiblePart(report));
      if (seen !== told) {
        told = seen;
        yield report;
      }
      await delay(this.#deps.clock, lookMs, signal);
    }
  }

  /** Why neither writes nor true reads are answered; undefined: they are, as far as is known. */
  problem(): string | undefined {
    return problemOf(this.#deps.opened.replica.status());
  }

  /**
   * Adds a member that has no vote yet, with a new key. Throws MembershipRefusedError,
   * ReplicaUnavailableError (nothing happened) or ProposalUnknownError.
   */
  async invite(name: string, address: string): Promise<Invitation> {
    const { opened, pki } = this.#deps;
    const { replica, clusterId } = opened;
    const ownAddresses = opened.addresses();
    if (name.length > 63 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name))
      throw new MembershipRefusedError(
        `A member's name takes lower-case letters, digits, "-" and ".", at most 63, not "${name}".`,
      );
    if (!isHostAndPort(address))
      throw new MembershipRefusedError(
        `The address takes HOST:PORT, where the new member will listen, not "${address}".`,
      );
    if (ownAddresses.length === 0)
      throw new MembershipRefusedError(
        'This machine does not listen for other members, or is in no network: start it with --member-address HOST:PORT first.',
      );
    this.#mustLead();
    const { members } = replica.standing.membership;
    if (members.some((member) => member.name === name))
      throw new MembershipRefusedError(
        `There is a member ${name} already: remove it first, or choose another name.`,
      );
    const tokenKeyPem = await pki.tokenKey();
    const { text: secretKeys } = await pki.secretKeys();
    const peer = pki.newPeer();
    const { memberId: id, certPem, keyPem } = peer;
    await replica.members.addMember({ id, name, addresses: [address] });
    const known = replica.standing.membership.members.map((member) =>
      member.id === replica.status().id ? { ...member, addresses: ownAddresses } : member,
    );
    return {
      clusterId,
      name,
      address,
      ca: pki.ca,
      peer: { certPem, keyPem },
      tokenKeyPem,
      secretKeys,
      members: known,
    };
  }

  /** Throws as `invite` does. */
  async remove(name: string): Promise<void> {
    const { replica } = this.#deps.opened;
    this.#mustLead();
    const status = replica.status();
    const member = status.membership.members.find((one) => one.name === name);
    if (member === undefined)
      throw new MembershipRefusedError(
        `There is no member ${name}: there are ${namesOf(status.membership.members)}.`,
      );
    const isLastVoter = !status.membership.members.some(
      ({ id, role }) => role === 'voter' && id !== status.id,
    );
    if (member.id === status.id && !isLastVoter) {
      await replica.transferLeadership();
      throw new MembershipRefusedError(
        `${name} led until now. Leadership was handed over: ask again on another machine, which can remove it.`,
      );
    }
    await replica.members.remove(member.id);
  }

  /** What it would come to if this machine went on alone. From what it knows itself: it works without a majority. */
  recovery(): RecoveryReport {
    const { replica, clusterId } = this.#deps.opened;
    const status = replica.status();
    const { membership, leader, isRemoved, commit, lastIndex, peers, id: self } = status;
    const others = membership.members.filter(({ id }) => id !== self);
    const own = membership.members.find(({ id }) => id === self);
    const heard = (id: number): number | null => {
      const ms = peers.find((peer) => peer.id === id)?.heardMsAgo;
      return ms === undefined ? null : Math.round(ms / 1000);
    };
    return {
      clusterId,
      refusal: recoveryRefusal({ isMember: own !== undefined, isRemoved, hasLeader: leader !== 0 }),
      unconfirmedEntries: Math.max(0, lastIndex - commit),
      isVoter: own?.role === 'voter',
      others: others.map(({ id, name, role }) => ({ name, role, heardSecondsAgo: heard(id) })),
    };
  }

  /**
   * A majority is gone for good, a person says: the next start goes on from this machine alone. `confirm`: the id of
   * the cluster, so that nothing is asked for by accident. Throws MembershipRefusedError.
   */
  async recover(confirm: string): Promise<void> {
    const { opened, clock, restart } = this.#deps;
    const { refusal, clusterId } = this.recovery();
    if (refusal !== null) throw new MembershipRefusedError(refusal);
    if (confirm !== clusterId)
      throw new MembershipRefusedError(
        `To confirm it takes the id of this cluster, ${clusterId}: nothing was changed.`,
      );
    await requestRecovery(path.dirname(opened.folder), clusterId);
    clock.timer(0, () => restart('a person has this machine go on alone'));
  }

  /** Leadership goes to another, if there is one. */
  async handOver(): Promise<void> {
    await this.#deps.opened.replica.transferLeadership();
  }

  /** The whole state, as `restore` takes it. */
  async *backup(): AsyncGenerator<Uint8Array> {
    const { chunks, close } = await this.openBackup();
    try {
      yield* chunks;
    } finally {
      close();
    }
  }

  /** As `backup`, for who has to know beforehand how long it is. To be closed by the caller. */
  async openBackup(): Promise<StateBackup> {
    const { opened } = this.#deps;
    await opened.kv.confirm();
    const snapshot = await opened.state.snapshot();
    return {
      lineage: opened.state.lineage,
      sizeBytes: backupBytes(snapshot),
      chunks: backupChunks(snapshot),
      close: () => snapshot.close(),
    };
  }

  /**
   * Takes a backup in, checked whole; then this process ends, and the next one goes on with it, as
   * another cluster. Throws MembershipRefusedError and what a backup is refused with.
   */
  async restore(
    chunks: AsyncIterable<Uint8Array>,
    { isOther, signal }: { readonly isOther: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { opened, pki, clock, random, restart } = this.#deps;
    const { members } = opened.replica.standing.membership;
    const self = opened.replica.status().id;
    if (members.some(({ id }) => id !== self))
      throw new MembershipRefusedError(
        `The state is kept by several machines (${namesOf(members)}), and a backup takes one back: remove the others first (\`npm run cluster -- remove NAME\`) and invite them anew afterwards, or put it into an unused data directory.`,
      );
    const { lineage } = opened.state;
    const { folder } = opened;
    const { text, file } = await pki.secretKeys();
    const keys = new SealingKeys(text, file);
    await stageRestore(chunks, isOther, { folder, clock, random, lineage, keys, signal });
    // The answer goes first.
    clock.timer(0, () => restart('a backup takes the place of the store'));
  }

  /** For etcd's clients, whose ids are numbers. */
  clusterInfo(clientUrl: () => string): ClusterInfo {
    const { replica, clusterId } = this.#deps.opened;
    const self = replica.status().id;
    return {
      clusterId: Number.parseInt(clusterId.replaceAll('-', '').slice(0, 12), 16),
      memberId: self,
      members: () =>
        replica.standing.membership.members.map(({ id, name, role, addresses }) => ({
          id,
          name,
          peerUrls: addresses.map((address) => `https://${address}`),
          // Each serves its own machine only.
          clientUrls: id === self ? [clientUrl()] : [],
          isLearner: role === 'learner',
        })),
      position() {
        const { term, leader, commit, appliedIndex } = replica.status();
        return { term, leader, committedIndex: commit, appliedIndex };
      },
      alarms: () => (replica.hasRoom() ? [] : [{ memberId: self, alarm: 'no-space' }]),
    };
  }

  #mustLead(): void {
    const { role, leader, membership } = this.#deps.opened.replica.standing;
    if (role === 'leader') return;
    const name = membership.members.find(({ id }) => id === leader)?.name;
    if (name === undefined) throw new ReplicaUnavailableError(this.problem() ?? 'Nobody leads.');
    throw new MembershipRefusedError(
      `Members are changed on the machine that leads, which is ${name}: run the command there.`,
    );
  }
}

function recoveryRefusal(standing: {
  readonly isMember: boolean;
  readonly isRemoved: boolean;
  readonly hasLeader: boolean;
}): string | null {
  if (standing.isRemoved)
    return 'This machine was removed from the cluster: what it has may be old. Recover on a machine that still belongs to it.';
  if (!standing.isMember)
    return 'This machine has not been sent the state yet: recover on another one.';
  if (standing.hasLeader)
    return 'A majority of the machines that decide is there: nothing has to be recovered.';
  return null;
}

export function problemOf(status: ReplicaStatus): string | undefined {
  const { membership, leader, isRemoved, peers, id: self } = status;
  if (isRemoved)
    return (
      'This machine was removed from the cluster. To come back, it has to be invited anew, and to ' +
      'join with an unused data directory.'
    );
  if (leader !== 0) return undefined;
  if (membership.members.length === 0)
    return 'This machine has joined, and waits for a member of the cluster to call it.';
  const voters = membership.members.filter(({ role }) => role === 'voter');
  const missing = voters.filter(
    ({ id }) => id !== self && !peers.some((peer) => peer.id === id && peer.isActive),
  );
  const needed = Math.floor(voters.length / 2) + 1;
  const away = missing.length === 0 ? '' : `, and nothing is heard of ${namesOf(missing)}`;
  return `No member leads: ${needed} of the voters ${namesOf(voters)} have to run and reach each other${away}.`;
}

/** Without what moves with every write. */
function visiblePart({ members, problem }: MembersReport): unknown {
  const shown = members.map(({ lag, ...rest }) => ({
    ...rest,
    isBehind: lag === null ? null : lag >= behindEntries,
  }));
  return { members: shown, problem };
}

function memberReport(member: Member, status: ReplicaStatus): MemberReport {
  const { id, name, role, addresses } = member;
  const isSelf = id === status.id;
  const isLeader = id === status.leader;
  const match = status.progress.find((peer) => peer.id === id)?.match;
  const contact = status.peers.find((peer) => peer.id === id);
  const isJudge = status.role === 'leader' || isLeader;
  const seen = contact?.isActive === true ? 'running' : isJudge ? 'unreachable' : 'unknown';
  const lag = isSelf
    ? status.commit - status.appliedIndex
    : // Nothing was heard of it since this one leads: how far it is nobody knows.
      match === undefined || match === 0
      ? null
      : Math.max(0, status.lastIndex - match);
  return { id, name, role, addresses, isLeader, isSelf, health: isSelf ? 'running' : seen, lag };
}

function namesOf(members: readonly Member[]): string {
  return members.map(({ id, name }) => (name === '' ? String(id) : name)).join(', ');
}
