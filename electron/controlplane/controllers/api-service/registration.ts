// An APIService for every group and version that is served here, so that clients and administrators
// see them beside those of others. One that a person made his own (without our label) stays as it is.
// Differs: metrics.k8s.io has none: it would be in the way of whoever installs metrics-server, and
// one that was deleted comes back at once instead of at the next start.
// Source: kubernetes kube-aggregator pkg/controllers/autoregister, pkg/controlplane/controller/
// crdregistration.
import type { CustomResourceDefinition } from '#kube/api/apiextensions.ts';
import type { APIService } from '#kube/api/apiregistration.ts';
import { Controller } from '#kube/client/controller.ts';
import { apiServices, customResourceDefinitions } from '#kube/client/resources.ts';
import {
  builtInPriorities,
  customPriority,
  unregistered,
  type ApiPriority,
} from '#kube/machinery/api-priorities.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';

const apiServiceIndex = 'api-service';
const label = 'kube-aggregator.kubernetes.io/automanaged';

export function createApiServiceRegistration(deps: ControllerDeps): RunnableController {
  const { client, informers } = deps;
  const registered = informers.informer(apiServices);
  const definitions = informers.informer(customResourceDefinitions, {
    indexers: { [apiServiceIndex]: apiServicesOf },
  });
  const controller = new Controller({
    name: 'api-service-registration',
    clock: deps.clock,
    logger: deps.logger,
    reconcile,
  });
  controller.watch(registered);
  controller.watch(definitions, apiServicesOf);
  for (const name of builtIn.keys()) controller.enqueue(name);

  async function reconcile(name: string): Promise<void> {
    const isCustom = definitions.lister.byIndex(apiServiceIndex, name).length > 0;
    const wanted = builtIn.get(name) ?? (isCustom ? ofCustom(name) : undefined);
    const current = registered.lister.get('', name);
    if (current === undefined) {
      if (wanted !== undefined) await client.create(apiServices, wanted);
      return;
    }
    if (current.metadata.labels?.[label] === undefined) return;
    if (wanted === undefined) await client.delete(apiServices, { name }).catch(ignoreNotFound);
    else if (!deepEqual(current.spec, wanted.spec))
      await client.update(apiServices, { ...current, spec: wanted.spec });
  }
  return controller;
}

const builtIn: ReadonlyMap<string, APIService> = new Map(
  [...builtInPriorities]
    .filter(([groupVersion]) => !unregistered.has(groupVersion))
    .map(([groupVersion, priority]) => {
      const [group = '', version = ''] = groupVersion.split('/');
      const made = apiService({ group, version }, priority, 'onstart');
      return [made.metadata.name, made];
    }),
);

/** Names of the APIServices of what a definition serves. */
function apiServicesOf({ spec }: CustomResourceDefinition): string[] {
  return spec.versions.filter(({ served }) => served).map(({ name }) => `${name}.${spec.group}`);
}

function ofCustom(name: string): APIService {
  const dot = name.indexOf('.');
  const groupVersion = { group: name.slice(dot + 1), version: name.slice(0, dot) };
  return apiService(groupVersion, customPriority, 'true');
}

function apiService(
  { group, version }: { readonly group: string; readonly version: string },
  priority: ApiPriority,
  managed: 'onstart' | 'true',
): APIService {
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `${version}.${group}`, labels: { [label]: managed } },
    spec: {
      ...(group === '' ? {} : { group }),
      version,
      groupPriorityMinimum: priority.group,
      versionPriority: priority.version,
    },
  };
}
