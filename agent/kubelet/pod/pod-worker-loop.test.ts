import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { settle } from '#kube/client/testing/scripted-transport.ts';
import { PodWorkerLoop } from './pod-worker-loop.ts';

let clock: ManualClock;
let steps: PromiseWithResolvers<number | undefined>[];
let afterError: 'again' | 'backOff' | 'wait';
let loop: PodWorkerLoop;

beforeEach(() => {
  clock = new ManualClock();
  steps = [];
  afterError = 'backOff';
  loop = new PodWorkerLoop({
    clock,
    step() {
      const step = Promise.withResolvers<number | undefined>();
      steps.push(step);
      return step.promise;
    },
    onError: () => afterError,
  });
});

async function end(afterMs?: number): Promise<void> {
  steps.at(-1)?.resolve(afterMs);
  await settle();
}

async function fail(): Promise<void> {
  steps.at(-1)?.reject(new Error('no'));
  await settle();
}

async function advance(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}

describe('a pod’s steps', () => {
  it('come one after another, however often it is woken', async () => {
    for (let i = 0; i < 3; i++) loop.wake();
    expect(steps).toHaveLength(1);
    await end();
    expect(steps).toHaveLength(2);
    await end();
    expect(steps).toHaveLength(2);
  });

  it('are taken again when one says so, or earlier when something happens', async () => {
    loop.wake();
    await end(0);
    expect(steps).toHaveLength(2);
    await end(1_000);
    await advance(999);
    expect(steps).toHaveLength(2);
    loop.wake();
    await end();
    await advance(1);
    expect(steps).toHaveLength(3);
  });

  it('are tried again later and later after errors, and soon after one that went well', async () => {
    loop.wake();
    for (const waitMs of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      const before = steps.length;
      await fail();
      await advance(waitMs - 1);
      expect(steps).toHaveLength(before);
      await advance(1);
      expect(steps).toHaveLength(before + 1);
    }
    await end(0);
    await fail();
    await advance(500);
    expect(steps).toHaveLength(10);
  });

  it('wait after an error that somebody will end, or are taken at once', async () => {
    loop.wake();
    afterError = 'wait';
    await fail();
    await advance(60_000);
    expect(steps).toHaveLength(1);
    loop.wake();
    afterError = 'again';
    await fail();
    expect(steps).toHaveLength(3);
  });

  it('end when it is stopped', async () => {
    loop.wake();
    loop.wake();
    loop.stop();
    await end(10);
    loop.wake();
    await advance(60_000);
    expect(steps).toHaveLength(1);
  });
});
