// LoadBalancer Services against the real API server and its controllers.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { nodes, services } from '#kube/client/resources.ts';
import { portsTakenAnnotation } from '#kube/machinery/balancers.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  for (const [name, address] of [
    ['pi', '192.168.1.2'],
    ['pc', '192.168.1.1'],
  ] as const)
    await sim.addNode(name, { status: { addresses: [{ type: 'InternalIP', address }] } });
});
afterEach(() => sim.stop());

async function create(name: string, port: number): Promise<void> {
  await sim.client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { type: 'LoadBalancer', selector: { app: name }, ports: [{ port }] },
  });
}

async function addressesOf(name: string): Promise<string[]> {
  await sim.settle();
  const { status } = await sim.client.get(services, { namespace: 'default', name });
  return (status?.loadBalancer?.ingress ?? []).map(({ ip = '' }) => ip);
}

it('are given the addresses of the machines, and lose those that can’t serve them', async () => {
  await create('web', 8080);
  expect(await addressesOf('web')).toEqual(['192.168.1.1', '192.168.1.2']);
  const annotations = { [portsTakenAnnotation]: '8080/tcp caddy (process 8)' };
  await sim.client.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
  expect(await addressesOf('web')).toEqual(['192.168.1.1']);
  expect(await sim.events('default')).toContain(
    'PortTaken: pi: port 8080/tcp is taken by caddy (process 8)',
  );
  await sim.client.delete(nodes, { name: 'pc' });
  expect(await addressesOf('web')).toEqual([]);
});

it('that want a port of another wait for it', async () => {
  await create('one', 80);
  sim.clock.advance(1000);
  await create('two', 80);
  expect([(await addressesOf('one')).length, await addressesOf('two')]).toEqual([2, []]);
  await sim.client.delete(services, { namespace: 'default', name: 'one' });
  expect(await addressesOf('two')).toEqual(['192.168.1.1', '192.168.1.2']);
});

it('that are none any more lose their addresses', async () => {
  await create('web', 80);
  expect((await addressesOf('web')).length).toBe(2);
  const spec = { type: 'ClusterIP' };
  await sim.client.patch(services, { namespace: 'default', name: 'web' }, { spec });
  expect(await addressesOf('web')).toEqual([]);
});
