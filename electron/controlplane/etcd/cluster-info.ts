// What the etcd front tells of the group besides its data. Types only; made where the replica is.

export interface ClusterMember {
  /** At most 48 bits. */
  readonly id: number;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface RaftPosition {
  readonly term: number;
  /** 0: none known. */
  readonly leader: number;
  readonly committedIndex: number;
  readonly appliedIndex: number;
}

export interface ClusterInfo {
  readonly clusterId: number;
  readonly memberId: number;
  members(): readonly ClusterMember[];
  position(): RaftPosition;
  /** What is wrong with which member; etcd has names for these two only. */
  alarms(): readonly { readonly memberId: number; readonly alarm: 'no-space' | 'corrupt' }[];
}
