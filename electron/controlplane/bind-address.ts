// What follows from where the API listens: the addresses that its certificate names, and the one that pods and
// other machines are told.
import { networkInterfaces } from 'node:os';

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

/** Of interfaces to the outside: neither containers' nor virtual machines'. */
export function machineAddresses(interfaces = networkInterfaces()): readonly string[] {
  return Object.entries(interfaces)
    .filter(([name]) => !/^(docker|br-|flt-|flv-|veth|virbr)/.test(name))
    .flatMap(([, entries = []]) => entries)
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .toSorted((a, b) => Number(isAlone(a)) - Number(isAlone(b)))
    .map(({ address }) => address);
}

/** One of a pool of addresses, perhaps, which this machine only answers for: not first. */
function isAlone({ cidr }: { readonly cidr: string | null }): boolean {
  return cidr?.endsWith('/32') === true;
}
