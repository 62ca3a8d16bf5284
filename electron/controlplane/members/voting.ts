// Carries the voter policy out while this member leads: looks now and then who is there, and moves
// one vote at a time. Nothing runs on a member that is alone or does not lead.
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { unreachable } from '#kube/base/assert.ts';
import type { MemberId } from '../raft/types.ts';
import type { Replica, ReplicaStatus } from '../replica/replica.ts';
import {
  desiredMembership,
  stableMs as standardStableMs,
  type MemberFacts,
  type VoterChange,
} from '../replica/voters.ts';

type VotedReplica = Pick<
  Replica<unknown>,
  'status' | 'standing' | 'members' | 'onChange' | 'transferLeadership'
>;

export interface VotingDeps {
  readonly replica: VotedReplica;
  /** Of this member now, by which others reach it; none: it does not listen. */
  readonly addresses: () => readonly string[];
  /** Whether a member is meant to run day and night; undefined: it has not said yet. */
  readonly isAlwaysOn: (id: MemberId) => boolean | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a learner has to be there before it votes; the policy's own when left out. */
  readonly stableMs?: number;
}

interface Contact {
  readonly isReachable: boolean;
  readonly sinceMs: number;
}

const looksMs = 10_000;
/** A learner that lacks less than this has the log, for all that matters. */
const caughtUpEntries = 1_000;

export class Voting {
  readonly #deps: VotingDeps;
  readonly #stableMs: number;
  readonly #contacts = new Map<MemberId, Contact>();
  readonly #stopListening: () => void;
  #timer: Timer | undefined;
  #isChanging = false;

  constructor(deps: VotingDeps) {
    this.#deps = deps;
    this.#stableMs = deps.stableMs ?? standardStableMs;
    this.#stopListening = deps.replica.onChange(() => this.#changed());
    this.#changed();
  }

  stop(): void {
    this.#stopListening();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #changed(): void {
    const { role, membership } = this.#deps.replica.standing;
    const hasDuty = role === 'leader' && membership.members.length > 1;
    if (hasDuty === (this.#timer !== undefined)) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    // What an earlier leadership saw says nothing of now.
    this.#contacts.clear();
    if (hasDuty) this.#wait();
  }

  #wait(): void {
    const everyMs = Math.min(looksMs, this.#stableMs);
    this.#timer = this.#deps.clock.timer(everyMs, () => {
      this.#wait();
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    const { replica, clock, logger } = this.#deps;
    const status = replica.status();
    const nowMs = clock.monotonicMs();
    const members = status.membership.members.map(({ id }) => this.#factsOf(id, status, nowMs));
    if (this.#isChanging || !status.isMembershipCommitted) return;
    const facts = { leader: status.id, members, stableMs: this.#stableMs };
    const change = desiredMembership(status.membership, facts, nowMs);
    this.#isChanging = true;
    try {
      if (change === undefined) await this.#tellAddress(status);
      else {
        logger.info('Votes move', { ...change });
        await this.#carryOut(change);
      }
    } catch (error) {
      logger.warn('The membership could not be changed; tries again', { error });
    } finally {
      this.#isChanging = false;
    }
  }

  #factsOf(id: MemberId, status: ReplicaStatus, nowMs: number): MemberFacts {
    const isReachable =
      id === status.id || status.peers.some((peer) => peer.id === id && peer.isActive);
    const before = this.#contacts.get(id);
    const contact = before?.isReachable === isReachable ? before : { isReachable, sinceMs: nowMs };
    this.#contacts.set(id, contact);
    const match = status.progress.find((peer) => peer.id === id)?.match ?? 0;
    const isCaughtUp = id === status.id || match + caughtUpEntries >= status.commit;
    // Who has not said so yet was not heard of either: it neither gets nor loses a vote by this.
    const isAlwaysOn = this.#deps.isAlwaysOn(id) ?? true;
    return { id, ...contact, isAlwaysOn, isCaughtUp };
  }

  /** The founder's address is not in the membership when it began alone, or was moved since. */
  async #tellAddress({ id, membership }: ReplicaStatus): Promise<void> {
    const { replica } = this.#deps;
    const addresses = this.#deps.addresses();
    const self = membership.members.find((member) => member.id === id);
    if (addresses.length === 0 || self === undefined) return;
    if (addresses.join() === self.addresses.join()) return;
    await replica.members.updateAddresses(id, addresses);
  }

  async #carryOut(change: VoterChange): Promise<void> {
    const { replica } = this.#deps;
    const { members } = replica;
    switch (change.type) {
      case 'promote':
        return members.promote(change.id);
      case 'demote':
        return members.demote(change.id);
      case 'transfer':
        return replica.transferLeadership(change.to);
      default:
        return unreachable(change);
    }
  }
}
