// Opens this machine's own copy of the state, as a member that is alone, leads others, or has been
// invited: which of these it is stands in the data directory, not in the flags.
// Without a member address nothing listens on the network, and nothing is sent.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { controlPlanePorts } from '#kube/machinery/control-planes.ts';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import type { ClusterPki } from '#platform/pki.ts';
import { listenError } from '../apiserver/listener/listen-error.ts';
import type { MemberId } from '../raft/types.ts';
import type { StartWish } from '../replica/bootstrap.ts';
import { TlsPeerTransport } from '../replica/peer-transport.ts';
import { finishRecovery } from '../replica/recovery-run.ts';
import { openReplicatedStore, type MemberSelf, type ReplicatedStore } from '../store/open-store.ts';
import type { Invitation } from './invitation.ts';
import { finishRestore } from './restoring.ts';

export interface MemberStoreOptions {
  readonly dataDirectory: string;
  /** A cluster was made here before: what is missing now is lost. */
  readonly mustExist: boolean;
  /** For a founder. */
  readonly name: string;
  /** `host:port`; undefined: the one kept from before, or none. */
  readonly address: string | undefined;
  /** Whether other machines reach this one: then it listens for members without having been told where. */
  readonly isReachable: boolean;
  /** Of this machine, now; best first. */
  readonly machineAddresses: () => readonly string[];
  /** Accepted already. */
  readonly invitation: Invitation | undefined;
  /** Meant to run day and night, unlike a laptop. */
  readonly isAlwaysOn: boolean;
  readonly pki: ClusterPki;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

export interface MemberStore extends ReplicatedStore {
  readonly folder: string;
  /** Where this member is reached by others now, best first; none: it does not listen. */
  readonly addresses: () => readonly string[];
  /** As the other one said of itself; undefined: nothing yet. */
  isAlwaysOn(id: MemberId): boolean | undefined;
  /** This machine has other addresses than before: the others are told at once. */
  moved(): void;
  /** Takes over a renewed certificate. */
  renew(): Promise<void>;
}

export const storeFolder = 'store';
const everyAddress = '0.0.0.0';

/** Throws StoreOpenError, ListenError and PkiError, whose messages are sentences for a person. */
export async function openMemberStore(options: MemberStoreOptions): Promise<MemberStore> {
  const { dataDirectory, mustExist, name, invitation, pki } = options;
  const { clock, random, logger, onFatal } = options;
  const directory = path.join(dataDirectory, storeFolder);
  const superseded = finishRestore(directory, clock);
  if (superseded !== undefined)
    logger.warn('A backup took the place of the store, which is kept', { superseded });
  finishRecovery(directory);
  const identity = await pki.peer(path.join(dataDirectory, 'pki'));
  const address = await memberAddress(options);
  const ownAddresses = (): readonly string[] =>
    address === undefined ? [] : addressesOf(address, options.machineAddresses());
  const addresses = ownAddresses();
  const knownMembers = invitation?.members ?? [];
  let transport: TlsPeerTransport | undefined;
  const open = async (self: MemberSelf, listen: string): Promise<TlsPeerTransport> => {
    const own = { ...options, self, identity, address: listen, addresses: ownAddresses };
    transport = await openTransport(own);
    return transport;
  };
  const opened = await openReplicatedStore({
    directory,
    memberId: identity.memberId,
    wish: wishOf(invitation, mustExist || existsSync(path.join(directory, 'member.json')), {
      name,
      addresses,
    }),
    mustExist,
    ...(address === undefined ? {} : { transport: (self: MemberSelf) => open(self, address) }),
    replica: { knownMembers },
    clock,
    random,
    logger,
    onFatal,
  });
  return {
    ...opened,
    folder: directory,
    addresses: ownAddresses,
    isAlwaysOn(id) {
      if (id === identity.memberId) return options.isAlwaysOn;
      return transport?.peers().find((peer) => peer.id === id)?.isAlwaysOn;
    },
    moved: () => transport?.moved(),
    async renew() {
      const { certPem, keyPem } = await pki.peer(path.join(dataDirectory, 'pki'));
      transport?.setCredentials({ caPem: pki.caPem, certPem, keyPem });
    },
  };
}

function wishOf(
  invitation: Invitation | undefined,
  isRestart: boolean,
  self: { readonly name: string; readonly addresses: readonly string[] },
): StartWish {
  if (invitation === undefined) return { type: isRestart ? 'restart' : 'new', ...self };
  return { type: 'join', name: invitation.name, clusterId: invitation.clusterId };
}

/** Kept like the node's name: a member without its address would be lost to the others. */
async function memberAddress(options: MemberStoreOptions): Promise<string | undefined> {
  const file = path.join(options.dataDirectory, 'member-address');
  const kept = (await readFileIfExists(file))?.trim();
  const address =
    options.address ??
    (kept === '' ? undefined : kept) ??
    options.invitation?.address ??
    (options.isReachable ? `${everyAddress}:${await freePort()}` : undefined);
  if (address !== undefined && address !== kept) await writeFileAtomic(file, `${address}\n`);
  return address;
}

async function openTransport(deps: {
  readonly self: MemberSelf;
  readonly identity: Awaited<ReturnType<ClusterPki['peer']>>;
  readonly address: string;
  readonly addresses: () => readonly string[];
  readonly isAlwaysOn: boolean;
  readonly pki: ClusterPki;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}): Promise<TlsPeerTransport> {
  const { self, identity, address, addresses, isAlwaysOn, pki, clock, random, logger } = deps;
  const { memberId: id, certPem, keyPem } = identity;
  const listen = hostAndPort(address);
  try {
    return await TlsPeerTransport.open({
      ...self,
      id,
      credentials: { caPem: pki.caPem, certPem, keyPem },
      listen,
      addresses,
      isAlwaysOn,
      clock,
      random,
      logger,
    });
  } catch (error) {
    const isSystems = (error as NodeJS.ErrnoException).code !== undefined;
    throw isSystems
      ? listenError(error as NodeJS.ErrnoException, listen, '--member-address')
      : error;
  }
}

/** The usual one, or, where another program has that, one that stays this member's from then on. */
async function freePort(): Promise<number> {
  return await portListened(controlPlanePorts.member).catch(() => portListened(0));
}

/** By a server that is there for a moment. */
async function portListened(wanted: number): Promise<number> {
  const server = createServer().listen(wanted, everyAddress);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** One that listens on all addresses is reached by those that the machine has now. */
function addressesOf(address: string, machine: readonly string[]): readonly string[] {
  const { host, port } = hostAndPort(address);
  return host === everyAddress ? machine.map((one) => `${one}:${port}`) : [address];
}

/** Of a checked `host:port`. */
function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replaceAll(/[[\]]/g, '');
  return { host, port: Number(address.slice(at + 1)) };
}
