import { expect, it } from 'vitest';
import type { ObservedPod } from '../runtime/runtime.ts';
import { Targets } from './targets.ts';

function observed(name: string): ObservedPod {
  const sandbox = { id: 's', attempt: 0, ready: true, ip: '', pid: 7, createdAtMs: 1 };
  const pod = { uid: name, name, namespace: 'n' };
  return {
    pod,
    gracePeriodSeconds: 30,
    sandboxes: [{ ...sandbox, hostNetwork: false }],
    containers: [],
  };
}

it('asks the engine again only after something changed, and goes on with what it knew while it is away', async () => {
  let engine: readonly ObservedPod[] | undefined = [observed('a')];
  let asked = 0;
  const targets = new Targets({
    async listPods() {
      asked++;
      if (engine === undefined) throw new Error('no engine');
      return engine;
    },
  });
  const names = async () => (await targets.get()).map(({ name }) => name);
  expect([await names(), await names(), asked]).toEqual([['a'], ['a'], 1]);
  engine = undefined;
  targets.invalidate();
  expect([await names(), await names(), asked]).toEqual([['a'], ['a'], 3]);
  engine = [observed('b')];
  expect([await names(), await names(), asked]).toEqual([['b'], ['b'], 4]);
});
