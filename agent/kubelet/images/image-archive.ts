// An archive of images, as `docker save` writes it: told from other files before the engine has it,
// and the engine's reasons in a person's words. Streams: never more than a few blocks in memory.
// Source: moby image/tarexport/load.go; OCI image-layout (index.json); POSIX pax (ustar's magic).
import type { Extract, Header, Pack } from 'tar-stream';
import type { ImageIds } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';

/** What was handed over can't be loaded; the message says why and what to do. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}

const howTo = 'make one with "docker save -o FILE IMAGE"';
const magicAt = 257;
/** gzip, bzip2, xz, zstd: the engine unpacks them. */
const compressed = ['1f8b', '425a68', 'fd377a585a00', '28b52ffd'];

/** The same chunks. Throws ArchiveError when they don't begin as an archive does. */
export async function* archiveOnly(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (start === undefined) {
      yield chunk;
      continue;
    }
    start = Buffer.concat([start, chunk]);
    if (start.length < magicAt + 5) continue;
    checkStart(start);
    yield start;
    start = undefined;
  }
  if (start === undefined) return;
  if (start.length === 0) throw new ArchiveError(`nothing was sent: no image archive; ${howTo}`);
  checkStart(start);
  yield start;
}

function checkStart(start: Buffer): void {
  const hex = start.subarray(0, 6).toString('hex');
  if (compressed.some((magic) => hex.startsWith(magic))) return;
  if (start.subarray(magicAt, magicAt + 5).toString('latin1') === 'ustar') return;
  throw new ArchiveError(`this is no image archive; ${howTo}`);
}

/** What the engine says of an archive that it can't load. */
export function loadProblem(error: unknown): string {
  const message = messageOf(error);
  if (error instanceof ArchiveError) return message;
  if (/(repositories|manifest\.json|[0-9a-f]{64}\/json): no such file/.test(message))
    return `there is no whole image in this archive (is it cut off?); ${howTo}`;
  if (/unexpected EOF|invalid tar header|processing tar file|invalid diffID/.test(message))
    return `the archive is damaged or cut off: ${message}`;
  return message;
}

/** A file in the archive, as tar-stream hands it out. */
interface Entry extends AsyncIterable<unknown> {
  readonly header: Header;
  resume(): void;
}

const manifestBytesMax = 1024 * 1024;
/**
 * All that engines write. They clean names before they look (`x/../manifest.json`) and follow links, so
 * that what is not known could stand for something that is.
 */
const hex = '[0-9a-f]{64}';
const knownNames = new RegExp(
  `^(repositories|manifest\\.json|index\\.json|oci-layout|${hex}\\.json|${hex}/(VERSION|json|layer\\.tar)?|blobs/(sha256/(${hex})?)?)$`,
);
const knownLinks = new RegExp(`^\\.\\./${hex}/layer\\.tar$`);

/**
 * The same archive, if it holds the image `id` and no other; no name that another machine put into it
 * gets here. Throws ArchiveError before the archive's end, so that the engine takes in nothing.
 * `ids`: what names the image to the engine that reads it: `manifest.json`, or with containerd's store
 * `index.json`, whose image it checks against its digest.
 */
export async function* onlyImage(
  chunks: AsyncIterable<Uint8Array>,
  id: string,
  ids: ImageIds,
): AsyncGenerator<Uint8Array> {
  // Seldom needed: not worth its memory in every agent.
  const { extract, pack } = await import('tar-stream');
  const entries = extract();
  const out = pack();
  // Those who wait for them hear of it; without a listener the process would end.
  for (const stream of [entries, out]) stream.on('error', () => {});
  const reading = feed(chunks, entries);
  const copying = copyEntries(entries, out, ids === 'config' ? byConfig(id) : byManifest(id));
  for (const work of [reading, copying])
    work.catch((error: unknown) =>
      out.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  try {
    for await (const chunk of out) yield chunk as Uint8Array;
    await Promise.all([reading, copying]);
  } finally {
    entries.destroy();
    out.destroy();
  }
}

type Rewrite = (content: unknown) => string | undefined;

/** What becomes of the files that tell what an archive holds; undefined: it is left out. */
interface Reading {
  /** Without these there is no image. */
  readonly needed: readonly string[];
  readonly rewrite: ReadonlyMap<string, Rewrite>;
}

function byConfig(id: string): Reading {
  return {
    needed: ['manifest.json'],
    rewrite: new Map<string, Rewrite>([
      ['repositories', () => undefined],
      ['manifest.json', (content) => nameless(content, id)],
      ['index.json', withoutAnnotations],
    ]),
  };
}

function byManifest(id: string): Reading {
  return {
    needed: ['index.json', 'oci-layout'],
    rewrite: new Map<string, Rewrite>([
      ['repositories', () => undefined],
      // For other engines: of one platform only.
      ['manifest.json', () => undefined],
      ['index.json', (content) => onlyManifest(content, id)],
    ]),
  };
}

async function copyEntries(
  entries: Extract,
  out: Pack,
  { needed, rewrite }: Reading,
): Promise<void> {
  const seen = new Set<string>();
  for await (const entry of entries) {
    const { name } = entry.header;
    checkKnown(entry.header);
    seen.add(name);
    const change = rewrite.get(name);
    if (change === undefined) await copyEntry(entry, out);
    else {
      const text = change(await readEntry(entry));
      if (text !== undefined) out.entry({ name }, text);
    }
  }
  if (!needed.every((name) => seen.has(name)))
    throw new ArchiveError('there is no image in this archive');
  out.finalize();
}

function checkKnown({ name, type, linkname }: Header): void {
  const isKnown = knownNames.test(name) && name.endsWith('/') === (type === 'directory');
  const isFile = type === 'file' || type === 'directory';
  const isLink = type === 'symlink' && knownLinks.test(linkname ?? '');
  if (!isKnown || !(isFile || (isLink && name.endsWith('/layer.tar'))))
    throw new ArchiveError(`a file that no engine writes: ${name}`);
}

/** Without what else the header says: it may hold other names (pax). */
async function copyEntry(entry: Entry, out: Pack): Promise<void> {
  const { name, size, type, linkname } = entry.header;
  const target = out.entry({ name, size, type, linkname });
  target.on('error', () => {});
  for await (const chunk of entry) await write(target, chunk as Uint8Array);
  target.end(undefined);
}

async function feed(chunks: AsyncIterable<Uint8Array>, entries: Extract): Promise<void> {
  for await (const chunk of chunks) await write(entries, chunk);
  entries.end(undefined);
}

/** At the pace of who reads it. */
async function write(target: ReturnType<Pack['entry']>, chunk: Uint8Array): Promise<void> {
  if (target.destroying) throw new Error('nobody reads on');
  if (target.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      target.off('drain', done);
      target.off('close', done);
      resolve();
    };
    target.on('drain', done);
    target.on('close', done);
  });
}

async function readEntry(entry: Entry): Promise<unknown> {
  if (entry.header.size > manifestBytesMax) throw new ArchiveError('its manifest is too large');
  const parts: Uint8Array[] = [];
  for await (const chunk of entry) parts.push(chunk as Uint8Array);
  return JSON.parse(Buffer.concat(parts).toString());
}

function nameless(manifest: unknown, id: string): string {
  const [image, ...others] = manifest as readonly { readonly Config?: string }[];
  // `<hex>.json`, or `blobs/sha256/<hex>`.
  const found = /([0-9a-f]{64})(\.json)?$/.exec(image?.Config ?? '')?.[1];
  if (others.length > 0 || `sha256:${found}` !== id)
    throw new ArchiveError('it holds another image than was asked for');
  return JSON.stringify([{ ...image, RepoTags: null }]);
}

interface Index {
  readonly manifests?: readonly { readonly digest?: unknown }[];
}

function onlyManifest(index: unknown, id: string): string {
  const [image, ...others] = (index as Index).manifests ?? [];
  if (others.length > 0 || image?.digest !== id)
    throw new ArchiveError('it holds another image than was asked for');
  return withoutAnnotations(index);
}

function withoutAnnotations(index: unknown): string {
  const { manifests = [], ...rest } = index as Index;
  return JSON.stringify({
    ...rest,
    manifests: manifests.map((manifest) => ({ ...manifest, annotations: undefined })),
  });
}
