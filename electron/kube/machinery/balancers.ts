// What the control plane and the agents agree on about LoadBalancer Services: here the home's machines are the
// balancers, each on its own addresses, or one of them on an address of the user's pool.
import type { Node, Service } from '../api/core.ts';

/** Of `spec.loadBalancerClass`, for those who want to be plain. */
export const balancerClasses = {
  /** The addresses that the machines have. */
  nodes: 'flotilla.dev/node-addresses',
  /** One of the pool's. */
  lan: 'flotilla.dev/lan-address',
} as const;

/**
 * On a Node: who listens on the ports that Services want, as `80/tcp nginx (process 12); 8080/tcp free`. Only a port
 * that was looked at is used.
 */
export const portsAnnotation = 'flotilla.dev/balancer-ports';
export const freePort = 'free';

/** One address of the pool for one Service: the control plane says which and where, that machine takes it. */
export const lanAddress = {
  /** On a Service: the address. */
  address: 'flotilla.dev/lan-address',
  /** On a Service: the Node that is to answer for it. */
  node: 'flotilla.dev/lan-address-node',
  /**
   * On a Node: the addresses it answers for and by which MAC, as `192.168.1.240 02:00:5e:00:53:01` with `; `. Not
   * there: its agent can't take any.
   */
  held: 'flotilla.dev/lan-addresses',
  /** On a Node: addresses that somebody else answered for when it asked, and by which MAC. */
  taken: 'flotilla.dev/lan-addresses-taken',
} as const;

/** No class: whatever this cluster has. */
export function isBalanced({ metadata, spec }: Service): boolean {
  if (spec.type !== 'LoadBalancer' || metadata.deletionTimestamp !== undefined) return false;
  const { loadBalancerClass } = spec;
  const ours: readonly string[] = Object.values(balancerClasses);
  return loadBalancerClass === undefined || ours.includes(loadBalancerClass);
}

/** Whether it gets an address of its own, where there is a pool or not. */
export function wantsLanAddress({ spec }: Service, hasPool: boolean): boolean {
  return spec.loadBalancerClass === undefined
    ? hasPool
    : spec.loadBalancerClass === balancerClasses.lan;
}

/** `80/tcp` each. */
export function balancedPorts({ spec }: Service): string[] {
  return (spec.ports ?? []).map(
    ({ port, protocol = 'TCP' }) => `${port}/${protocol.toLowerCase()}`,
  );
}

/** Pairs as an annotation has them, sorted: `80/tcp nginx (process 12); 443/tcp nginx (process 12)`. */
export function pairsText(pairs: ReadonlyMap<string, string>): string {
  return [...pairs]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key} ${value}`)
    .join('; ');
}

export function readPairs({ metadata }: Node, annotation: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const entry of (metadata.annotations?.[annotation] ?? '').split('; ')) {
    const space = entry.indexOf(' ');
    if (space > 0) found.set(entry.slice(0, space), entry.slice(space + 1));
  }
  return found;
}
