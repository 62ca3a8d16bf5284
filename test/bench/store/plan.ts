// How much is measured, of what.
import type { EtcdClient } from '../etcd-client.ts';
import type { MemberGroup } from '../member-group.ts';
import type { Group } from '../server-group.ts';

export const peerName = 'etcd';

/** Both at rest but for the one that is measured. */
export interface Sides {
  readonly ours: MemberGroup;
  readonly etcd: Group;
  readonly client: EtcdClient;
}

export interface Plan {
  readonly say: (text: string) => void;
  /** Samples of ours and of the peer, in turn. */
  readonly pairs: number;
  readonly putsMs: number;
  readonly keyCount: number;
  readonly compactedRevisions: number;
  readonly pacedMs: number;
}

/** Some eight minutes. */
export const fullPlan: Omit<Plan, 'say'> = {
  pairs: 7,
  putsMs: 1500,
  keyCount: 100_000,
  compactedRevisions: 100_000,
  pacedMs: 60_000,
};
