// etcd's Lease service. Lease ids are of 53 bits here; etcd's own are of 63, so one that a client
// chose beyond 2^53 is refused by the decoder.
// Source: etcd server/etcdserver/api/v3rpc/lease.go, server/lease/lessor.go.
import { unary, type Method, type ServerCall, type StreamHandler } from './grpc-server.ts';
import * as wire from './protocol-admin.ts';
import { headerOnly } from './protocol.ts';
import type { ServiceDeps } from './server.ts';
import { asRefusal, refusal } from './status.ts';

/** Shorter ones would end while a leader is elected. */
const ttlSecondsMin = 2;
const ttlSecondsMax = 9_000_000_000;

export function leaseMethods(service: ServiceDeps): Readonly<Record<string, Method>> {
  const { kv, header } = service;
  return {
    '/etcdserverpb.Lease/LeaseGrant': unary(
      wire.leaseGrantRequest,
      wire.leaseGrantResponse,
      async (request) => {
        if (request.TTL > ttlSecondsMax) throw refusal('leaseTtlTooLarge');
        const ttlSeconds = Math.max(request.TTL, ttlSecondsMin);
        const id = request.ID === 0 ? newLeaseId(service) : request.ID;
        const { revision } = await service.write({ type: 'lease-grant', id, ttlSeconds });
        return { header: header(revision), ID: id, TTL: ttlSeconds };
      },
    ),
    ...revokeMethods(service),
    '/etcdserverpb.Lease/LeaseKeepAlive': {
      kind: 'stream',
      open: (call) => keepAlive(service, call),
    },
    '/etcdserverpb.Lease/LeaseTimeToLive': unary(
      wire.leaseTimeToLiveRequest,
      wire.leaseTimeToLiveResponse,
      async (request) => {
        const lease = await told(kv.lease(request.ID));
        return {
          header: header(),
          ID: request.ID,
          TTL: lease === undefined ? -1 : Math.floor(lease.remainingSeconds),
          grantedTTL: lease?.ttlSeconds ?? 0,
          keys: request.keys ? (lease?.keys ?? []) : [],
        };
      },
    ),
    '/etcdserverpb.Lease/LeaseLeases': unary(wire.leaseId, wire.leaseLeasesResponse, async () => {
      const ids = await told(kv.leases());
      return { header: header(), leases: ids.map((ID) => ({ ID })) };
    }),
  };
}

/** Under its old path, too. */
function revokeMethods(service: ServiceDeps): Readonly<Record<string, Method>> {
  const revoke = unary(wire.leaseId, headerOnly, async ({ ID }) => {
    const { revision } = await service.write({ type: 'lease-revoke', id: ID });
    return { header: service.header(revision) };
  });
  return { '/etcdserverpb.Lease/LeaseRevoke': revoke };
}

async function told<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** Positive, of 53 bits. */
function newLeaseId({ random }: ServiceDeps): number {
  const bytes = random.bytes(7);
  let id = (bytes[0] ?? 0) & 0x1f;
  for (const byte of bytes.subarray(1)) id = id * 256 + byte;
  return Math.max(1, id);
}

function keepAlive({ kv, header }: ServiceDeps, call: ServerCall): StreamHandler {
  let waiting = 0;
  let isEnded = false;
  const finishWhenDone = (): void => {
    if (isEnded && waiting === 0) call.finish();
  };
  async function keep(id: number): Promise<void> {
    const kept = await kv.keepLease(id);
    const answer = { header: header(), ID: id, TTL: kept?.ttlSeconds ?? 0 };
    await call.send(wire.leaseGrantResponse.encodeFrame(answer));
  }
  return {
    message(request) {
      waiting++;
      keep(wire.leaseId.decode(request).ID).then(
        () => {
          waiting--;
          finishWhenDone();
        },
        (error: unknown) => call.finish(asRefusal(error)),
      );
    },
    end() {
      isEnded = true;
      finishWhenDone();
    },
    close() {},
  };
}
