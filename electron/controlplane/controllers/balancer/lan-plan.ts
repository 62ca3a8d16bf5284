// Which address of the pool a Service gets and which machine answers for it: pure. Both stay as long as they can: an
// address is what people wrote down, and a move is a moment without it. Addresses that somebody else answered for are
// left out, and it counts as served once its machine says that it has it.
import type { Node, Service } from '#kube/api/core.ts';
import { keyOf } from '#kube/client/resources.ts';
import {
  isInPool,
  poolAddresses,
  poolConfigMap,
  type AddressPool,
} from '#kube/machinery/address-pool.ts';
import { isBalanced, lanAddress, readPairs, wantsLanAddress } from '#kube/machinery/balancers.ts';
import { fnv1a } from '#kube/machinery/hash.ts';
import { formatIpv4, holds, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import {
  addressOf,
  isOlder,
  type BalancerPlan,
  type BalancerWorld,
  type Refusal,
} from './world.ts';

/** `nodes`: those that may serve it. */
export function planLanAddress(
  service: Service,
  world: BalancerWorld,
  nodes: readonly Node[],
): BalancerPlan {
  const { pool } = world;
  if (pool === undefined || typeof pool === 'string') return refused(poolProblem(pool));
  const wanted = service.spec.loadBalancerIP || undefined;
  if (wanted !== undefined && !isInPool(pool, wanted))
    return refused(noAddress(`spec.loadBalancerIP: ${wanted} is not in the pool ${pool.text}`));
  const why = new Map<string, Refusal>();
  const address = freeAddress(service, { ...world, pool }, why);
  if (address === undefined) return refused(...exhausted(pool, wanted, why));
  const { metadata, status } = service;
  const near = nodes.filter((node) => isInNetworkOf(node, address));
  const holder = chosenNode(address, near, metadata.annotations?.[lanAddress.node]);
  const known = status?.loadBalancer?.ingress?.some(({ ip }) => ip === address) === true;
  const isHeld = holder !== undefined && readPairs(holder, lanAddress.held).has(address);
  const isServed = holder !== undefined && (isHeld || known);
  return {
    ingress: isServed ? [{ ip: address, ipMode: 'VIP' }] : [],
    refusals:
      holder === undefined
        ? [noAddress(`no machine that could answer for ${address} is in its network and ready`)]
        : [...why.values()].filter(({ reason }) => reason === 'AddressTaken'),
    lan: { address, node: holder?.metadata.name },
  };
}

function refused(...refusals: readonly Refusal[]): BalancerPlan {
  return { ingress: [], refusals, lan: undefined };
}

function noAddress(text: string): Refusal {
  return { reason: 'NoAddress', text };
}

function poolProblem(problem: string | undefined): Refusal {
  const { namespace, name, key } = poolConfigMap;
  return noAddress(
    problem === undefined
      ? `no addresses are left to Services: kubectl -n ${namespace} create configmap ${name} --from-literal=${key}=FIRST-LAST`
      : `the ConfigMap ${namespace}/${name}: ${key} ${problem}`,
  );
}

interface PoolWorld extends BalancerWorld {
  readonly pool: AddressPool;
}

/** The one it has, if it may keep it; else the first that is free. `why` gets what was not. */
function freeAddress(
  service: Service,
  world: PoolWorld,
  why: Map<string, Refusal>,
): string | undefined {
  const { pool, given } = world;
  const { annotations } = service.metadata;
  const wanted = service.spec.loadBalancerIP || undefined;
  const current = given.get(keyOf(service)) ?? annotations?.[lanAddress.address];
  const others = addressesOfOthers(service, world);
  const taken = takenAddresses(world.nodes);
  const machines = new Map(world.nodes.map((node) => [addressOf(node), node.metadata.name]));
  const isFree = (address: string): boolean => {
    const other = others.get(address);
    const machine = machines.get(address);
    const refusal =
      other === undefined
        ? machine === undefined
          ? taken.get(address)
          : { reason: 'AddressTaken' as const, text: `${address} is the machine ${machine}'s` }
        : noAddress(`${address} is Service ${other}'s already`);
    if (refusal !== undefined) why.set(address, refusal);
    return refusal === undefined && isInAnyNetwork(world.nodes, address);
  };
  if (wanted !== undefined) return isFree(wanted) ? wanted : undefined;
  if (current !== undefined && isInPool(pool, current) && isFree(current)) return current;
  for (const address of poolAddresses(pool)) if (isFree(address)) return address;
  return undefined;
}

/** By address: what Services have, or will have by their own word; of two that want it the older. */
function addressesOfOthers(
  service: Service,
  { services, pool, given }: PoolWorld,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const other of services) {
    const key = keyOf(other);
    if (key === keyOf(service) || !isBalanced(other) || !wantsLanAddress(other, true)) continue;
    const wanted = other.spec.loadBalancerIP || undefined;
    const has = wanted ?? given.get(key) ?? other.metadata.annotations?.[lanAddress.address];
    if (has === undefined || !isInPool(pool, has)) continue;
    const own = service.metadata.annotations?.[lanAddress.address] ?? given.get(keyOf(service));
    const isContended = own === has || service.spec.loadBalancerIP === has;
    if (!isContended || isOlder(other, service)) found.set(has, key);
  }
  return found;
}

/** What somebody else answered for; the machine that had it is no one else. */
function takenAddresses(nodes: readonly Node[]): ReadonlyMap<string, Refusal> {
  const ours = new Set(
    nodes.flatMap((node) => [...readPairs(node, lanAddress.held)].map((pair) => pair.join(' '))),
  );
  const found = new Map<string, Refusal>();
  for (const node of nodes)
    for (const [address, mac] of readPairs(node, lanAddress.taken))
      if (!ours.has(`${address} ${mac}`))
        found.set(address, {
          reason: 'AddressTaken',
          text: `${address} has somebody else: ${mac} answered when ${node.metadata.name} asked for it`,
        });
  return found;
}

function exhausted(
  pool: AddressPool,
  wanted: string | undefined,
  why: ReadonlyMap<string, Refusal>,
): Refusal[] {
  if (why.size > 0) return [...why.values()].slice(0, 5);
  return [
    noAddress(`no machine that can answer for them is in the network of ${wanted ?? pool.text}`),
  ];
}

function chosenNode(
  address: string,
  near: readonly Node[],
  current: string | undefined,
): Node | undefined {
  const weight = ({ metadata }: Node): number => fnv1a(`${address} ${metadata.name}`);
  return (
    near.find(({ metadata }) => metadata.name === current) ??
    near.toSorted((a, b) => weight(b) - weight(a))[0]
  );
}

function isInAnyNetwork(nodes: readonly Node[], address: string): boolean {
  return nodes.some((node) => isInNetworkOf(node, address));
}

/** The network of the machine's own address, which is the home's; others it may only have a route to. */
function isInNetworkOf(node: Node, address: string): boolean {
  const own = addressOf(node);
  const { annotations = {} } = node.metadata;
  // An agent that can't take any, as without root, says nothing of them.
  if (own === undefined || annotations[lanAddress.held] === undefined) return false;
  const text = annotations[podNetworkAnnotations.machineNetworks] ?? '';
  return text.split(',').some((one) => {
    const network = parseIpv4Network(one);
    if (network === undefined || !holds(network, own) || !holds(network, address)) return false;
    // The first and the last are the network itself, and all of it.
    const [first, last] = [formatIpv4(network.first), formatIpv4(network.last)];
    return network.prefixLength > 30 || (address !== first && address !== last);
  });
}
