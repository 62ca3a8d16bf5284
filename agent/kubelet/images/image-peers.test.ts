// Two machines of one cluster, each with its own engine (a fake one), over real TLS: what one has, the
// other takes from it instead of from the registry, if it may.
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Node, Pod, Secret } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom, systemRandom } from '#kube/base/random.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { RuntimeError, type ImageStatus, type PullProgress } from '../../runtime/runtime.ts';
import { Access, type AccessDeps } from '../server/access.ts';
import { sendImage } from '../server/image-share-routes.ts';
import { Routes, type RoutesDeps } from '../server/routes.ts';
import { KubeletServer } from '../server/server.ts';
import type { Streams } from '../server/streams.ts';
import { ImageOrigins } from './image-origins.ts';
import { ImagePeers } from './image-peers.ts';
import { ImageShare } from './image-share.ts';
import { Images } from './images.ts';
import { PullBoard } from './turns/pull-board.ts';
import { HttpsPeerClient } from './peer-client.ts';

let directory: string;
let pki: ClusterPki;
/** Of each machine: as whom it asks, and what it shows. */
const identities = new Map<string, { client: KeyPairPem; serving: KeyPairPem }>();

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'flotilla-peers-'));
  const parts = {
    directory: path.join(directory, 'pki'),
    clock: systemClock,
    random: systemRandom,
  };
  pki = await ClusterPki.open(parts);
  for (const name of ['pi1', 'pi2', 'pi3']) {
    const folder = path.join(directory, name);
    identities.set(name, {
      client: await pki.nodeClient(path.join(folder, 'client'), name),
      serving: await pki.nodeServing(path.join(folder, 'serving'), name),
    });
  }
});
afterAll(() => rm(directory, { recursive: true }));

/** An API server by which nobody may use a node's port. */
const refusing = {
  create: async () => ({ status: { allowed: false } }),
} as unknown as AccessDeps['client'];

interface Machine {
  readonly runtime: FakeRuntime;
  readonly images: Images;
  readonly peers: ImagePeers;
  readonly origins: ImageOrigins;
  readonly events: string[];
  readonly server: KubeletServer;
  readonly node: Node;
}

let count = 0;
let machines: Machine[];
let nodes: Node[];
let pi1: Machine;
let pi2: Machine;

beforeEach(async () => {
  machines = [];
  nodes = [];
  pi1 = await start('pi1');
  pi2 = await start('pi2');
});
afterEach(async () => {
  for (const { server } of machines) await server.stop();
});

async function start(name: string): Promise<Machine> {
  const { client, serving } = identities.get(name)!;
  const runtime = new FakeRuntime(systemClock);
  const origins = await ImageOrigins.open(
    path.join(directory, name, `images-${++count}.json`),
    silentLogger,
  );
  const events: string[] = [];
  const peers = new ImagePeers({
    runtime,
    diskSpace: async () => ({ sizeBytes: 1e10, availableBytes: 1e10 }),
    client: new HttpsPeerClient(() => ({ ...client, caPem: pki.caPem })),
    listNodes: async () => nodes,
    nodeName: name,
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  const board = new PullBoard();
  const images = new Images({
    runtime,
    board,
    clock: systemClock,
    logger: silentLogger,
    peers,
    origins,
    events: { event: (_about, _type, reason, message) => events.push(`${reason}: ${message}`) },
  });
  const share = new ImageShare({ runtime, origins, board });
  const routes = new Routes({ share } as unknown as RoutesDeps);
  const streams = () => Promise.reject<Streams>(new Error('no streams here'));
  const server = new KubeletServer({
    ...serving,
    caPem: pki.caPem,
    bindAddress: '127.0.0.1',
    port: 0,
    routes,
    streams,
    access: new Access({
      client: refusing,
      clock: systemClock,
      logger: silentLogger,
      nodeName: name,
    }),
    metrics: { request: () => {} },
    clock: systemClock,
    logger: silentLogger,
  });
  const node: Node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: await server.start() } },
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
  nodes.push(node);
  const machine = { runtime, images, peers, origins, events, server, node };
  machines.push(machine);
  return machine;
}

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns', uid: 'u' },
  spec: { containers: [] },
};

const key: Secret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 's' },
  type: 'kubernetes.io/dockercfg',
  data: {
    '.dockercfg': Buffer.from('{"reg.lan":{"username":"u","password":"p"}}').toString('base64'),
  },
};

function ensure(
  { images }: Machine,
  image: string,
  { policy = 'IfNotPresent', secrets = [] }: { policy?: string; secrets?: readonly Secret[] } = {},
): Promise<ImageStatus> {
  const container = { name: 'web', image, imagePullPolicy: policy };
  return images.ensure({ pod, container, secrets, missingSecrets: [], onProgress: () => {} });
}

const id = `sha256:${'1'.repeat(64)}`;
const digest = `sha256:${'d'.repeat(64)}`;

/** As the registry has it. */
function registryHas(machine: Machine, image: Partial<ImageStatus> = {}): void {
  machine.runtime.addImage = FakeRuntime.prototype.addImage.bind(machine.runtime);
  const add = machine.runtime.addImage;
  machine.runtime.addImage = (name, more) =>
    add(name, { id, names: [name, `reg.lan/web@${digest}`], ...more, ...image });
}

function registryIsGone(machine: Machine): void {
  machine.runtime.onPull = async () => {
    throw new RuntimeError('other', 'no route to host');
  };
}

const name = 'reg.lan/web:1';

describe('a machine of the cluster', () => {
  it('gives what it pulled, while the registry is away', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    registryIsGone(pi1);
    expect((await ensure(pi1, name)).id).toBe(id);
    expect(pi1.runtime.calls).toEqual([`load ${id}`, `tag ${id} ${name}`]);
    expect(pi1.events.at(-1)).toMatch(
      /^Pulled: Successfully pulled image "reg\.lan\/web:1" from machine pi2 in [\d.]+m?s \(/,
    );
    // Its registry has it: it may make room here, and others may have it from here.
    expect(pi1.origins.of(id)).toBe('registry');
  });

  it('is told of until the engine here has unpacked it', async () => {
    registryHas(pi2, { sizeBytes: 7 });
    await ensure(pi2, name);
    const [peer] = await pi1.peers.ask(name);
    const steps: PullProgress[] = [];
    await pi1.peers.fetch(
      { ...peer!, offer: peer!.offer! },
      (step) => steps.push(step),
      new AbortController().signal,
    );
    expect(steps.at(-1)).toEqual({ step: 'unpacking', doneBytes: 7, totalBytes: 7 });
  });

  it('gives nothing that was pulled with credentials', async () => {
    registryHas(pi2);
    await ensure(pi2, name, { secrets: [key] });
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  it('gives nothing that it has from elsewhere', async () => {
    pi2.runtime.addImage(name, { id });
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  it('gives what a person handed over', async () => {
    pi2.runtime.addImage(name, { id });
    await pi2.origins.note(id, 'file');
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`load ${id}`, `tag ${id} ${name}`]);
    expect(pi1.origins.of(id)).toBe('file');
  });

  it('gives the bytes of what has to be a certain image; the registry confirms them', async () => {
    registryHas(pi2);
    registryHas(pi1);
    await ensure(pi2, name);
    pi1.runtime.onDigest = async () => digest;
    await ensure(pi1, name, { policy: 'Always' });
    expect(pi1.runtime.calls).toEqual([`ask for ${name}`, `load ${id}`, `pull ${name}`]);
    expect(pi1.events.at(-1)).toContain('from machine pi2');
  });

  it('is not asked for more than the registry can tell of it', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    pi1.runtime.onDigest = async () => {
      throw new RuntimeError('other', 'no route to host');
    };
    await ensure(pi1, name, { policy: 'Always' });
    expect(pi1.runtime.calls).toEqual([`ask for ${name}`, `pull ${name}`]);
  });

  it('leaves nothing when the registry does not confirm it', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    registryIsGone(pi1);
    pi1.runtime.onDigest = async () => digest;
    await expect(ensure(pi1, name, { policy: 'Always' })).rejects.toThrow('no route to host');
    expect(await pi1.runtime.listImages()).toEqual([]);
  });

  it('is not asked for bytes again when the registry does not confirm the first ones', async () => {
    const pi3 = await start('pi3');
    for (const machine of [pi2, pi3]) {
      registryHas(machine);
      await ensure(machine, name);
    }
    registryIsGone(pi1);
    pi1.runtime.onDigest = async () => digest;
    await expect(ensure(pi1, name, { policy: 'Always' })).rejects.toThrow('no route to host');
    expect(pi1.runtime.calls).toEqual([`ask for ${name}`, `load ${id}`, `pull ${name}`]);
  });

  it('does not make public what was here before', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    pi1.runtime.addImage('private', { id });
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`tag ${id} ${name}`]);
    expect(pi1.origins.of(id)).toBeUndefined();
  });

  it('says nothing of what the registry gave instead', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    const newer = `sha256:${'3'.repeat(64)}`;
    registryHas(pi1, { id: newer });
    pi1.runtime.onDigest = async () => digest;
    const secrets = [key];
    expect((await ensure(pi1, name, { policy: 'Always', secrets })).id).toBe(newer);
    expect(pi1.runtime.calls).toEqual([`ask for ${name}`, `load ${id}`, `pull ${name}`]);
    expect(pi1.origins.of(newer)).toBeUndefined();
  });

  it('that is not ready is not asked', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    nodes[1] = { ...pi2.node, status: { ...pi2.node.status, conditions: [] } };
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  it('whose certificate is of another is not believed', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    nodes[1] = { ...pi2.node, metadata: { name: 'pi3' } };
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  const troubles: { readonly name: string; readonly save: FakeRuntime['saveImage'] }[] = [
    {
      name: 'breaks off',
      save: async () =>
        (async function* () {
          yield new Uint8Array(2000);
          throw new Error('the disk broke');
        })(),
    },
    { name: 'can not read it', save: () => Promise.reject(new RuntimeError('other', 'no layer')) },
  ];
  it.each(troubles)('that $name is no trouble: the registry gives it', async ({ save }) => {
    registryHas(pi2);
    await ensure(pi2, name);
    pi2.runtime.saveImage = save;
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  it('that sends another image than it offered does no harm', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    const other = `sha256:${'2'.repeat(64)}`;
    pi2.runtime.addImage = FakeRuntime.prototype.addImage;
    pi2.runtime.addImage('other', { id: other });
    const saveImage = pi2.runtime.saveImage.bind(pi2.runtime);
    pi2.runtime.saveImage = () => saveImage(other);
    await ensure(pi1, name);
    expect(pi1.runtime.calls).toEqual([`pull ${name}`]);
  });

  it('hands two images over at once, and others go elsewhere', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    const slow = Promise.withResolvers<void>();
    pi2.runtime.saveImage = async () =>
      (async function* () {
        yield new Uint8Array(512);
        await slow.promise;
      })();
    const share = new ImageShare({ ...pi2, board: new PullBoard() });
    const { signal } = new AbortController();
    const open = [await share.open(id, signal), await share.open(id, signal)];
    expect(await share.open(id, signal)).toBe('busy');
    slow.resolve();
    for (const chunks of open) for await (const _ of chunks as AsyncIterable<Uint8Array>);
    expect(await share.open(id, signal)).not.toBe('busy');
  });

  it('waits for no reader for ever', async () => {
    registryHas(pi2);
    await ensure(pi2, name);
    const { signal } = new AbortController();
    const url = new URL(`https://pi2/images/content?id=${id}`);
    const answer = await sendImage(new ImageShare({ ...pi2, board: new PullBoard() }), {
      url,
      signal,
    });
    expect(answer.stalledMaxMs).toBe(120_000);
  });
});

describe('the door for nodes', () => {
  function ask(urlPath: string, identity: KeyPairPem, method = 'GET'): Promise<number> {
    const port = pi2.node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
    return new Promise((resolve, reject) => {
      const { certPem: cert, keyPem } = identity;
      const options = { host: '127.0.0.1', port, path: urlPath, method, agent: false, cert };
      request({ ...options, key: keyPem, rejectUnauthorized: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
  }

  it.each([
    ['GET', '/images/offer?name=x', 404],
    ['GET', '/images/offer?name=../../containers', 404],
    ['GET', `/images/content?id=${id}`, 404],
    ['GET', '/images/content?id=../../x', 404],
    ['POST', '/images/offer?name=x', 403],
    ['POST', '/images/load', 403],
    ['GET', '/pods', 403],
    ['GET', '/containerLogs/a/b/c', 403],
    ['GET', '/images/offer/../../pods', 403],
  ])('answers %s %s with %d', async (method, urlPath, want) => {
    expect(await ask(urlPath, identities.get('pi1')!.client, method)).toBe(want);
  });
});
