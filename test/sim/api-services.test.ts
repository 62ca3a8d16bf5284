// APIServices as the controllers see them: one for all that is served here, the condition of those
// of other servers, and what a server that can't be asked means for the rest.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import type { APIService, APIServiceSpec } from '#kube/api/apiregistration.ts';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import {
  apiServices,
  configMaps,
  customResourceDefinitions,
  endpointSlices,
  namespaces,
  services,
  type Resource,
} from '#kube/client/resources.ts';
import { builtInPriorities, unregistered } from '#kube/machinery/api-priorities.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let cluster: SimulatedControlPlane;
beforeEach(async () => {
  cluster = await startControlPlane();
});
afterEach(() => cluster.stop());

async function names(): Promise<string[]> {
  const { items } = await cluster.client.list(apiServices);
  return items.map(({ metadata }) => metadata.name);
}

async function condition(name = 'v1.sea.example.com') {
  const { status } = await cluster.client.get(apiServices, { name });
  const { status: value, reason, message } = getCondition(status?.conditions, 'Available') ?? {};
  return [value, reason, message];
}

function remote(spec: Partial<APIServiceSpec> = {}): APIService {
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: 'v1.sea.example.com' },
    spec: {
      group: 'sea.example.com',
      version: 'v1',
      groupPriorityMinimum: 2000,
      versionPriority: 15,
      service: { namespace: 'default', name: 'harbour', port: 8443 },
      insecureSkipTLSVerify: true,
      ...spec,
    },
  };
}

function ships(): CustomResourceDefinition {
  const schema = { openAPIV3Schema: { type: 'object' } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ships.sea.example.com' },
    spec: {
      group: 'sea.example.com',
      scope: 'Namespaced',
      names: { plural: 'ships', kind: 'Ship' },
      versions: [
        { name: 'v1', served: true, storage: true, schema },
        { name: 'v1beta1', served: false, storage: false, schema },
      ],
    },
  };
}

it('everything that is served has a priority, and an APIService but for two groups', async () => {
  const served = new Set(builtInResources.map(({ group, version }) => `${group}/${version}`));
  for (const name of served) expect([...builtInPriorities.keys()]).toContain(name);
  const wanted = [...builtInPriorities.keys()]
    .filter((name) => !unregistered.has(name))
    .map((name) => name.split('/').toReversed().join('.'));
  expect(await names()).toEqual(wanted.toSorted());
  expect(await condition('v1.apps')).toEqual([
    'True',
    'Local',
    'Local APIServices are always available',
  ]);
});

it('one of what is served here comes back, and is what it was', async () => {
  const name = 'v1.batch';
  const before = await cluster.client.get(apiServices, { name });
  await cluster.client.patch(apiServices, { name }, { spec: { versionPriority: 1 } });
  await cluster.settle();
  expect((await cluster.client.get(apiServices, { name })).spec).toEqual(before.spec);
  await cluster.client.delete(apiServices, { name });
  await cluster.settle();
  expect((await cluster.client.get(apiServices, { name })).spec).toEqual(before.spec);
});

it('a person’s own stays as it is', async () => {
  const name = 'v1.batch';
  const label = { 'kube-aggregator.kubernetes.io/automanaged': null };
  const patch = { metadata: { labels: label }, spec: { versionPriority: 7 } };
  await cluster.client.patch(apiServices, { name }, patch);
  await cluster.settle();
  expect((await cluster.client.get(apiServices, { name })).spec.versionPriority).toBe(7);
});

it('what a definition serves comes and goes with it', async () => {
  await cluster.client.create(customResourceDefinitions, ships());
  await cluster.settle();
  const made = await cluster.client.get(apiServices, { name: 'v1.sea.example.com' });
  expect(made.spec).toEqual({
    group: 'sea.example.com',
    version: 'v1',
    groupPriorityMinimum: 1000,
    versionPriority: 100,
  });
  expect(await names()).not.toContain('v1beta1.sea.example.com');
  await cluster.client.delete(customResourceDefinitions, { name: 'ships.sea.example.com' });
  await cluster.advance(2000);
  expect(await names()).not.toContain('v1.sea.example.com');
});

it('another server is available when all that leads to it is there, and it answers', async () => {
  await cluster.client.create(apiServices, remote());
  await cluster.settle();
  expect(await condition()).toEqual([
    'False',
    'ServiceNotFound',
    'service/harbour in "default" is not present',
  ]);
  const service = { ...serviceOf(443) };
  await cluster.client.create(services, service);
  await cluster.settle();
  expect(await condition()).toEqual([
    'False',
    'ServicePortError',
    'service/harbour in "default" is not listening on port 8443',
  ]);
  await cluster.client.patch(services, { namespace: 'default', name: 'harbour' }, serviceOf(8443));
  await cluster.settle();
  expect(await condition()).toEqual([
    'False',
    'EndpointsNotFound',
    'cannot find endpointslices for service/harbour in "default"',
  ]);
  await cluster.client.create(endpointSlices, sliceOf(false));
  await cluster.settle();
  expect(await condition()).toEqual([
    'False',
    'MissingEndpoints',
    'endpointslices for service/harbour in "default" have no addresses with port name "https"',
  ]);
  await cluster.client.update(endpointSlices, sliceOf(true));
  await cluster.settle();
  // No kubelet leads there in this world.
  expect(await condition()).toEqual([
    'False',
    'FailedDiscoveryCheck',
    'failing or missing response from https://10.0.0.9:8443/apis/sea.example.com/v1: no kubelet here',
  ]);
});

it('one that can’t be asked holds up the end of namespaces, and says so', async () => {
  await cluster.client.create(apiServices, remote());
  await cluster.client.create(namespaces, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'port' },
    spec: {},
  });
  await cluster.settle();
  await cluster.client.delete(namespaces, { name: 'port' });
  await cluster.advance(20_000);
  const { status } = await cluster.client.get(namespaces, { name: 'port' });
  const failure = getCondition(status?.conditions, 'NamespaceDeletionDiscoveryFailure');
  expect(failure?.message).toContain(
    'Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: sea.example.com/v1: ',
  );
  await cluster.client.delete(apiServices, { name: 'v1.sea.example.com' });
  await cluster.advance(20_000);
  await expect(cluster.client.get(namespaces, { name: 'port' })).rejects.toThrow('not found');
});

it('one that can’t be asked does not stop garbage collection, of new kinds neither', async () => {
  const spec = { group: 'far.example.com' };
  const metadata = { name: 'v1.far.example.com' };
  await cluster.client.create(apiServices, { ...remote(spec), metadata });
  await cluster.client.create(customResourceDefinitions, ships());
  await cluster.advance(60_000);
  const resource = { group: 'sea.example.com', version: 'v1', resource: 'ships', kind: 'Ship' };
  const shipResource: Resource = { ...resource, namespaced: true };
  const owner = await cluster.client.create(shipResource, {
    apiVersion: 'sea.example.com/v1',
    kind: 'Ship',
    metadata: { name: 'one', namespace: 'default' },
  });
  const { uid = '' } = owner.metadata;
  const ownerReferences = [{ apiVersion: owner.apiVersion, kind: owner.kind, name: 'one', uid }];
  await cluster.client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'cargo', namespace: 'default', ownerReferences },
  });
  await cluster.settle();
  await cluster.client.delete(shipResource, { namespace: 'default', name: 'one' });
  // Each look at what is served waits some seconds for the one that does not answer.
  await cluster.advance(60_000);
  const ref = { namespace: 'default', name: 'cargo' };
  await expect(cluster.client.get(configMaps, ref)).rejects.toThrow('not found');
});

function serviceOf(port: number): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'harbour', namespace: 'default' },
    spec: { ports: [{ name: 'https', port, protocol: 'TCP' }] },
  };
}

function sliceOf(ready: boolean): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'harbour-1',
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': 'harbour' },
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: ['10.0.0.9'],
        conditions: { ready },
        nodeName: 'pi',
        targetRef: { kind: 'Pod', name: 'harbour-1' },
      },
    ],
    ports: [{ name: 'https', port: 8443, protocol: 'TCP' }],
  };
}
