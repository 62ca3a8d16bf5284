// An address of the pool on a link of this machine, by the kernel's own ARP: no raw sockets, no program but iproute2.
//  - Whether somebody has it: a datagram to it makes the kernel ask the link, three times in three seconds; its
//    neighbour table says who answered.
//  - Taken: as a /32 of the link, so that the kernel answers for it and defends it when a DHCP server asks. A macvlan
//    with a MAC of its own would move without anybody noticing, but no access point lets one in. Its scope is `host`, so
//    that nothing of this machine ever calls from it.
//  - Told: a datagram from it to an address of the link that nobody has makes the kernel ask for that one, three times,
//    as the new owner; whoever knows the address takes the new MAC from the question, as from a gratuitous ARP.
import { createSocket } from 'node:dgram';
import { delay, type Clock } from '#kube/base/clock.ts';
import { formatIpv4, holds, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { messageOf } from '../error-message.ts';
import { firstLine, type ProxySystem } from '../proxy/system.ts';
import { parseList } from '../network/machine-network.ts';

export interface LanLink {
  readonly device: string;
  readonly mac: string;
  /** The cable is in. */
  readonly isUp: boolean;
  /** `192.168.1.2/24` each; not the ones that are only answered for. */
  readonly networks: readonly string[];
  /** Those that are only answered for. */
  readonly extra: readonly string[];
}

export interface LanLinks {
  list(): Promise<readonly LanLink[]>;
  /** By which MAC somebody answered for it; undefined: nobody did. Takes three seconds. */
  whoHas(address: string, link: LanLink): Promise<string | undefined>;
  /** Throws with what the kernel said. */
  take(address: string, device: string): Promise<void>;
  /** One that is not there is fine. */
  release(address: string, device: string): Promise<void>;
  announce(address: string, link: LanLink): Promise<void>;
}

/** Nobody listens there; and if somebody does, nothing is said. */
const discardPort = 9;
const lookMs = 200;
/** The kernel's ENOENT: there was no such neighbour. */
const noEntry = 'No such file or directory';
/** The kernel gives up after three seconds. */
const patienceMs = 5_000;

export function lanLinks(system: Pick<ProxySystem, 'run'>, clock: Clock): LanLinks {
  const ip = async (...args: string[]): Promise<string> => {
    const result = await system.run('ip', args);
    if (result.exitCode !== 0) throw new Error(`ip ${args.join(' ')}: ${firstLine(result)}`);
    return result.stdout;
  };
  const forget = async (address: string, device: string): Promise<void> => {
    await ip('neigh', 'del', address, 'dev', device).catch((error: unknown) => {
      if (!messageOf(error).endsWith(noEntry)) throw error;
    });
  };
  const neighbours = async (device: string, ...more: string[]): Promise<readonly Neighbour[]> =>
    parseNeighbours(await ip('-json', 'neigh', 'show', ...more, 'dev', device));
  return {
    list: async () => parseLinks(await ip('-json', 'address', 'show')),
    async whoHas(address, { device }) {
      // What it knew of before is no answer.
      await forget(address, device);
      await send(undefined, address);
      const untilMs = clock.monotonicMs() + patienceMs;
      while (clock.monotonicMs() < untilMs) {
        const [found] = await neighbours(device, 'to', address);
        if (found?.mac !== undefined) return found.mac;
        if (found?.hasFailed === true) return undefined;
        await delay(clock, lookMs);
      }
      return undefined;
    },
    async take(address, device) {
      await ip('address', 'replace', `${address}/32`, 'dev', device, 'scope', 'host');
    },
    async release(address, device) {
      const isThere = parseLinks(await ip('-json', 'address', 'show')).some(
        (link) => link.device === device && link.extra.includes(address),
      );
      if (isThere) await ip('address', 'del', `${address}/32`, 'dev', device);
    },
    async announce(address, link) {
      const target = unknownAddress(address, link, await neighbours(link.device));
      if (target !== undefined) await send(address, target);
    },
  };
}

interface Neighbour {
  readonly address: string;
  /** Undefined while it is asked for, and when nobody answered. */
  readonly mac: string | undefined;
  readonly hasFailed: boolean;
}

function parseNeighbours(json: string): readonly Neighbour[] {
  interface Entry {
    readonly dst?: string;
    readonly lladdr?: string;
    readonly state?: readonly string[];
  }
  return (parseList(json) as readonly Entry[]).map(({ dst = '', lladdr, state = [] }) => {
    const hasFailed = state.includes('FAILED');
    return { address: dst, mac: hasFailed ? undefined : lladdr, hasFailed };
  });
}

export function parseLinks(json: string): readonly LanLink[] {
  interface Entry {
    readonly ifname?: string;
    readonly link_type?: string;
    readonly address?: string;
    readonly flags?: readonly string[];
    readonly addr_info?: readonly {
      readonly family?: string;
      readonly local?: string;
      readonly prefixlen?: number;
      readonly scope?: string;
    }[];
  }
  return (parseList(json) as readonly Entry[])
    .filter(({ link_type: type }) => type === 'ether')
    .map(({ ifname = '', address = '', flags = [], addr_info: all = [] }) => {
      const own = all.filter(({ family, local }) => family === 'inet' && local !== undefined);
      const isExtra = (one: (typeof own)[number]): boolean =>
        one.scope === 'host' && one.prefixlen === 32;
      return {
        device: ifname,
        mac: address,
        isUp: flags.includes('UP') && flags.includes('LOWER_UP'),
        networks: own
          .filter((one) => !isExtra(one))
          .map(({ local = '', prefixlen = 32 }) => `${local}/${prefixlen}`),
        extra: own.filter(isExtra).map(({ local = '' }) => local),
      };
    });
}

/** The link whose network an address is in. */
export function linkOf(address: string, links: readonly LanLink[]): LanLink | undefined {
  return links.find(({ networks }) => networks.some((one) => isWithin(one, address)));
}

function isWithin(text: string, address: string): boolean {
  const network = parseIpv4Network(text);
  return network !== undefined && network.prefixLength < 32 && holds(network, address);
}

/** One of the same network that this machine knows no MAC of: from the end, where routers give none away. */
export function unknownAddress(
  address: string,
  { networks, extra }: LanLink,
  neighbours: readonly Neighbour[],
): string | undefined {
  const network = parseIpv4Network(networks.find((one) => isWithin(one, address)) ?? '');
  if (network === undefined) return undefined;
  const known = new Set([
    address,
    ...extra,
    ...networks.map((one) => one.split('/')[0]),
    ...neighbours.flatMap((one) => (one.mac === undefined ? [] : [one.address])),
  ]);
  for (let last = network.last - 1; last > network.first; last--)
    if (!known.has(formatIpv4(last))) return formatIpv4(last);
  return undefined;
}

/** One empty datagram; `from`: an address of this machine. */
function send(from: string | undefined, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const failed = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    socket.bind(0, from, () => {
      socket.send('', discardPort, to, (error) => {
        socket.off('error', failed);
        if (error !== null) return failed(error);
        socket.close();
        return resolve();
      });
    });
  });
}
