// What lies of a control plane beside the agent (electron/controlplane/fleet/package/machine-paths.ts), and the programs that
// place it, start it and clear it away.
import { constants } from 'node:fs';
import { access, open, readlink, rm } from 'node:fs/promises';
import path from 'node:path';
import { readFileIfExists } from '#platform/atomic-file.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Installation } from '../upgrade/installation.ts';

export interface PlacedControlPlane {
  /** DIGEST of what runs; undefined: none. */
  readonly current: string | undefined;
  has(digest: string): Promise<boolean>;
  place(sha256: string, file: AsyncIterable<Uint8Array>): Promise<void>;
  /** A copy of the state was begun there. */
  holdsState(): Promise<boolean>;
  /** It begins with the supervisor's next start. */
  join(invitation: string, digest: string): Promise<void>;
  tryOut(digest: string): Promise<void>;
  confirm(): Promise<void>;
  drop(): Promise<void>;
  /** Which one was rolled back, and why. */
  failure(): Promise<{ readonly digest: string; readonly why: string } | undefined>;
  /** The last line it said to a person; undefined: nothing. */
  lastWords(): Promise<string | undefined>;
  /** Of a write that is to last, in whole milliseconds; undefined: it can't be told. */
  measureSync(): Promise<number | undefined>;
}

export async function openPlaced(
  root: string,
  installation: Pick<Installation, 'run'>,
  clock: Clock,
): Promise<PlacedControlPlane> {
  const folder = path.join(root, 'controlplane');
  const link = (): Promise<string | undefined> =>
    readlink(path.join(folder, 'current')).catch(() => undefined);
  let current = await link();
  const { run } = installation;
  return {
    get current() {
      return current;
    },
    has: async (digest) => (await run('check-control-plane', [digest])) === 'done',
    place: async (sha256, file) => void (await run('place-control-plane', [sha256], file)),
    holdsState: () =>
      access(path.join(folder, 'state/store/member.json')).then(
        () => true,
        () => false,
      ),
    async join(invitation, digest) {
      await run('join-control-plane', [], one(Buffer.from(invitation)));
      await run('place-unit', []);
      await run('use-control-plane', [digest]);
      current = await link();
    },
    async tryOut(digest) {
      await run('try-out-control-plane', [digest]);
      current = await link();
    },
    confirm: async () => void (await run('confirm-control-plane', [])),
    async drop() {
      await run('drop-control-plane', []);
      current = await link();
    },
    async failure() {
      const text = await readFileIfExists(path.join(folder, 'failed'));
      const [, digest, why = ''] = /^([0-9a-f]{12}) (.*)/.exec(text ?? '') ?? [];
      if (digest !== undefined) current = await link();
      return digest === undefined ? undefined : { digest, why };
    },
    async lastWords() {
      const text = await readFileIfExists(path.join(folder, 'said'));
      return text?.trim().split('\n').at(-1)?.slice(0, 500) || undefined;
    },
    measureSync: () => measureSync(path.join(root, 'state'), clock),
  };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const writes = 8;

/** The middle of a few: what other programs write meanwhile is not the disk's doing. */
async function measureSync(folder: string, clock: Clock): Promise<number | undefined> {
  const file = path.join(folder, '.sync-probe');
  const flags = constants.O_CREAT | constants.O_WRONLY | constants.O_DSYNC;
  const block = new Uint8Array(4096);
  try {
    const opened = await open(file, flags, 0o600);
    try {
      const took: number[] = [];
      for (let i = 0; i < writes; i++) {
        const startedMs = clock.monotonicMs();
        await opened.write(block, 0, block.length, i * block.length);
        took.push(clock.monotonicMs() - startedMs);
      }
      return Math.ceil(took.toSorted((a, b) => a - b)[writes / 2] ?? 0);
    } finally {
      await opened.close();
      await rm(file, { force: true });
    }
  } catch {
    return undefined;
  }
}
