// What a pod asks for and may use at most, as scheduler and kubelet count it: containers run
// together, init containers one after the other, sidecars beside both, overhead on top.
// Source: kubernetes component-helpers resource/helpers.go (PodRequests, PodLimits).
import type { Container, Pod, PodSpec } from '../api/core.ts';
import type { Quantity } from '../api/scalars.ts';
import { getCondition } from './conditions.ts';
import { toInteger, toMilli } from './quantity.ts';

/** By resource name: `cpu` in millicores, everything else in whole units (bytes, counts). */
export type ResourceAmounts = Record<string, number>;

export function amountOf(resource: string, quantity: Quantity): number {
  return resource === 'cpu' ? toMilli(quantity) : toInteger(quantity);
}

export function amountsOf(list: Readonly<Record<string, Quantity>> | undefined): ResourceAmounts {
  const amounts: ResourceAmounts = {};
  for (const [resource, quantity] of Object.entries(list ?? {}))
    amounts[resource] = amountOf(resource, quantity);
  return amounts;
}

export interface PodRequestOptions {
  /** What a container that states no request of a resource counts as (for scoring). */
  readonly missingRequests?: Readonly<ResourceAmounts>;
}

/** What has to be free on a node for the pod. */
export function podRequests(spec: PodSpec, options: PodRequestOptions = {}): ResourceAmounts {
  const { missingRequests = {} } = options;
  const total = sumOfContainers(spec, (container) => ({
    ...missingRequests,
    ...amountsOf(container.resources?.requests),
  }));
  override(total, amountsOf(spec.resources?.requests));
  addTo(total, amountsOf(spec.overhead));
  return total;
}

/**
 * The spec with what its containers count for on their node: while a resize goes on, the most of what they ask for,
 * were given and have; what can never be given is not counted. Source: `determineContainerReqs` there.
 */
export function countedSpec({ spec, status = {} }: Pod): PodSpec {
  const statuses = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
  const pending = getCondition(status.conditions, 'PodResizePending');
  const isInfeasible = pending?.status === 'True' && pending.reason === 'Infeasible';
  const counted = (container: Container): Container => {
    const found = statuses.find(({ name }) => name === container.name);
    if (found?.resources === undefined) return container;
    const asked = container.resources?.requests;
    const has = [found.allocatedResources, found.resources.requests];
    const requests = most(isInfeasible ? has : [asked, ...has]);
    return { ...container, resources: { ...container.resources, requests } };
  };
  if (statuses.every(({ resources }) => resources === undefined)) return spec;
  const { initContainers } = spec;
  return {
    ...spec,
    containers: spec.containers.map(counted),
    ...(initContainers !== undefined && { initContainers: initContainers.map(counted) }),
  };
}

type Quantities = Readonly<Record<string, Quantity>>;

function most(lists: readonly (Quantities | undefined)[]): Record<string, Quantity> {
  const result: Record<string, Quantity> = {};
  for (const list of lists)
    for (const [name, quantity] of Object.entries(list ?? {})) {
      const known = result[name];
      if (known === undefined || amountOf(name, quantity) > amountOf(name, known))
        result[name] = quantity;
    }
  return result;
}

/** What the pod may use at most; a resource that some container leaves open has no entry for it. */
export function podLimits(spec: PodSpec): ResourceAmounts {
  const total = sumOfContainers(spec, (container) => amountsOf(container.resources?.limits));
  override(total, amountsOf(spec.resources?.limits));
  for (const [resource, amount] of Object.entries(amountsOf(spec.overhead)))
    if (total[resource] !== undefined) total[resource] += amount;
  return total;
}

/** An init container that restarts always: it keeps running beside the app containers. */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

function sumOfContainers(
  spec: PodSpec,
  amounts: (container: Container) => ResourceAmounts,
): ResourceAmounts {
  const running: ResourceAmounts = {};
  for (const container of spec.containers) addTo(running, amounts(container));
  const sidecars: ResourceAmounts = {};
  const peak: ResourceAmounts = {};
  for (const container of spec.initContainers ?? []) {
    const own = amounts(container);
    if (isSidecar(container)) {
      addTo(running, own);
      addTo(sidecars, own);
      raiseTo(peak, sidecars);
    } else raiseTo(peak, sumOf(own, sidecars));
  }
  raiseTo(running, peak);
  return running;
}

/** Pod-level resources, where given, stand for the sum of the containers'. */
function override(total: ResourceAmounts, podLevel: ResourceAmounts): void {
  Object.assign(total, podLevel);
}

function addTo(total: ResourceAmounts, more: Readonly<ResourceAmounts>): void {
  for (const [resource, amount] of Object.entries(more))
    total[resource] = (total[resource] ?? 0) + amount;
}

function sumOf(a: Readonly<ResourceAmounts>, b: Readonly<ResourceAmounts>): ResourceAmounts {
  const total = { ...a };
  addTo(total, b);
  return total;
}

function raiseTo(total: ResourceAmounts, atLeast: Readonly<ResourceAmounts>): void {
  for (const [resource, amount] of Object.entries(atLeast))
    total[resource] = Math.max(total[resource] ?? 0, amount);
}
