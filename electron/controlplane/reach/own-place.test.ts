import { expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { settle } from '#kube/client/testing/scripted-transport.ts';
import { followOwnPlace } from './own-place.ts';

function start(steps: readonly (() => Promise<void>)[]) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const machine = { addresses: ['192.168.1.7'], changed: (): void => undefined };
  const addresses = (): readonly string[] => machine.addresses;
  void followOwnPlace({
    addresses,
    async watch(onChange) {
      machine.changed = onChange;
    },
    steps,
    clock,
    logger: silentLogger,
    signal: stop.signal,
  });
  async function move(...to: string[]): Promise<void> {
    machine.addresses = to;
    machine.changed();
    await settle();
  }
  return { clock, stop, machine, move };
}

it('certificate and Lease follow the addresses, in that order, and only when they changed', async () => {
  const done: string[] = [];
  const world = start([
    async () => void done.push('certificate'),
    async () => void done.push(`lease ${world.machine.addresses.join()}`),
  ]);
  await world.move('192.168.1.7');
  expect(done).toEqual([]);
  await world.move('192.168.1.8', '10.0.0.2');
  expect(done).toEqual(['certificate', 'lease 192.168.1.8,10.0.0.2']);
  await world.move();
  expect(done.slice(2)).toEqual(['certificate', 'lease ']);
});

it('what fails is tried again until it is done, and nothing before it is repeated', async () => {
  const done: string[] = [];
  let failures = 3;
  const world = start([
    async () => void done.push('certificate'),
    async () => {
      if (failures-- > 0) throw new Error('no majority');
      done.push('lease');
    },
  ]);
  await world.move('192.168.1.8');
  expect(done).toEqual(['certificate']);
  for (const ms of [250, 500, 1_000]) {
    world.clock.advance(ms);
    await settle();
  }
  expect(done).toEqual(['certificate', 'lease']);
  expect(world.clock.nextTimerMs()).toBeUndefined();
});

it('when the addresses change meanwhile, the latest is what is told', async () => {
  const told: string[] = [];
  let isAway = true;
  const world = start([
    async () => {
      if (isAway) throw new Error('no majority');
      told.push(world.machine.addresses.join());
    },
  ]);
  await world.move('192.168.1.8');
  await world.move('192.168.1.9');
  isAway = false;
  world.clock.advance(250);
  await settle();
  expect(told).toEqual(['192.168.1.9']);
  world.stop.abort();
  await world.move('192.168.1.10');
  expect(told).toHaveLength(1);
});
