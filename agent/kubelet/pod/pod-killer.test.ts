import { describe, expect, it } from 'vitest';
import type { Pod, PodSpec } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { containerConfig, sandboxConfig } from '../../../test/conformance/runtime.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { Hooks } from '../container/hooks.ts';
import { ProbeRunner, type ProbeTarget } from '../container/probe.ts';
import { PodKiller } from './pod-killer.ts';

const ref = { uid: 'u', name: 'p', namespace: 'ns' };

class RecordingRunner extends ProbeRunner {
  readonly targets: ProbeTarget[] = [];
  hookMs = 0;
  readonly #clock: ManualClock;

  constructor(runtime: FakeRuntime, clock: ManualClock) {
    super(runtime);
    this.#clock = clock;
  }

  override async run(_handler: object, target: ProbeTarget) {
    this.targets.push(target);
    this.#clock.advance(this.hookMs);
    return { isSuccess: true, output: '' };
  }
}

/** A pod that runs its containers, and what ends it. */
async function runningPod(spec: PodSpec, podIp: string) {
  const clock = new ManualClock();
  const runtime = new FakeRuntime(clock);
  runtime.addImage('web:1');
  const { hostNetwork = false, containers, initContainers = [] } = spec;
  const sandbox = await runtime.runSandbox({ ...sandboxConfig(ref), hostNetwork });
  for (const { name } of [...initContainers, ...containers]) {
    const config = containerConfig(ref, sandbox, { name, image: 'web:1' });
    await runtime.startContainer(await runtime.createContainer(config));
  }
  const runner = new RecordingRunner(runtime, clock);
  const events = { event: () => {} };
  const killer = new PodKiller({ runtime, events, hooks: new Hooks({ runner, events, clock }) });
  const pod: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: ref, spec, status: { podIP: podIp } };
  const kill = async (graceSeconds: number) => {
    const before = runtime.calls.length;
    await killer.killPod(pod, await runtime.getPod(ref), graceSeconds);
    return runtime.calls.slice(before).filter((call) => call.startsWith('stop'));
  };
  return { kill, runner };
}

const preStop = { httpGet: { port: 8080 } };
const hooked = { name: 'web', lifecycle: { preStop } };

describe('a preStop hook', () => {
  it('is sent to the address of the pod', async () => {
    const { kill, runner } = await runningPod({ containers: [hooked] }, '10.244.0.1');
    expect(await kill(30)).toEqual(['stop web 30', 'stop sandbox p']);
    expect(runner.targets.map(({ podIp }) => podIp)).toEqual(['10.244.0.1']);
  });

  it("is sent to the node where the pod has the host's network", async () => {
    const spec = { hostNetwork: true, containers: [hooked] };
    const { kill, runner } = await runningPod(spec, '192.168.1.5');
    await kill(30);
    expect(runner.targets.map(({ podIp }) => podIp)).toEqual(['192.168.1.5']);
  });

  it.each([
    { hookMs: 10_000, grace: 30, want: 'stop web 20' },
    { hookMs: 29_900, grace: 30, want: 'stop web 2' },
  ])('of $hookMs ms takes its time from the grace period', async ({ hookMs, grace, want }) => {
    const { kill, runner } = await runningPod({ containers: [hooked] }, '10.244.0.1');
    runner.hookMs = hookMs;
    expect((await kill(grace))[0]).toBe(want);
  });

  it('is left out where there is no grace period', async () => {
    const { kill, runner } = await runningPod({ containers: [hooked] }, '10.244.0.1');
    expect(await kill(0)).toEqual(['stop web 0', 'stop sandbox p']);
    expect(runner.targets).toEqual([]);
  });
});

describe('the order of the end', () => {
  it('is: containers, then sidecars with the last one first, then the sandbox', async () => {
    const sidecar = (name: string) => ({ name, restartPolicy: 'Always' });
    const spec = { containers: [{ name: 'web' }], initContainers: [sidecar('a'), sidecar('b')] };
    const { kill } = await runningPod(spec, '10.244.0.1');
    expect(await kill(5)).toEqual(['stop web 5', 'stop b 5', 'stop a 5', 'stop sandbox p']);
  });
});
