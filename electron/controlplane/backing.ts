// Where the state is kept, as the control plane needs to know it: on this machine (alone or as a
// member of several) or in an etcd of the person's own. Secrets lie encrypted in either.
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { hasBattery } from '#platform/battery.ts';
import type { ClusterPki } from '#platform/pki.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import type { Options } from '../options.ts';
import { machineAddresses } from './bind-address.ts';
import { DatastoreError, openDatastore } from './datastore.ts';
import type { Invitation } from './members/invitation.ts';
import { openMemberStore, storeFolder, type MemberStore } from './members/member-store.ts';
import { Members } from './members/members.ts';
import { Voting } from './members/voting.ts';
import { storagePrefix } from './registry/resource-table.ts';
import { builtInResources } from './registry/resources.ts';
import { EncryptedStore } from './store/encrypted-store.ts';
import type { Store } from './store/store.ts';

export interface Backing extends PlainBacking {
  readonly store: EncryptedStore;
}

interface PlainBacking {
  readonly store: Store;
  /** Undefined: an etcd keeps the state. */
  readonly own: { readonly opened: MemberStore; readonly members: Members } | undefined;
  /** Why nothing can be answered; undefined: it can, as far as is known. */
  problem(): string | undefined;
  /** One listener; also called at once. Of an etcd, the only control plane leads. */
  onLeadership(listener: (isLeader: boolean) => void): void;
  close(): Promise<void>;
}

export interface BackingDeps {
  readonly options: Options;
  /** A cluster was made here before. */
  readonly mustExist: boolean;
  readonly nodeName: string;
  readonly invitation: Invitation | undefined;
  /** For tests: how long a learner waits for its vote. */
  readonly voterStableMs: number | undefined;
  readonly pki: ClusterPki;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
  /** This process is to end in order, and to be started again. */
  readonly onRestart: (why: string) => void;
  /** A sentence for a person that changes nothing here. */
  readonly onNotice: (sentence: string) => void;
}

/** Throws errors whose messages are sentences for a person. */
export async function openBacking(deps: BackingDeps): Promise<Backing> {
  const { text, file } = await deps.pki.secretKeys();
  const keys = new SealingKeys(text, file);
  const plain = await openPlain(deps);
  const store = new EncryptedStore({
    inner: plain.store,
    prefixes: builtInResources.filter((one) => one.isSecret).map((one) => storagePrefix(one)),
    keys,
    // Going on would be to leave it out.
    onUnreadable: deps.onFatal,
  });
  return { ...plain, store };
}

async function openPlain(deps: BackingDeps): Promise<PlainBacking> {
  const { datastore, dataDirectory } = deps.options;
  if (datastore === undefined) return openOwn(deps);
  const folder = path.join(dataDirectory, storeFolder);
  if (existsSync(folder))
    throw new DatastoreError(
      `The data directory ${dataDirectory} keeps a cluster's state itself (${folder}): start it without --datastore, or choose another --data.`,
    );
  const { clock, mustExist: mustHold, pki } = deps;
  const store = await openDatastore(datastore, { clock, mustHold, caPem: pki.caPem });
  return {
    store,
    own: undefined,
    problem: () => undefined,
    onLeadership: (listener) => listener(true),
    close: () => store.close(),
  };
}

async function openOwn(deps: BackingDeps): Promise<PlainBacking> {
  const { options, clock, logger, pki, voterStableMs, onNotice } = deps;
  const { dataDirectory, memberAddress: address } = options;
  const isAlwaysOn = options.isAlwaysOn ?? !hasBattery();
  const opened = await openMemberStore({
    ...deps,
    dataDirectory,
    name: deps.nodeName,
    address,
    isAlwaysOn,
    isReachable: !options.bindAddress.startsWith('127.'),
    machineAddresses,
  });
  const { store, replica } = opened;
  const { random, onRestart: restart } = deps;
  const members = new Members({ opened, pki, clock, random, restart });
  const stableMs = voterStableMs === undefined ? {} : { stableMs: voterStableMs };
  const voting = new Voting({
    replica,
    addresses: opened.addresses,
    isAlwaysOn: (id) => opened.isAlwaysOn(id),
    clock,
    logger,
    ...stableMs,
  });
  let wasRemoved = false;
  const tellRemoval = (): void => {
    const problem = members.problem();
    if (wasRemoved || problem === undefined || !replica.status().isRemoved) return;
    wasRemoved = true;
    onNotice(problem);
  };
  replica.onChange(tellRemoval);
  tellRemoval();
  return {
    store,
    own: { opened, members },
    problem: () => members.problem(),
    onLeadership(listener) {
      replica.onChange(({ role }) => listener(role === 'leader'));
      listener(replica.standing.role === 'leader');
    },
    async close() {
      voting.stop();
      await store.close();
    },
  };
}
