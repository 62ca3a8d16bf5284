// A backup of the cluster becomes a data directory: taken in beside what is there, verified to its last byte, and
// put in place by the next start, before anything looks. Whatever is interrupted, the directory is as it was, or
// goes on as the cluster; what it held before is kept as `superseded-…`.
// The store begins as another cluster with the same objects (store/backup.ts), so members of before are refused;
// the authority is the same, so machines come back by themselves.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import type { Failpoint } from '#platform/failpoints.ts';
import { SealingKeys } from '#platform/sealing-keys.ts';
import type { Chunks, Unlocking } from '#platform/sealed-stream.ts';
import { syncDirectory } from '#platform/sqlite.ts';
import { setAside } from '../replica/recovery-run.ts';
import { restoreBackup } from '../store/backup.ts';
import { valueHeads, writeChunks } from '../store/state-copy.ts';
import { stateFileIn, StoreOpenError } from '../store/state-file.ts';
import { readBundle } from './bundle.ts';
import { BackupRefusedError, type BackupManifest } from './manifest.ts';
import { adoptedName, type Adopted } from './succession.ts';

export interface AdoptionDeps {
  readonly dataDirectory: string;
  /** What the backup is called in sentences. */
  readonly file: string;
  readonly release: string;
  readonly unlocking: Unlocking;
  readonly clock: Clock;
  readonly random: Random;
  /** Whoever asked has gone: nothing is adopted. */
  readonly signal?: AbortSignal;
  readonly failpoint?: Failpoint | undefined;
}

/** In the order in which they are put in place. */
const parts = ['pki', 'store', adoptedName] as const;
const sessionKey = 'ui-session.key';

/**
 * Durable when it resolves: the next start, or `finishAdoption`, goes on as the cluster. Throws BackupRefusedError
 * and StoreOpenError, whose messages are sentences, and the errors of a full or broken disk; then nothing has changed.
 */
export async function stageAdoption(chunks: Chunks, deps: AdoptionDeps): Promise<BackupManifest> {
  const { dataDirectory, signal, failpoint } = deps;
  const work = unfinished(dataDirectory);
  if (existsSync(work) || existsSync(staged(dataDirectory)))
    throw new BackupRefusedError('Another backup is being taken in already.');
  mkdirSync(work, { mode: 0o700 });
  try {
    const manifest = await unpack(chunks, work, deps);
    signal?.throwIfAborted();
    syncDirectory(work);
    failpoint?.('adopt:unpacked');
    renameSync(work, staged(dataDirectory));
    syncDirectory(dataDirectory);
    failpoint?.('adopt:staged');
    return manifest;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One waits to be put in place. */
export function isAdopting(dataDirectory: string): boolean {
  return existsSync(staged(dataDirectory));
}

/** At a start, before anything looks at the directory. What it held before, if it held anything. */
export async function finishAdoption(
  dataDirectory: string,
  clock: Clock,
  failpoint?: Failpoint,
): Promise<readonly string[]> {
  rmSync(unfinished(dataDirectory), { recursive: true, force: true });
  const folder = staged(dataDirectory);
  const superseded: string[] = [];
  if (!existsSync(folder)) return superseded;
  for (const part of parts) {
    const from = path.join(folder, part);
    const to = path.join(dataDirectory, part);
    if (!existsSync(from)) continue;
    if (part === adoptedName) {
      renameSync(from, to);
      continue;
    }
    if (part === 'pki') await keepSessions(to, from);
    if (existsSync(to)) superseded.push(setAside(to, clock));
    failpoint?.(`adopt:${part}-set-aside`);
    renameSync(from, to);
    syncDirectory(dataDirectory);
    failpoint?.(`adopt:${part}-in-place`);
  }
  rmSync(folder, { recursive: true });
  syncDirectory(dataDirectory);
  return superseded;
}

async function unpack(chunks: Chunks, work: string, deps: AdoptionDeps): Promise<BackupManifest> {
  const { file, release, unlocking, clock, random, failpoint } = deps;
  let manifest: BackupManifest | undefined;
  const backup = path.join(work, 'backup');
  const keys = await readBundle(chunks, {
    file,
    release,
    unlocking,
    onManifest(found) {
      manifest = found;
    },
    saveState: (state) => writeChunks(backup, state, () => failpoint?.('adopt:part')),
  });
  if (manifest === undefined) throw new Error('a bundle that was read has a manifest');
  const store = path.join(work, 'store');
  try {
    await restoreBackup(backup, store, { nowMs: clock.now(), random });
  } catch (error) {
    if (!(error instanceof StoreOpenError)) throw error;
    throw new BackupRefusedError(error.message.replaceAll(backup, `The state in ${file}`), {
      cause: error,
    });
  }
  rmSync(backup);
  assertFitting(keys, stateFileIn(store), file);
  // The last one in it, so each is durable in its folder.
  for (const [name, content] of keys) await writeFileAtomic(path.join(work, 'pki', name), content);
  const adopted: Adopted = { since: rfc3339(clock.now()), addresses: manifest.addresses ?? [] };
  await writeFileAtomic(path.join(work, adoptedName), `${JSON.stringify(adopted)}\n`);
  return manifest;
}

/** What would only show at the start, when the directory is no longer as it was. */
function assertFitting(
  keys: ReadonlyMap<string, Uint8Array>,
  stateFile: string,
  file: string,
): void {
  const text = (name: string): string => Buffer.from(keys.get(name) ?? []).toString();
  const refused = (what: string, cause?: unknown): BackupRefusedError =>
    new BackupRefusedError(`${file} ${what}: use another backup.`, { cause });
  let secrets: SealingKeys;
  try {
    const authority = new X509Certificate(text('ca.crt'));
    if (!authority.checkPrivateKey(createPrivateKey(text('ca.key'))))
      throw refused('has a certificate authority whose key is another one');
    createPrivateKey(text('sa.key'));
    secrets = new SealingKeys(text('secrets.key'), 'secrets.key');
  } catch (error) {
    if (error instanceof BackupRefusedError) throw error;
    throw refused("has keys that can't be read", error);
  }
  for (const head of valueHeads(stateFile, SealingKeys.mark, SealingKeys.headBytes)) {
    const problem = secrets.problemOf(head);
    if (problem !== undefined) throw refused(`has Secrets that are ${problem}`);
  }
}

/** Of a first start in whose page the backup was given: the person who looks at it stays signed in. */
async function keepSessions(from: string, to: string): Promise<void> {
  const key = path.join(from, sessionKey);
  if (existsSync(key)) await copyFile(key, path.join(to, sessionKey));
}

function unfinished(dataDirectory: string): string {
  return path.join(dataDirectory, 'adoption.unfinished');
}

function staged(dataDirectory: string): string {
  return path.join(dataDirectory, 'adoption');
}
