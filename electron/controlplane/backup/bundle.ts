// A backup of the cluster as one stream: a tar of `manifest.json`, the keys below `pki`, and `state` (what
// store/backup.ts takes and checks), sealed for the passphrase (platform/sealed-stream.ts). In this order, so that a
// reader knows what comes before it comes. Bounded memory, whatever the state's length.
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { extract, pack, type Pack } from 'tar-stream';
import {
  openStream,
  SealedStreamError,
  sealStream,
  type Chunks,
  type SealingKey,
  type Unlocking,
} from '#platform/sealed-stream.ts';
import { BackupRefusedError, keyNames, parseManifest, type BackupManifest } from './manifest.ts';

export interface BundleParts {
  readonly manifest: BackupManifest;
  /** By name below `pki`, as the manifest lists them. */
  readonly keys: ReadonlyMap<string, Uint8Array>;
  /** As many bytes as the manifest says. */
  readonly state: Chunks;
}

const manifestName = 'manifest.json';
const keyFolder = 'pki/';
const stateName = 'state';
/** Of the manifest and of a key. */
const smallBytes = 1_000_000;

/** Fails as its state does. */
export function sealBundle(parts: BundleParts, key: SealingKey): AsyncGenerator<Uint8Array> {
  return sealStream(tarOf(parts), key);
}

async function* tarOf(parts: BundleParts): AsyncGenerator<Uint8Array> {
  const tar = pack();
  const filled = fill(tar, parts).catch((error: unknown) => {
    tar.destroy(error as Error);
  });
  try {
    yield* tar as AsyncIterable<Uint8Array>;
  } finally {
    tar.destroy();
    await filled;
  }
}

async function fill(tar: Pack, { manifest, keys, state }: BundleParts): Promise<void> {
  tar.entry(owned(manifestName), `${JSON.stringify(manifest, undefined, 2)}\n`);
  for (const { name } of manifest.keys)
    tar.entry(owned(`${keyFolder}${name}`), Buffer.from(keys.get(name) ?? []));
  const entry = tar.entry({ ...owned(stateName), size: manifest.stateBytes });
  await pipeline(state, entry);
  tar.finalize();
}

function owned(name: string) {
  return { name, mode: 0o600, uid: 0, gid: 0, mtime: new Date(0) };
}

export interface BundleReader {
  /** For sentences. */
  readonly file: string;
  /** Of this program: what a newer one wrote is refused. */
  readonly release: string;
  readonly unlocking: Unlocking;
  /** Before anything else is read; may refuse by throwing. */
  readonly onManifest: (manifest: BackupManifest) => void | Promise<void>;
  readonly saveState: (chunks: AsyncIterable<Uint8Array>) => Promise<void>;
}

/**
 * The keys; all of the file is verified when it resolves, and nothing may be done with the state before. Throws
 * BackupRefusedError, whose message is a sentence, and what `saveState` throws.
 */
export async function readBundle(
  chunks: Chunks,
  reader: BundleReader,
): Promise<ReadonlyMap<string, Buffer>> {
  const entries = extract();
  const fed = pipeline(Readable.from(openStream(chunks, reader.unlocking)), entries);
  // What breaks the source breaks the reading too, which tells of it.
  fed.catch(() => undefined);
  try {
    const keys = await readEntries(entries, reader);
    await fed;
    return keys;
  } catch (error) {
    entries.destroy();
    const first = await fed.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    throw inWords(first instanceof SealedStreamError ? first : error, reader.file);
  }
}

async function readEntries(
  entries: ReturnType<typeof extract>,
  { file, release, onManifest, saveState }: BundleReader,
): Promise<ReadonlyMap<string, Buffer>> {
  let manifest: BackupManifest | undefined;
  const keys = new Map<string, Buffer>();
  let hasState = false;
  for await (const entry of entries) {
    const { name, size } = entry.header;
    if (manifest === undefined) {
      manifest = parseManifest(
        name === manifestName ? String(await small(entry)) : '',
        file,
        release,
      );
      await onManifest(manifest);
    } else if (name.startsWith(keyFolder)) {
      const key = name.slice(keyFolder.length);
      keys.set(key, await small(entry));
    } else if (name === stateName && size === manifest.stateBytes) {
      await saveState(entry as AsyncIterable<Uint8Array>);
      hasState = true;
    } else throw incomplete(file);
  }
  const isWhole =
    manifest?.keys.every(({ name, sha256 }) => sha256 === digestOf(keys.get(name))) === true &&
    keys.size === manifest.keys.length;
  if (!hasState || !isWhole) throw incomplete(file);
  return keys;
}

async function small(entry: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of entry as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length <= smallBytes) pieces.push(Buffer.from(piece));
  }
  return length > smallBytes ? Buffer.alloc(0) : Buffer.concat(pieces);
}

export function digestOf(bytes: Uint8Array = new Uint8Array(0)): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Of the folder of keys. Throws BackupRefusedError when one is missing that a cluster can't do without. */
export async function readKeys(
  read: (name: string) => Promise<Uint8Array | undefined>,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const keys = new Map<string, Uint8Array>();
  for (const name of [...keyNames.needed, ...keyNames.ifThere]) {
    const content = await read(name);
    if (content !== undefined) keys.set(name, content);
    else if (keyNames.needed.some((one) => one === name))
      throw new BackupRefusedError(
        `The key ${name} of the cluster is missing in its folder pki: put it back from a backup, or from another member.`,
      );
  }
  return keys;
}

function incomplete(file: string): BackupRefusedError {
  return new BackupRefusedError(
    `${file} is incomplete: it opens, but what it lists is not what it holds. Use another backup.`,
  );
}

function inWords(error: unknown, file: string): unknown {
  if (!(error instanceof SealedStreamError)) return error;
  const advice: Partial<Record<SealedStreamError['problem'], string>> = {
    'not-sealed': "give a file that Flotilla's backup wrote.",
    cut: 'copy it again, or use another backup.',
    damaged: 'copy it again, or use another backup.',
    'wrong-passphrase': 'give the one that was set when it was written.',
    'no-passphrase': 'open it with the key it was made for.',
  };
  const next = advice[error.problem] ?? 'use another backup.';
  return new BackupRefusedError(`${file} ${error.message}: ${next}`, { cause: error });
}
