// What members said of the hash of their state, as it came through the log. Who has another hash
// answers with a claim of its own, who has the same says nothing: where all agree, it costs nothing.
// What most voters claim is right, be the leader wrong. Pure; forgotten at the next start.
import type { Membership, MemberId } from '../raft/types.ts';

export interface HashClaim {
  /** Undefined: whoever compacted, who counts as nobody. */
  readonly member: MemberId | undefined;
  readonly revision: number;
  readonly hash: number;
}

export type HashVerdict =
  | 'same'
  /** Another hash than ours; who is wrong is not known yet. */
  | 'doubt'
  /** Most voters have our hash. */
  | 'right'
  /** Most voters have another hash. */
  | 'wrong';

const revisionsMax = 8;

export class HashClaims {
  readonly #byRevision = new Map<number, Map<MemberId, number>>();

  /** `own`: this member's hash at the revision of the claim. */
  add(claim: HashClaim, own: number, { members }: Membership): HashVerdict {
    const claims = this.#of(claim.revision);
    if (claim.member !== undefined) claims.set(claim.member, claim.hash);
    const voters = members.filter(({ role }) => role === 'voter');
    const hashes = voters.flatMap(({ id }) => claims.get(id) ?? []);
    const hasMost = (hash: number): boolean =>
      2 * hashes.filter((one) => one === hash).length > voters.length;
    if (hasMost(own)) return 'right';
    if (hashes.some((hash) => hash !== own && hasMost(hash))) return 'wrong';
    return claim.hash === own ? 'same' : 'doubt';
  }

  #of(revision: number): Map<MemberId, number> {
    const found = this.#byRevision.get(revision) ?? new Map<MemberId, number>();
    this.#byRevision.set(revision, found);
    for (const [oldest] of this.#byRevision)
      if (this.#byRevision.size > revisionsMax) this.#byRevision.delete(oldest);
    return found;
  }
}
