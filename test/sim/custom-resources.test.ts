// Custom resources as the controllers see them: collected like any other object, gone with their
// namespace, and gone with their definition.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ConfigMap } from '#kube/api/core.ts';
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import {
  configMaps,
  customResourceDefinitions,
  namespaces,
  type Resource,
} from '#kube/client/resources.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const ships: Resource = {
  group: 'sea.example.com',
  version: 'v1',
  resource: 'ships',
  kind: 'Ship',
  namespaced: true,
};

function definition(kind = 'Ship', plural = 'ships'): CustomResourceDefinition {
  const schema = { openAPIV3Schema: { type: 'object' } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.sea.example.com` },
    spec: {
      group: 'sea.example.com',
      scope: 'Namespaced',
      names: { plural, kind },
      versions: [
        { name: 'v1', served: true, storage: true, schema },
        { name: 'v1alpha1', served: true, storage: false, schema },
      ],
    },
  };
}

function ship(name: string, more: Partial<KubeObject['metadata']> = {}): KubeObject {
  const metadata = { name, namespace: 'default', ...more };
  return { apiVersion: 'sea.example.com/v1', kind: 'Ship', metadata };
}

function cargo(owner: KubeObject, apiVersion = 'sea.example.com/v1'): ConfigMap {
  const { name, uid = '' } = owner.metadata;
  const ownerReferences = [{ apiVersion, kind: 'Ship', name, uid }];
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `cargo-${name}`, namespace: 'default', ownerReferences },
  };
}

let cluster: SimulatedControlPlane;
beforeEach(async () => {
  cluster = await startControlPlane();
  await cluster.client.create(customResourceDefinitions, definition());
  await cluster.settle();
});
afterEach(() => cluster.stop());

/** But for what every namespace has. */
async function names(resource: Resource, namespace = 'default'): Promise<string[]> {
  const { items } = await cluster.client.list(resource, { namespace });
  return items.map(({ metadata }) => metadata.name).filter((name) => name !== 'kube-root-ca.crt');
}

it('what a custom resource owns goes with it, whichever version the reference names', async () => {
  const { client } = cluster;
  for (const [name, version] of [
    ['argo', 'v1'],
    ['beagle', 'v1alpha1'],
  ] as const) {
    const owner = await client.create(ships, ship(name));
    await client.create(configMaps, cargo(owner, `sea.example.com/${version}`));
  }
  await cluster.settle();
  expect(await names(configMaps)).toEqual(['cargo-argo', 'cargo-beagle']);
  await client.delete(ships, { namespace: 'default', name: 'argo' });
  await client.delete(ships, { namespace: 'default', name: 'beagle' });
  await cluster.settle();
  expect(await names(configMaps)).toEqual([]);
});

it('a custom resource goes with its owner', async () => {
  const { client } = cluster;
  const owner = await client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'fleet', namespace: 'default' },
  });
  const ownerReferences = [
    { apiVersion: 'v1', kind: 'ConfigMap', name: 'fleet', uid: owner.metadata.uid ?? '' },
  ];
  await client.create(ships, ship('argo', { ownerReferences }));
  await cluster.settle();
  expect(await names(ships)).toEqual(['argo']);
  await client.delete(configMaps, { namespace: 'default', name: 'fleet' });
  await cluster.settle();
  expect(await names(ships)).toEqual([]);
});

it('custom resources go with their namespace', async () => {
  const { client } = cluster;
  await client.create(namespaces, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'sea' },
    spec: {},
  });
  await client.create(ships, ship('argo', { namespace: 'sea' }));
  await client.delete(namespaces, { name: 'sea' });
  await cluster.advance(10_000);
  const { items } = await client.list(namespaces);
  expect(items.map(({ metadata }) => metadata.name)).not.toContain('sea');
  expect(await names(ships, 'sea')).toEqual([]);
});

it('a definition takes its objects with it though its converter is gone', async () => {
  const { client } = cluster;
  const made = definition('Boat', 'boats');
  made.spec.versions.reverse();
  made.spec.conversion = {
    strategy: 'Webhook',
    webhook: { clientConfig: { url: 'https://127.0.0.1:1/' }, conversionReviewVersions: ['v1'] },
  };
  await client.create(customResourceDefinitions, made);
  const boats = { ...ships, resource: 'boats', kind: 'Boat' };
  await client.create(boats, { ...ship('argo'), kind: 'Boat' });
  const { name } = made.metadata;
  await client.delete(customResourceDefinitions, { name });
  await cluster.advance(3_000);
  await expect(client.get(customResourceDefinitions, { name })).rejects.toMatchObject({
    code: 404,
  });
});

it('a definition of which nothing is served any more goes, too, in a few writes', async () => {
  const { client } = cluster;
  await client.create(ships, ship('argo'));
  const { name } = definition().metadata;
  const made = await client.get(customResourceDefinitions, { name });
  for (const version of made.spec.versions) version.served = false;
  await client.update(customResourceDefinitions, made);
  await cluster.settle();
  const revision = async () =>
    Number((await client.list(customResourceDefinitions)).metadata.resourceVersion);
  const before = await revision();
  await client.delete(customResourceDefinitions, { name });
  await cluster.advance(3_000);
  await expect(client.get(customResourceDefinitions, { name })).rejects.toMatchObject({
    code: 404,
  });
  expect((await revision()) - before).toBeLessThan(10);
});

it('a definition that goes takes its objects with it, once their finalizers let it', async () => {
  const { client } = cluster;
  await client.create(ships, ship('argo'));
  await client.create(ships, ship('held', { finalizers: ['example.com/hold'] }));
  const { name } = definition().metadata;
  await client.delete(customResourceDefinitions, { name });
  await cluster.advance(3_000);
  expect(await names(ships)).toEqual(['held']);
  const waiting = await client.get(customResourceDefinitions, { name });
  expect(waiting.status?.conditions?.at(-1)).toMatchObject({
    type: 'Terminating',
    status: 'True',
    reason: 'InstanceDeletionInProgress',
  });
  const held = { namespace: 'default', name: 'held' };
  await client.patch(ships, held, { metadata: { finalizers: null } });
  await cluster.advance(3_000);
  await expect(client.get(customResourceDefinitions, { name })).rejects.toMatchObject({
    code: 404,
  });
  await expect(client.list(ships)).rejects.toMatchObject({ code: 404 });
});

it('a definition that waited for a name gets it when the other one has gone', async () => {
  const { client } = cluster;
  const made = await client.create(customResourceDefinitions, definition('Ship', 'boats'));
  expect(made.status?.conditions?.[0]).toMatchObject({ type: 'NamesAccepted', status: 'False' });
  await client.delete(customResourceDefinitions, { name: 'ships.sea.example.com' });
  await cluster.advance(3_000);
  const later = await client.get(customResourceDefinitions, { name: 'boats.sea.example.com' });
  expect(later.status?.conditions).toMatchObject([
    { type: 'NamesAccepted', status: 'True' },
    { type: 'Established', status: 'True' },
  ]);
});
