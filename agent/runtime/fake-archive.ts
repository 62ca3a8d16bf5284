// The fake engine's archives of images: tars of the shape that `docker save` writes, without layers.
import { RuntimeError, type ImageStatus } from './runtime.ts';

interface ManifestEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
}

export async function packImages(
  images: readonly ImageStatus[],
): Promise<AsyncIterable<Uint8Array>> {
  const { pack } = await import('tar-stream');
  const out = pack();
  const manifest: ManifestEntry[] = [];
  for (const { names, ...image } of images) {
    const Config = `${image.id.replace(/^sha256:/, '')}.json`;
    out.entry({ name: Config }, JSON.stringify(image));
    manifest.push({ Config, RepoTags: names.length === 0 ? null : names });
  }
  out.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
  out.finalize();
  return out as AsyncIterable<Uint8Array>;
}

/** Throws RuntimeError when it is cut off, or what the source throws. */
export async function unpackImages(archive: AsyncIterable<Uint8Array>): Promise<ImageStatus[]> {
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part);
  const { extract } = await import('tar-stream');
  const entries = extract();
  entries.on('error', () => {});
  entries.end(Buffer.concat(parts));
  const files = new Map<string, unknown>();
  try {
    for await (const entry of entries) {
      const text: Uint8Array[] = [];
      for await (const chunk of entry) text.push(chunk as Uint8Array);
      files.set(entry.header.name, JSON.parse(Buffer.concat(text).toString()));
    }
  } catch (error) {
    throw new RuntimeError('other', 'unexpected EOF', { cause: error });
  }
  const manifest = files.get('manifest.json') as readonly ManifestEntry[] | undefined;
  if (manifest === undefined)
    throw new RuntimeError('other', 'open manifest.json: no such file or directory');
  return manifest.map(({ Config, RepoTags }) => {
    const image = files.get(Config) as Omit<ImageStatus, 'names'>;
    return { ...image, names: RepoTags ?? [] };
  });
}
