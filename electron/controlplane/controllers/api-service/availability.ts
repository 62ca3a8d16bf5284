// Says of each APIService of another server whether that can be asked: in the condition Available,
// by which requests are passed on or refused. Looked at again when its Service or endpoints change,
// and every half minute, since a server may break without anybody being told.
// Source: kubernetes kube-aggregator pkg/controllers/status/remote/remote_available_controller.go.
import type { APIService, APIServiceCondition } from '#kube/api/apiregistration.ts';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller, type ReconcileResult } from '#kube/client/controller.ts';
import { apiServices, endpointSlices, services } from '#kube/client/resources.ts';
import { getCondition, setCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import type { ControllerDeps, RunnableController } from '../deps.ts';

const againMs = 30_000;
const failedCheck = 'FailedDiscoveryCheck';
const localMessage = 'Local APIServices are always available';
/** Informers are shared: the name must be ours alone. */
const serviceIndex = 'service-of-api-service';
const serviceLabel = 'kubernetes.io/service-name';

export function createApiServiceAvailability(deps: ControllerDeps): RunnableController {
  const { client, informers, clock } = deps;
  const registered = informers.informer(apiServices, {
    indexers: { [serviceIndex]: serviceKeyOf },
  });
  const allServices = informers.informer(services);
  const slices = informers.informer(endpointSlices, { indexers: { [serviceIndex]: sliceKeyOf } });
  const controller = new Controller({
    name: 'api-service-availability',
    clock,
    logger: deps.logger,
    maxDelayMs: againMs,
    reconcile,
  });
  const behind = (key: string): string[] =>
    registered.lister.byIndex(serviceIndex, key).map(({ metadata }) => metadata.name);
  controller.watch(registered);
  controller.watch(allServices, ({ metadata }) =>
    behind(`${metadata.namespace ?? ''}/${metadata.name}`),
  );
  controller.watch(slices, (slice) => sliceKeyOf(slice).flatMap(behind));

  async function reconcile(name: string): Promise<ReconcileResult> {
    const apiService = registered.lister.get('', name);
    if (apiService === undefined) return {};
    const condition = await conditionOf(apiService);
    await write(apiService, condition);
    // A server that only just began to listen is asked again soon, then less and less often.
    if (condition.reason === failedCheck) throw new Error(`${name}: ${condition.message}`);
    return apiService.spec.service === undefined ? {} : { requeueAfterMs: againMs };
  }

  async function conditionOf(apiService: APIService): Promise<Condition> {
    const reference = apiService.spec.service;
    if (reference === undefined) return available('Local', localMessage);
    const { namespace = '', name = '', port = 443 } = reference;
    const service = allServices.lister.get(namespace, name);
    const ofService = slices.lister.byIndex(serviceIndex, `${namespace}/${name}`);
    const problem = endpointProblem({ namespace, name, port }, service, ofService);
    if (problem !== undefined) return problem;
    const why = await deps.probeApiService(apiService);
    return why === undefined
      ? available('Passed', 'all checks passed')
      : unavailable(failedCheck, why);
  }

  async function write(apiService: APIService, condition: Condition): Promise<void> {
    const { conditions = [] } = apiService.status ?? {};
    const old = getCondition(conditions, 'Available');
    const next = setCondition(conditions, condition, rfc3339(clock.now()));
    if (deepEqual(getCondition(next, 'Available'), old)) return;
    const status = { ...apiService.status, conditions: next };
    await client.updateStatus(apiServices, { ...apiService, status });
  }
  return controller;
}

type Condition = Omit<APIServiceCondition, 'lastTransitionTime'>;

function available(reason: string, message: string): Condition {
  return { type: 'Available', status: 'True', reason, message };
}

function unavailable(reason: string, message: string): Condition {
  return { type: 'Available', status: 'False', reason, message };
}

/** What can be told without asking the server; undefined: nothing is wrong yet. */
export function endpointProblem(
  {
    namespace,
    name,
    port,
  }: { readonly namespace: string; readonly name: string; readonly port: number },
  service: Service | undefined,
  slices: readonly EndpointSlice[],
): Condition | undefined {
  const what = `service/${name} in ${JSON.stringify(namespace)}`;
  if (service === undefined) return unavailable('ServiceNotFound', `${what} is not present`);
  if ((service.spec.type ?? 'ClusterIP') !== 'ClusterIP') return undefined;
  const found = service.spec.ports?.find((entry) => entry.port === port);
  if (found === undefined)
    return unavailable('ServicePortError', `${what} is not listening on port ${port}`);
  if (slices.length === 0)
    return unavailable('EndpointsNotFound', `cannot find endpointslices for ${what}`);
  const portName = found.name ?? '';
  if (slices.some((slice) => hasReadyEndpoint(slice, portName))) return undefined;
  return unavailable(
    'MissingEndpoints',
    `endpointslices for ${what} have no addresses with port name ${JSON.stringify(portName)}`,
  );
}

function hasReadyEndpoint({ endpoints, ports = [] }: EndpointSlice, portName: string): boolean {
  const isReady = (endpoints ?? []).some(({ conditions }) => conditions?.ready !== false);
  return isReady && ports.some(({ name = '', port }) => name === portName && port !== undefined);
}

function serviceKeyOf({ spec: { service } }: APIService): string[] {
  return service === undefined ? [] : [`${service.namespace ?? ''}/${service.name ?? ''}`];
}

function sliceKeyOf({ metadata }: EndpointSlice): string[] {
  const name = metadata.labels?.[serviceLabel];
  return name === undefined ? [] : [`${metadata.namespace ?? ''}/${name}`];
}
