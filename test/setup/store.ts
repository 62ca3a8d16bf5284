// The store of one member alone, as tests and the programs they kill open it.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import {
  openReplicatedStore,
  type ReplicatedStore,
  type ReplicatedStoreOptions,
} from '../../electron/controlplane/store/open-store.ts';

export function openStoreIn(
  directory: string,
  options: Partial<ReplicatedStoreOptions> = {},
): Promise<ReplicatedStore> {
  return openReplicatedStore({
    directory,
    memberId: 7,
    wish: { type: 'new', name: 'one', addresses: [] },
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    onFatal(error) {
      throw error;
    },
    ...options,
  });
}
