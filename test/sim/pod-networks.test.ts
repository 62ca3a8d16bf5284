// Networks for the pods of nodes, against the real API server: who gets which, and when.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { events, nodes } from '#kube/client/resources.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
});
afterEach(() => sim.stop());

const { machineNetworks, podNetwork } = podNetworkAnnotations;

async function register(name: string, annotations: Record<string, string> = {}): Promise<void> {
  const metadata = { name, annotations };
  await sim.client.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata, spec: {} });
}

async function podCidrs(): Promise<Record<string, string | undefined>> {
  const { items } = await sim.client.list(nodes);
  return Object.fromEntries(
    items
      .filter(({ metadata }) => metadata.name.startsWith('pi'))
      .map(({ metadata, spec }) => [metadata.name, spec.podCIDRs?.join()]),
  );
}

it('machines that join at the same time get different ones, once they have told their own', async () => {
  const home = { [machineNetworks]: '192.168.1.0/24' };
  await Promise.all([register('pi1', home), register('pi2', home), register('pi3')]);
  await sim.settle();
  const [one, two] = ['10.244.0.0/24', '10.244.1.0/24'];
  const first = await podCidrs();
  expect(new Set([first['pi1'], first['pi2']])).toEqual(new Set([one, two]));
  expect(first['pi3']).toBeUndefined();
  await sim.client.patch(nodes, { name: 'pi3' }, { metadata: { annotations: home } });
  await sim.settle();
  expect((await podCidrs())['pi3']).toBe('10.244.2.0/24');
});

it('a machine that is connected to nothing gets one, too: it tells that after it came', async () => {
  await register('pi1');
  await sim.settle();
  const annotations = { [machineNetworks]: '' };
  await sim.client.patch(nodes, { name: 'pi1' }, { metadata: { annotations } });
  await sim.settle();
  expect(await podCidrs()).toEqual({ pi1: '10.244.0.0/24' });
});

it('that of a machine that left is free again', async () => {
  const home = { [machineNetworks]: '192.168.1.0/24' };
  await register('pi1', home);
  await sim.settle();
  await sim.client.delete(nodes, { name: 'pi1' });
  await sim.settle();
  await register('pi2', home);
  await sim.settle();
  expect(await podCidrs()).toEqual({ pi2: '10.244.0.0/24' });
});

it('a cluster from before keeps the one its pods are in', async () => {
  await register('pi1', { [machineNetworks]: '192.168.1.0/24', [podNetwork]: '10.244.3.0/24' });
  await sim.settle();
  expect(await podCidrs()).toEqual({ pi1: '10.244.3.0/24' });
});

it('another range than the usual one is told as an event', async () => {
  await register('pi1', { [machineNetworks]: '10.0.0.0/8' });
  await sim.settle();
  expect(await podCidrs()).toEqual({ pi1: '172.30.0.0/24' });
  const { items } = await sim.client.list(events);
  const told = items.filter(({ reason }) => reason === 'CIDRAssigned');
  expect(told.map(({ message }) => message)).toEqual([
    'Pods of pi1 get 172.30.0.0/24: nothing of 10.244.0.0/16 is free: the network 10.0.0.0/8 of pi1 is in it.',
  ]);
});
