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

export function hears(open: readonly DiscoveryInterface[]): Verdict {
  const type = 'Hears';
  const total = (of: 'heard' | 'neighbours'): number => open.reduce((sum, one) => sum + one[of], 0);
  const [heard, neighbours] = [total('heard'), total('neighbours')];
  if (open.length === 0)
    return { type, status: 'Unknown', reason: 'NotSearching', message: 'Nothing is searched' };
  if (heard > 0)
    return {
      type,
      status: 'True',
      reason: 'Heard',
      message: `${heard} devices answer multicast DNS, ${neighbours} were spoken to`,
    };
  if (neighbours > 0)
    return {
      type,
      status: 'False',
      reason: 'MulticastFiltered',
      message:
        `${neighbours} devices are there, none answers multicast DNS: the router, the access point or a firewall ` +
        'may drop it (IGMP snooping, "multicast to unicast", guest network). Type the address, or let the network be swept',
    };
  return {
    type,
    status: 'False',
    reason: 'NothingHeard',
    message: 'No device is heard at all: is this the network the machines are on?',
  };
}
