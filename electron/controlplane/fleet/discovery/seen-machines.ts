// Sightings put together: which of them are of the same machine. Pure.
//
// Two addresses are one machine's when the same name was heard from both: on one link multicast DNS gives each name to
// one machine alone. A hardware address tells nothing of that, since repeaters answer for all that is behind them; nor
// does an SSH host key, which copied cards share.
import type { MachineAddress, MachineSource } from '#kube/api/fleet.ts';
import type { Announcement } from '#kube/machinery/announcement.ts';
import { parseIpv4 } from '#kube/machinery/ipv4.ts';
import type { Sighting } from './sighting.ts';
import { vendorOf } from './vendors.ts';

export interface SeenMachine {
  /** By number. */
  readonly addresses: readonly MachineAddress[];
  readonly hostNames: readonly string[];
  readonly services: readonly string[];
  readonly seenBy: readonly MachineSource[];
  readonly vendor: string | undefined;
  /** What it says to belong to. */
  readonly member: Announcement | undefined;
}

/** In the order of their first addresses. `own`: addresses of this machine, which are not looked for. */
export function seenMachines(
  sightings: readonly Sighting[],
  own: ReadonlySet<string>,
): readonly SeenMachine[] {
  const others = sightings.filter(({ address }) => !own.has(address));
  const groups = new Map<string, Set<string>>();
  for (const { address } of others) groups.set(address, groups.get(address) ?? new Set([address]));
  const firstOfName = new Map<string, string>();
  for (const { address, hostName } of others) {
    if (hostName === undefined) continue;
    const first = firstOfName.get(hostName);
    if (first === undefined) firstOfName.set(hostName, address);
    else join(groups, first, address);
  }
  const machines = [...new Set(groups.values())].map((addresses) =>
    oneMachine(others.filter(({ address }) => addresses.has(address))),
  );
  return machines.toSorted((a, b) => rank(a) - rank(b));
}

function rank({ addresses }: SeenMachine): number {
  return parseIpv4(addresses[0]?.address ?? '') ?? 0;
}

function join(groups: Map<string, Set<string>>, a: string, b: string): void {
  const [one, other] = [groups.get(a), groups.get(b)];
  if (one === undefined || other === undefined || one === other) return;
  for (const address of other) {
    one.add(address);
    groups.set(address, one);
  }
}

function oneMachine(sightings: readonly Sighting[]): SeenMachine {
  const byAddress = new Map<string, MachineAddress>();
  for (const { address, hardwareAddress, interface: from } of sightings) {
    const known = byAddress.get(address) ?? { address };
    const hardware = hardwareAddress ?? known.hardwareAddress;
    byAddress.set(address, {
      ...known,
      interface: known.interface ?? from,
      ...(hardware !== undefined && { hardwareAddress: hardware }),
    });
  }
  const addresses = [...byAddress.values()].toSorted(
    (a, b) => (parseIpv4(a.address) ?? 0) - (parseIpv4(b.address) ?? 0),
  );
  const vendors = addresses.flatMap(({ hardwareAddress = '' }) => vendorOf(hardwareAddress) ?? []);
  return {
    addresses,
    hostNames: sorted(sightings.map(({ hostName }) => hostName)),
    services: sorted(sightings.map(({ service }) => service)),
    seenBy: sorted(sightings.map(({ by }) => by)),
    vendor: vendors[0],
    member: sightings.findLast(({ member }) => member !== undefined)?.member,
  };
}

function sorted<T extends string>(texts: readonly (T | undefined)[]): readonly T[] {
  return [...new Set(texts.filter((text) => text !== undefined))].toSorted();
}

/** Names that systems have before anybody gave them one. */
const stockNames = /^(raspberrypi|ubuntu|debian|dietpi|orangepi|rock|odroid|jetson)/;
const serverServices = new Set(['_ssh._tcp', '_sftp-ssh._tcp', '_workstation._tcp']);

/**
 * Whether a person would want to see it in a list of machines, and nobody minds being asked for SSH: a computer, not
 * the television. Typed ones and those a sweep found are.
 */
export function isCandidate(machine: SeenMachine): boolean {
  const { vendor, hostNames, services, seenBy, member } = machine;
  return (
    vendor !== undefined ||
    member !== undefined ||
    seenBy.includes('Sweep') ||
    seenBy.includes('Typed') ||
    services.some((service) => serverServices.has(service)) ||
    hostNames.some((name) => stockNames.test(name))
  );
}
