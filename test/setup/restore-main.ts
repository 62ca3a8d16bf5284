// A program for tests: takes a backup, puts one back, adopts one or recovers, and is killed at the armed failpoint
// (member-failpoint.ts). Ends with 0 when nothing killed it.
import { createReadStream, existsSync } from 'node:fs';
import path from 'node:path';
import { systemClock as clock } from '#kube/base/clock.ts';
import { silentLogger as logger } from '#kube/base/logger.ts';
import { systemRandom as random } from '#kube/base/random.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import { adoptInto } from '../../electron/controlplane/backup/offline-adoption.ts';
import { finishRestore, stageRestore } from '../../electron/controlplane/members/restoring.ts';
import { finishRecovery, recoverMember } from '../../electron/controlplane/replica/recovery-run.ts';
import { backupChunks, restoreBackup } from '../../electron/controlplane/store/backup.ts';
import { logFolder, openRecoverableState } from '../../electron/controlplane/store/open-store.ts';
import { writeChunks } from '../../electron/controlplane/store/state-copy.ts';
import { testPassphrase, testRelease } from './cluster-backup.ts';
import { armedFailpoint } from './member-failpoint.ts';
import { openStoreIn } from './store.ts';

export type RestoreWork = 'back up' | 'restore' | 'stage' | 'finish' | 'recover' | 'adopt';

const [work, data = '', lineage = ''] = process.argv.slice(2);
const folder = path.join(data, 'store');
const backup = path.join(data, 'backup');
const failpoint = armedFailpoint();
const armed = failpoint === undefined ? {} : { failpoint };

switch (work as RestoreWork) {
  case 'back up': {
    const { state } = await openStoreIn(folder);
    const snapshot = await state.snapshot();
    await writeChunks(backup, backupChunks(snapshot), () => failpoint?.('restore:part'));
    process.exit(0);
  }
  case 'restore':
    await restoreBackup(backup, folder, { nowMs: clock.now(), random, failpoint });
    break;
  case 'stage': {
    const keys = new SealingKeys(Buffer.alloc(32, 1).toString('base64'), 'secrets.key');
    const deps = { folder, clock, random, lineage: [lineage], keys, ...armed };
    await stageRestore(createReadStream(backup), false, deps);
    break;
  }
  case 'finish':
    finishRestore(folder, clock, failpoint);
    break;
  case 'adopt':
    await adoptInto(path.join(data, 'home.age'), {
      dataDirectory: path.join(data, 'adopted'),
      release: testRelease,
      passphrase: () => Promise.resolve(testPassphrase),
      clock,
      random,
      failpoint,
    });
    break;
  case 'recover':
    finishRecovery(folder);
    if (existsSync(folder))
      await recoverMember({
        dataDirectory: data,
        folder,
        memberFile: 'member.json',
        logFolder,
        newClusterId: 'recovered',
        clock,
        random,
        logger,
        failpoint,
        openState: (directory) => openRecoverableState({ directory, clock, random, logger }),
      });
}
