// Pure: what rules ask of a packet, for both ways of writing them down.
import { holds, overlap, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { isDevice, unknown, type Condition } from './packets.ts';

export function comesIn(pattern: string): Condition {
  return ({ inDevice }) => isDevice(pattern, inDevice);
}

export function goesOut(pattern: string): Condition {
  // What is meant for this machine leaves by no device.
  return ({ hook, outDevice }) => (hook === 'input' ? false : isDevice(pattern, outDevice));
}

/** By its name or number. */
export function isProtocol(protocol: string): Condition {
  const name = { '6': 'tcp', '17': 'udp' }[protocol] ?? protocol;
  return (packet) => name === 'all' || packet.protocol === name;
}

/** Of `22`, `22-80`, `22:80`. Where a packet may have any port, one is meant that no rule names. */
export function isPort(ports: readonly string[]): Condition {
  const ranges = ports.map((text) => text.split(/[-:]/).map(Number));
  if (ranges.flat().some(Number.isNaN)) return unknown;
  return ({ port }) =>
    port !== undefined && ranges.some(([low = 0, high = low]) => low <= port && port <= high);
}

export function isFrom(network: string): Condition {
  const asked = parseIpv4Network(network);
  if (asked === undefined) return unknown;
  return ({ source }) => {
    if (asked.prefixLength === 0) return true;
    const own = source === undefined ? undefined : parseIpv4Network(source);
    if (own === undefined) return undefined;
    if (!overlap(asked, own)) return false;
    return asked.prefixLength <= own.prefixLength ? true : undefined;
  };
}

const multicast = { first: 0xe0_00_00_00, last: 0xef_ff_ff_ff, prefixLength: 4 };

export function isTo(network: string): Condition {
  const asked = parseIpv4Network(network);
  if (asked?.prefixLength === 0) return () => true;
  const isOther = network === '255.255.255.255' || holds(multicast, network.split('/')[0] ?? '');
  return isOther ? () => false : unknown;
}

/** `local`, `broadcast` …: of the destination. */
export function isDestinationType(type: string): Condition {
  const isLocal = type.toLowerCase() === 'local';
  return ({ hook }) => isLocal === (hook === 'input');
}

/** A connection begins. iptables counts being translated among the states. */
export function isState(states: readonly string[]): Condition {
  const asked = new Set(states.map((state) => state.toLowerCase()));
  return ({ isTranslated }) => asked.has('new') || (asked.has('dnat') && isTranslated);
}

export function isStatus(statuses: readonly string[]): Condition {
  return ({ isTranslated }) => isTranslated && statuses.some((one) => /^dnat$/i.test(one));
}

export function isMark(value: number, mask = 0xff_ff_ff_ff): Condition {
  return ({ mark }) => (mark & mask) >>> 0 === value;
}
