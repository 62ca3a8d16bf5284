// Going on from this machine when a majority is gone for good, asked for while it runs: written down first, done by the next
// start before anything looks at the store. The request names the cluster that it is about: a crash at any moment neither
// loses it nor does it twice, and an old one does nothing to a cluster that has gone on.
import path from 'node:path';
import { rm } from 'node:fs/promises';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import { readMemberFile } from '../replica/member-file.ts';
import { recover, type OfflineDeps } from './offline.ts';
import { storeFolder } from './member-store.ts';

const requestFile = (dataDirectory: string): string =>
  path.join(dataDirectory, 'recovery-requested');

/** Durable when it resolves. */
export async function requestRecovery(dataDirectory: string, clusterId: string): Promise<void> {
  await writeFileAtomic(requestFile(dataDirectory), `${clusterId}\n`);
}

/** While nothing runs on the directory. True: it was asked for, and done. Throws what `recover` throws: then nothing changed. */
export async function carryOutRecovery(deps: OfflineDeps): Promise<boolean> {
  const file = requestFile(deps.dataDirectory);
  const asked = (await readFileIfExists(file))?.trim();
  if (asked === undefined) return false;
  const member = await readMemberFile(path.join(deps.dataDirectory, storeFolder, 'member.json'));
  const isWanted = member?.clusterId === asked;
  try {
    if (isWanted) await recover(deps);
  } finally {
    // One that can't be done keeps no cluster from starting as before.
    await rm(file, { force: true });
  }
  return isWanted;
}
