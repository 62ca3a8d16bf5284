import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { containerConfig, sandboxConfig } from '../../test/conformance/runtime.ts';
import { FakeRuntime } from '../runtime/fake-runtime.ts';
import { EngineWatch } from './engine-watch.ts';

const pod = { uid: 'u', name: 'p', namespace: 'ns' };

let clock: ManualClock;
let runtime: FakeRuntime;
let seen: string[];
let stopping: AbortController;
let ended: Promise<void>;
let container: string;

/** Everything that can happen without time passing has happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** What was seen since the last call. */
async function news(): Promise<string[]> {
  await settled();
  return seen.splice(0);
}

beforeEach(async () => {
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  runtime.addImage('web:1');
  const sandbox = await runtime.runSandbox(sandboxConfig(pod));
  container = await runtime.createContainer(containerConfig(pod, sandbox, { image: 'web:1' }));
  await runtime.startContainer(container);
  seen = [];
  stopping = new AbortController();
  const watch = new EngineWatch({
    runtime,
    clock,
    logger: silentLogger,
    onState: (state) => void seen.push(state.kind),
    onPod: (uid) => void seen.push(`pod ${uid}`),
    onRelist: (pods) => {
      const states = pods.flatMap(({ containers }) => containers.map(({ state }) => state));
      seen.push(`list ${states.join()}`);
    },
  });
  ended = watch.run(stopping.signal);
});

afterEach(() => stopping.abort());

describe('the engine is followed', () => {
  it('by a list, then by its events, then by a list each minute', async () => {
    expect(await news()).toEqual(['list running', 'running']);
    runtime.exitContainer(container, 1);
    expect(await news()).toEqual(['pod u']);
    clock.advance(59_999);
    expect(await news()).toEqual([]);
    clock.advance(1);
    expect(await news()).toEqual(['list exited']);
    clock.advance(60_000);
    expect(await news()).toEqual(['list exited']);
  });

  it('finds by a new list what happened while it was not connected', async () => {
    await news();
    runtime.setDown(true);
    expect(await news()).toEqual(['down']);
    runtime.setDown(false);
    // Its event finds nobody.
    runtime.exitContainer(container, 1);
    expect(await news()).toEqual([]);
    clock.advance(250);
    expect(await news()).toEqual(['list exited', 'running']);
    await runtime.startContainer(container);
    expect(await news()).toEqual(['pod u']);
  });

  it('with more patience each time it is not there, at most 5 s, and anew after a success', async () => {
    await news();
    runtime.setDown(true);
    await news();
    let asked = 0;
    const version = runtime.version.bind(runtime);
    runtime.version = () => {
      asked++;
      return version();
    };
    for (const ms of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
      asked = 0;
      clock.advance(ms - 1);
      await settled();
      expect([ms, asked]).toEqual([ms, 0]);
      clock.advance(1);
      await settled();
      expect([ms, asked]).toEqual([ms, 1]);
    }
    runtime.setDown(false);
    clock.advance(5000);
    expect(await news()).toEqual(['list running', 'running']);
    runtime.setDown(true);
    expect(await news()).toEqual(['down']);
    runtime.setDown(false);
    clock.advance(250);
    expect(await news()).toEqual(['list running', 'running']);
  });

  it('by the list of one connection only: none goes on after it was lost', async () => {
    await news();
    for (let round = 0; round < 3; round++) {
      runtime.setDown(true);
      await settled();
      runtime.setDown(false);
      clock.advance(250);
      await settled();
    }
    await news();
    clock.advance(60_000);
    expect(await news()).toEqual(['list running']);
  });

  it('until it is told to stop', async () => {
    await news();
    stopping.abort();
    await ended;
    runtime.exitContainer(container, 1);
    clock.advance(600_000);
    expect(await news()).toEqual([]);
  });
});
