// How well the home is heard, in words: the answer to "why is my Raspberry Pi not here?". Pure.
import type { DiscoveryInterface } from '#kube/api/fleet.ts';
import type { Condition } from '#kube/api/meta.ts';

type Verdict = Omit<Condition, 'lastTransitionTime'>;

/** `wanted`: names of interfaces. `problems`: by interface, why it can't be searched. */
export function searching(
  wanted: 'off' | readonly string[],
  open: readonly DiscoveryInterface[],
  problems: ReadonlyMap<string, string>,
): Verdict {
  const type = 'Searching';
  if (wanted === 'off')
    return {
      type,
      status: 'False',
      reason: 'Off',
      message: 'The search is off: start with --discovery and the name of a network interface',
    };
  const told = wanted
    .filter((name) => !open.some((one) => one.name === name))
    .map(
      (name) => `${name}: ${problems.get(name) ?? 'no such interface, or it has no IPv4 address'}`,
    );
  if (open.length === 0)
    return { type, status: 'False', reason: 'NoInterface', message: told.join('; ') };
  const where = `On ${open.map(({ name, address }) => `${name} (${address})`).join(', ')}`;
  return { type, status: 'True', reason: 'Searching', message: [where, ...told].join('; ') };
}

/** What there is on all links together. No numbers: devices come and go, and each change would be a write. */
export interface Hearing {
  readonly isSearching: boolean;
  /** Somebody answers multicast DNS. */
  readonly isHeard: boolean;
  readonly hasNeighbours: boolean;
}

export function hears({ isSearching, isHeard, hasNeighbours }: Hearing): Verdict {
  const type = 'Hears';
  if (!isSearching)
    return { type, status: 'Unknown', reason: 'NotSearching', message: 'Nothing is searched' };
  if (isHeard)
    return { type, status: 'True', reason: 'Heard', message: 'Devices answer multicast DNS' };
  if (hasNeighbours)
    return {
      type,
      status: 'False',
      reason: 'MulticastFiltered',
      message:
        'Devices are there, and none answers multicast DNS: the router, the access point or a firewall ' +
        'may drop it (IGMP snooping, "multicast to unicast", guest network). Type the address, or let the network be swept',
    };
  return {
    type,
    status: 'False',
    reason: 'NothingHeard',
    message: 'No device is heard at all: is this the network the machines are on?',
  };
}

/** `others`: networks that somebody wants swept and that no searched interface is on. */
export function sweeps(others: readonly string[], open: readonly DiscoveryInterface[]): Verdict {
  const type = 'Sweeps';
  if (others.length === 0)
    return { type, status: 'True', reason: 'OwnNetworks', message: 'Only what a person agreed to' };
  const where = open.map(({ name, address }) => `${name} (${address})`).join(', ') || 'none';
  return {
    type,
    status: 'False',
    reason: 'OtherNetwork',
    message: `Not asked, as no searched interface is on it: ${others.join(', ')}. Searched: ${where}`,
  };
}
