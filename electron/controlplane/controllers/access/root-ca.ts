// Puts the cluster's certificate authority into every namespace: by it pods know the API server.
// Source: kubernetes pkg/controller/certificates/rootcacertpublisher/publisher.go.
import type { ConfigMap } from '#kube/api/core.ts';
import { Controller } from '#kube/client/controller.ts';
import { configMaps, namespaces } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { isNamespaceTerminating } from '../pod-control.ts';

const name = 'kube-root-ca.crt';
const annotations = {
  'kubernetes.io/description':
    'The certificate authority by which clients in the cluster know the API server.',
};

export function createRootCaPublisher(deps: ControllerDeps): RunnableController {
  const { client, authority } = deps;
  const all = deps.informers.informer(namespaces);
  const maps = deps.informers.informer(configMaps, { fieldSelector: `metadata.name=${name}` });
  const controller = new Controller({
    name: 'root-ca-cert-publisher',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(all);
  controller.watch(maps, ({ metadata }) => [metadata.namespace ?? '']);
  const data = { 'ca.crt': authority.caPem };

  async function reconcile(namespace: string): Promise<void> {
    const object = all.lister.get('', namespace);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
    const found = maps.lister.get(namespace, name);
    if (found !== undefined && deepEqual(found.data ?? {}, data)) return;
    try {
      if (found === undefined) await client.create(configMaps, made(namespace));
      else await client.update(configMaps, { ...found, data });
    } catch (error) {
      if (!hasReason(error, 'AlreadyExists') && !isNamespaceTerminating(error)) throw error;
    }
  }

  function made(namespace: string): ConfigMap {
    return {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace, annotations },
      data,
    };
  }
  return controller;
}
