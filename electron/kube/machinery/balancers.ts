// What the control plane and the agents agree on about LoadBalancer Services: here the home's machines are the
// balancers, each on its own addresses.
import type { Service } from '../api/core.ts';

/** Of `spec.loadBalancerClass`, for those who want to be plain; without a class a Service is ours as well. */
export const balancerClass = 'flotilla.dev/node-addresses';

/** On a Node: ports that programs of its own listen on and that Services want, as `80/tcp nginx (process 12)` with `; `. */
export const portsTakenAnnotation = 'flotilla.dev/ports-taken';

export function isBalanced({ metadata, spec }: Service): boolean {
  if (spec.type !== 'LoadBalancer' || metadata.deletionTimestamp !== undefined) return false;
  return spec.loadBalancerClass === undefined || spec.loadBalancerClass === balancerClass;
}

/** `80/tcp` each. */
export function balancedPorts({ spec }: Service): string[] {
  return (spec.ports ?? []).map(
    ({ port, protocol = 'TCP' }) => `${port}/${protocol.toLowerCase()}`,
  );
}

export function portsTakenText(taken: ReadonlyMap<string, string>): string {
  return [...taken]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([port, holder]) => `${port} ${holder}`)
    .join('; ');
}

/** By port: who holds it. */
export function readPortsTaken(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const entry of text.split('; ')) {
    const space = entry.indexOf(' ');
    if (space > 0) found.set(entry.slice(0, space), entry.slice(space + 1));
  }
  return found;
}
