// What another machine answers is not believed: what is no offer, another image, or too much.
import { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { packImages } from '../../runtime/fake-archive.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import type { ImageStatus } from '../../runtime/runtime.ts';
import { ImagePeers } from './image-peers.ts';
import type { ImageOffer, PeerOffer } from './plan-fetch.ts';

const hex = '1'.repeat(64);
const id = `sha256:${hex}`;
const otherId = `sha256:${'2'.repeat(64)}`;
const mib = 1024 * 1024;

const offer: ImageOffer = {
  id,
  digests: [],
  sizeBytes: 5,
  createdAtMs: 0,
  os: 'linux',
  architecture: 'amd64',
  ids: 'config',
  origin: 'registry',
};
const image: ImageStatus = { ...offer, names: [], user: '', isPulled: false };

const node: Node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'pi2' },
  spec: {},
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};

let clock: ManualClock;
let runtime: FakeRuntime;
let status: number;
let answer: () => AsyncIterable<Uint8Array>;
let listNodes: (signal: AbortSignal) => Promise<readonly Node[]>;
let availableBytes: number;
let peers: ImagePeers;

beforeEach(() => {
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  status = 200;
  listNodes = async () => [node];
  availableBytes = 1e10;
  peers = new ImagePeers({
    runtime,
    diskSpace: async () => ({ sizeBytes: 1e10, availableBytes }),
    client: {
      async get(_node, { signal }) {
        signal.throwIfAborted();
        return { status, body: answer() };
      },
    },
    listNodes: (signal) => listNodes(signal),
    nodeName: 'pi1',
    clock,
    random: seededRandom(1),
    logger: silentLogger,
  });
});

const says = (value: unknown) => (): Readable =>
  Readable.from([Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))]);

async function fetch(more: Partial<ImageOffer> = {}): Promise<void> {
  const archive = answer;
  answer = says(offer);
  await peers.ask('web:1');
  answer = archive;
  const peer: PeerOffer = { machine: 'pi2', offer: { ...offer, ...more } };
  await peers.fetch(peer, () => {}, new AbortController().signal);
}

describe('an offer', () => {
  it('is taken as it is told', async () => {
    answer = says(offer);
    expect(await peers.ask('web:1')).toEqual([
      { machine: 'pi2', offer, busy: undefined, pull: undefined },
    ]);
  });

  const none: readonly unknown[] = [
    'null',
    '{',
    {},
    { ...offer, id: 'sha256:1' },
    { ...offer, id: 7 },
    { ...offer, digests: undefined },
    { ...offer, digests: [7] },
    { ...offer, sizeBytes: null },
    { ...offer, sizeBytes: -1 },
    JSON.stringify(offer).replace('"sizeBytes":5', '"sizeBytes":1e999'),
    { ...offer, createdAtMs: '0' },
    { ...offer, os: 7 },
    { ...offer, origin: 'me' },
  ];
  it('may be of an image without a date, which engines put in the year 1', async () => {
    answer = says({ ...offer, createdAtMs: Date.parse('0001-01-01T00:00:00Z') });
    expect(await peers.ask('web:1')).toHaveLength(1);
  });

  it('of an agent that does not say what its ids are is of the kind all had', async () => {
    const { ids: _, ...old } = offer;
    answer = says(old);
    expect((await peers.ask('web:1'))[0]?.offer).toEqual(offer);
  });

  const pull = { phase: 'pulling', os: 'linux', architecture: 'amd64', ids: 'config' };
  const progress = { step: 'downloading', doneBytes: 5, totalBytes: 7 };
  const words: [object, unknown][] = [
    [{ pull: { ...pull, progress } }, { ...pull, progress }],
    [
      { pull: { ...pull, progress: { ...progress, doneBytes: -1 } } },
      { ...pull, progress: undefined },
    ],
    [{ pull: { ...pull, phase: 'sleeping' } }, undefined],
    [{ pull: { ...pull, os: 7 } }, undefined],
    [{ pull: 'yes' }, undefined],
  ];
  it.each(words)('or a pull of it: %j', async (said, want) => {
    status = 202;
    answer = says(said);
    expect((await peers.ask('web:1'))[0]).toEqual({
      machine: 'pi2',
      offer: undefined,
      busy: undefined,
      pull: want,
    });
  });

  it.each(none)('is not %j', async (said) => {
    answer = says(said);
    expect(await peers.ask('web:1')).toEqual([]);
  });

  it('is asked for also while the API server says nothing', async () => {
    answer = says(offer);
    await peers.ask('web:1');
    listNodes = (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('nothing came')));
      });
    const offers = peers.ask('web:1');
    clock.advance(1_000);
    expect(await offers).toHaveLength(1);
  });
});

/** Calls itself `id`, and is another. */
async function* misnamed(): AsyncGenerator<Uint8Array> {
  const out = pack();
  out.entry({ name: `${hex}.json` }, JSON.stringify({ ...image, id: otherId }));
  out.entry({ name: 'manifest.json' }, JSON.stringify([{ Config: `${hex}.json`, RepoTags: null }]));
  out.finalize();
  yield* Readable.from(out) as AsyncIterable<Uint8Array>;
}

async function* images(...all: readonly ImageStatus[]): AsyncGenerator<Uint8Array> {
  yield* await packImages(all);
}

describe('an image of another machine', () => {
  it('is here afterwards', async () => {
    answer = () => images(image);
    await fetch();
    expect((await runtime.listImages()).map((each) => each.id)).toEqual([id]);
  });

  it('with other content does not stay', async () => {
    answer = misnamed;
    await expect(fetch()).rejects.toThrow(`machine pi2 sent another image than ${id}`);
    expect(await runtime.listImages()).toEqual([]);
  });

  it('with the content of one that was here takes nothing away', async () => {
    await runtime.loadImages(images({ ...image, id: otherId }));
    answer = misnamed;
    await expect(fetch()).rejects.toThrow('another image');
    expect(await runtime.listImages()).toHaveLength(1);
  });

  it('that has no end is broken off', async () => {
    let sent = 0;
    answer = async function* () {
      const out = pack();
      out.entry({ name: `blobs/sha256/${hex}`, size: 1024 * mib });
      yield (await out[Symbol.asyncIterator]().next()).value as Uint8Array;
      const chunk = Buffer.alloc(mib);
      for (; sent < 200; sent++) yield chunk;
    };
    await expect(fetch()).rejects.toThrow('more came than the image is large');
    expect(sent).toBeLessThan(70);
  });

  it('that has no room on the disk is not asked for', async () => {
    availableBytes = 9;
    let isAsked = false;
    answer = () => {
      isAsked = true;
      return images(image);
    };
    await expect(fetch()).rejects.toThrow('the disk has no room for it');
    expect(isAsked).toBe(false);
  });
});
