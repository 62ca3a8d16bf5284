// Opens this machine's own copy of the state, as a member that is alone, leads others, or has been
// invited: which of these it is stands in the data directory, not in the flags.
// Without a member address nothing listens on the network, and nothing is sent.
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
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
  /** Where this member listens for others; undefined: nowhere. */
  readonly address: string | undefined;
  /** As the other one said of itself; undefined: nothing yet. */
  isAlwaysOn(id: MemberId): boolean | undefined;
  /** Takes over a renewed certificate. */
  renew(): Promise<void>;
}

export const storeFolder = 'store';

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
  const addresses = address === undefined ? [] : [address];
  const knownMembers = invitation?.members ?? [];
  let transport: TlsPeerTransport | undefined;
  const open = async (self: MemberSelf, listen: string): Promise<TlsPeerTransport> => {
    transport = await openTransport({ ...options, self, identity, address: listen });
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
    address,
    isAlwaysOn(id) {
      if (id === identity.memberId) return options.isAlwaysOn;
      return transport?.peers().find((peer) => peer.id === id)?.isAlwaysOn;
    },
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
    options.address ?? (kept === '' ? undefined : kept) ?? options.invitation?.address;
  if (address !== undefined && address !== kept) await writeFileAtomic(file, `${address}\n`);
  return address;
}

async function openTransport(deps: {
  readonly self: MemberSelf;
  readonly identity: Awaited<ReturnType<ClusterPki['peer']>>;
  readonly address: string;
  readonly isAlwaysOn: boolean;
  readonly pki: ClusterPki;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}): Promise<TlsPeerTransport> {
  const { self, identity, address, isAlwaysOn, pki, clock, random, logger } = deps;
  const { memberId: id, certPem, keyPem } = identity;
  const listen = hostAndPort(address);
  try {
    return await TlsPeerTransport.open({
      ...self,
      id,
      credentials: { caPem: pki.caPem, certPem, keyPem },
      listen,
      addresses: () => [address],
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

/** Of a checked `host:port`. */
function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replaceAll(/[[\]]/g, '');
  return { host, port: Number(address.slice(at + 1)) };
}
