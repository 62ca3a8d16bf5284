// "Why is my Pi not here?": what the search says of itself, in lines with a way on. Pure.
// Reasons: electron/controlplane/fleet/discovery/hearing.ts.
import type { Discovery } from '#kube/api/fleet.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import {
  formatIpv4Network,
  parseIpv4,
  parseIpv4Network,
  type Ipv4Network,
} from '#kube/machinery/ipv4.ts';
import { joinWords } from './format.ts';
import type { SeenMachine } from './seen-machine.ts';
import type { Tone } from './vocabulary.ts';

export interface SearchLine {
  readonly tone: Tone;
  readonly text: string;
  /** What to do about it; '' when there is nothing. */
  readonly hint: string;
  readonly original: string;
}

export type Sweep =
  /** Nothing can be asked: the search is off, or on no network. */
  | { readonly kind: 'impossible' }
  | {
      readonly kind: 'unasked' | 'asking' | 'asked';
      /** Own networks, as CIDR. */
      readonly networks: readonly string[];
      readonly addresses: number;
    };

export interface SearchView {
  readonly isOff: boolean;
  readonly isSearching: boolean;
  readonly lines: readonly SearchLine[];
  readonly sweep: Sweep;
}

export function describeSearch(
  search: Discovery | undefined,
  seen: readonly SeenMachine[],
): SearchView {
  const conditions = search?.status?.conditions;
  const searching = getCondition(conditions, 'Searching');
  const isSearching = searching?.status === 'True';
  const lines = [
    ...searchingLine(search),
    ...(isSearching ? [...hearsLine(search), ...sweepsLine(search), ...closedLine(seen)] : []),
  ];
  return { isOff: searching?.reason === 'Off', isSearching, lines, sweep: sweepOf(search) };
}

function searchingLine(search: Discovery | undefined): SearchLine[] {
  const condition = getCondition(search?.status?.conditions, 'Searching');
  if (condition === undefined) return [];
  const original = condition.message;
  if (condition.reason === 'Off')
    return [
      {
        tone: 'asleep',
        text: 'Flotilla does not look for machines',
        hint: 'Start it with --discovery and the name of your network interface, such as --discovery eth0. Typing an address works without.',
        original,
      },
    ];
  if (condition.status !== 'True')
    return [
      {
        tone: 'trouble',
        text: 'Flotilla can look on none of the networks it was told of',
        hint: `${original}.`,
        original,
      },
    ];
  const interfaces = search?.status?.interfaces ?? [];
  const where = joinWords(interfaces.map(({ name, address }) => `${name} (${address})`));
  return [
    {
      tone: 'ok',
      text: `Flotilla looks on ${where}`,
      hint: 'A machine on another network, such as a guest Wi-Fi, is not noticed: type its address.',
      original,
    },
  ];
}

function hearsLine(search: Discovery | undefined): SearchLine[] {
  const condition = getCondition(search?.status?.conditions, 'Hears');
  if (condition === undefined) return [];
  const original = condition.message;
  switch (condition.reason) {
    case 'Heard':
      return [{ tone: 'ok', text: 'Other devices tell their names here', hint: '', original }];
    case 'MulticastFiltered':
      return [
        {
          tone: 'wait',
          text: 'Devices are there, but none can tell its name',
          hint: 'The router, the access point or a firewall keeps such calls back (IGMP snooping, a guest network). Ask the whole network below, or type the address.',
          original,
        },
      ];
    case 'NothingHeard':
      return [
        {
          tone: 'wait',
          text: 'No other device is heard at all',
          hint: 'Is this the network that the machine is on?',
          original,
        },
      ];
    default:
      return [];
  }
}

function sweepsLine(search: Discovery | undefined): SearchLine[] {
  const condition = getCondition(search?.status?.conditions, 'Sweeps');
  if (condition?.status !== 'False') return [];
  const text = 'Some networks that you named were not asked';
  return [{ tone: 'wait', text, hint: `${condition.message}.`, original: condition.message }];
}

/** The commonest of all reasons. */
function closedLine(seen: readonly SeenMachine[]): SearchLine[] {
  const closed = seen.filter(({ wantsCard }) => wantsCard);
  if (closed.length === 0) return [];
  const names = joinWords(closed.map(({ name }) => name));
  return [
    {
      tone: 'wait',
      text: `${names} ${closed.length === 1 ? 'is' : 'are'} here with SSH turned off`,
      hint: 'Prepare the card as below, and start it again.',
      original: closed[0]?.original ?? '',
    },
  ];
}

/** The API takes none that is larger; of such a network the neighbourhood of one's own address is asked. */
const largestPrefix = 20;
const neighbourhoodPrefix = 24;

function sweepOf(search: Discovery | undefined): Sweep {
  const interfaces = search?.status?.interfaces ?? [];
  const parsed = interfaces.flatMap(({ address }) => ownNetwork(address) ?? []);
  const networks = [...new Set(parsed.map(formatIpv4Network))];
  if (networks.length === 0) return { kind: 'impossible' };
  const addresses = parsed.reduce((sum, { first, last }) => sum + Math.max(1, last - first - 1), 0);
  const wanted = search?.spec?.sweep ?? [];
  const isWanted = networks.every((network) => wanted.includes(network));
  if (!isWanted) return { kind: 'unasked', networks, addresses };
  const isThrough = search?.status?.sweptGeneration === search?.metadata.generation;
  return { kind: isThrough ? 'asked' : 'asking', networks, addresses };
}

function ownNetwork(address: string): Ipv4Network | undefined {
  const network = parseIpv4Network(address);
  if (network === undefined || network.prefixLength >= largestPrefix) return network;
  return parseIpv4Network(`${address.split('/')[0] ?? ''}/${neighbourhoodPrefix}`);
}

export interface TypedAddress {
  readonly address: string;
  readonly sshPort: number | undefined;
}

/** `192.168.1.50`, `raspberrypi.local`, either with `:2222`; whether it is one at all, the server says. */
export function parseTyped(text: string): TypedAddress {
  const [, host = '', port] =
    /^(?:\w+:\/\/)?(?:[^@\s/]+@)?([^:\s/]*)(?::(\d+))?/.exec(text.trim()) ?? [];
  const sshPort = port === undefined ? undefined : Number(port);
  return { address: host.toLowerCase(), sshPort };
}

/** A name for its object that says what it is. */
export function nameOfTyped({ address, sshPort }: TypedAddress): string {
  const base =
    parseIpv4(address) === undefined
      ? address.replace(/\.local$/, '') || 'machine'
      : `at-${address.replaceAll('.', '-')}`;
  return sshPort === undefined ? base : `${base}-${sshPort}`;
}
