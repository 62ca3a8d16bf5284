// What a person hands over as a file: loaded as a whole or not at all.
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { packImages } from '../../runtime/fake-archive.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { RuntimeError, type ImageStatus } from '../../runtime/runtime.ts';
import { loadImages } from '../server/image-load.ts';
import { ImageLoader } from './image-loader.ts';

let runtime: FakeRuntime;
let availableBytes: number;
let shown: number;
let loader: ImageLoader;

beforeEach(() => {
  runtime = new FakeRuntime(new ManualClock());
  availableBytes = 1e9;
  shown = 0;
  loader = new ImageLoader({
    runtime,
    diskSpace: async () => ({ sizeBytes: 1e10, availableBytes }),
    onLoaded: (images) => void (shown += images.length),
  });
});

const image: ImageStatus = {
  id: 'sha256:new',
  names: ['web:2'],
  sizeBytes: 5,
  user: '',
  isPulled: false,
  os: 'linux',
  architecture: 'amd64',
  createdAtMs: 0,
};

async function archive(images: readonly ImageStatus[]): Promise<Readable> {
  return Readable.from(await packImages(images));
}

async function answer(body: Readable, sizeBytes?: number) {
  const signal = new AbortController().signal;
  const response = await loadImages(loader, new ManualClock(), { body, signal, sizeBytes });
  const said =
    typeof response.body === 'string' ? response.body : await text(Readable.from(response.body));
  const lines = said
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { status: response.status, lines };
}

async function names(): Promise<Record<string, string>> {
  const images = await runtime.listImages();
  return Object.fromEntries(images.map(({ id, names: [name = id] }) => [name, id]));
}

it('is told line by line, in the end with all that was loaded', async () => {
  const foreign = { ...image, id: 'sha256:pi', names: ['pi:1'], architecture: 'arm64' };
  expect(await answer(await archive([image, foreign]))).toEqual({
    status: 200,
    lines: [
      { status: 'loading', doneBytes: 5, totalBytes: 5 },
      {
        status: 'loaded',
        images: [
          { name: 'web:2', id: 'sha256:new', sizeBytes: 5 },
          {
            name: 'pi:1',
            id: 'sha256:pi',
            sizeBytes: 5,
            problem: 'no amd64 build of "pi:1": it is for arm64',
          },
        ],
      },
    ],
  });
  expect(shown).toBe(2);
});

describe('a file that can not be loaded', () => {
  const files = [
    {
      name: 'is empty',
      body: '',
      want: /^nothing was sent: no image archive; make one with "docker save/,
    },
    { name: 'is short', body: 'hello', want: /^this is no image archive; make one/ },
    {
      name: 'is something else',
      body: 'x'.repeat(3000),
      want: /^this is no image archive; make one/,
    },
    {
      name: 'is packed, but cut off',
      body: '\u001f\u008b',
      want: /^the archive is damaged or cut off: unexpected EOF$/,
    },
  ];
  it.each(files)('because it $name is refused with what to do', async ({ body, want }) => {
    const bytes = Buffer.from(body, 'latin1');
    const { status, lines } = await answer(Readable.from(bytes.length === 0 ? [] : [bytes]));
    expect({ status, lines }).toEqual({
      status: 400,
      lines: [
        expect.objectContaining({
          kind: 'Status',
          code: 400,
          reason: 'BadRequest',
          message: expect.stringMatching(want),
        }),
      ],
    });
  });

  it('leaves all names where they were', async () => {
    runtime.addImage('web:2', { id: 'sha256:old' });
    runtime.addImage('kept:1', { id: 'sha256:kept' });
    const images = [
      { ...image, id: 'sha256:kept', names: ['kept:2'] },
      image,
      { ...image, names: ['other:1'] },
      { ...image, names: [], id: 'sha256:x' },
    ];
    const { lines } = await answer(await archive([...images, { ...image, sizeBytes: -1 }]));
    expect(lines.at(-1)).toEqual({ status: 'failed', message: 'invalid layer' });
    expect(await names()).toEqual({
      'web:2': 'sha256:old',
      'kept:1': 'sha256:kept',
    });
    expect(shown).toBe(0);
  });

  it('because there is no room is not begun', async () => {
    availableBytes = 9;
    const { status, lines } = await answer(await archive([image]), 5);
    expect(status).toBe(413);
    expect(lines[0]).toMatchObject({ message: expect.stringMatching('has 0.0 GB left') });
    expect(runtime.calls).toEqual([]);
  });

  it('because there is no room stops when it says nothing of its size', async () => {
    availableBytes = 3000;
    expect((await answer(await archive([image]))).status).toBe(413);
    expect(await names()).toEqual({});
  });

  it('because the engine is gone is not its fault', async () => {
    runtime.loadImages = async () => {
      throw new RuntimeError('unavailable', 'no engine');
    };
    expect((await answer(await archive([]))).status).toBe(500);
  });
});

it('waits for nothing while another is being loaded', async () => {
  const slow = Promise.withResolvers<string>();
  runtime.storageDirectory = () => slow.promise;
  const first = answer(await archive([image]));
  expect((await answer(Readable.from([]))).status).toBe(409);
  slow.resolve('/');
  expect((await first).status).toBe(200);
});
