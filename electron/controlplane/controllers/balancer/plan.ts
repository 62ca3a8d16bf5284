// Where a LoadBalancer Service is reached: pure. On an address of the user's pool (lan-plan.ts), or on each machine
// that is ready and whose ports it wants are free there: of other Services (the older has them), of Ingresses, of the
// machine's own programs.
import type { LoadBalancerIngress, Node, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { keyOf } from '#kube/client/resources.ts';
import {
  balancedPorts,
  isBalanced,
  freePort,
  portsAnnotation,
  readPairs,
  wantsLanAddress,
} from '#kube/machinery/balancers.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { servedPorts } from '#kube/machinery/ingress.ts';
import { planLanAddress } from './lan-plan.ts';
import {
  addressOf,
  isOlder,
  type BalancerPlan,
  type BalancerWorld,
  type Refusal,
} from './world.ts';

const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';

export function planBalancer(service: Service, world: BalancerWorld): BalancerPlan {
  const near = service.spec.externalTrafficPolicy === 'Local' ? nodesOf(world.slices) : undefined;
  const nodes = world.nodes
    .filter((node) => isServing(node) && near?.has(node.metadata.name) !== false)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return wantsLanAddress(service, world.pool !== undefined)
    ? planLanAddress(service, world, nodes)
    : planNodeAddresses(service, world, nodes);
}

function planNodeAddresses(
  service: Service,
  world: BalancerWorld,
  nodes: readonly Node[],
): BalancerPlan {
  const refusals: Refusal[] = [];
  const ingress: LoadBalancerIngress[] = [];
  const rival = rivalOf(service, world);
  const wanted = service.spec.loadBalancerIP || undefined;
  if (rival !== undefined) refusals.push({ reason: 'PortTaken', text: rival });
  else if (!isSomewhere(service, world))
    refusals.push({
      reason: 'NoAddress',
      text: `spec.loadBalancerIP: no machine has the address ${wanted}, and it is not in a pool of addresses`,
    });
  else
    for (const node of nodes) {
      const ip = addressOf(node);
      if (ip === undefined || (wanted !== undefined && ip !== wanted)) continue;
      const taken = takenOn(node, service);
      if (taken === undefined) ingress.push({ ip, ipMode: 'VIP' });
      else if (taken !== notLooked)
        refusals.push({ reason: 'PortTaken', text: `${node.metadata.name}: ${taken}` });
    }
  return {
    ingress: ingress.toSorted((a, b) => ((a.ip ?? '') < (b.ip ?? '') ? -1 : 1)),
    refusals,
    lan: undefined,
  };
}

function isServing({ metadata, status }: Node): boolean {
  return isConditionTrue(status?.conditions, 'Ready') && !(excludeLabel in (metadata.labels ?? {}));
}

/** The address that it asks for, if it asks for one, is a machine's. */
function isSomewhere({ spec }: Service, { nodes }: BalancerWorld): boolean {
  const wanted = spec.loadBalancerIP || undefined;
  return wanted === undefined || nodes.some((node) => addressOf(node) === wanted);
}

/** The oldest of those that want one of the ports has all of them; node ports are on every machine. */
function rivalOf(service: Service, world: BalancerWorld): string | undefined {
  const { services, pool } = world;
  const wanted = new Set(balancedPorts(service));
  for (const other of services) {
    if (keyOf(other) === keyOf(service)) continue;
    const isRival =
      isBalanced(other) &&
      !wantsLanAddress(other, pool !== undefined) &&
      isSomewhere(other, world) &&
      isOlder(other, service);
    const port = isRival ? balancedPorts(other).find((one) => wanted.has(one)) : undefined;
    if (port !== undefined) return `port ${port} is the older Service ${keyOf(other)}'s already`;
    const nodePort = nodePortsOf(other).find((one) => wanted.has(one));
    if (nodePort !== undefined)
      return `port ${nodePort} is the node port of Service ${keyOf(other)}`;
  }
  return undefined;
}

function nodePortsOf({ spec }: Service): string[] {
  return (spec.ports ?? []).flatMap(({ nodePort = 0, protocol = 'TCP' }) =>
    nodePort === 0 ? [] : [`${nodePort}/${protocol.toLowerCase()}`],
  );
}

/** Its agent has yet to say whether somebody has the port. */
const notLooked = '';

function takenOn(node: Node, service: Service): string | undefined {
  const ofIngress = Object.values(servedPorts(node)).map((port) => `${port}/tcp`);
  const holders = readPairs(node, portsAnnotation);
  for (const port of balancedPorts(service)) {
    if (ofIngress.includes(port)) return `port ${port} serves Ingresses there`;
    const holder = holders.get(port);
    if (holder === undefined) return notLooked;
    if (holder !== freePort) return `port ${port} is taken by ${holder}`;
  }
  return undefined;
}

function nodesOf(slices: readonly EndpointSlice[]): ReadonlySet<string> {
  const ready = slices
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false);
  return new Set(ready.flatMap(({ nodeName }) => (nodeName === undefined ? [] : [nodeName])));
}
