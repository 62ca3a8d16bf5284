// Which machines a LoadBalancer Service is reached at: pure. Every one that is ready, whose ports it wants are
// free there: of other Services (the older has them), of Ingresses, of the machine's own programs.
import type { LoadBalancerIngress, Node, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import {
  balancedPorts,
  isBalanced,
  portsTakenAnnotation,
  readPortsTaken,
} from '#kube/machinery/balancers.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { keyOf } from '#kube/client/resources.ts';

export interface BalancerWorld {
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  /** Of the Service. */
  readonly slices: readonly EndpointSlice[];
}

export interface BalancerPlan {
  /** Sorted by address. */
  readonly ingress: readonly LoadBalancerIngress[];
  /** Why a machine is left out, a sentence each. */
  readonly refusals: readonly string[];
}

const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';

export function planBalancer(service: Service, world: BalancerWorld): BalancerPlan {
  const refusals: string[] = [];
  const ingress: LoadBalancerIngress[] = [];
  const rival = rivalOf(service, world.services);
  if (rival !== undefined) return { ingress, refusals: [rival] };
  const near = service.spec.externalTrafficPolicy === 'Local' ? nodesOf(world.slices) : undefined;
  for (const node of world.nodes.toSorted(byName)) {
    const { name } = node.metadata;
    const address = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
    if (address === undefined || !isServing(node) || near?.has(name) === false) continue;
    const taken = takenOn(node, service);
    if (taken === undefined) ingress.push({ ip: address, ipMode: 'VIP' });
    else refusals.push(`${name}: ${taken}`);
  }
  return { ingress: ingress.toSorted((a, b) => ((a.ip ?? '') < (b.ip ?? '') ? -1 : 1)), refusals };
}

function byName(a: Node, b: Node): number {
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

function isServing({ metadata, status }: Node): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready?.status === 'True' && !(excludeLabel in (metadata.labels ?? {}));
}

/** The oldest of those that want one of the ports has all of them. */
function rivalOf(service: Service, all: readonly Service[]): string | undefined {
  const wanted = new Set(balancedPorts(service));
  const older = all
    .filter((other) => isBalanced(other) && isOlder(other, service))
    .flatMap((other) => balancedPorts(other).map((port) => ({ port, owner: keyOf(other) })));
  const found = older.find(({ port }) => wanted.has(port));
  return found && `port ${found.port} is the older Service ${found.owner}'s already`;
}

function isOlder(other: Service, service: Service): boolean {
  const key = ({ metadata }: Service): string =>
    `${metadata.creationTimestamp ?? ''} ${metadata.namespace}/${metadata.name}`;
  return key(other) < key(service);
}

function takenOn({ metadata }: Node, service: Service): string | undefined {
  const { annotations = {} } = metadata;
  const ofIngress = (annotations[ingressNode.portsAnnotation] ?? '').split(',');
  const holders = readPortsTaken(annotations[portsTakenAnnotation] ?? '');
  for (const port of balancedPorts(service)) {
    if (port.endsWith('/tcp') && ofIngress.includes(port.slice(0, -'/tcp'.length)))
      return `port ${port} serves Ingresses there`;
    const holder = holders.get(port);
    if (holder !== undefined) return `port ${port} is taken by ${holder}`;
  }
  return undefined;
}

function nodesOf(slices: readonly EndpointSlice[]): ReadonlySet<string> {
  const ready = slices
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false);
  return new Set(ready.flatMap(({ nodeName }) => (nodeName === undefined ? [] : [nodeName])));
}
