// Machines that want the same image at the same moment, each with a fake engine, on one manual clock:
// one asks the registry, the others have it from that one; whatever becomes of it, all come to an end.
import { setImmediate as settled } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Node, Pod, Secret } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { FakeRuntime } from '../../../runtime/fake-runtime.ts';
import { RuntimeError, type ImageStatus, type PullProgress } from '../../../runtime/runtime.ts';
import { offerImage, sendImage } from '../../server/image-share-routes.ts';
import { ImagePeers } from '../image-peers.ts';
import { ImageShare } from '../image-share.ts';
import { Images } from '../images.ts';
import type { ImageOrigin } from '../image-origins.ts';
import { PullBoard } from './pull-board.ts';

const id = `sha256:${'1'.repeat(64)}`;
const name = 'reg.lan/web:1';
const names = ['pi1', 'pi2', 'pi3', 'pi4', 'pi5'];

interface Machine {
  readonly name: string;
  readonly runtime: FakeRuntime;
  readonly images: Images;
  readonly share: ImageShare;
  readonly node: Node;
  readonly told: string[];
  readonly events: string[];
}

type Tell = (progress: PullProgress) => void;

let clock: ManualClock;
let machines: Machine[];
/** Those that answer nobody. */
let gone: Set<string>;
/** How long a word between machines takes. */
let latencyMs: (from: string, to: string) => number;
/** Machines that began a pull from the registry, in order. */
let pulls: string[];
let onPull: (machine: string, tell: Tell, signal?: AbortSignal) => Promise<void>;

beforeEach(() => {
  clock = new ManualClock();
  gone = new Set();
  pulls = [];
  latencyMs = () => 2;
  onPull = () => downloading(5_000);
  machines = names.map(start);
});

// Loaded when first needed: the manual clock would run on meanwhile.
beforeAll(() => import('tar-stream'));

const sleep = (ms: number) => new Promise<void>((resolve) => clock.timer(ms, resolve));

/** 10 MB a second. */
async function downloading(ms: number, tell: Tell = () => {}): Promise<void> {
  for (let doneMs = 0; doneMs < ms; doneMs += 1_000) {
    const doneBytes = doneMs * 10_000;
    tell({ step: 'downloading', doneBytes, totalBytes: ms * 10_000 });
    await sleep(1_000);
  }
}

function start(machine: string): Machine {
  const runtime = new FakeRuntime(clock);
  const add = runtime.addImage.bind(runtime);
  runtime.addImage = (image, more) => add(image, { id, ...more });
  runtime.onPull = async (_name, tell, { signal }) => {
    pulls.push(machine);
    await onPull(machine, tell, signal);
  };
  const board = new PullBoard();
  const known = new Map<string, ImageOrigin>();
  const origins = {
    of: (image: string) => known.get(image),
    note: async (image: string, origin: ImageOrigin) => void known.set(image, origin),
  };
  const peers = new ImagePeers({
    runtime,
    diskSpace: async () => ({ sizeBytes: 1e10, availableBytes: 1e10 }),
    client: { get: (node, request) => get(machine, node.metadata.name, request) },
    listNodes: async () => machines.map(({ node }) => node),
    nodeName: machine,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  const events: string[] = [];
  const event = (_about: unknown, _type: string, reason: string, message: string) =>
    void events.push(`${reason}: ${message}`);
  const deps = { runtime, clock, logger: silentLogger, peers, origins, board };
  return {
    name: machine,
    runtime,
    images: new Images({ ...deps, events: { event } }),
    share: new ImageShare({ runtime, origins, board }),
    told: [],
    events,
    node: {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: machine },
      spec: {},
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    },
  };
}

async function get(
  from: string,
  to: string,
  { path, signal }: { readonly path: string; readonly signal: AbortSignal },
): Promise<{ status: number; body: AsyncIterable<Uint8Array> }> {
  const each = latencyMs(from, to);
  await sleep(each);
  const { share } = machines.find((machine) => machine.name === to)!;
  const check = () => {
    signal.throwIfAborted();
    if (gone.has(to)) throw new Error('no route to host');
  };
  check();
  const url = new URL(path, 'https://x');
  const { status, body } = path.startsWith('/images/offer')
    ? await offerImage(share, url.searchParams.get('name') ?? '')
    : await sendImage(share, { url, signal });
  await sleep(each);
  check();
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    if (typeof body === 'string') return yield Buffer.from(body);
    for await (const chunk of body) {
      check();
      yield chunk;
    }
  };
  return { status, body: chunks() };
}

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns', uid: 'u' },
  spec: { containers: [] },
};

function want(
  { images, told }: Machine,
  { policy = 'IfNotPresent', secrets = [] as Secret[], image = name } = {},
): Promise<ImageStatus> {
  const container = { name: 'web', image, imagePullPolicy: policy };
  const onProgress = (sentence: string) => void told.push(sentence);
  return images.ensure({ pod, container, secrets, missingSecrets: [], onProgress });
}

/** Lets all go on until it is over; how long it took, and what came of each. */
async function run<T>(all: readonly Promise<T>[]): Promise<{ ms: number; ends: string[] }> {
  const startMs = clock.monotonicMs();
  const going = new Set(all);
  for (const each of all) each.catch(() => {}).finally(() => going.delete(each));
  while (going.size > 0) {
    for (let turn = 0; turn < 8; turn++) await settled();
    const nextMs = clock.nextTimerMs();
    if (going.size === 0 || nextMs === undefined) continue;
    if (clock.monotonicMs() - startMs > 3_600_000) throw new Error('it has no end');
    clock.advance(nextMs);
  }
  const ends = (await Promise.allSettled(all)).map(({ status }) => status);
  return { ms: clock.monotonicMs() - startMs, ends };
}

const fulfilled = names.map(() => 'fulfilled');
const hasIt = ({ runtime }: Machine) => runtime.imageStatus(name).then((image) => image?.id);

describe('five machines that want the same image at once', () => {
  it('ask the registry once', async () => {
    const { ends, ms } = await run(machines.map((machine) => want(machine)));
    expect(ends).toEqual(fulfilled);
    expect(pulls).toHaveLength(1);
    expect(await Promise.all(machines.map(hasIt))).toEqual(names.map(() => id));
    // The pull, and a few looks whether it is done.
    expect(ms).toBeLessThan(15_000);
  });

  it('ask it once, however they come to speak, and whoever is first', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seededRandom(seed);
      pulls = [];
      machines = names.map(start);
      latencyMs = () => 1 + random.next() * 40;
      const all = machines.map(async (machine) => {
        await sleep(random.next() * 60);
        return want(machine);
      });
      expect((await run(all)).ends).toEqual(fulfilled);
      expect({ seed, pulls: pulls.length }).toEqual({ seed, pulls: 1 });
    }
  });

  it('tell how far the one that pulls it is', async () => {
    onPull = (_machine, tell) => downloading(5_000, tell);
    await run(machines.map((machine) => want(machine)));
    const [puller = ''] = pulls;
    const waiting = machines.find((machine) => machine.name !== puller)!;
    expect(waiting.told).toContain(`Pulling image "${name}": 20 of 50 MB on machine ${puller}`);
    expect(waiting.events.at(-1)).toMatch(/^Pulled: .* from machine pi\d in .* including waiting/);
  });

  it('go on with another when that one fails', async () => {
    onPull = async () => {
      if (pulls.length > 1) return downloading(5_000);
      await sleep(2_000);
      throw new RuntimeError('other', 'unexpected EOF');
    };
    const { ends } = await run(machines.map((machine) => want(machine)));
    expect(ends.filter((end) => end === 'rejected')).toHaveLength(1);
    expect(pulls).toHaveLength(2);
  });

  it('go on with another when that one vanishes', async () => {
    onPull = async (machine) => {
      await sleep(2_000);
      if (pulls.length > 1) return;
      gone.add(machine);
      await sleep(100_000);
      throw new RuntimeError('other', 'the machine is off');
    };
    const { ends } = await run(machines.map((machine) => want(machine)));
    expect(ends.filter((end) => end === 'rejected')).toHaveLength(1);
    expect(pulls).toHaveLength(2);
  });

  it('wait for none that stands still, and ask for themselves when two did', async () => {
    onPull = async () => {
      if (pulls.length > 2) return;
      await sleep(200_000);
    };
    const began = machines.map((machine) => want(machine).then(() => clock.monotonicMs()));
    await run(began);
    const ends = (await Promise.all(began)).toSorted((a, b) => a - b);
    // Two stand still for 30 s each, the rest no longer.
    expect(ends.slice(0, 3).every((end) => end < 70_000)).toBe(true);
    expect(pulls).toHaveLength(5);
  });

  it('fail together soon, when the registry says no to each', async () => {
    onPull = async () => {
      await sleep(1_000);
      throw new RuntimeError('notFound', 'manifest unknown');
    };
    const { ends, ms } = await run(machines.map((machine) => want(machine)));
    expect(ends).toEqual(names.map(() => 'rejected'));
    expect(ms).toBeLessThan(8_000);
  });

  it('have it from each other also when only two can at a time', async () => {
    for (const { runtime } of machines) {
      const save = runtime.saveImage.bind(runtime);
      runtime.saveImage = async (wanted) => {
        const chunks = await save(wanted);
        return (async function* () {
          await sleep(10_000);
          yield* chunks;
        })();
      };
    }
    const { ends } = await run(machines.map((machine) => want(machine)));
    expect(ends).toEqual(fulfilled);
    expect(pulls).toHaveLength(1);
  });

  it('ask the registry when nobody hands it over for long', async () => {
    for (const { runtime } of machines)
      runtime.saveImage = async () =>
        (async function* () {
          yield new Uint8Array(512);
          await sleep(1_000_000);
        })();
    const all = machines.map((machine) => want(machine).then(() => clock.monotonicMs()));
    await run(all);
    const ends = (await Promise.all(all)).toSorted((a, b) => a - b);
    // Two hang on the line they got, and a third on the next one's. That one pulled alone, as soon as
    // nothing had moved for half a minute.
    expect(ends[1]).toBeLessThan(60_000);
    expect(ends[2]).toBeGreaterThan(60_000);
  });

  it('pull each for itself what needs credentials, and wait for nobody', async () => {
    const auth = '{"reg.lan":{"username":"u","password":"p"}}';
    const data = { '.dockercfg': Buffer.from(auth).toString('base64') };
    const type = 'kubernetes.io/dockercfg';
    const key: Secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, type, data };
    const all = machines.map((machine) => want(machine, { secrets: [key] }));
    expect((await run(all)).ms).toBeLessThan(6_000);
    expect(pulls).toHaveLength(5);
  });

  it('don’t wait for one of another kind', async () => {
    machines[0]!.runtime.imageIds = 'manifest';
    await run(machines.map((machine) => want(machine)));
    expect(pulls.toSorted()).toEqual(['pi1', expect.stringMatching(/pi[2-5]/)]);
  });

  it('share what has to be newest, too: the registry says what that is to each', async () => {
    const digest = `sha256:${'d'.repeat(64)}`;
    for (const { runtime } of machines) {
      const add = runtime.addImage;
      runtime.addImage = (image, more) =>
        add(image, { names: [image, `reg.lan/web@${digest}`], ...more });
      runtime.onDigest = async () => digest;
    }
    onPull = async (machine) => {
      // All of it is there but the name: no layer is fetched.
      const { runtime } = machines.find((entry) => entry.name === machine)!;
      if ((await runtime.imageStatus(id)) === undefined) await downloading(5_000);
    };
    const { ms, ends } = await run(machines.map((machine) => want(machine, { policy: 'Always' })));
    expect(ends).toEqual(fulfilled);
    expect(ms).toBeLessThan(15_000);
    const loads = machines.flatMap(({ runtime }) =>
      runtime.calls.filter((call) => call.startsWith('load ')),
    );
    expect(loads).toHaveLength(4);
  });

  it('hold up no other image meanwhile', async () => {
    onPull = async (machine) => (machine === 'pi1' ? downloading(60_000) : undefined);
    const three = ['a', 'b', 'c'].map((image) => `reg.lan/${image}:1`);
    const [pi1, pi2] = machines as [Machine, Machine];
    const slow = three.map((image) => want(pi1, { image }));
    await run([sleep(1_000)]);
    const waiting = three.map((image) => want(pi2, { image }));
    await run([sleep(1_000)]);
    const { ms } = await run([want(pi2, { image: 'reg.lan/other:1' })]);
    expect(ms).toBeLessThan(1_000);
    await run([...slow, ...waiting]);
  });
});

describe('whatever becomes of machines and lines', () => {
  it('each pull ends, and none waits long for nothing', async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const random = seededRandom(seed);
      gone = new Set();
      pulls = [];
      machines = names.map(start);
      latencyMs = () => random.next() * 100;
      onPull = async (machine, tell) => {
        const fate = random.next();
        await downloading(random.next() * 20_000, tell);
        if (fate < 0.2) throw new RuntimeError('other', 'unexpected EOF');
        if (fate < 0.4) {
          gone.add(machine);
          throw new RuntimeError('other', 'the machine is off');
        }
        if (fate < 0.5) await sleep(250_000);
      };
      const all = machines.map(async (machine) => {
        await sleep(random.next() * 10_000);
        return want(machine);
      });
      const { ms } = await run(all);
      expect({ seed, ms }).toEqual({
        seed,
        ms: expect.toSatisfy((value: number) => value < 400_000),
      });
    }
  });
});
