// Changes of who takes part, as a person or the voter policy asks for them on the leader: one at a
// time, each checked against what the leader sees. Refused is what would leave the group without a
// majority of started, recently heard voters: the commonest way to lose a cluster.
// The protocol checks again what safety needs (one voter at a time); here is what availability needs.
// Source: etcd server.go (StrictReconfigCheck, readyPercentThreshold); thesis §4.2.1.
import { encodeMembership, votersOf, withMember, withoutMember } from '../raft/membership.ts';
import type { Member, MemberId, Membership } from '../raft/types.ts';
import { entryVersionOf, withAnnouncements, type Announcement } from './announcements.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from './types.ts';
import type { ReplicaStatus } from './replica.ts';

/** Nothing was changed. The message says why, and what to do. */
export class MembershipRefusedError extends Error {
  override readonly name = 'MembershipRefusedError';
}

/** A learner that holds this share of the leader's log may vote. */
const caughtUpShare = 0.9;

export interface MembershipChangesDeps {
  readonly status: () => ReplicaStatus;
  /** Resolves when it is committed. */
  readonly change: (encoded: Uint8Array) => Promise<void>;
  /** What a member said of itself; undefined: nothing yet. */
  readonly announced: (id: MemberId) => Announcement | undefined;
}

/**
 * On the leader. Each resolves when the change is committed, and rejects with
 * MembershipRefusedError, ReplicaUnavailableError (nothing changed) or ProposalUnknownError.
 */
export class MembershipChanges {
  readonly #deps: MembershipChangesDeps;
  /** Writes down what was announced. Rejects only by a programmer's error. */
  #noting: Promise<void> | undefined;

  constructor(deps: MembershipChangesDeps) {
    this.#deps = deps;
  }

  /** As a learner, which has no vote. `id` must never have been another's. */
  async addMember(member: Omit<Member, 'role'>): Promise<void> {
    await this.#change((status) => withAdded(status, member));
  }

  /** A learner that has caught up gets a vote. */
  async promote(id: MemberId): Promise<void> {
    await this.#change((status) => withPromoted(status, id));
  }

  /** A voter becomes a learner. */
  async demote(id: MemberId): Promise<void> {
    await this.#change((status) => withDemoted(status, id));
  }

  async remove(id: MemberId): Promise<void> {
    await this.#change((status) => withRemoved(status, id));
  }

  async updateAddresses(id: MemberId, addresses: readonly string[]): Promise<void> {
    await this.#change(({ membership }) => {
      const member = find(membership, id);
      return withMember(membership, { ...member, addresses });
    });
  }

  /** Writes down what members have said of themselves since; called often, does it when it can. */
  noteAnnouncements(): void {
    const { status, announced, change } = this.#deps;
    const { role, membership, isMembershipCommitted } = status();
    if (role !== 'leader' || !isMembershipCommitted || this.#noting !== undefined) return;
    const next = withAnnouncements(membership, announced);
    if (next === undefined) return;
    this.#noting = change(encodeMembership(next))
      .catch((error: unknown) => {
        // Another change came first, or leadership went: the next call tries again.
        const isPassing =
          error instanceof ReplicaUnavailableError || error instanceof ProposalUnknownError;
        if (!isPassing) throw error;
      })
      .finally(() => (this.#noting = undefined));
  }

  async #change(decide: (status: ReplicaStatus) => Membership): Promise<void> {
    await this.#noting;
    const status = this.#deps.status();
    if (status.role !== 'leader')
      throw new ReplicaUnavailableError('Only the leader may change the membership');
    const next = decide(status);
    await this.#deps.change(
      encodeMembership(withAnnouncements(next, this.#deps.announced) ?? next),
    );
  }
}

export function withAdded(
  { membership }: ReplicaStatus,
  { id, name, addresses }: Omit<Member, 'role'>,
): Membership {
  if (membership.removed?.includes(id) === true)
    throw new MembershipRefusedError(
      `Member ${id} was removed: a machine that shall come back joins with a new key.`,
    );
  const present = membership.members.find((member) => member.id === id);
  if (present !== undefined)
    throw new MembershipRefusedError(
      `${label(present)} is a member already: a machine that lost its data joins with a new key.`,
    );
  // Until it says what it knows, it is expected to know what all others do.
  const entryVersion = entryVersionOf(membership);
  return withMember(membership, { id, role: 'learner', name, addresses, entryVersion });
}

export function withPromoted(status: ReplicaStatus, id: MemberId): Membership {
  const { membership, progress, commit } = status;
  const member = find(membership, id);
  if (member.role === 'voter')
    throw new MembershipRefusedError(`${label(member)} is a voter already.`);
  const match = progress.find((peer) => peer.id === id)?.match ?? 0;
  if (match < commit * caughtUpShare)
    throw new MembershipRefusedError(
      `${label(member)} holds ${match} of ${commit} entries: it may vote when it has caught up.`,
    );
  if (!isActive(status, id))
    throw new MembershipRefusedError(
      `${label(member)} was not heard of lately: start it before it becomes a voter.`,
    );
  const next = withMember(membership, { ...member, role: 'voter' });
  return keepingQuorum(status, next, `${label(member)} can't become a voter`);
}

export function withDemoted(status: ReplicaStatus, id: MemberId): Membership {
  const member = find(status.membership, id);
  if (member.role === 'learner')
    throw new MembershipRefusedError(`${label(member)} has no vote already.`);
  const next = withMember(status.membership, { ...member, role: 'learner' });
  return withoutVoter(status, member, next, "can't lose its vote");
}

export function withRemoved(status: ReplicaStatus, id: MemberId): Membership {
  const member = find(status.membership, id);
  const next = withoutMember(status.membership, id);
  if (member.role === 'learner') return next;
  return withoutVoter(status, member, next, "can't be removed");
}

function withoutVoter(
  status: ReplicaStatus,
  member: Member,
  next: Membership,
  what: string,
): Membership {
  if (votersOf(next).length === 0)
    throw new MembershipRefusedError(`${label(member)} ${what}: it is the only voter.`);
  if (member.id === status.id)
    throw new MembershipRefusedError(
      `${label(member)} ${what} while it leads: hand leadership over first.`,
    );
  return keepingQuorum(status, next, `${label(member)} ${what}`);
}

function keepingQuorum(status: ReplicaStatus, next: Membership, what: string): Membership {
  const voters = votersOf(next);
  const active = voters.filter((id) => isActive(status, id));
  const needed = Math.floor(voters.length / 2) + 1;
  if (active.length >= needed) return next;
  throw new MembershipRefusedError(
    `${what}: of the ${voters.length} voters there would be then, ${needed} must be running, and ` +
      `only ${active.length} were heard of lately. Start the others first.`,
  );
}

function isActive(status: ReplicaStatus, id: MemberId): boolean {
  if (id === status.id) return true;
  return status.peers.some((peer) => peer.id === id && peer.isActive);
}

function find({ members }: Membership, id: MemberId): Member {
  const member = members.find((one) => one.id === id);
  if (member === undefined)
    throw new MembershipRefusedError(`Member ${id} is not (or no longer) in this cluster.`);
  return member;
}

function label({ id, name }: Member): string {
  return name === '' ? `Member ${id}` : `${name} (member ${id})`;
}
