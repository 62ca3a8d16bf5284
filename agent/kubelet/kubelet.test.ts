// Whole pod lives against the fake engine and an API server of a few lines.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import type { Pod, PodSpec, Service } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import type { EventHandlers, Informer } from '#kube/client/informer.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { TransportError } from '#kube/client/transport.ts';
import { conflict, notFound } from '#kube/machinery/status.ts';
import { FakeRuntime } from '../runtime/fake-runtime.ts';
import type { PullProgress } from '../runtime/runtime.ts';
import type { Device } from './devices/devices.ts';
import { Kubelet } from './kubelet.ts';
import { staticPod } from './static/static-pod.ts';
import { plainVolumes } from './volumes/testing/plain-volumes.ts';
import { ClaimSource } from './volumes/claims/claim-source.ts';

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
    delete: async (_resource: unknown, { name }: { name: string }) => this.remove(name),
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

let directory = '';
let api: FakeApi;
let clock: ManualClock;
let runtime: FakeRuntime;
let events: string[];
let running: AbortController;
let kubelet: Kubelet;
let allocatable: Record<string, string>;
let devices: Device[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'flotilla-kubelet-'));
  allocatable = {};
  devices = [];
  api = new FakeApi();
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  runtime.addImage('web:1');
});
afterEach(() => {
  running.abort();
  rmSync(directory, { recursive: true, force: true });
});

/** Resolves when the first pods are known. */
function start(): Promise<void> {
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
    images: { peers: undefined, origins: { note: async () => {} } },
    node: {
      ips: () => ['192.168.1.5'],
      allocatable: () => allocatable,
      memoryBytes: () => 1e9,
      dns: async () => ({ servers: ['192.168.1.1'], searches: ['lan'], options: [] }),
      seccompProfile: async () => '{}',
      devices: () => devices,
      maxPods: 4,
      hasAppArmor: () => false,
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

function podOf(spec: Partial<PodSpec> = {}, name = 'p'): Pod {
  const containers = [{ name: 'web', image: 'web:1' }];
  const metadata = { name, namespace: 'ns', uid: `uid-${name}` };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, ...spec } };
}

/**
 * Lets everything that can happen without time passing happen: files are written meanwhile, which may
 * take any number of turns.
 */
async function until(what: string, isSo: () => boolean): Promise<void> {
  const { signal } = running;
  let isOver = false;
  onTestFailed(() => {
    if (!isOver) process.stderr.write(`waited for: ${what}; calls: ${runtime.calls.join(', ')}\n`);
  });
  while (!isSo() && !signal.aborted) await new Promise((resolve) => setImmediate(resolve));
  isOver = true;
}

/** As the node lifecycle controller does. */
function markNotReady(): Pod {
  const pod = api.pods.get('p') ?? podOf();
  const conditions = (pod.status?.conditions ?? []).map((condition) =>
    condition.type === 'Ready' ? { ...condition, status: 'False' } : condition,
  );
  return api.put({ ...pod, status: { ...pod.status, conditions } });
}

/** Nothing more comes of what happened so far. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const statusOf = (name = 'p') => api.pods.get(name)?.status;
const isReady = (name = 'p') =>
  statusOf(name)?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
const web = () => statusOf()?.containerStatuses?.[0];

async function runningPod(spec: Partial<PodSpec> = {}): Promise<string> {
  await start();
  api.put(podOf(spec));
  await until('ready', () => isReady());
  return runtime.running('uid-p', 'web')?.id ?? '';
}

describe('a pod', () => {
  it('gets a sandbox and its containers, and is Running', async () => {
    await runningPod();
    expect(runtime.calls).toEqual(['run sandbox p', 'create web', 'start web']);
    expect(statusOf()).toMatchObject({ phase: 'Running', hostIP: '192.168.1.5' });
    expect(events).toEqual([
      'Pulled: Container image "web:1" already present on machine',
      'Created: Created container: web',
      'Started: Started container web',
    ]);
  });

  it('whose container dies gets a new one at once, the second time after 10 s', async () => {
    const first = await runningPod();
    runtime.exitContainer(first, 137);
    await until(
      'restarted',
      () => web()?.restartCount === 1 && web()?.state?.running !== undefined,
    );
    expect(web()?.lastState?.terminated).toMatchObject({ exitCode: 137, reason: 'Error' });
    clock.advance(1000);
    runtime.exitContainer(runtime.running('uid-p', 'web')?.id ?? '', 1);
    await until('back-off', () => web()?.state?.waiting?.reason === 'CrashLoopBackOff');
    expect(web()?.state?.waiting?.message).toBe(
      'back-off 10s restarting failed container=web pod=p_ns(uid-p)',
    );
    clock.advance(9_999);
    expect(runtime.running('uid-p', 'web')).toBeUndefined();
    clock.advance(1);
    await until('restarted', () => web()?.restartCount === 2 && isReady());
  });

  it('keeps only the last dead container of each', async () => {
    await runningPod();
    for (let round = 1; round <= 3; round++) {
      runtime.exitContainer(runtime.running('uid-p', 'web')?.id ?? '', 1);
      await until(
        'ended',
        () => runtime.running('uid-p', 'web') === undefined || web()?.restartCount === round,
      );
      clock.advance(300_000);
      await until('again', () => web()?.restartCount === round && isReady());
    }
    const observed = await runtime.getPod({ uid: 'uid-p', name: 'p', namespace: 'ns' });
    expect(observed.containers.map(({ attempt }) => attempt)).toEqual([3, 2]);
  });

  it('that is deleted stops with its grace period, leaves nothing, and leaves the API last', async () => {
    await runningPod();
    const pod = api.pods.get('p') ?? podOf();
    const metadata = { ...pod.metadata, deletionTimestamp: 'now', deletionGracePeriodSeconds: 7 };
    api.put({ ...pod, metadata });
    await until('gone', () => !api.pods.has('p'));
    expect(runtime.calls.slice(3)).toEqual([
      'stop web 7',
      'exit web 143',
      'stop sandbox p',
      'remove web',
      'remove sandbox p',
    ]);
    expect(events.at(-1)).toBe('Killing: Stopping container web');
    expect([kubelet.pods(), readdirSync(directory)]).toEqual([[], []]);
  });

  it('that ignores SIGTERM ends when its deletion is asked for again with less patience', async () => {
    runtime.stubborn.add('web');
    await runningPod();
    const pod = api.pods.get('p') ?? podOf();
    const deleted = (seconds: number) => ({
      ...pod,
      metadata: { ...pod.metadata, deletionTimestamp: 'now', deletionGracePeriodSeconds: seconds },
    });
    api.put(deleted(600));
    await until('asked to stop', () => runtime.calls.includes('stop web 600'));
    api.put(deleted(1));
    await until('asked again', () => runtime.calls.includes('stop web 1'));
    clock.advance(1000);
    await until('gone', () => !api.pods.has('p'));
  });

  it('that is deleted by force stops at once, however long its grace period is', async () => {
    runtime.stubborn.add('web');
    await runningPod({ terminationGracePeriodSeconds: 600 });
    api.remove('p');
    await until('asked to stop', () => runtime.calls.includes('stop web 1'));
    clock.advance(1000);
    await until('nothing left', () => runtime.calls.includes('remove sandbox p'));
  });

  it('that is deleted by force while it stops is given no more time', async () => {
    runtime.stubborn.add('web');
    await runningPod();
    const pod = api.pods.get('p') ?? podOf();
    const metadata = { ...pod.metadata, deletionTimestamp: 'now', deletionGracePeriodSeconds: 600 };
    api.put({ ...pod, metadata });
    await until('asked to stop', () => runtime.calls.includes('stop web 600'));
    api.remove('p');
    await until('asked again', () => runtime.calls.includes('stop web 1'));
    clock.advance(1000);
    await until('nothing left', () => runtime.calls.includes('remove sandbox p'));
  });

  it('without an image waits with the reason, and tries again after the back-off', async () => {
    runtime.pullable = new Set();
    await start();
    api.put(podOf({ containers: [{ name: 'web', image: 'no:1' }] }));
    await until('refused', () => web()?.state?.waiting?.reason === 'ImagePullBackOff');
    expect(web()?.state?.waiting?.message).toBe(
      'Back-off pulling image "no:1": ErrImagePull: manifest for no:1 not found: manifest unknown',
    );
    expect(events).toContain('Failed: Error: ErrImagePull');
    runtime.pullable = new Set(['no:1']);
    clock.advance(10_000);
    await until('ready', () => isReady());
    expect(events.filter((text) => text.startsWith('Pulling'))).toHaveLength(2);
    expect(statusOf()?.phase).toBe('Running');
  });

  const low = 'The node was low on resource: memory. ';

  it.each([true, false])('that has to give way fails at once: %s', async (isDisruption) => {
    await start();
    api.put(podOf({ terminationGracePeriodSeconds: 600 }));
    await until('ready', () => isReady());
    kubelet.evict(api.pods.get('p') ?? podOf(), low, isDisruption);
    await until('ended', () => web()?.state?.terminated !== undefined);
    const status = api.pods.get('p')?.status;
    expect(status).toMatchObject({ phase: 'Failed', reason: 'Evicted', message: low });
    const target = status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    expect(target?.reason).toBe(isDisruption ? 'TerminationByKubelet' : undefined);
    await settled();
    expect(runtime.calls).toContain('stop web 1');
    expect(events).toContain(`Evicted: ${low}`);
    expect(runtime.calls.filter((call) => call === 'start web')).toHaveLength(1);
  });

  it('that is ending already is not asked to give way', async () => {
    await start();
    runtime.stubborn.add('web');
    const pod = api.put(podOf({ terminationGracePeriodSeconds: 600 }));
    await until('ready', () => isReady());
    const deletionTimestamp = '2026-11-23T12:00:00Z';
    const shown = api.pods.get('p') ?? pod;
    api.put({ ...shown, metadata: { ...shown.metadata, deletionTimestamp } });
    await until('stopping', () => runtime.calls.includes('stop web 600'));
    kubelet.evict(api.pods.get('p') ?? pod, low, true);
    await settled();
    expect(events.filter((text) => text.startsWith('Evicted'))).toEqual([]);
  });

  it('that has to give way while its image is fetched never starts', async () => {
    runtime.onPull = () => new Promise(() => {});
    await start();
    api.put(podOf({ containers: [{ name: 'web', image: 'big:1' }] }));
    await until('pulls', () => runtime.calls.includes('pull big:1'));
    kubelet.evict(api.pods.get('p') ?? podOf(), low, true);
    await until('failed', () => api.pods.get('p')?.status?.reason === 'Evicted');
    await settled();
    expect(runtime.calls).not.toContain('start web');
  });

  it('tells how far its image is, at most once a second, and only what is new', async () => {
    const pull = Promise.withResolvers<void>();
    let tell: (progress: PullProgress) => void = () => {};
    runtime.onPull = (_name, onProgress) => {
      tell = onProgress;
      return pull.promise;
    };
    await start();
    api.put(podOf({ containers: [{ name: 'web', image: 'big:1' }] }));
    await until('pulls', () => runtime.calls.includes('pull big:1'));
    const told: string[] = [];
    const removeHandler = api.informer.addHandler({
      onUpdate: () => void told.push(web()?.state?.waiting?.message ?? ''),
    });
    const progress = async (atMs: number, doneBytes: number, totalBytes?: number) => {
      clock.advance(atMs);
      tell({ step: 'downloading', doneBytes, totalBytes });
      await settled();
    };
    await progress(999, 1_000_000);
    await progress(1, 2_000_000);
    await progress(500, 3_000_000, 180_000_000);
    await progress(500, 62_000_000, 180_000_000);
    await progress(1000, 62_400_000, 180_000_000);
    expect(told).toEqual(['Pulling image "big:1": 2.0 MB', 'Pulling image "big:1": 62 of 180 MB']);
    expect(web()?.state?.waiting?.reason).toBe('ContainerCreating');
    removeHandler();
    pull.resolve();
    await until('ready', () => isReady());
    expect(web()?.state?.waiting).toBeUndefined();
  });

  it('waits for an image that another already fetches, and both tell half as often', async () => {
    const pull = Promise.withResolvers<void>();
    let tell: (progress: PullProgress) => void = () => {};
    runtime.onPull = (_name, onProgress) => {
      tell = onProgress;
      return pull.promise;
    };
    await start();
    const containers = [{ name: 'web', image: 'big:1' }];
    for (const name of ['p', 'q']) api.put(podOf({ containers }, name));
    await until('both ask', () => events.filter((text) => text.startsWith('Pulling')).length === 2);
    const messages = () =>
      ['p', 'q'].map((name) => {
        const [status] = api.pods.get(name)?.status?.containerStatuses ?? [];
        return status?.state?.waiting?.message;
      });
    const progress = async (atMs: number) => {
      clock.advance(atMs);
      tell({ step: 'unpacking', doneBytes: 1_000_000, totalBytes: 4_000_000 });
      await settled();
    };
    await progress(1_999);
    expect(messages()).toEqual([undefined, undefined]);
    await progress(1);
    const message = 'Unpacking image "big:1": 1.0 of 4.0 MB';
    expect(messages()).toEqual([message, message]);
    expect(runtime.calls.filter((call) => call.startsWith('pull'))).toHaveLength(1);
    pull.resolve();
    await until(
      'both run',
      () => runtime.calls.filter((call) => call === 'start web').length === 2,
    );
  });

  it('that names a missing ConfigMap waits with CreateContainerConfigError', async () => {
    await start();
    const envFrom = [{ configMapRef: { name: 'no' } }];
    api.put(podOf({ containers: [{ name: 'web', image: 'web:1', envFrom }] }));
    await until('waits', () => web()?.state?.waiting?.reason === 'CreateContainerConfigError');
    expect(web()?.state?.waiting?.message).toBe('configmap "no" not found');
  });

  it('whose program is missing shows the engine’s reason and backs off', async () => {
    runtime.unstartable.set('web', 'exec: "nosuch": not found');
    await start();
    api.put(podOf());
    await until('backs off', () => web()?.state?.waiting?.reason === 'CrashLoopBackOff');
    expect(web()?.lastState?.terminated).toMatchObject({
      reason: 'StartError',
      message: 'exec: "nosuch": not found',
      exitCode: 127,
    });
  });

  it('that is never restarted is Succeeded, and its sandbox stops', async () => {
    const id = await runningPod({ restartPolicy: 'Never' });
    runtime.exitContainer(id, 0);
    await until(
      'done',
      () => statusOf()?.phase === 'Succeeded' && runtime.calls.includes('stop sandbox p'),
    );
    expect(runtime.calls.at(-1)).toBe('stop sandbox p');
  });

  it('whose status somebody else wrote over says again how it is', async () => {
    await runningPod();
    markNotReady();
    expect(isReady()).toBe(false);
    await until('ready again', () => isReady());
  });

  it('whose engine is away leaves its status to others, and speaks again afterwards', async () => {
    await runningPod();
    runtime.setDown(true);
    const { resourceVersion } = markNotReady().metadata;
    await settled();
    expect(api.pods.get('p')?.metadata.resourceVersion).toBe(resourceVersion);
    runtime.setDown(false);
    clock.advance(5_000);
    await until('ready again', () => isReady());
  });

  it('past its deadline fails', async () => {
    await runningPod({ activeDeadlineSeconds: 60 });
    clock.advance(60_000);
    await until('failed', () => statusOf()?.phase === 'Failed');
    expect(statusOf()?.reason).toBe('DeadlineExceeded');
    await until('stopped', () => runtime.calls.includes('stop sandbox p'));
  });
});

describe('probes', () => {
  it('of readiness decide when the pod is Ready', async () => {
    let exitCode = 1;
    runtime.onExec = async () => ({ exitCode, output: 'not yet' });
    await start();
    const readinessProbe = { exec: { command: ['check'] }, periodSeconds: 5 };
    api.put(podOf({ containers: [{ name: 'web', image: 'web:1', readinessProbe }] }));
    await until('runs', () => web()?.state?.running !== undefined);
    for (let round = 0; round < 3; round++) {
      clock.advance(5000);
      await until(
        'told',
        () => events.filter((text) => text.startsWith('Unhealthy')).length > round,
      );
    }
    expect([isReady(), events.at(-1)]).toEqual([
      false,
      'Unhealthy: Readiness probe failed: not yet',
    ]);
    exitCode = 0;
    clock.advance(5000);
    await until('ready', () => isReady());
  });

  it('of liveness restart a container that fails three times', async () => {
    let exitCode = 0;
    runtime.onExec = async () => ({ exitCode, output: '' });
    const livenessProbe = { exec: { command: ['check'] }, periodSeconds: 5 };
    await runningPod({ containers: [{ name: 'web', image: 'web:1', livenessProbe }] });
    exitCode = 1;
    for (let round = 0; round < 3; round++) {
      clock.advance(5000);
      await until(
        'told',
        () => events.filter((text) => text.startsWith('Unhealthy')).length > round,
      );
    }
    await until(
      'restarted',
      () => web()?.restartCount === 1 && web()?.state?.running !== undefined,
    );
    expect(events).toContain('Killing: Container web failed liveness probe, will be restarted');
  });
});

describe('a pod that is resized', () => {
  const withCpu = (cpu: string, more = {}) => ({
    containers: [{ name: 'web', image: 'web:1', resources: { requests: { cpu } }, ...more }],
  });
  function resize(cpu: string, name = 'p'): void {
    const pod = api.pods.get(name) ?? podOf();
    const generation = (pod.metadata.generation ?? 1) + 1;
    api.put({ ...pod, metadata: { ...pod.metadata, generation }, spec: withCpu(cpu) });
  }
  const condition = (type: string) =>
    statusOf()?.conditions?.find((entry) => entry.type === type)?.reason;
  const shares = () => runtime.running('uid-p', 'web')?.limits?.cpuShares;

  it('gets it without a restart, and says so', async () => {
    await runningPod(withCpu('500m'));
    expect(web()).toMatchObject({
      allocatedResources: { cpu: '500m' },
      resources: { requests: { cpu: '500m' } },
    });
    resize('1');
    await until('resized', () => web()?.resources?.requests?.['cpu'] === '1');
    expect([shares(), web()?.restartCount]).toEqual([1024, 0]);
    expect(events).toContain('ResizeCompleted: Container web has what it was resized to');
  });

  it('waits for room, and has what it had meanwhile', async () => {
    allocatable = { cpu: '2' };
    await runningPod(withCpu('1'));
    api.put({ ...podOf(withCpu('1'), 'other') });
    await until('other', () => isReady('other'));
    resize('5');
    await until('infeasible', () => condition('PodResizePending') === 'Infeasible');
    resize('2');
    await until('deferred', () => condition('PodResizePending') === 'Deferred');
    expect([shares(), web()?.allocatedResources]).toEqual([1024, { cpu: '1' }]);
    resize('500m', 'other');
    resize('1500m');
    await until('resized', () => web()?.allocatedResources?.['cpu'] === '1500m');
    expect([shares(), condition('PodResizePending')]).toEqual([1536, undefined]);
    resize('2');
    await until('deferred again', () => condition('PodResizePending') === 'Deferred');
    api.remove('other');
    await until('resized', () => web()?.allocatedResources?.['cpu'] === '2');
  });

  it('whose engine refuses says so, and tries again', async () => {
    await runningPod(withCpu('1'));
    runtime.unresizable.set('web', 'memory is in use');
    resize('2');
    await until('told', () => condition('PodResizeInProgress') === 'Error');
    expect(web()).toMatchObject({
      allocatedResources: { cpu: '2' },
      resources: { requests: { cpu: '1' } },
    });
    runtime.unresizable.clear();
    clock.advance(30_000);
    await until('resized', () => web()?.resources?.requests?.['cpu'] === '2');
    expect(condition('PodResizeInProgress')).toBeUndefined();
  });
});

describe('an agent that restarts', () => {
  it('adopts what runs: no restart, no duplicate', async () => {
    const id = await runningPod();
    const calls = runtime.calls.length;
    running.abort();
    await start();
    await until('known', () => kubelet.pods().length === 1);
    runtime.exitContainer(id, 1);
    await until('looks after it', () => web()?.restartCount === 1 && isReady());
    expect(runtime.calls.slice(calls)).toEqual(['exit web 1', 'create web', 'start web']);
  });

  it('ends what was deleted meanwhile, with the grace period of its labels', async () => {
    await runningPod({ terminationGracePeriodSeconds: 9 });
    running.abort();
    api.remove('p');
    await start();
    await until('gone', () => runtime.calls.includes('remove sandbox p'));
    expect(runtime.calls).toContain('stop web 9');
    await until('no directory', () => readdirSync(directory).length === 0);
  });
});

it('an engine that comes back finds its pods looked after', async () => {
  await runningPod();
  runtime.setDown(true);
  await until('noticed', () => kubelet.engineState.kind === 'down');
  runtime.setDown(false);
  runtime.exitContainer(runtime.running('uid-p', 'web')?.id ?? '', 137);
  for (let round = 0; round < 5; round++) {
    clock.advance(5000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until('restarted', () => web()?.restartCount === 1 && isReady());
});

describe('a machine that goes down', () => {
  it('ends ordinary pods first, each within the time there is, and fails none', async () => {
    await start();
    api.put(podOf({ terminationGracePeriodSeconds: 60 }));
    api.put(podOf({ priority: 2_000_001_000, terminationGracePeriodSeconds: 1 }, 'critical'));
    await until('ready', () => isReady() && isReady('critical'));
    const before = runtime.calls.length;
    await kubelet.shutDown({ ordinarySeconds: 20, criticalSeconds: 10 });
    await settled();
    expect(runtime.calls.slice(before)).toEqual([
      'stop web 20',
      'exit web 143',
      'stop sandbox p',
      'stop web 1',
      'exit web 143',
      'stop sandbox critical',
    ]);
    expect(statusOf()?.phase).toBe('Running');
    running.abort();
    await start();
    await until('again', () => runtime.running('uid-p', 'web') !== undefined);
  });
});

describe('a device of the machine', () => {
  const resource = 'devices.flotilla.dev/serial-stick';
  const stick: Device = {
    resource,
    label: 'Zigbee stick',
    path: '/dev/serial/by-id/stick',
    count: 1,
    paths: ['/dev/serial/by-id/stick', '/dev/ttyUSB0'],
    groups: [20],
  };
  const spec = {
    containers: [{ name: 'web', image: 'web:1', resources: { requests: { [resource]: '1' } } }],
  };

  it('goes to the one pod that asks for it; a second is rejected', async () => {
    devices = [stick];
    expect(runtime.configOf(await runningPod(spec))).toMatchObject({
      devices: stick.paths.map((path) => ({ hostPath: path, containerPath: path })),
      security: { supplementalGroups: [20] },
    });
    api.put(podOf(spec, 'q'));
    await until('rejected', () => statusOf('q')?.phase === 'Failed');
    expect(statusOf('q')).toMatchObject({
      reason: 'UnexpectedAdmissionError',
      message: expect.stringContaining('Zigbee stick is in use by another pod'),
    });
    expect(events.at(-1)).toMatch(/^UnexpectedAdmissionError: Allocate failed due to/);
    expect(runtime.calls).not.toContain('run sandbox q');
  });

  it('that is unplugged is told to the pod, and waited for when its container ends', async () => {
    devices = [stick];
    const id = await runningPod(spec);
    devices = [];
    kubelet.devicesChanged({ gone: [stick], come: [] });
    expect(events.at(-1)).toBe(
      `DeviceUnplugged: Zigbee stick (${resource}) is no longer plugged in to this machine; container web can't use it until it is back`,
    );
    runtime.exitContainer(id, 1);
    await until('waits', () => web()?.state?.waiting?.reason === 'CreateContainerConfigError');
    expect(web()?.state?.waiting?.message).toContain('is not plugged in');
    clock.advance(300_000);
    await settled();
    devices = [stick];
    kubelet.devicesChanged({ gone: [], come: [stick] });
    await until('again', () => isReady() && web()?.restartCount === 1);
  });
});

describe('admission', () => {
  it('counts what was taken before the agent was started anew first', async () => {
    allocatable = { cpu: '1' };
    const spec = {
      containers: [{ name: 'web', image: 'web:1', resources: { requests: { cpu: '1' } } }],
    };
    await runningPod(spec);
    running.abort();
    // Nothing is known of which came first but what the API shows.
    const taken = api.pods.get('p') ?? podOf(spec);
    api.pods.clear();
    api.put(podOf(spec, 'q'));
    api.put(taken);
    await start();
    await until('rejected', () => statusOf('q')?.reason === 'OutOfcpu');
    expect(isReady()).toBe(true);
  });
});

describe('without an API server', () => {
  const probed = {
    containers: [
      {
        name: 'web',
        image: 'web:1',
        livenessProbe: { exec: { command: ['ok'] }, failureThreshold: 1 },
      },
    ],
    volumes: [{ name: 'settings', configMap: { name: 'gone', optional: true } }],
  };

  it('a pod’s containers are restarted, though what they refer to can’t be asked for', async () => {
    await runningPod({ volumes: [{ name: 'settings', configMap: { name: 'c', optional: true } }] });
    api.setAway(true);
    runtime.exitContainer(runtime.running('uid-p', 'web')?.id ?? '', 1);
    await until('again', () => runtime.running('uid-p', 'web')?.attempt === 1);
    expect(runtime.calls).toContain('recreate web');
    api.setAway(false);
    clock.advance(10_000);
    await until('told', () => web()?.restartCount === 1 && isReady());
  });

  it('an agent that starts anew goes on with what runs: it restarts and probes', async () => {
    const id = await runningPod(probed);
    running.abort();
    api.setAway(true);
    const started = start();
    await until('up', () => kubelet.engineState.kind === 'running');
    await settled();
    expect(kubelet.pods()).toEqual([]);
    clock.advance(5_000);
    await until('adopted', () => kubelet.pods().length === 1);
    runtime.exitContainer(id, 1);
    await until('again', () => runtime.running('uid-p', 'web')?.attempt === 1);
    runtime.onExec = async () => ({ exitCode: 1, output: 'ill' });
    await until('probed', () => {
      clock.advance(1_000);
      return (runtime.running('uid-p', 'web')?.attempt ?? 0) >= 2;
    });
    expect(runtime.calls.filter((call) => call.includes('sandbox'))).toEqual(['run sandbox p']);
    const before = statusOf()?.startTime;
    api.setAway(false);
    await started;
    await until('told', () => (web()?.restartCount ?? 0) >= 2);
    expect(statusOf()?.startTime).toBe(before);
  });

  it('a pod that was deleted meanwhile ends with its grace period when the API is back', async () => {
    await runningPod({ terminationGracePeriodSeconds: 7 });
    running.abort();
    api.setAway(true);
    const started = start();
    await until('up', () => kubelet.engineState.kind === 'running');
    clock.advance(5_000);
    await until('adopted', () => kubelet.pods().length === 1);
    api.remove('p');
    api.setAway(false);
    await started;
    await until('gone', () => runtime.calls.includes('remove sandbox p'));
    expect(runtime.calls).toContain('stop web 7');
  });
});

describe('a static pod', () => {
  const manifest = (image: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'dns', namespace: 'ns' },
    spec: { containers: [{ name: 'web', image }], terminationGracePeriodSeconds: 9 },
  });
  const pod = staticPod(manifest('web:1'), 'dns.yaml', 'pi');
  const { uid = '' } = pod.metadata;

  it('runs without an API server, and is shown when there is one', async () => {
    api.setAway(true);
    const started = start();
    kubelet.setStaticPods([pod]);
    await until('runs', () => runtime.running(uid, 'web') !== undefined);
    api.setAway(false);
    await started;
    await until('shown', () => isReady('dns-pi'));
    expect(api.pods.get('dns-pi')?.metadata).toMatchObject({
      annotations: {
        'kubernetes.io/config.source': 'file',
        'kubernetes.io/config.hash': uid,
        'kubernetes.io/config.mirror': uid,
      },
      ownerReferences: [{ kind: 'Node', name: 'pi', uid: 'uid-node', controller: true }],
    });
    expect(api.pods.get('dns-pi')?.metadata.uid).not.toBe(uid);
    expect(runtime.calls).toEqual(['run sandbox dns-pi', 'create web', 'start web']);
  });

  it('goes on when its mirror is removed, which comes back', async () => {
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    api.remove('dns-pi');
    await until('shown again', () => isReady('dns-pi'));
    expect(runtime.calls).toHaveLength(3);
  });

  it('that changes is another; that is removed ends with its grace, and so does its mirror', async () => {
    runtime.addImage('web:2');
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    const other = staticPod(manifest('web:2'), 'dns.yaml', 'pi');
    kubelet.setStaticPods([other]);
    await until('the other', () => {
      const mirror = api.pods.get('dns-pi');
      const shown = mirror?.metadata.annotations?.['kubernetes.io/config.mirror'];
      return shown === other.metadata.uid && isReady('dns-pi');
    });
    expect(runtime.calls).toContain('stop web 9');
    kubelet.setStaticPods([]);
    await until('gone', () => kubelet.pods().length === 0 && api.pods.size === 0);
    expect((await runtime.listPods()).length).toBe(0);
  });

  it('whose manifest went while the agent was away ends', async () => {
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    running.abort();
    await start();
    await until(
      'gone',
      () => api.pods.size === 0 && runtime.calls.includes('remove sandbox dns-pi'),
    );
  });
});
