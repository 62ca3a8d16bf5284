// What the search sees of the world, and the real of it.
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import type { Clock } from '#kube/base/clock.ts';
import type { SshAnswer } from '../addable.ts';
import { openLink, type Link, type LinkAddress, type LinkEvents } from './multicast-link.ts';
import { readNeighbours, type Neighbour } from './neighbour-table.ts';
import { askSsh } from './ssh-port.ts';

export interface HomeProbes {
  /** IPv4 addresses of this machine, loopback left out. */
  readonly addresses: () => readonly LinkAddress[];
  /** Rejects when the system can't tell. */
  readonly neighbours: () => Promise<readonly Neighbour[]>;
  /** Throws when the link can't be used. */
  readonly openLink: (at: LinkAddress, events: LinkEvents) => Link;
  /** `from`: the address of this machine to ask from. Never rejects. */
  readonly askSsh: (address: string, port: number, from: string | undefined) => Promise<SshAnswer>;
  /** IPv4 of a host name; rejects when there is none. */
  readonly resolve: (hostName: string) => Promise<string>;
}

export function realProbes(clock: Clock, signal: AbortSignal): HomeProbes {
  return {
    addresses: () =>
      Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
        addresses.flatMap(({ family, internal, address, cidr }) =>
          family === 'IPv4' && !internal && cidr !== null ? [{ name, address, cidr }] : [],
        ),
      ),
    neighbours: () => readNeighbours(process.platform),
    openLink,
    askSsh: (address, port, from) =>
      askSsh(address, port, { clock, signal, ...(from !== undefined && { from }) }),
    resolve: async (hostName) => (await lookup(hostName, { family: 4 })).address,
  };
}
