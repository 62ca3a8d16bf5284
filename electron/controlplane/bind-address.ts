// What follows from where the API listens: the addresses that its certificate names, and the one that pods and
// other machines are told.
import { machineAddresses } from '#platform/machine-addresses.ts';

export { machineAddresses };

export const everywhere = '0.0.0.0';

/**
 * Agents know the server by its name, `kubernetes`, so that addresses may change; others may ask by address, and pods do
 * by the Service's.
 */
export function servingNames(
  bindAddress: string,
  serviceIp: string,
  own: readonly string[] = machineAddresses(),
): { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] } {
  return { dnsNames: [], ipAddresses: [serviceIp, ...listenedAddresses(bindAddress, own)] };
}

export function listenedAddresses(
  bindAddress: string,
  own: readonly string[] = machineAddresses(),
): readonly string[] {
  return bindAddress === everywhere ? own : [bindAddress];
}

/** Undefined while it listens on loopback only. */
export function addressForOthers(
  bindAddress: string,
  own: readonly string[] = machineAddresses(),
): string | undefined {
  if (bindAddress.startsWith('127.')) return undefined;
  return bindAddress === everywhere ? own[0] : bindAddress;
}
