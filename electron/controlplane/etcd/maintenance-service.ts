// etcd's Cluster and Maintenance services, and that there is no Auth: who may call is decided by
// the certificate. Members are added and removed by the cluster itself, not from here.
// Source: etcd server/etcdserver/api/v3rpc/maintenance.go, member.go.
import { unary, type Method } from './grpc-server.ts';
import * as wire from './protocol-admin.ts';
import { emptyMessage, headerOnly } from './protocol.ts';
import type { ServiceDeps } from './server.ts';
import { snapshotMethod } from './snapshot-service.ts';
import { asRefusal } from './status.ts';

/** Which etcd's API this is: clients look at it before they use what came later. */
const apiVersion = '3.5.13';

const alarmNumbers = { 'no-space': 1, corrupt: 2 } as const;
const alarmTexts = { 'no-space': 'NOSPACE', corrupt: 'CORRUPT' } as const;

export function maintenanceMethods(service: ServiceDeps): Readonly<Record<string, Method>> {
  const { header } = service;
  return {
    '/etcdserverpb.Cluster/MemberList': unary(emptyMessage, wire.memberListResponse, () => ({
      header: header(),
      members: service.cluster.members().map((member) => ({
        ID: member.id,
        name: member.name,
        peerURLs: member.peerUrls,
        clientURLs: member.clientUrls,
        isLearner: member.isLearner,
      })),
    })),
    '/etcdserverpb.Maintenance/Status': unary(emptyMessage, wire.statusResponse, () =>
      status(service),
    ),
    ...hashMethods(service),
    // An alarm ends when its cause does: ending one by hand changes nothing.
    '/etcdserverpb.Maintenance/Alarm': unary(wire.alarmRequest, wire.alarmResponse, () => ({
      header: header(),
      alarms: service.cluster
        .alarms()
        .map(({ memberId, alarm }) => ({ memberID: memberId, alarm: alarmNumbers[alarm] })),
    })),
    // Pages that became free are used again; there is nothing to do by hand.
    '/etcdserverpb.Maintenance/Defragment': unary(emptyMessage, headerOnly, () => ({
      header: header(),
    })),
    '/etcdserverpb.Maintenance/Snapshot': snapshotMethod(service),
    '/etcdserverpb.Auth/AuthStatus': unary(emptyMessage, wire.authStatusResponse, () => ({
      header: header(),
      enabled: false,
    })),
  };
}

function status({ kv, cluster, header }: ServiceDeps): wire.StatusResponse {
  const { term, leader, committedIndex, appliedIndex } = cluster.position();
  const { totalBytes, usedBytes } = kv.size();
  const own = cluster.members().find((member) => member.id === cluster.memberId);
  return {
    header: header(),
    version: apiVersion,
    dbSize: totalBytes,
    leader,
    raftIndex: committedIndex,
    raftTerm: term,
    raftAppliedIndex: appliedIndex,
    errors: [
      ...(leader === 0 ? ['etcdserver: no leader'] : []),
      ...cluster
        .alarms()
        .map(({ memberId, alarm }) => `memberID:${memberId} alarm:${alarmTexts[alarm]} `),
    ],
    dbSizeInUse: usedBytes,
    isLearner: own?.isLearner ?? false,
  };
}

function hashMethods({ kv, header }: ServiceDeps): Readonly<Record<string, Method>> {
  const hashAt = (revision: number): wire.HashResponse => {
    try {
      const result = kv.hash(revision);
      return {
        header: header(),
        hash: result.hash,
        compact_revision: kv.compactedRevision(),
        hash_revision: result.revision,
      };
    } catch (error) {
      throw asRefusal(error);
    }
  };
  return {
    '/etcdserverpb.Maintenance/Hash': unary(emptyMessage, wire.hashResponse, () => ({
      ...hashAt(0),
      compact_revision: 0,
      hash_revision: 0,
    })),
    '/etcdserverpb.Maintenance/HashKV': unary(
      wire.hashRevisionRequest,
      wire.hashResponse,
      ({ revision }) => hashAt(Math.max(0, revision)),
    ),
  };
}
