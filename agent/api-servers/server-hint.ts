// Pure: what an agent makes of it when an API server says where it is. Where it comes from counts, because the way back is
// known to lead there; what it says itself comes before, for one that listens on a single address.
import { serverAt } from './server-list.ts';

export interface SaidPlace {
  /** As text, as it came. */
  readonly port: string;
  readonly address: string | undefined;
}

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
/** Of the socket: IPv4 may come in IPv6's dress. */
const mapped = /^::ffff:/i;

/** `https://host:port` each, the likeliest first; undefined: it says nothing that can be tried. `from`: the socket's other end. */
export function serversHeard(
  { port, address }: SaidPlace,
  from: string | undefined,
): readonly string[] | undefined {
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535) return undefined;
  if (address !== undefined && !isHost(address)) return undefined;
  const origin = from?.replace(mapped, '');
  const hosts = [address, origin].filter((host) => host !== undefined && isHost(host));
  if (hosts.length === 0) return undefined;
  return [...new Set(hosts)].map((host) => serverAt(String(host), Number(port)));
}

/** A machine's: not everybody's, nobody's, or a group's. */
function isHost(address: string): boolean {
  return ipv4.test(address) && !address.startsWith('0.') && Number(address.split('.')[0]) < 224;
}
