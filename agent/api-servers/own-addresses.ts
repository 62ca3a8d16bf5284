// The addresses that this machine has now.
import { networkInterfaces } from 'node:os';
import { isWithin } from '../proxy/addresses.ts';

export function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return new Set(all.map(({ address }) => address));
}

/** One of its pods, or this machine itself: nobody on the network. */
export function isWithinMachine(address: string, podCidr: string): boolean {
  return isWithin(address, podCidr) || ownAddresses().has(address);
}
