// When each peer was last heard of: for people, and for who may be counted on in a change.
import type { Clock } from '#kube/base/clock.ts';
import type { MemberId, Membership } from '../raft/types.ts';

export interface PeerContact {
  readonly id: MemberId;
  /** Milliseconds since a message came from it; undefined: none did. */
  readonly heardMsAgo: number | undefined;
  /** Heard of within the longest election timeout. */
  readonly isActive: boolean;
}

export class Contacts {
  readonly #clock: Clock;
  readonly #activeMs: number;
  readonly #heardMs = new Map<MemberId, number>();

  constructor(clock: Clock, activeMs: number) {
    this.#clock = clock;
    this.#activeMs = activeMs;
  }

  heard(id: MemberId): void {
    this.#heardMs.set(id, this.#clock.monotonicMs());
  }

  /** Forgets strangers and who left. */
  keepOnly({ members }: Membership): void {
    for (const id of this.#heardMs.keys())
      if (!members.some((member) => member.id === id)) this.#heardMs.delete(id);
  }

  /** Of the membership, without `self`. */
  of({ members }: Membership, self: MemberId): PeerContact[] {
    const nowMs = this.#clock.monotonicMs();
    return members
      .filter(({ id }) => id !== self)
      .map(({ id }) => {
        const heardMs = this.#heardMs.get(id);
        const heardMsAgo = heardMs === undefined ? undefined : nowMs - heardMs;
        const isActive = heardMsAgo !== undefined && heardMsAgo <= this.#activeMs;
        return { id, heardMsAgo, isActive };
      });
  }
}
