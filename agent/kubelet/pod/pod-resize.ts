// Pure: whether the node has room for what a pod's containers were resized to. While it has not, the
// pod goes on with what it was given, which its status remembers.
// Source: kubernetes pkg/kubelet/allocation/allocation_manager.go.
import type { Container, ContainerStatus, Pod } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { amountsOf, podRequests } from '#kube/machinery/pod-resources.ts';

export interface PendingResize {
  /** Infeasible: never on this node; Deferred: when others make room. */
  readonly reason: 'Infeasible' | 'Deferred';
  readonly message: string;
}

export interface Admission {
  /** As its containers are to be now. */
  readonly pod: Pod;
  readonly pending?: PendingResize;
}

/** CPU in millicores, memory in bytes. */
type Amounts = Readonly<Record<string, number>>;

export interface NodeRoom {
  readonly allocatable: Readonly<Record<string, Quantity>>;
  readonly others: readonly Pod[];
}

export function admitResize(pod: Pod, { allocatable, others }: NodeRoom): Admission {
  const given = withGiven(pod);
  const wanted = podRequests(pod.spec);
  const has = podRequests(given.spec);
  const grown = (['cpu', 'memory'] as const).filter(
    (name) => amount(wanted, name) > amount(has, name),
  );
  if (grown.length === 0) return { pod };
  const capacity = amountsOf(allocatable);
  const used = others.map((other) => podRequests(withGiven(other).spec));
  for (const name of grown) {
    const room = capacity[name];
    if (room !== undefined && amount(wanted, name) > room) {
      const message = `Node didn't have enough capacity: ${name}, requested: ${amount(wanted, name)}, capacity: ${room}`;
      return { pod: given, pending: { reason: 'Infeasible', message } };
    }
  }
  for (const name of grown) {
    const room = capacity[name];
    const taken = used.reduce((sum, amounts) => sum + amount(amounts, name), 0);
    if (room !== undefined && amount(wanted, name) + taken > room) {
      const message = `Node didn't have enough resource: ${name}, requested: ${amount(wanted, name)}, used: ${taken}, capacity: ${room}`;
      return { pod: given, pending: { reason: 'Deferred', message } };
    }
  }
  return { pod };
}

function amount(amounts: Amounts, name: string): number {
  return amounts[name] ?? 0;
}

/** The pod with what its containers were given, as far as its status tells. */
export function withGiven(pod: Pod): Pod {
  const { status = {}, spec } = pod;
  const statuses = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
  if (statuses.every(({ resources }) => resources === undefined)) return pod;
  const given = (container: Container) => {
    const found = statuses.find(({ name }) => name === container.name);
    return found?.resources === undefined ? container : withResources(container, found);
  };
  const { initContainers } = spec;
  const kept = initContainers === undefined ? {} : { initContainers: initContainers.map(given) };
  return { ...pod, spec: { ...spec, ...kept, containers: spec.containers.map(given) } };
}

function withResources(
  container: Container,
  { resources = {}, allocatedResources }: ContainerStatus,
): Container {
  const requests = allocatedResources ?? resources.requests;
  const { requests: _, ...rest } = resources;
  return { ...container, resources: { ...rest, ...(requests === undefined ? {} : { requests }) } };
}
