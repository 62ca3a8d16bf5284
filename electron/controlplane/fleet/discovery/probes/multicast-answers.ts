// What a multicast DNS response tells of the machines on a link. Pure. Only of addresses that belong on the link:
// what somebody says of others is not believed.
// Source: RFC 6762 (names, goodbyes), RFC 6763, 4.1 (services).
import { readAnnouncement } from '#kube/machinery/announcement.ts';
import { holds, type Ipv4Network } from '#kube/machinery/ipv4.ts';
import type { Sighting } from '../sighting.ts';

/** As multicast-dns hands them over. */
export interface MulticastRecord {
  readonly name: string;
  readonly type: string;
  /** Seconds; 0: it is gone. */
  readonly ttl?: number;
  readonly data?: unknown;
}

export interface Heard {
  readonly sighting: Sighting;
  readonly forMs: number;
}

/** Of others' records no more are looked at in one message. */
const maxRecords = 200;
/** Hosts let their names be forgotten after two minutes: to ask each so often is no way to treat a quiet home. */
const [shortestMs, longestMs] = [25 * 60_000, 75 * 60_000];

export function readAnswers(
  records: readonly MulticastRecord[],
  from: string,
  link: { readonly name: string; readonly network: Ipv4Network },
): readonly Heard[] {
  const heard: Heard[] = [];
  const tell = (address: string, ttl: number, more: Partial<Sighting>): void => {
    if (!holds(link.network, address)) return;
    const sighting = { by: 'MulticastDNS' as const, address, interface: link.name, ...more };
    const holdsMs = Math.min(Math.max(ttl * 1000, shortestMs), longestMs);
    heard.push({ sighting, forMs: ttl === 0 ? 0 : holdsMs });
  };
  for (const { name, type, ttl = 0, data } of records.slice(0, maxRecords)) {
    if (type === 'TXT') {
      const member = readAnnouncement(name, textsOf(data));
      if (member !== undefined) tell(from, ttl, { member });
    }
    if (typeof data !== 'string') continue;
    if (type === 'A') {
      const hostName = hostLabel(name);
      if (hostName !== undefined) tell(data, ttl, { hostName });
    } else if (type === 'PTR') {
      const address = reversed(name);
      const hostName = address === undefined ? undefined : hostLabel(data);
      const service = /^(_[a-z\d-]{1,15}\._(?:tcp|udp))\.local$/i.exec(name)?.[1]?.toLowerCase();
      if (address !== undefined && hostName !== undefined) tell(address, ttl, { hostName });
      else if (service !== undefined) tell(from, ttl, { service });
    }
  }
  return heard;
}

function textsOf(data: unknown): readonly string[] {
  return (Array.isArray(data) ? data : [data]).flatMap((text) =>
    Buffer.isBuffer(text) ? text.toString('utf8') : [],
  );
}

/** `raspberrypi` of `RaspberryPi.local`; undefined: no name of a host. */
function hostLabel(name: string): string | undefined {
  return /^([a-z\d](?:[a-z\d-]{0,61}[a-z\d])?)\.local\.?$/i.exec(name)?.[1]?.toLowerCase();
}

/** `10.0.77.11` of `11.77.0.10.in-addr.arpa`. */
function reversed(name: string): string | undefined {
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa\.?$/i.exec(name)?.slice(1);
  return parts?.toReversed().join('.');
}

export function reverseName(address: string): string {
  return `${address.split('.').toReversed().join('.')}.in-addr.arpa`;
}
