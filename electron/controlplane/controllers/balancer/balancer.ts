// Gives LoadBalancer Services the addresses of the home's machines, or one of the user's pool (plan.ts decides), as a
// cloud would give them a balancer's. Source of what it is to look like: kubernetes cloud-provider
// controllers/service/controller.go.
import type { ConfigMap, Node, Service } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { Controller } from '#kube/client/controller.ts';
import { configMaps, endpointSlices, keyOf, nodes, services } from '#kube/client/resources.ts';
import { parseAddressPool, poolConfigMap } from '#kube/machinery/address-pool.ts';
import { isBalanced, lanAddress, portsAnnotation } from '#kube/machinery/balancers.ts';
import { getCondition, removeCondition, setCondition } from '#kube/machinery/conditions.ts';
import { serviceNameLabel } from '#kube/machinery/endpoint-slices.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { recorderFor, type ControllerDeps, type RunnableController } from '../deps.ts';
import { ignoreNotFound } from '../ownership.ts';
import { externalClaims, namesExternal } from './external-claims.ts';
import { planBalancer } from './plan.ts';
import type { BalancerPlan, BalancerWorld } from './world.ts';

const sliceIndex = 'slices-of-service';
/** Of a Service; Kubernetes' name for ports that a balancer can't have. */
const portsCondition = 'LoadBalancerPortsError';
/** Of a Service: there is no address for it. */
const addressCondition = 'flotilla.dev/NoAddress';

export function createBalancerController(deps: ControllerDeps): RunnableController {
  const { client, clock, logger } = deps;
  const recorder = recorderFor(deps, 'service-controller');
  const allServices = deps.informers.informer(services);
  const allNodes = deps.informers.informer(nodes);
  const settings = deps.informers.informer(configMaps, { namespace: poolConfigMap.namespace });
  const slices = deps.informers.informer(endpointSlices, {
    indexers: { [sliceIndex]: serviceOfSlice },
  });
  /** Of each Service: what was said. */
  const told = new Map<string, string>();
  /** Of each Service with external addresses: which of them it does not get. */
  const toldClaims = new Map<string, string>();
  /** What the cache may not show yet. */
  const given = new Map<string, string>();
  // One worker: two at the same time could give the same address.
  const controller = new Controller({ name: 'balancer', clock, logger, reconcile });

  async function reconcile(key: string): Promise<void> {
    const service = allServices.lister.getByKey(key);
    const isOurs = service !== undefined && isBalanced(service);
    if (!isOurs) {
      told.delete(key);
      given.delete(key);
    }
    if (service === undefined || service.metadata.deletionTimestamp !== undefined)
      return void toldClaims.delete(key);
    tellClaims(key, service);
    if (!isOurs) return setAddress(service, undefined);
    const plan = planBalancer(service, worldOf(key));
    const text = plan.refusals.map((one) => one.text).join('; ');
    if (text !== '' && told.get(key) !== text)
      recorder.event(service, 'Warning', plan.refusals[0]?.reason ?? '', text);
    told.set(key, text);
    await setAddress(service, plan.lan);
    await setStatus(service, plan);
  }

  function tellClaims(key: string, service: Service): void {
    const text = externalClaims(service, allServices.lister.list()).join('; ');
    if (text !== '' && toldClaims.get(key) !== text)
      recorder.event(service, 'Warning', 'ExternalAddressTaken', text);
    toldClaims.set(key, text);
  }

  function worldOf(key: string): BalancerWorld {
    const { namespace, name, key: entry } = poolConfigMap;
    const found = settings.lister.get(namespace, name);
    return {
      services: allServices.lister.list(),
      nodes: allNodes.lister.list(),
      slices: slices.lister.byIndex(sliceIndex, key),
      pool: found && parseAddressPool(found.data?.[entry] ?? ''),
      given,
    };
  }

  /** Before the status: the machine takes the address, and then it is told. */
  async function setAddress(service: Service, lan: BalancerPlan['lan']): Promise<void> {
    const { namespace, name, uid, annotations: has = {} } = service.metadata;
    const key = keyOf(service);
    const annotations = {
      [lanAddress.address]: lan?.address ?? null,
      [lanAddress.node]: lan?.node ?? null,
    };
    if (lan === undefined) given.delete(key);
    else given.set(key, lan.address);
    if (Object.entries(annotations).every(([at, value]) => (has[at] ?? null) === value)) return;
    logger.info('An address of the pool', { service: key, ...lan });
    await client
      .patch(services, { namespace, name }, { metadata: { uid, annotations } })
      .catch(ignoreNotFound);
  }

  async function setStatus(service: Service, plan: BalancerPlan): Promise<void> {
    const { ingress } = plan;
    const { namespace, name, uid } = service.metadata;
    const conditions = conditionsOf(service, plan, rfc3339(clock.now()));
    const known = service.status ?? {};
    if (
      deepEqual(known.loadBalancer?.ingress ?? [], ingress) &&
      deepEqual(known.conditions ?? [], conditions)
    )
      return;
    const loadBalancer = { ingress: ingress.length === 0 ? null : ingress };
    const patch = { metadata: { uid }, status: { loadBalancer, conditions } };
    await client
      .patch(services, { namespace, name }, patch, { subresource: 'status' })
      .catch(ignoreNotFound);
  }

  /** One's port or address may be what another waits for. */
  const enqueueAll = (): void => {
    for (const service of allServices.lister.list())
      if (isBalanced(service)) controller.enqueue(keyOf(service));
  };
  const enqueueClaimants = (): void => {
    for (const service of allServices.lister.list())
      if (namesExternal(service)) controller.enqueue(keyOf(service));
  };
  const onService = (service: Service): void => {
    if (isBalanced(service)) enqueueAll();
    if (namesExternal(service)) enqueueClaimants();
  };
  controller.watchWith(allServices, {
    onAdd: onService,
    onUpdate(old, service) {
      if (isBalanced(old) && !isBalanced(service)) controller.enqueue(keyOf(service));
      if (isBalanced(old) || isBalanced(service)) enqueueAll();
      if (namesExternal(old) || namesExternal(service)) enqueueClaimants();
    },
    onDelete: onService,
  });
  controller.watchWith(allNodes, {
    onAdd: enqueueAll,
    onUpdate(old, node) {
      // Heartbeats change none of it.
      if (outline(old) !== outline(node)) enqueueAll();
    },
    onDelete: enqueueAll,
  });
  const onSettings = ({ metadata }: ConfigMap): void => {
    if (metadata.name === poolConfigMap.name) enqueueAll();
  };
  controller.watchWith(settings, {
    onAdd: onSettings,
    onUpdate: (_old, config) => onSettings(config),
    onDelete: onSettings,
  });
  controller.watch(slices, serviceOfSlice);
  return controller;
}

function serviceOfSlice({ metadata }: { metadata: Service['metadata'] }): string[] {
  const name = metadata.labels?.[serviceNameLabel];
  return name === undefined ? [] : [`${metadata.namespace}/${name}`];
}

const nodeAnnotations = [
  portsAnnotation,
  ingressNode.portsAnnotation,
  lanAddress.held,
  lanAddress.taken,
  podNetworkAnnotations.machineNetworks,
];

/** All of a Node that counts here. */
function outline({ metadata, status }: Node): string {
  const { annotations = {}, labels } = metadata;
  return JSON.stringify([
    getCondition(status?.conditions, 'Ready')?.status,
    status?.addresses,
    labels,
    nodeAnnotations.map((name) => annotations[name]),
  ]);
}

function conditionsOf(
  { status }: Service,
  { ingress, refusals }: BalancerPlan,
  now: string,
): NonNullable<NonNullable<Service['status']>['conditions']> {
  let conditions = status?.conditions ?? [];
  const ofPorts = refusals.filter(({ reason }) => reason === 'PortTaken');
  const ofAddress = ingress.length > 0 ? [] : refusals.filter((one) => !ofPorts.includes(one));
  for (const [type, why] of [
    [portsCondition, ofPorts],
    [addressCondition, ofAddress],
  ] as const) {
    const [first] = why;
    if (first === undefined) {
      conditions = removeCondition(conditions, type);
      continue;
    }
    const message = why.map(({ text }) => text).join('; ');
    conditions = setCondition(
      conditions,
      { type, status: 'True', reason: first.reason, message },
      now,
    );
  }
  return conditions;
}
