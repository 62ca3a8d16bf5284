// All that one control plane does for the cluster while its member leads: scheduler, controllers, the fleet, and the
// upkeep of the store. Ends with `signal`.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { Options } from '../options.ts';
import type { AssembledApiServer } from './api-server.ts';
import type { ClusterBackupParts } from './cluster-backup.ts';
import type { ClusterAuthority } from './controllers/deps.ts';
import { runControllers } from './controllers/index.ts';
import { runFleet } from './fleet/fleet.ts';
import type { OwnClients } from './own-clients.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { startCompactor } from './store/compactor.ts';
import { runReplicas, type StateKeepingDeps } from './state-keeping.ts';
import type { EncryptedStore } from './store/encrypted-store.ts';
import type { HomePage } from './ui/home-page.ts';
import { runPagePlace } from './ui/page-place.ts';

export interface LeadingDeps {
  readonly options: Options;
  /** Of this machine. */
  readonly nodeName: string;
  readonly clients: OwnClients;
  readonly store: EncryptedStore;
  readonly authority: ClusterAuthority;
  readonly probeApiService: AssembledApiServer['probeApiService'];
  /** Control planes that there are, this one first, and whether they were heard of. */
  readonly apiServers: () => ReadonlyMap<string, boolean>;
  readonly stateKeeping: StateKeepingDeps;
  readonly backup: Pick<ClusterBackupParts, 'run'> | undefined;
  readonly homePage: HomePage | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

export async function lead(deps: LeadingDeps, signal: AbortSignal): Promise<void> {
  const { clients, store, clock, random, logger } = deps;
  startCompactor({ store, clock, logger, signal });
  void renewSecrets(deps, signal);
  void lookAfterHome(deps, signal);
  const scheduler = new Scheduler({
    client: clients.as('system:kube-scheduler'),
    clock,
    random,
    logger: logger.with({ component: 'scheduler' }),
  });
  scheduler.start(signal);
  const manager = clients.as('system:kube-controller-manager');
  // A controller fails only by a programmer's error: the process ends and is started again.
  await runControllers(
    {
      ...deps,
      clientOf: (account) => (account === undefined ? manager : clients.account(account)),
      informers: clients.informers(manager),
      logger: logger.with({ component: 'controllers' }),
    },
    signal,
  );
}

async function lookAfterHome(deps: LeadingDeps, signal: AbortSignal): Promise<void> {
  const { options, nodeName, clients, stateKeeping, homePage, backup, clock, logger, onFatal } =
    deps;
  const as = (account: string) => {
    const client = clients.account(account, account);
    const log = logger.with({ component: 'fleet' });
    return { client, informers: clients.informers(client), clock, logger: log };
  };
  try {
    await Promise.all([
      runFleet({ ...as('home-search'), discovery: options.discovery }, signal),
      runReplicas(stateKeeping, signal),
      backup?.run(as('cluster-backup').informers, signal),
      runPagePlace({ ...as('home-page'), nodeName, page: homePage }, signal),
    ]);
  } catch (error) {
    onFatal(error);
  }
}

/** What an older release left in the clear, or older keys have encrypted. */
async function renewSecrets({ store, logger }: LeadingDeps, signal: AbortSignal): Promise<void> {
  try {
    const count = await store.renew(signal);
    if (count > 0) logger.info('Encrypted secrets with the present key', { count });
  } catch (error) {
    // The next start, or the next leader, tries again; each write encrypts as well.
    if (!signal.aborted) logger.error('Could not encrypt older secrets', { error });
  }
}
