// Wakes machines by their network cards: a magic packet, which names the card sixteen times over, to all on its network. Sent by UDP
// to port 9 on the links that are given, and only on those that are on the card's own network: nothing goes anywhere else.
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import type { Logger } from '#kube/base/logger.ts';
import { formatIpv4, holds, parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { isHardwareAddress, type NetworkCard } from '#kube/machinery/node-operations.ts';

export interface NetworkLink {
  readonly name: string;
  readonly address: string;
  /** `192.168.1.20/24`. */
  readonly cidr: string;
}

export interface WakePacket {
  /** Of this machine. */
  readonly from: string;
  /** All on that network. */
  readonly to: string;
  readonly bytes: Uint8Array;
}

const port = 9;
/** A packet may be lost, and nobody answers one. */
const times = 3;

/** This machine's, by the names of interfaces. */
export function networkLinks(
  interfaces: 'off' | readonly string[],
  present: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): readonly NetworkLink[] {
  return Object.entries(present)
    .filter(([name]) => interfaces !== 'off' && interfaces.includes(name))
    .flatMap(([name, addresses = []]) =>
      addresses.flatMap(({ family, internal, address, cidr }) =>
        family === 'IPv4' && !internal && cidr !== null && !cidr.endsWith('/32')
          ? [{ name, address, cidr }]
          : [],
      ),
    );
}

/** Pure: a card on a network that none of the links is on gets none. */
export function wakePackets(
  links: readonly NetworkLink[],
  cards: readonly NetworkCard[],
): readonly WakePacket[] {
  return links.flatMap(({ address: from, cidr }) => {
    const network = parseIpv4Network(cidr);
    if (network === undefined) return [];
    const to = formatIpv4(network.last);
    return cards
      .filter((card) => isOn(card, cidr) && isHardwareAddress(card.address))
      .map((card) => ({ from, to, bytes: magicPacket(card.address) }));
  });
}

/** The same network, not one that only overlaps. */
function isOn({ network: of }: NetworkCard, cidr: string): boolean {
  const [theirs, ours] = [parseIpv4Network(of ?? ''), parseIpv4Network(cidr)];
  if (of === undefined || theirs === undefined || ours === undefined) return false;
  const [address = ''] = of.split('/');
  return (
    theirs.first === ours.first && theirs.prefixLength === ours.prefixLength && holds(ours, address)
  );
}

/** Six times 255, then the card's address sixteen times. */
export function magicPacket(hardwareAddress: string): Uint8Array {
  const address = hardwareAddress.split(':').map((digits) => Number.parseInt(digits, 16));
  const packet = new Uint8Array(6 + 16 * address.length).fill(255, 0, 6);
  for (let i = 0; i < 16; i++) packet.set(address, 6 + i * address.length);
  return packet;
}

/** Never throws: that it could not be sent is logged. */
export async function wakeFrom(
  links: readonly NetworkLink[],
  cards: readonly NetworkCard[],
  logger: Logger,
): Promise<void> {
  for (const packet of wakePackets(links, cards)) {
    try {
      await send(packet);
      logger.info('Sent a magic packet', { from: packet.from, to: packet.to });
    } catch (error) {
      logger.warn('A magic packet could not be sent', { from: packet.from, to: packet.to, error });
    }
  }
}

function send({ from, to, bytes }: WakePacket): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const end = (error?: Error | null): void => {
      socket.close();
      if (error) reject(error);
      else resolve();
    };
    socket.once('error', end);
    // Of this address, so that it leaves by this link.
    socket.bind(0, from, () => {
      socket.setBroadcast(true);
      let left = times;
      const next = (error?: Error | null): void => {
        if (error || left === 0) return end(error);
        left -= 1;
        socket.send(bytes, port, to, next);
      };
      next();
    });
  });
}
