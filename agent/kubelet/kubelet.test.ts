// Whole pod lives against the fake engine and an API server of a few lines.
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PodSpec } from '#kube/api/core.ts';
import type { PullProgress } from '../runtime/runtime.ts';
import {
  api,
  clock,
  directory,
  events,
  isReady,
  kubelet,
  machine,
  markNotReady,
  podOf,
  running,
  runningPod,
  runtime,
  settled,
  start,
  statusOf,
  until,
  useKubelet,
  web,
} from '../../test/setup/kubelet-world.ts';

useKubelet();

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

  it('of a RuntimeClass is made with what that stands for, all of it', async () => {
    const handlers: unknown[] = [];
    const { runSandbox, createContainer } = runtime;
    runtime.runSandbox = (config) => {
      handlers.push(config.runtimeHandler);
      return runSandbox.call(runtime, config);
    };
    runtime.createContainer = (config) => {
      handlers.push(config.runtimeHandler);
      return createContainer.call(runtime, config);
    };
    await runningPod({ runtimeClassName: 'runsc' });
    expect(handlers).toEqual(['runsc', 'runsc']);
  });

  const impossible: [string, Partial<PodSpec>, RegExp][] = [
    [
      'users of its own',
      { hostUsers: false },
      /^FailedCreatePodSandBox: Failed to create pod sandbox: hostUsers: false asks for a user namespace/,
    ],
    [
      'allocated devices',
      { resourceClaims: [{ name: 'gpu', resourceClaimName: 'one' }] },
      /^FailedCreatePodSandBox: Failed to create pod sandbox: resourceClaims ask for/,
    ],
    [
      'a block device',
      {
        containers: [
          { name: 'web', image: 'web:1', volumeDevices: [{ name: 'd', devicePath: '/dev/x' }] },
        ],
      },
      /^Failed: Error: container "web" asks for volume "d" as a block device/,
    ],
  ];
  it.each(impossible)(
    'that asks for %s is told that it can not have them',
    async (_, spec, why) => {
      await start();
      api.put(podOf(spec));
      await until('told', () => events.some((event) => why.test(event)));
      expect(runtime.running('uid-p', 'web')).toBeUndefined();
    },
  );

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

  it('whose volumes can not be written anew is told of it, and gets them when they can', async () => {
    const items = [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }];
    await runningPod({ volumes: [{ name: 'info', downwardAPI: { items } }] });
    const folder = join(directory, 'uid-p/volumes/info');
    const away = `${folder}-away`;
    const shown = () => readFileSync(join(folder, 'labels'), 'utf8');
    // A look at the pod may be under way, and make the folder anew.
    const succeeds = (work: () => void) => (): boolean => {
      try {
        work();
        return true;
      } catch {
        return false;
      }
    };
    renameSync(folder, away);
    await until(
      'a file is in the way',
      succeeds(() => {
        rmSync(folder, { recursive: true, force: true });
        writeFileSync(folder, 'in the way');
      }),
    );
    const pod = api.pods.get('p') ?? podOf();
    api.put({ ...pod, metadata: { ...pod.metadata, labels: { app: 'new' } } });
    const told = () => events.filter((event) => event.startsWith('FailedMount'));
    await until('told', () => told().length > 0);
    expect(told()[0]).toMatch(
      /^FailedMount: MountVolume.SetUp failed for volume "info" : E(EXIST|NOTDIR|NOENT)/,
    );
    expect([isReady(), web()?.restartCount]).toEqual([true, 0]);
    await until(
      'the way is free',
      succeeds(() => {
        rmSync(folder, { recursive: true, force: true });
        renameSync(away, folder);
      }),
    );
    await until('written', () => {
      clock.advance(1_000);
      return shown() === 'app="new"';
    });
    expect(runtime.calls).toEqual(['run sandbox p', 'create web', 'start web']);
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

  it('that must not run as root waits with CreateContainerConfigError, too', async () => {
    await start();
    api.put(podOf({ securityContext: { runAsNonRoot: true } }));
    await until('waits', () => web()?.state?.waiting?.reason === 'CreateContainerConfigError');
    expect(web()?.state?.waiting?.message).toMatch(/^container has runAsNonRoot/);
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
    const told = 'DeadlineExceeded: Pod was active on the node longer than the specified deadline';
    expect(events).toContain(told);
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
    machine.allocatable = { cpu: '2' };
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
