// This machine on the network interfaces on which the home is told of something.
import type { networkInterfaces } from 'node:os';
import type { LinkAddress } from './teller.ts';

/** By a key of each. `interfaces`: names. */
export function lanLinks(
  interfaces: readonly string[],
  present: ReturnType<typeof networkInterfaces>,
): Map<string, LinkAddress> {
  const found = new Map<string, LinkAddress>();
  for (const [name, addresses = []] of Object.entries(present)) {
    if (!interfaces.includes(name)) continue;
    for (const { family, internal, address, cidr } of addresses) {
      if (family !== 'IPv4' || internal || cidr === null) continue;
      const prefixLength = Number(cidr.split('/')[1]);
      // One of a pool of addresses, which is another's tomorrow.
      if (prefixLength === 32) continue;
      found.set(`${name} ${cidr}`, { name, address, prefixLength });
    }
  }
  return found;
}
