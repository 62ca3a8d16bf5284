// Ingresses against the real API server and its controllers: their class, and where they are served.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Ingress } from '#kube/api/networking.ts';
import { ingressClasses, ingresses, nodes } from '#kube/client/resources.ts';
import { ingressClassName, ingressController, ingressNode } from '#kube/machinery/ingress.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  await sim.client.create(ingressClasses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: {
      name: ingressClassName,
      annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
    },
    spec: { controller: ingressController },
  });
});
afterEach(() => sim.stop());

const backend = { service: { name: 'app', port: { number: 80 } } };

async function createIngress(name: string, spec: Ingress['spec']): Promise<void> {
  await sim.client.create(ingresses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { namespace: 'default', name },
    spec,
  });
}

async function addressesOf(name: string): Promise<string[]> {
  await sim.settle();
  const { status } = await sim.client.get(ingresses, { namespace: 'default', name });
  return (status?.loadBalancer?.ingress ?? []).map(({ ip = '' }) => ip);
}

async function addServingNode(name: string, address: string, ports = '80,443'): Promise<void> {
  await sim.addNode(name, { status: { addresses: [{ type: 'InternalIP', address }] } });
  const annotations = { [ingressNode.portsAnnotation]: ports };
  await sim.client.patch(nodes, { name }, { metadata: { annotations } });
}

it('an Ingress of no class is ours, and is served by the nodes that say so and are ready', async () => {
  await createIngress('home', { defaultBackend: backend });
  expect(await addressesOf('home')).toEqual([]);
  await addServingNode('b', '192.168.1.2');
  await addServingNode('a', '192.168.1.1');
  await addServingNode('c', '192.168.1.3', '');
  expect(await addressesOf('home')).toEqual(['192.168.1.1', '192.168.1.2']);
  const annotations = { [ingressNode.portsAnnotation]: null };
  await sim.client.patch(nodes, { name: 'a' }, { metadata: { annotations } });
  expect(await addressesOf('home')).toEqual(['192.168.1.2']);
  const conditions = [{ type: 'Ready', status: 'Unknown' }];
  const status = { subresource: 'status' };
  await sim.client.patch(nodes, { name: 'b' }, { status: { conditions } }, status);
  expect(await addressesOf('home')).toEqual([]);
});

it('an Ingress of another class is left to others', async () => {
  await addServingNode('a', '192.168.1.1');
  await createIngress('theirs', { defaultBackend: backend, ingressClassName: 'nginx' });
  expect(await addressesOf('theirs')).toEqual([]);
});
