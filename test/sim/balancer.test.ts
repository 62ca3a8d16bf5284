// LoadBalancer Services against the real API server and its controllers.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configMaps, nodes, services } from '#kube/client/resources.ts';
import { poolConfigMap } from '#kube/machinery/address-pool.ts';
import { lanAddress, portsAnnotation } from '#kube/machinery/balancers.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  for (const [name, address] of [
    ['pi', '192.168.1.2'],
    ['pc', '192.168.1.1'],
  ] as const)
    await sim.addNode(name, {
      metadata: {
        name,
        annotations: {
          [podNetworkAnnotations.machineNetworks]: '192.168.1.0/24',
          [portsAnnotation]: '80/tcp free; 8080/tcp free',
          [lanAddress.held]: '',
        },
      },
      status: { addresses: [{ type: 'InternalIP', address }] },
    });
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
  const annotations = { [portsAnnotation]: '8080/tcp caddy (process 8)' };
  await sim.client.patch(nodes, { name: 'pi' }, { metadata: { annotations } });
  expect(await addressesOf('web')).toEqual(['192.168.1.1']);
  const text = 'pi: port 8080/tcp is taken by caddy (process 8)';
  expect(await sim.events('default')).toContain(`PortTaken: ${text}`);
  const { status } = await sim.client.get(services, { namespace: 'default', name: 'web' });
  expect(status?.conditions).toMatchObject([
    { type: 'LoadBalancerPortsError', status: 'True', reason: 'PortTaken', message: text },
  ]);
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

it('of which two name one external address: the one that does not get it is told, whichever came first', async () => {
  const external = (name: string) =>
    sim.client.create(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'default', name },
      spec: { externalIPs: ['203.0.113.5'], selector: { app: name }, ports: [{ port: 80 }] },
    });
  await external('web');
  await external('films');
  await sim.settle();
  const told = (await sim.events('default')).filter((one) => one.startsWith('ExternalAddress'));
  expect(told).toEqual([
    'ExternalAddressTaken: 203.0.113.5:80/tcp leads to the Service default/films, which names it, too: choose another address or port for one of them',
  ]);
});

describe('with a pool of addresses', () => {
  const { namespace, name, key } = poolConfigMap;
  const setPool = (text: string) =>
    sim.client.create(configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace, name },
      data: { [key]: text },
    });
  const annotate = (node: string, annotations: Record<string, string | null>) =>
    sim.client.patch(nodes, { name: node }, { metadata: { annotations } });
  const given = async (service: string): Promise<(string | undefined)[]> => {
    await sim.settle();
    const { metadata } = await sim.client.get(services, { namespace: 'default', name: service });
    return [lanAddress.address, lanAddress.node].map((at) => metadata.annotations?.[at]);
  };

  it('get one each, when a machine has it; it moves with that machine gone', async () => {
    await setPool('192.168.1.240-192.168.1.241');
    await create('one', 80);
    await create('two', 80);
    const [[address = '', holder = ''], [second]] = [await given('one'), await given('two')];
    expect([address, second]).toEqual(['192.168.1.240', '192.168.1.241']);
    expect(await addressesOf('one')).toEqual([]);
    await annotate(holder, { [lanAddress.held]: `${address} 02:00:00:00:00:01` });
    expect(await addressesOf('one')).toEqual([address]);
    const conditions = [{ type: 'Ready', status: 'False' }];
    const options = { subresource: 'status' };
    await sim.client.patch(nodes, { name: holder }, { status: { conditions } }, options);
    const other = holder === 'pi' ? 'pc' : 'pi';
    expect(await given('one')).toEqual([address, other]);
    expect(await addressesOf('one')).toEqual([address]);
  });

  it('get another, and say why, when somebody has it already', async () => {
    await setPool('192.168.1.240-192.168.1.241');
    await create('web', 80);
    const [address, node = ''] = await given('web');
    await annotate(node, { [lanAddress.taken]: `${address} 02:00:00:00:00:99` });
    expect((await given('web'))[0]).toBe('192.168.1.241');
    expect(await sim.events('default')).toContain(
      `AddressTaken: 192.168.1.240 has somebody else: 02:00:00:00:00:99 answered when ${node} asked for it`,
    );
  });

  it('have the machines’ again when it is taken away, and wait where it must be the pool’s', async () => {
    await setPool('192.168.1.240');
    await create('web', 80);
    expect((await given('web'))[0]).toBe('192.168.1.240');
    await sim.client.delete(configMaps, { namespace, name });
    expect(await given('web')).toEqual([undefined, undefined]);
    expect(await addressesOf('web')).toEqual(['192.168.1.1', '192.168.1.2']);
  });

  it('is refused when it can’t be read', async () => {
    await expect(setPool('192.168.1.9-192.168.1.1')).rejects.toThrow(
      'ConfigMap "balancer-addresses" is invalid: data.addresses: Invalid value: "192.168.1.9-192.168.1.1": 192.168.1.9-192.168.1.1 ends before it begins',
    );
  });
});
