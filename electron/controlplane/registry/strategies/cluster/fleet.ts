// Machines of the home and the search for them. Our own kinds: no source.
import type { Discovery, Machine } from '#kube/api/fleet.ts';
import { field, invalid, tooMany, type FieldError } from '#kube/machinery/field.ts';
import { parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { dns1123SubdomainName, isDns1123Subdomain } from '#kube/machinery/names.ts';
import { isHostKey, singletonDiscovery } from '#kube/machinery/fleet.ts';
import type { Strategy } from '../../resource.ts';
import { check, isPortNumber } from '../text-rules.ts';

export const machineStrategy: Strategy<Machine> = {
  validateName: dns1123SubdomainName,
  validate({ spec = {} }) {
    const { address, sshPort, hostKey } = spec;
    const path = field('spec');
    const errors: FieldError[] = [];
    if (address !== undefined)
      errors.push(...check(path.child('address'), address, addressMessages(address)));
    if (sshPort !== undefined)
      errors.push(...check(path.child('sshPort'), sshPort, isPortNumber(sshPort)));
    if (hostKey !== undefined)
      errors.push(...check(path.child('hostKey'), hostKey, hostKeyMessages(hostKey)));
    return errors;
  },
};

function addressMessages(address: string): readonly string[] {
  if (/^[\d.]+$/.test(address))
    return parseIpv4Network(address) === undefined || address.includes('/')
      ? ['must be an IPv4 address, such as 192.168.1.20, or a host name']
      : [];
  return isDns1123Subdomain(address.toLowerCase());
}

function hostKeyMessages(hostKey: string): readonly string[] {
  return isHostKey(hostKey) ? [] : ['must be a fingerprint as `ssh-keygen -l` prints it: SHA256:…'];
}

/** A home has a handful of networks, of 254 machines each mostly. */
const maxNetworks = 8;
const smallestPrefix = 20;

export const discoveryStrategy: Strategy<Discovery> = {
  validateName: dns1123SubdomainName,
  warnings: ({ metadata: { name } }) =>
    name === singletonDiscovery
      ? []
      : [`nothing heeds it: a cluster has one search, which is named ${singletonDiscovery}`],
  validate({ spec: { sweep = [] } = {} }) {
    const path = field('spec').child('sweep');
    if (sweep.length > maxNetworks) return [tooMany(path, sweep.length, maxNetworks)];
    return sweep.flatMap((network, index) => {
      const parsed = network.includes('/') ? parseIpv4Network(network) : undefined;
      if (parsed === undefined)
        return [
          invalid(path.index(index), network, 'must be an IPv4 network, such as 192.168.1.0/24'),
        ];
      return parsed.prefixLength < smallestPrefix
        ? [
            invalid(
              path.index(index),
              network,
              `must be a /${smallestPrefix} or smaller: each of its addresses is asked`,
            ),
          ]
        : [];
    });
  },
};
