// The messages of etcd's v3 API about leases, members and maintenance; the rest is in protocol.ts.
// Source: etcd api/etcdserverpb/rpc.proto.
import { header, type Headed } from './protocol.ts';
import { MessageType, many, one } from './wire.ts';

/** For LeaseGrant, LeaseRevoke, LeaseKeepAlive and LeaseTimeToLive: they differ in what is used. */
export interface LeaseGrantRequest {
  readonly TTL: number;
  readonly ID: number;
}

export const leaseGrantRequest = new MessageType<LeaseGrantRequest>({
  TTL: one(1, 'int'),
  ID: one(2, 'int'),
});

export interface LeaseGrantResponse extends Headed {
  readonly ID: number;
  readonly TTL: number;
}

/** Also what LeaseKeepAlive answers. */
export const leaseGrantResponse = new MessageType<LeaseGrantResponse>({
  header,
  ID: one(2, 'int'),
  TTL: one(3, 'int'),
});

export interface LeaseId {
  readonly ID: number;
}

export const leaseId = new MessageType<LeaseId>({ ID: one(1, 'int') });

export interface LeaseTimeToLiveRequest extends LeaseId {
  readonly keys: boolean;
}

export const leaseTimeToLiveRequest = new MessageType<LeaseTimeToLiveRequest>({
  ID: one(1, 'int'),
  keys: one(2, 'bool'),
});

export interface LeaseTimeToLiveResponse extends Headed {
  readonly ID: number;
  readonly TTL: number;
  readonly grantedTTL: number;
  readonly keys: readonly string[];
}

export const leaseTimeToLiveResponse = new MessageType<LeaseTimeToLiveResponse>({
  header,
  ID: one(2, 'int'),
  TTL: one(3, 'int'),
  grantedTTL: one(4, 'int'),
  keys: many(5, 'key'),
});

export interface LeaseLeasesResponse extends Headed {
  readonly leases: readonly LeaseId[];
}

export const leaseLeasesResponse = new MessageType<LeaseLeasesResponse>({
  header,
  leases: many(2, leaseId),
});

export interface Member {
  readonly ID: number;
  readonly name: string;
  readonly peerURLs: readonly string[];
  readonly clientURLs: readonly string[];
  readonly isLearner: boolean;
}

export interface MemberListResponse extends Headed {
  readonly members: readonly Member[];
}

export const memberListResponse = new MessageType<MemberListResponse>({
  header,
  members: many(
    2,
    new MessageType<Member>({
      ID: one(1, 'id'),
      name: one(2, 'string'),
      peerURLs: many(3, 'string'),
      clientURLs: many(4, 'string'),
      isLearner: one(5, 'bool'),
    }),
  ),
});

export interface HashRevisionRequest {
  readonly revision: number;
}

export const hashRevisionRequest = new MessageType<HashRevisionRequest>({
  revision: one(1, 'int'),
});

export interface HashResponse extends Headed {
  readonly hash: number;
  readonly compact_revision: number;
  readonly hash_revision: number;
}

/** Of HashKV; Hash has the hash alone. */
export const hashResponse = new MessageType<HashResponse>({
  header,
  hash: one(2, 'int'),
  compact_revision: one(3, 'int'),
  hash_revision: one(4, 'int'),
});

export interface SnapshotResponse extends Headed {
  readonly remaining_bytes: number;
  readonly blob: Uint8Array;
}

export const snapshotResponse = new MessageType<SnapshotResponse>({
  header,
  remaining_bytes: one(2, 'int'),
  blob: one(3, 'bytes'),
});

export interface AlarmMember {
  readonly memberID: number;
  /** 1: no space, 2: corrupt. */
  readonly alarm: number;
}

export interface AlarmRequest extends AlarmMember {
  /** 0: tell, 1: raise, 2: end. */
  readonly action: number;
}

export const alarmRequest = new MessageType<AlarmRequest>({
  action: one(1, 'int'),
  memberID: one(2, 'id'),
  alarm: one(3, 'int'),
});

export interface AlarmResponse extends Headed {
  readonly alarms: readonly AlarmMember[];
}

export const alarmResponse = new MessageType<AlarmResponse>({
  header,
  alarms: many(2, new MessageType<AlarmMember>({ memberID: one(1, 'id'), alarm: one(2, 'int') })),
});

export interface StatusResponse extends Headed {
  readonly version: string;
  readonly dbSize: number;
  readonly leader: number;
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly raftAppliedIndex: number;
  readonly errors: readonly string[];
  readonly dbSizeInUse: number;
  readonly isLearner: boolean;
}

export const statusResponse = new MessageType<StatusResponse>({
  header,
  version: one(2, 'string'),
  dbSize: one(3, 'int'),
  leader: one(4, 'id'),
  raftIndex: one(5, 'int'),
  raftTerm: one(6, 'int'),
  raftAppliedIndex: one(7, 'int'),
  errors: many(8, 'string'),
  dbSizeInUse: one(9, 'int'),
  isLearner: one(10, 'bool'),
});

export interface AuthStatusResponse extends Headed {
  readonly enabled: boolean;
}

export const authStatusResponse = new MessageType<AuthStatusResponse>({
  header,
  enabled: one(2, 'bool'),
});
