// Whole lives again: of pods on a machine that goes down, is unplugged from, or can't reach an API server.
import { describe, expect, it } from 'vitest';
import type { Device } from './devices/devices.ts';
import { staticPod } from './static/static-pod.ts';
import {
  api,
  clock,
  events,
  isReady,
  kubelet,
  machine,
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

it('starts nothing that comes while the machine goes down', async () => {
  await runningPod({ terminationGracePeriodSeconds: 60 });
  runtime.stubborn.add('web');
  const end = kubelet.shutDown({ ordinarySeconds: 1, criticalSeconds: 1 });
  api.put(podOf({}, 'late'));
  await settled();
  clock.advance(1_000);
  await end;
  await settled();
  expect(runtime.calls).not.toContain('run sandbox late');
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
    machine.devices = [stick];
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
    machine.devices = [stick];
    const id = await runningPod(spec);
    machine.devices = [];
    kubelet.devicesChanged({ gone: [stick], come: [] });
    expect(events.at(-1)).toBe(
      `DeviceUnplugged: Zigbee stick (${resource}) is no longer plugged in to this machine; container web can't use it until it is back`,
    );
    runtime.exitContainer(id, 1);
    await until('waits', () => web()?.state?.waiting?.reason === 'CreateContainerConfigError');
    expect(web()?.state?.waiting?.message).toContain('is not plugged in');
    clock.advance(300_000);
    await settled();
    machine.devices = [stick];
    kubelet.devicesChanged({ gone: [], come: [stick] });
    await until('again', () => isReady() && web()?.restartCount === 1);
  });
});

describe('admission', () => {
  it('counts what was taken before the agent was started anew first', async () => {
    machine.allocatable = { cpu: '1' };
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
    // kubectl would show the state of a container first.
    expect(statusOf('q')).not.toHaveProperty('containerStatuses');
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

  it('an agent that starts anew leaves a container alone whose image was changed in place', async () => {
    runtime.addImage('web:2');
    await runningPod();
    const { metadata, ...rest } = api.pods.get('p') ?? podOf();
    const { spec } = podOf({ containers: [{ name: 'web', image: 'web:2' }] });
    api.put({ ...rest, metadata: { ...metadata, generation: 2 }, spec });
    await until('changed', () => web()?.restartCount === 1 && isReady());
    running.abort();
    api.setAway(true);
    void start();
    await until('up', () => kubelet.engineState.kind === 'running');
    await settled();
    const before = runtime.calls.length;
    clock.advance(5_000);
    await until('adopted', () => kubelet.pods().length === 1);
    await settled();
    expect(runtime.calls.slice(before)).toEqual([]);
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
    const started = start();
    kubelet.setStaticPods([]);
    await started;
    await until(
      'gone',
      () => api.pods.size === 0 && runtime.calls.includes('remove sandbox dns-pi'),
    );
  });

  it('whose manifest comes back while it ends starts again', async () => {
    runtime.stubborn.add('web');
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    kubelet.setStaticPods([]);
    await until('ending', () => runtime.calls.includes('stop web 9'));
    kubelet.setStaticPods([pod]);
    await settled();
    clock.advance(9_000);
    await until('again', () => runtime.calls.filter((call) => call === 'start web').length === 2);
    await until('shown again', () => isReady('dns-pi'));
  });

  it('that changes starts when the one before has ended, with or without an API server', async () => {
    const changed = staticPod(manifest('web:2'), 'dns.yaml', 'pi');
    runtime.addImage('web:2');
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    api.setAway(true);
    kubelet.setStaticPods([changed]);
    await until(
      'the other',
      () => runtime.running(changed.metadata.uid ?? '', 'web') !== undefined,
    );
    expect(runtime.calls.slice(3)).toEqual([
      'stop web 9',
      'exit web 143',
      'stop sandbox dns-pi',
      'remove web',
      'remove sandbox dns-pi',
      'run sandbox dns-pi',
      'create web',
      'start web',
    ]);
  });

  it('that changed while the agent was away ends, though no API server answers', async () => {
    runtime.addImage('web:2');
    await start();
    kubelet.setStaticPods([pod]);
    await until('shown', () => isReady('dns-pi'));
    running.abort();
    api.setAway(true);
    void start();
    kubelet.setStaticPods([staticPod(manifest('web:2'), 'dns.yaml', 'pi')]);
    await until('up', () => kubelet.engineState.kind === 'running');
    await settled();
    clock.advance(5_000);
    await until('ended', () => runtime.running(uid, 'web') === undefined);
    expect(runtime.calls).toContain('stop web 9');
    await until('one is left', () => kubelet.pods().length === 1);
  });

  it.each([true, false])(
    'goes on while its folder can’t be read, and ends when it is known to be gone: alone %s',
    async (isAlone) => {
      await start();
      kubelet.setStaticPods([pod]);
      await until('shown', () => isReady('dns-pi'));
      running.abort();
      api.setAway(isAlone);
      const started = start();
      await until('up', () => kubelet.engineState.kind === 'running');
      await settled();
      clock.advance(5_000);
      api.setAway(false);
      await started;
      await until('adopted', () => kubelet.pods().length === 1);
      await settled();
      expect([runtime.running(uid, 'web')?.attempt, api.pods.size]).toEqual([0, 1]);
      kubelet.setStaticPods([pod]);
      runtime.exitContainer(runtime.running(uid, 'web')?.id ?? '', 1);
      await until('told', () => statusOf('dns-pi')?.containerStatuses?.[0]?.restartCount === 1);
      kubelet.setStaticPods([]);
      await until('gone', () => api.pods.size === 0 && kubelet.pods().length === 0);
    },
  );
});
