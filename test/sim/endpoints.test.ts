// Endpoints beside EndpointSlices: kept for Services with a selector, mirrored for those without.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Endpoints, Service } from '#kube/api/core.ts';
import { endpoints, endpointSlices, pods, services } from '#kube/client/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
beforeEach(async () => {
  sim = await startControlPlane();
  await sim.addNode('node-1');
});
afterEach(() => sim.stop());

const namespace = 'default';
const ref = { namespace, name: 'web' };
const labels = { app: 'web' };

async function serve(spec: Partial<Service['spec']>): Promise<void> {
  const metadata = { ...ref, labels: { team: 'shop' } };
  const ports = [{ port: 80, targetPort: 8080 }];
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: { ports, ...spec },
  };
  await sim.client.create(services, service);
  await sim.settle();
}

const slices = async () =>
  (await sim.client.list(endpointSlices, { namespace })).items.map((slice) => [
    slice.metadata.labels?.['endpointslice.kubernetes.io/managed-by'],
    slice.endpoints?.map(({ addresses }) => addresses[0]),
  ]);

describe('a Service with a selector', () => {
  it('has Endpoints of its pods, and takes them with it', async () => {
    await serve({ selector: labels });
    await sim.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...ref, labels },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await sim.runPods();
    const { metadata, subsets } = await sim.client.get(endpoints, ref);
    expect(metadata.labels).toEqual({
      team: 'shop',
      'endpoints.kubernetes.io/managed-by': 'endpoint-controller',
    });
    expect(subsets).toMatchObject([
      {
        addresses: [{ nodeName: 'node-1', targetRef: { kind: 'Pod', name: 'web' } }],
        ports: [{ port: 8080, protocol: 'TCP' }],
      },
    ]);
    // What is right is not written again.
    const { resourceVersion } = metadata;
    await sim.advance(1000);
    const again = await sim.client.get(endpoints, ref);
    expect(again.metadata.resourceVersion).toBe(resourceVersion);
    // Only our own controller's slices are there: nothing mirrors what we keep.
    expect((await slices()).map(([by]) => by)).toEqual(['endpointslice-controller.k8s.io']);
    await sim.client.delete(services, ref);
    await sim.settle();
    await expect(sim.client.get(endpoints, ref)).rejects.toThrow('not found');
  });
});

describe('Endpoints written by hand', () => {
  const given: Endpoints = {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: ref,
    subsets: [{ addresses: [{ ip: '192.168.1.9' }], ports: [{ port: 5432 }] }],
  };
  const mirrored = 'endpointslicemirroring-controller.k8s.io';

  it('are mirrored into slices, follow changes, and go with them', async () => {
    await serve({});
    await sim.client.create(endpoints, given);
    await sim.settle();
    expect(await slices()).toEqual([[mirrored, ['192.168.1.9']]]);
    await sim.client.patch(endpoints, ref, {
      subsets: [{ addresses: [{ ip: '192.168.1.10' }], ports: [{ port: 5432 }] }],
    });
    await sim.settle();
    expect(await slices()).toEqual([[mirrored, ['192.168.1.10']]]);
    await sim.client.delete(endpoints, ref);
    await sim.settle();
    expect(await slices()).toEqual([]);
  });

  it('are left alone without a Service, or if they say so', async () => {
    await sim.client.create(endpoints, given);
    await sim.settle();
    expect(await slices()).toEqual([]);
    const skip = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
    await sim.client.patch(endpoints, ref, { metadata: { labels: skip } });
    await serve({});
    expect(await slices()).toEqual([]);
    await sim.client.patch(endpoints, ref, {
      metadata: { labels: { 'endpointslice.kubernetes.io/skip-mirror': null } },
    });
    await sim.settle();
    expect(await slices()).toHaveLength(1);
  });
});
