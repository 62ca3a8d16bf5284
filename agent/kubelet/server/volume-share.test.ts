// A volume goes from one agent to another over real TLS, by real certificates and the real tar, as PersistentVolumes order it.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Node, PersistentVolume } from '#kube/api/core.ts';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom, systemRandom } from '#kube/base/random.ts';
import { persistentVolumes } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { copyStateOf, moveAnnotations, type CopyOrder } from '#kube/machinery/volume-move.ts';
import type { KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import { MemoryApi } from '../../../electron/controlplane/controllers/testing/memory-api.ts';
import { eventually } from '../../../test/setup/cluster.ts';
import { HttpsPeerClient } from '../images/peer-client.ts';
import { VolumeCopier } from '../volumes/copies/volume-copier.ts';
import { VolumeShare } from '../volumes/copies/volume-share.ts';
import { Access } from './access.ts';
import { Routes, type RoutesDeps } from './routes.ts';
import { KubeletServer } from './server.ts';

let directory = '';
let pki: ClusterPki;
const identities = new Map<string, KeyPairPem>();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-share-'));
  const given = { clock: systemClock, random: systemRandom };
  pki = await ClusterPki.open({ directory: join(directory, 'pki'), ...given });
  for (const name of ['nas', 'tablet'])
    identities.set(name, await pki.nodeClient(join(directory, name), name));
});
afterAll(() => rmSync(directory, { recursive: true }));

const at = (...parts: string[]) => join(directory, 'disks', ...parts);
let server: KubeletServer;
let node: Node;
let api: MemoryApi;
let client: RestClient;
let used: string[] = [];
let stop: AbortController;

beforeEach(async () => {
  for (const name of ['from', 'to']) mkdirSync(at(name), { recursive: true });
  writeFileSync(at('from', 'film'), Buffer.alloc(3_000_000, 'film'));
  [used, stop] = [[], new AbortController()];
  const clock = new ManualClock();
  api = new MemoryApi(clock, [persistentVolumes]);
  client = new RestClient({ transport: api, clock, random: seededRandom(1) });
  const volumes = new VolumeShare({
    volume: (name) => api.list(persistentVolumes).find(({ metadata }) => metadata.name === name),
    isUsed: (name) => used.includes(name),
    nodeName: 'pi',
    folder: at('notes-of-pi'),
    clock: systemClock,
  });
  const none = { refusal: () => Promise.reject(new Error('nobody is asked')) };
  server = new KubeletServer({
    ...(await pki.nodeServing(join(directory, 'pi'), 'pi')),
    caPem: pki.caPem,
    bindAddress: '127.0.0.1',
    port: 0,
    access: new Access({ client: none as never, clock, logger: silentLogger, nodeName: 'pi' }),
    metrics: { request: () => {} },
    clock: systemClock,
    routes: new Routes({ volumes } as Partial<RoutesDeps> as RoutesDeps),
    streams: () => Promise.reject(new Error('none')),
    logger: silentLogger,
  });
  const Port = await server.start();
  node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'pi' },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port } },
    },
  };
  await volume('old', 'pi', {
    [localPath.madeAnnotation]: 'long ago',
    [moveAnnotations.readableBy]: 'nas',
  });
});
afterEach(async () => {
  stop.abort();
  await server.stop();
  rmSync(at(), { recursive: true });
});

function volume(name: string, place: string, annotations: Record<string, string>) {
  return client.create(persistentVolumes, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels: { [localPath.nodeLabel]: place }, annotations },
    spec: { local: { path: at('from') } },
  });
}

/** What comes of it is told on the volume. */
async function copy(by: string, pass: CopyOrder['pass']): Promise<PersistentVolume> {
  const order: CopyOrder = { from: 'old', node: 'pi', pass };
  const made = await volume(`new-${pass}`, by, { [moveAnnotations.order]: JSON.stringify(order) });
  const identity = identities.get(by) as KeyPairPem;
  const copier = new VolumeCopier({
    client,
    peers: new HttpsPeerClient(() => ({ ...identity, caPem: pki.caPem })),
    nodeOf: async () => node,
    freeBytes: async () => 1e12,
    folder: at('notes-of-others'),
    // Tries again at once.
    clock: { ...systemClock, timer: (ms, run) => systemClock.timer(ms > 9_999 ? ms : 1, run) },
    logger: silentLogger,
    signal: stop.signal,
  });
  copier.want(made, {
    directory: at('to'),
    madeAnnotations: { [localPath.madeAnnotation]: 'now' },
  });
  return eventually(async () => {
    const found = await client.get(persistentVolumes, { name: made.metadata.name });
    const state = copyStateOf(found);
    return state !== undefined && state.state !== 'Running' ? found : undefined;
  }, 'the copy is made, or why not is told');
}

it('is copied, and counts as made after the last pass only', async () => {
  const live = await copy('nas', 'live');
  expect(live.metadata.annotations?.[localPath.madeAnnotation]).toBeUndefined();
  writeFileSync(at('from', 'watched'), 'yes');
  const final = await copy('nas', 'final');
  expect([
    copyStateOf(final)?.state,
    final.metadata.annotations?.[localPath.madeAnnotation],
  ]).toEqual(['Done', 'now']);
  expect(readFileSync(at('to', 'film')).equals(readFileSync(at('from', 'film')))).toBe(true);
  expect(readFileSync(at('to', 'watched'), 'utf8')).toBe('yes');
});

it('is handed to no other machine of the cluster', async () => {
  const refused = await copy('tablet', 'final');
  expect(copyStateOf(refused)).toEqual({
    pass: 'final',
    state: 'Failed',
    message: 'pi → here: volume old is not for tablet',
  });
});

it('is not copied for the last time while a pod has it', async () => {
  used = ['old'];
  const refused = await copy('nas', 'final');
  expect(copyStateOf(refused)?.message).toBe('pi → here: a pod on pi still has volume old');
  expect(refused.metadata.annotations?.[localPath.madeAnnotation]).toBeUndefined();
});
