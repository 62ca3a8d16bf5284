// Machines are cut off and plugged in again, at random, while apps run: the real API server and controllers on one clock. Machines are played as their agents
// behave: cut off they run what they have, and end it only when the API server tells them to. No pod is lost, none doubled.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { NodeCondition, Pod } from '#kube/api/core.ts';
import { rfc3339, rfc3339Micro } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { deployments, leases, nodes, pods } from '#kube/client/resources.ts';
import { setCondition } from '#kube/machinery/conditions.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const replicas = 4;
const names = ['attic', 'cellar', 'kitchen'];
const stepMs = 5_000;

/** A machine: what runs there, by uid; and whether its cable is in. */
class Machine {
  readonly name: string;
  readonly running = new Map<string, Pod>();
  isCutOff = false;

  constructor(name: string) {
    this.name = name;
  }

  /** What its agent does within a step, as far as it reaches the API server. */
  async work(): Promise<void> {
    if (this.isCutOff) return;
    await this.#giveSign();
    const { items } = await sim.client.list(pods, { fieldSelector: `spec.nodeName=${this.name}` });
    const mine = new Map(items.map((pod) => [pod.metadata.uid ?? '', pod]));
    for (const uid of this.running.keys()) if (!mine.has(uid)) this.running.delete(uid);
    for (const [uid, pod] of mine) {
      const { namespace, name } = pod.metadata;
      if (pod.metadata.deletionTimestamp !== undefined) {
        this.running.delete(uid);
        await sim.client.delete(pods, { namespace, name }, { gracePeriodSeconds: 0 });
      } else {
        this.running.set(uid, pod);
        const ready = { type: 'Ready', status: 'True' };
        const conditions = [{ ...ready, lastTransitionTime: rfc3339(sim.clock.now()) }];
        const status = { phase: 'Running', conditions };
        await sim.client.patch(pods, { namespace, name }, { status }, { subresource: 'status' });
      }
    }
  }

  async #giveSign(): Promise<void> {
    const { name } = this;
    const ref = { namespace: 'kube-node-lease', name };
    const renewTime = rfc3339Micro(sim.clock.now());
    await sim.client.patch(leases, ref, { spec: { renewTime } });
    const { status } = await sim.client.get(nodes, { name });
    const now = rfc3339(sim.clock.now());
    const next = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now };
    const conditions = setCondition<NodeCondition>(status?.conditions, next, now);
    await sim.client.patch(nodes, { name }, { status: { conditions } }, { subresource: 'status' });
  }
}

async function begin(): Promise<Machine[]> {
  for (const name of names) {
    await sim.addNode(name);
    await sim.client.create(leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { namespace: 'kube-node-lease', name },
      spec: { holderIdentity: name, leaseDurationSeconds: 40 },
    });
  }
  const labels = { app: 'web' };
  await sim.client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels } as unknown as Pod['metadata'],
        spec: { containers: [{ name: 'main', image: 'web:1' }] },
      },
    },
  });
  await sim.settle();
  return names.map((name) => new Machine(name));
}

/** On machines that may have it. */
async function place(pick: (count: number) => number): Promise<void> {
  const all = (await sim.client.list(nodes)).items;
  const open = all.filter(({ spec }) => (spec.taints ?? []).length === 0);
  for (const { metadata, spec } of (await sim.client.list(pods)).items) {
    const target = open[pick(open.length)];
    if ((spec.nodeName ?? '') !== '' || metadata.deletionTimestamp !== undefined) continue;
    if (target === undefined) continue;
    const ref = { namespace: 'default', name: metadata.name };
    await sim.client.createSubresource(pods, ref, 'binding', {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: ref,
      target: { kind: 'Node', name: target.metadata.name },
    });
  }
}

async function step(machines: readonly Machine[], pick: (count: number) => number): Promise<void> {
  await place(pick);
  for (const machine of machines) await machine.work();
  await sim.advance(stepMs);
  // One pod is one object on one machine, at every moment.
  const uids = machines.flatMap(({ running }) => [...running.keys()]);
  expect(new Set(uids).size).toBe(uids.length);
}

it.each([1, 2])(
  'no pod is lost and none doubled, whoever is cut off and comes back (seed %i)',
  async (seed) => {
    const random = seededRandom(seed);
    const pick = (count: number): number => Math.floor(random.next() * count);
    const machines = await begin();
    for (let round = 0; round < 8; round++) {
      const one = machines[pick(machines.length)]!;
      one.isCutOff = !one.isCutOff;
      // From a blip to long enough to be given up.
      for (let left = 1 + pick(14); left > 0; left--) await step(machines, pick);
      // Never so few that nobody may be evicted.
      if (machines.filter(({ isCutOff }) => isCutOff).length > 1)
        for (const machine of machines) machine.isCutOff = false;
    }
    for (const machine of machines) machine.isCutOff = false;
    for (let left = 20; left > 0; left--) await step(machines, pick);
    const wanted = (await sim.client.list(pods)).items
      .map(({ metadata }) => metadata.uid ?? '')
      .toSorted();
    const have = machines.flatMap(({ running }) => [...running.keys()]).toSorted();
    expect(have).toEqual(wanted);
    expect(have).toHaveLength(replicas);
  },
);

it('a machine that is cut off for long has its pods run elsewhere, and ends its own when it is back', async () => {
  const machines = await begin();
  const [attic, cellar, kitchen] = machines as [Machine, Machine, Machine];
  const pick = (count: number): number => count - 1;
  for (let left = 3; left > 0; left--) await step(machines, pick);
  const [first] = [...kitchen.running.keys()];
  kitchen.isCutOff = true;
  for (let left = 14; left > 0; left--) await step(machines, pick);
  // It can't know: what it runs goes on, and the others run what is missed.
  expect([kitchen.running.has(first ?? ''), attic.running.size + cellar.running.size]).toEqual([
    true,
    replicas,
  ]);
  kitchen.isCutOff = false;
  for (let left = 4; left > 0; left--) await step(machines, pick);
  expect(machines.map(({ running }) => running.size).reduce((a, b) => a + b)).toBe(replicas);
  expect(kitchen.running.has(first ?? '')).toBe(false);
});
