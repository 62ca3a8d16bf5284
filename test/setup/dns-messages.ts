// For tests: messages made and read by dns-packet, which knows nothing of our code.
import { packet, type Answer } from './dns-packet.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Service, ServiceSpec } from '#kube/api/core.ts';
import { Zone } from '../../agent/dns/zone.ts';

export interface AskOptions {
  readonly id?: number;
  readonly flags?: number;
  readonly ednsBytes?: number;
  readonly wantsDnssec?: boolean;
  readonly class?: string;
}

export function ask(name: string, type: string, options: AskOptions = {}): Buffer {
  const { id = 7, flags = packet.RECURSION_DESIRED, ednsBytes } = options;
  return packet.encode({
    type: 'query',
    id,
    flags,
    questions: [{ name, type, class: options.class ?? 'IN' }],
    additionals:
      ednsBytes === undefined
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: ednsBytes,
              flags: options.wantsDnssec === true ? packet.DNSSEC_OK : 0,
              options: [],
            },
          ],
  });
}

export interface Told {
  readonly rcode: string;
  /** `name ttl type data` */
  readonly answers: readonly string[];
  readonly authorities: readonly string[];
  readonly additionals: readonly string[];
  readonly isTruncated: boolean;
  readonly isAuthoritative: boolean;
}

export function told(message: Buffer): Told {
  const read = packet.decode(message);
  return {
    rcode: read.rcode,
    answers: read.answers.map(line),
    authorities: read.authorities.map(line),
    additionals: read.additionals.filter(({ type }) => type !== 'OPT').map(line),
    isTruncated: read.flag_tc,
    isAuthoritative: read.flag_aa,
  };
}

function line({ name, ttl, type, data }: Answer): string {
  return `${name} ${ttl} ${type} ${dataText(type, data)}`;
}

function dataText(type: string, data: unknown): string {
  if (type === 'TXT') return (data as Buffer[]).map(String).join(' ');
  if (typeof data === 'string') return data;
  if (Buffer.isBuffer(data)) return data.toString('hex');
  return Object.values(data as object)
    .map(String)
    .join(' ');
}

export function service(namespacedName: string, spec: Partial<ServiceSpec>): Service {
  const [namespace = '', name = ''] = namespacedName.split('/');
  return { apiVersion: 'v1', kind: 'Service', metadata: { namespace, name }, spec };
}

export function slice(
  namespacedName: string,
  addressType: 'IPv4' | 'IPv6',
  rest: Pick<EndpointSlice, 'endpoints' | 'ports'>,
): EndpointSlice {
  const [namespace = '', name = ''] = namespacedName.split('/');
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace,
      name: `${name}-${addressType}`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType,
    ...rest,
  };
}

export function zoneOf(services: readonly Service[], slices: readonly EndpointSlice[] = []): Zone {
  const zone = new Zone(() => 1_700_000_000_000);
  for (const each of services) zone.setService(each);
  for (const each of slices) zone.setSlice(each);
  zone.markKnown();
  return zone;
}
