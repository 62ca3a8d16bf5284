// A kubelet on the fake engine, with an API server of a few lines: what tests of whole lives share.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, onTestFailed } from 'vitest';
import type { Pod, PodSpec, Service } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import type { EventHandlers, Informer } from '#kube/client/informer.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { TransportError } from '#kube/client/transport.ts';
import { conflict, notFound } from '#kube/machinery/status.ts';
import { FakeRuntime } from '../../agent/runtime/fake-runtime.ts';
import { PullBoard } from '../../agent/kubelet/images/turns/pull-board.ts';
import type { Device } from '../../agent/kubelet/devices/devices.ts';
import { Kubelet } from '../../agent/kubelet/kubelet.ts';
import { ClaimSource } from '../../agent/kubelet/volumes/claims/claim-source.ts';
import { plainVolumes } from '../../agent/kubelet/volumes/testing/plain-volumes.ts';

/** The pods of an API server, and the informer that watches them. */
class FakeApi {
  readonly pods = new Map<string, Pod>();
  readonly #handlers = new Set<EventHandlers<Pod>>();
  /** Set while no API server answers. */
  #away: PromiseWithResolvers<void> | undefined;
  #version = 1;

  readonly informer = {
    start: () => {},
    whenSynced: () => this.#away?.promise ?? Promise.resolve(),
    lister: { get: (_namespace: string, name: string) => this.pods.get(name), list: () => [] },
    addHandler: (handlers: EventHandlers<Pod>) => {
      this.#handlers.add(handlers);
      for (const pod of this.pods.values()) handlers.onAdd?.(pod, true);
      return () => {};
    },
  } as unknown as Informer<Pod>;

  readonly client = {
    get: async ({ resource }: { resource: string }, { name }: { name: string }) => {
      this.#answer();
      if (resource === 'nodes') return { metadata: { name, uid: 'uid-node' } };
      const pod = this.pods.get(name);
      if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, name);
      return pod;
    },
    updateStatus: async (_resource: unknown, { metadata, status }: Pod) => {
      this.#answer();
      const pod = this.pods.get(metadata.name);
      if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, metadata.name);
      if (pod.metadata.uid !== metadata.uid)
        throw conflict({ group: '', resource: 'pods' }, metadata.name, 'another uid');
      return this.put({ ...pod, status });
    },
    create: async (_resource: unknown, pod: Pod) => {
      this.#answer();
      const uid = `uid-${this.#version}`;
      return this.put({ ...pod, metadata: { ...pod.metadata, uid } });
    },
    // Nobody ever changes a ConfigMap here.
    watch: () => new Promise(() => {}),
    delete: async (_resource: unknown, { name }: { name: string }) => {
      this.#answer();
      this.remove(name);
    },
  } as unknown as RestClient;

  #answer(): void {
    if (this.#away !== undefined) throw new TransportError('no answer');
  }

  setAway(isAway: boolean): void {
    const before = this.#away;
    this.#away = isAway ? Promise.withResolvers() : undefined;
    before?.resolve();
  }

  put(pod: Pod): Pod {
    const { name } = pod.metadata;
    const old = this.pods.get(name);
    const stored = {
      ...pod,
      metadata: { ...pod.metadata, resourceVersion: String(this.#version++) },
    };
    this.pods.set(name, stored);
    for (const handlers of this.#handlers)
      if (old === undefined) handlers.onAdd?.(stored, false);
      else handlers.onUpdate?.(old, stored);
    return stored;
  }

  remove(name: string): void {
    const pod = this.pods.get(name);
    this.pods.delete(name);
    if (pod !== undefined) for (const handlers of this.#handlers) handlers.onDelete?.(pod);
  }
}

export let directory = '';
export let api: FakeApi;
export let clock: ManualClock;
export let runtime: FakeRuntime;
export let events: string[];
export let running: AbortController;
export let kubelet: Kubelet;

/** What the node tells of itself; anew for each test. */
export const machine: {
  allocatable: Record<string, string>;
  devices: Device[];
  joinNetwork: (pod: Pod, address: string) => Promise<void>;
} = { allocatable: {}, devices: [], joinNetwork: () => Promise.resolve() };

/** A world for each test of the file. */
export function useKubelet(): void {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'flotilla-kubelet-'));
    machine.allocatable = {};
    machine.devices = [];
    machine.joinNetwork = () => Promise.resolve();
    api = new FakeApi();
    clock = new ManualClock();
    runtime = new FakeRuntime(clock);
    runtime.addImage('web:1');
  });
  afterEach(() => {
    running.abort();
    rmSync(directory, { recursive: true, force: true });
  });
}

/** Resolves when the first pods are known. */
export function start(): Promise<void> {
  running = new AbortController();
  events = [];
  const services = {
    start: () => {},
    whenSynced: () => Promise.resolve(),
    lister: { list: () => [] },
  };
  kubelet = new Kubelet({
    runtime,
    runtimeName: 'fake',
    nodeName: 'pi',
    client: api.client,
    pods: api.informer,
    services: services as unknown as Informer<Service>,
    events: {
      event: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`),
    },
    volumes: plainVolumes(directory),
    claims: new ClaimSource({ client: api.client, nodeName: 'node-1' }),
    images: { peers: undefined, origins: { note: async () => {} }, board: new PullBoard() },
    node: {
      ips: () => ['192.168.1.5'],
      allocatable: () => machine.allocatable,
      memoryBytes: () => 1e9,
      pidsMax: () => 32_768,
      dns: async () => ({ servers: ['192.168.1.1'], searches: ['lan'], options: [] }),
      clusterDns: async () => undefined,
      joinNetwork: (...joining) => machine.joinNetwork(...joining),
      seccompProfile: async () => '{}',
      devices: () => machine.devices,
      maxPods: 4,
      hasAppArmor: () => false,
      self: () => undefined,
      runtimeHandler: async (name: string) => name,
    },
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    qosClass: () => 'BestEffort',
    onEngineState: () => {},
    onContainersChange: () => {},
    signal: running.signal,
  });
  return kubelet.start();
}

export function podOf(spec: Partial<PodSpec> = {}, name = 'p'): Pod {
  const containers = [{ name: 'web', image: 'web:1' }];
  const metadata = { name, namespace: 'ns', uid: `uid-${name}` };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, ...spec } };
}

/**
 * Lets everything that can happen without time passing happen: files are written meanwhile, which may
 * take any number of turns.
 */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const { signal } = running;
  let isOver = false;
  onTestFailed(() => {
    if (!isOver) process.stderr.write(`waited for: ${what}; calls: ${runtime.calls.join(', ')}\n`);
  });
  while (!isSo() && !signal.aborted) await new Promise((resolve) => setImmediate(resolve));
  isOver = true;
}

/** As the node lifecycle controller does. */
export function markNotReady(): Pod {
  const pod = api.pods.get('p') ?? podOf();
  const conditions = (pod.status?.conditions ?? []).map((condition) =>
    condition.type === 'Ready' ? { ...condition, status: 'False' } : condition,
  );
  return api.put({ ...pod, status: { ...pod.status, conditions } });
}

/** Nothing more comes of what happened so far. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export const statusOf = (name = 'p') => api.pods.get(name)?.status;
export const isReady = (name = 'p') =>
  statusOf(name)?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
export const web = () => statusOf()?.containerStatuses?.[0];

export async function runningPod(spec: Partial<PodSpec> = {}): Promise<string> {
  await start();
  api.put(podOf(spec));
  await until('ready', () => isReady());
  return runtime.running('uid-p', 'web')?.id ?? '';
}
