// What another machine sends is let through only if it is the image that was asked for, without names.
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract, pack, type Header } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import type { ImageIds } from '../../runtime/runtime.ts';
import { onlyImage } from './image-archive.ts';

const hex = 'a'.repeat(64);
const id = `sha256:${hex}`;
const config = { name: `${hex}.json`, body: '{}' };
const layerHex = 'c'.repeat(64);
const layerName = `${layerHex}/layer.tar`;
const layer = { name: layerName, body: 'x'.repeat(200_000) };

function manifest(...images: readonly object[]): { name: string; body: string } {
  return { name: 'manifest.json', body: JSON.stringify(images) };
}

const good = {
  Config: `${hex}.json`,
  RepoTags: ['evil/nginx:latest'],
  Layers: [layerName],
};

type File = Pick<Header, 'name' | 'pax'> & { readonly body: string };

/** As an engine writes it: a layer that it holds twice is a link the second time. */
const again = `${'e'.repeat(64)}/layer.tar`;

function tar(...files: readonly File[]): Readable {
  const out = pack();
  for (const { body, ...header } of files) out.entry(header, body);
  out.entry({ name: `${layerHex}/`, type: 'directory' });
  out.entry({ name: again, type: 'symlink', linkname: `../${layerName}` });
  out.finalize();
  return Readable.from(out);
}

async function through(
  source: Readable,
  ids: ImageIds = 'config',
): Promise<Record<string, string>> {
  const bytes = await buffer(Readable.from(onlyImage(source, id, ids)));
  const entries = extract();
  entries.end(bytes);
  const files: Record<string, string> = {};
  for await (const entry of entries) {
    const parts: Uint8Array[] = [];
    for await (const chunk of entry) parts.push(chunk as Uint8Array);
    files[entry.header.name] = Buffer.concat(parts).toString();
  }
  return files;
}

describe('an archive of another machine', () => {
  it('brings the image and no name', async () => {
    const index = {
      schemaVersion: 2,
      manifests: [{ digest: id, annotations: { 'io.containerd.image.name': 'evil' } }],
    };
    const files = await through(
      tar(
        config,
        layer,
        { name: 'repositories', body: '{"evil":{}}' },
        { name: 'index.json', body: JSON.stringify(index) },
        manifest(good),
      ),
    );
    expect(files).toEqual({
      [config.name]: '{}',
      [layer.name]: layer.body,
      'index.json': JSON.stringify({ schemaVersion: 2, manifests: [{ digest: id }] }),
      'manifest.json': JSON.stringify([{ ...good, RepoTags: null }]),
      [`${layerHex}/`]: '',
      [again]: '',
    });
  });

  it('may name its blobs as newer engines do', async () => {
    const files = await through(tar(manifest({ ...good, Config: `blobs/sha256/${hex}` })));
    expect(files['manifest.json']).toContain('"RepoTags":null');
  });

  const bad = [
    {
      name: 'another image',
      files: [manifest({ ...good, Config: `${'b'.repeat(64)}.json` })],
      why: /another image/,
    },
    { name: 'two images', files: [manifest(good, good)], why: /another image/ },
    { name: 'none', files: [manifest()], why: /another image/ },
    { name: 'no manifest', files: [config], why: /no image/ },
    {
      name: 'a manifest without end',
      files: [{ name: 'manifest.json', body: ' '.repeat(2 ** 20 + 1) }],
      why: /too large/,
    },
    { name: 'a manifest that is none', files: [{ name: 'manifest.json', body: '{' }], why: /JSON/ },
  ];
  it.each(bad)('with $name breaks off', async ({ files, why }) => {
    await expect(through(tar(layer, ...files))).rejects.toThrow(why);
  });

  const strange = [
    './manifest.json',
    'x/../manifest.json',
    '/manifest.json',
    'manifest.json/',
    `${layerHex}/../manifest.json`,
    'blobs/sha256/x',
    'other',
  ];
  it.each(strange)('with a file %s breaks off', async (name) => {
    const files = [config, layer, manifest(good), { ...manifest(good), name }];
    await expect(through(tar(...files))).rejects.toThrow(`a file that no engine writes: ${name}`);
  });

  const links: Partial<Header>[] = [
    { name: layerHex, type: 'symlink', linkname: '.' },
    { name: 'manifest.json', type: 'symlink', linkname: `../${layerName}` },
    { name: again, type: 'symlink', linkname: '../../../etc/shadow' },
    { name: again, type: 'symlink', linkname: '../manifest.json' },
    { name: again, type: 'link', linkname: `../${layerName}` },
  ];
  it.each(links)('with a $type $name to $linkname breaks off', async (header) => {
    const out = pack();
    out.entry(header as Header);
    out.finalize();
    await expect(through(Readable.from(out))).rejects.toThrow(/that no engine writes/);
  });

  it('brings no attributes of its files: they may hold another name', async () => {
    const { body } = manifest(good);
    const files = [
      manifest(good),
      { ...config, pax: { comment: 'evil-name' } },
      { ...layer, body },
    ];
    const bytes = await buffer(Readable.from(onlyImage(tar(...files), id, 'config')));
    expect(bytes.includes('evil-name')).toBe(false);
  });

  it('is read at the engine’s pace, with nobody left listening', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    const large = { name: layerName, body: 'x'.repeat(4_000_000) };
    const whole = await buffer(tar(config, large, manifest(good)));
    const chunks = Array.from({ length: Math.ceil(whole.length / 65_536) }, (_, index) =>
      whole.subarray(index * 65_536, (index + 1) * 65_536),
    );
    await through(Readable.from(chunks));
    process.off('warning', note);
    expect(warnings.map(({ message }) => message)).toEqual([]);
  });

  it('that breaks off itself does so here', async () => {
    const whole = await buffer(tar(config, layer, manifest(good)));
    const cut = Readable.from([whole.subarray(0, 100_000)]);
    await expect(through(cut)).rejects.toThrow(/end of data/i);
    const broken = Readable.from(
      (async function* () {
        yield whole.subarray(0, 100_000);
        throw new Error('the line broke');
      })(),
    );
    await expect(through(broken)).rejects.toThrow('the line broke');
  });
});

describe('an archive of a machine with containerd’s image store', () => {
  const otherId = `sha256:${'b'.repeat(64)}`;
  const blob = (body: string, name = `blobs/sha256/${hex}`) => ({ name, body });
  const layout = { name: 'oci-layout', body: '{"imageLayoutVersion":"1.0.0"}' };
  // An index of several platforms of which one is there; ids are the digest of that index.
  const descriptor = {
    mediaType: 'application/vnd.oci.image.index.v1+json',
    digest: id,
    size: 2,
    annotations: { 'io.containerd.image.name': 'evil/nginx:latest' },
  };
  const index = (...manifests: readonly object[]) => ({
    name: 'index.json',
    body: JSON.stringify({ schemaVersion: 2, manifests }),
  });
  const ofOnePlatform = manifest({ ...good, Config: `blobs/sha256/${'d'.repeat(64)}` });

  it('brings the index that its id is the digest of, and no name', async () => {
    const files = await through(
      tar(blob('{}'), index(descriptor), ofOnePlatform, layout),
      'manifest',
    );
    const { annotations: _, ...nameless } = descriptor;
    expect(files).toMatchObject({
      [`blobs/sha256/${hex}`]: '{}',
      'index.json': JSON.stringify({ schemaVersion: 2, manifests: [nameless] }),
      'oci-layout': layout.body,
    });
    // It tells of one platform, by another id.
    expect(files).not.toHaveProperty('manifest.json');
  });

  it.each([
    { name: 'another image', files: [index({ ...descriptor, digest: otherId }), layout] },
    { name: 'two', files: [index(descriptor, { ...descriptor, digest: otherId }), layout] },
    { name: 'none', files: [index(), layout] },
    { name: 'no index', files: [ofOnePlatform, layout] },
    // Without it the engine would read manifest.json.
    { name: 'no layout', files: [index(descriptor), ofOnePlatform] },
  ])('with $name breaks off', async ({ files }) => {
    await expect(through(tar(blob('{}'), ...files), 'manifest')).rejects.toThrow(/image/);
  });
});
