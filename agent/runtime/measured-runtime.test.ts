import { expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { measuredRuntime } from './measured-runtime.ts';
import { RuntimeError } from './runtime.ts';

it('times calls by the kubelet’s names, those that fail too, and changes nothing of them', async () => {
  const clock = new ManualClock();
  const told: unknown[] = [];
  const fake = new FakeRuntime(clock);
  const runtime = measuredRuntime(fake, clock, (...operation) => told.push(operation));
  const version = runtime.version();
  clock.advance(500);
  expect(await version).toEqual(await fake.version());
  const absent = await runtime.startContainer('none').catch((error: unknown) => error);
  expect(absent).toBeInstanceOf(RuntimeError);
  expect(told).toEqual([
    ['version', 0.5, false],
    ['start_container', 0, true],
  ]);
});

it('tells no time of what streams', async () => {
  const clock = new ManualClock();
  const told: unknown[] = [];
  const runtime = measuredRuntime(new FakeRuntime(clock), clock, () => told.push(1));
  const stop = new AbortController();
  const next = runtime.events(stop.signal)[Symbol.asyncIterator]().next();
  stop.abort();
  await next;
  expect(told).toEqual([]);
});
