// A pod starts nothing before the rules of its network are in force.
import { expect, it } from 'vitest';
import {
  api,
  clock,
  events,
  isReady,
  machine,
  podOf,
  runtime,
  settled,
  start,
  until,
  useKubelet,
} from '../../../test/setup/kubelet-world.ts';

useKubelet();

const starts = (): number => runtime.calls.filter((call) => call.startsWith('start ')).length;

it('waits with its first container until it has joined, by its address', async () => {
  const joining = Promise.withResolvers<void>();
  const asked: string[] = [];
  machine.joinNetwork = (pod, address) => {
    asked.push(`${pod.metadata.name} ${address}`);
    return joining.promise;
  };
  await start();
  api.put(podOf());
  await until('it asks', () => asked.length > 0);
  await settled();
  expect([asked, starts()]).toEqual([['p 10.244.0.1'], 0]);
  joining.resolve();
  await until('it runs', isReady);
  expect(starts()).toBe(1);
});

it('says why it can not, and tries again', async () => {
  let isRefused = true;
  machine.joinNetwork = () =>
    isRefused ? Promise.reject(new Error('not yet')) : Promise.resolve();
  await start();
  api.put(podOf());
  await until('it is told', () => events.length > 0);
  await settled();
  expect(events[0]).toBe('FailedCreatePodSandBox: Failed to create pod sandbox: not yet');
  expect(starts()).toBe(0);
  isRefused = false;
  clock.advance(2_000);
  await until('it runs', isReady);
});

it("joins nothing in the machine's own network", async () => {
  machine.joinNetwork = () => Promise.reject(new Error('it must not be asked'));
  await start();
  api.put(podOf({ hostNetwork: true }));
  await until('it runs', isReady);
});
