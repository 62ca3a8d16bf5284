// Pure: a question and what is known of the cluster → the answer, or that it is to be had elsewhere.
// Sources: Kubernetes' DNS specification 1.1.0 (github.com/kubernetes/dns docs/specification.md); where that
// is silent, what CoreDNS' kubernetes plugin does: endpoints without a name are called by their
// address, SRV of a Service's own name tells all its ports, PTR also of endpoints of Services with a ClusterIP.
import { isIPv4, isIPv6 } from 'node:net';
import { addressOfReverse } from './wire/names.ts';
import { rcodes, types } from './wire/query.ts';
import { failure, type DnsRecord, type Reply } from './wire/reply.ts';
import {
  clusterDomain,
  type Zone,
  type ZoneEndpoint,
  type ZonePort,
  type ZoneService,
} from './zone.ts';

export type Answer =
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** A chain of CNAMEs that leads out of the cluster: its end has to be asked for. */
  | { readonly kind: 'follow'; readonly chain: readonly DnsRecord[]; readonly target: string }
  /** No name of ours. */
  | { readonly kind: 'foreign' };

export interface ZoneState {
  readonly zone: Zone;
  /** Ranges that nobody but us can know the names of, such as `10.96.0.0/16`. */
  readonly ownRanges: readonly string[];
  /** Where this server is reached; '' while nobody knows. */
  readonly serverAddress: string;
}

/**
 * Seconds. Answers cost pods next to nothing here, so that of a pod that moved the old address is
 * not used for long (CoreDNS: 5 by itself, 30 as kubeadm sets it up).
 */
export const ttlSeconds = 5;
/** As in the specification's example. */
const versionTtlSeconds = 28_800;
const schemaVersion = '1.1.0';
const nameServer = `ns.dns.${clusterDomain}`;
const chainMax = 8;

export function answer(
  { name, type }: { readonly name: string; readonly type: number },
  state: ZoneState,
): Answer {
  if (name === clusterDomain || name.endsWith(`.${clusterDomain}`)) {
    if (!state.zone.isKnown) return { kind: 'reply', reply: failure(rcodes.servFail) };
    return inZone({ name, type, state });
  }
  const address = addressOfReverse(name);
  if (address !== undefined) return reverse({ name, type, state }, address);
  return { kind: 'foreign' };
}

/** The same answer, beginning with another of its addresses each turn; CNAMEs stay in front. */
export function rotated(reply: Reply, turn: number): Reply {
  const first = reply.answers.findIndex(({ type }) => type === 'A' || type === 'AAAA');
  const count = reply.answers.length - first;
  if (first < 0 || count < 2) return reply;
  const chain = reply.answers.slice(0, first);
  const addresses = reply.answers.slice(first);
  const by = turn % count;
  return { ...reply, answers: [...chain, ...addresses.slice(by), ...addresses.slice(0, by)] };
}

interface Asked {
  readonly name: string;
  readonly type: number;
  readonly state: ZoneState;
}

/** What stands under a name; undefined: there is no such name. */
interface Found {
  readonly records: readonly DnsRecord[];
  readonly additionals?: readonly DnsRecord[];
}

const nothing: Found = { records: [] };

function inZone(asked: Asked): Answer {
  const chain: DnsRecord[] = [];
  let { name } = asked;
  for (;;) {
    const external = asked.type === types.CNAME ? undefined : externalNameOf(name, asked.state);
    if (external === undefined) {
      const found = find({ ...asked, name });
      return chain.length === 0
        ? { kind: 'reply', reply: replyOf(found, asked) }
        : { kind: 'reply', reply: replyOf(found, { ...asked, name }, chain) };
    }
    chain.push({ name, ttl: ttlSeconds, type: 'CNAME', target: external });
    if (!external.endsWith(`.${clusterDomain}`)) return { kind: 'follow', chain, target: external };
    // Names that lead to each other end like this, too.
    if (chain.length > chainMax) return { kind: 'reply', reply: failure(rcodes.servFail) };
    name = external;
  }
}

function replyOf(found: Found | undefined, asked: Asked, chain: readonly DnsRecord[] = []): Reply {
  const records = found?.records ?? [];
  return {
    rcode: found === undefined ? rcodes.nxDomain : rcodes.noError,
    isAuthoritative: true,
    answers: [...chain, ...records],
    authorities: records.length > 0 ? [] : [startOfAuthority(clusterDomain, asked.state)],
    additionals: found?.additionals ?? [],
  };
}

function startOfAuthority(name: string, { zone }: ZoneState): DnsRecord {
  const mailbox = `hostmaster.${clusterDomain}`;
  return { name, ttl: ttlSeconds, type: 'SOA', server: nameServer, mailbox, serial: zone.serial };
}

function externalNameOf(name: string, { zone }: ZoneState): string | undefined {
  const [service = '', namespace = '', kind, ...more] = labelsBelow(name);
  if (kind !== 'svc' || more.length > 0) return undefined;
  return zone.service(namespace, service)?.externalName || undefined;
}

function labelsBelow(name: string): string[] {
  return name === clusterDomain ? [] : name.slice(0, -clusterDomain.length - 1).split('.');
}

function find(asked: Asked): Found | undefined {
  const { name, state } = asked;
  const labels = labelsBelow(name).toReversed();
  const [kind, namespace, service, ...rest] = labels;
  if (kind === undefined) return apex(asked);
  if (labels.length === 1 && kind === 'dns-version') return version(asked);
  if (kind === 'dns') return serverName(asked, labels);
  if (kind === 'pod') return podByAddress(asked, labels);
  if (kind !== 'svc') return undefined;
  if (namespace === undefined) return nothing;
  if (service === undefined) return state.zone.hasNamespace(namespace) ? nothing : undefined;
  const found = state.zone.service(namespace, service);
  if (found === undefined) return undefined;
  const [first, second, ...tooMany] = rest;
  if (tooMany.length > 0) return undefined;
  if (first === undefined) return ofService(asked, found);
  if (first.startsWith('_')) return ofPort(asked, found, { protocol: first, port: second });
  return second === undefined ? ofEndpoint(asked, found, first) : undefined;
}

function apex({ name, type, state }: Asked): Found {
  if (type === types.SOA) return { records: [startOfAuthority(name, state)] };
  if (type !== types.NS) return nothing;
  return {
    records: [{ name, ttl: ttlSeconds, type: 'NS', target: nameServer }],
    additionals: addressRecords(nameServer, serverAddresses(state)),
  };
}

function serverAddresses({ serverAddress }: ZoneState): string[] {
  return serverAddress === '' ? [] : [serverAddress];
}

function version({ name, type }: Asked): Found {
  if (type !== types.TXT) return nothing;
  return { records: [{ name, ttl: versionTtlSeconds, type: 'TXT', text: schemaVersion }] };
}

function serverName(asked: Asked, labels: readonly string[]): Found | undefined {
  if (labels.length === 1) return nothing;
  if (labels.length > 2 || labels[1] !== 'ns') return undefined;
  return { records: ofType(asked, addressRecords(nameServer, serverAddresses(asked.state))) };
}

// Differs: the specification's deprecated records, for any address and without a look at pods, as
// with CoreDNS' `pods insecure`; and for any namespace, since of those nothing is watched here.
function podByAddress(asked: Asked, labels: readonly string[]): Found | undefined {
  const [, namespace, dashed, ...tooMany] = labels;
  if (namespace === undefined || dashed === undefined) return nothing;
  const v4 = dashed.replaceAll('-', '.');
  const v6 = dashed.replaceAll('-', ':');
  const address = isIPv4(v4) ? v4 : isIPv6(v6) ? v6 : undefined;
  if (tooMany.length > 0 || address === undefined) return undefined;
  return { records: ofType(asked, addressRecords(asked.name, [address])) };
}

function ofService(asked: Asked, service: ZoneService): Found | undefined {
  const { name, type, state } = asked;
  if (service.externalName !== '')
    return {
      records: ofType(asked, [
        { name, ttl: ttlSeconds, type: 'CNAME', target: service.externalName },
      ]),
    };
  const endpoints = service.addresses.length > 0 ? [] : endpointsOf(state, service);
  const addresses = [...service.addresses, ...endpoints.map(({ address }) => address)];
  if (addresses.length === 0) return undefined;
  if (type === types.SRV) return services(asked, service, () => true) ?? nothing;
  return { records: ofType(asked, addressRecords(name, addresses)) };
}

/** `_port._protocol` before the Service's name; without a port it is only a step on the way. */
function ofPort(
  asked: Asked,
  service: ZoneService,
  wanted: { readonly protocol: string; readonly port: string | undefined },
): Found | undefined {
  const isWanted = ({ name, protocol }: ZonePort): boolean =>
    name !== '' &&
    `_${protocol}` === wanted.protocol &&
    (wanted.port === undefined || `_${name}` === wanted.port);
  const found = services(asked, service, isWanted);
  if (found === undefined) return undefined;
  return asked.type === types.SRV && wanted.port !== undefined ? found : nothing;
}

function services(
  { name, state }: Asked,
  service: ZoneService,
  isWanted: (port: ZonePort) => boolean,
): Found | undefined {
  const own = `${service.name}.${service.namespace}.svc.${clusterDomain}`;
  const targets: { readonly target: string; readonly address: string; readonly port: number }[] =
    [];
  if (service.addresses.length > 0)
    for (const { port } of service.ports.filter(isWanted))
      for (const address of service.addresses) targets.push({ target: own, address, port });
  else
    for (const slice of state.zone.slices(service.namespace, service.name))
      for (const { port } of slice.ports.filter(isWanted))
        for (const { hostname, address } of slice.endpoints)
          targets.push({ target: `${hostname}.${own}`, address, port });
  if (targets.length === 0) return undefined;
  const unique = new Map(targets.map((each) => [`${each.port} ${each.target}`, each]));
  const weight = Math.max(1, Math.floor(100 / unique.size));
  const seen = new Map(targets.map((each) => [`${each.target} ${each.address}`, each]));
  return {
    records: [...unique.values()].map(({ target, port }) => ({
      name,
      ttl: ttlSeconds,
      type: 'SRV',
      weight,
      port,
      target,
    })),
    additionals: [...seen.values()].flatMap(({ target, address }) =>
      addressRecords(target, [address]),
    ),
  };
}

function ofEndpoint(asked: Asked, service: ZoneService, hostname: string): Found | undefined {
  const endpoints = endpointsOf(asked.state, service).filter((one) => one.hostname === hostname);
  if (endpoints.length === 0) return undefined;
  const addresses = endpoints.map(({ address }) => address);
  return { records: ofType(asked, addressRecords(asked.name, addresses)) };
}

/** Each address once: it is in several slices when ports of its pods differ. */
function endpointsOf({ zone }: ZoneState, service: ZoneService): ZoneEndpoint[] {
  if (service.externalName !== '') return [];
  const all = zone.slices(service.namespace, service.name).flatMap((slice) => slice.endpoints);
  return [...new Map(all.map((one) => [`${one.address} ${one.hostname}`, one])).values()];
}

function addressRecords(name: string, addresses: readonly string[]): DnsRecord[] {
  return [...new Set(addresses)].map((address) => ({
    name,
    ttl: ttlSeconds,
    type: isIPv4(address) ? 'A' : 'AAAA',
    address,
  }));
}

function ofType({ type }: Asked, records: readonly DnsRecord[]): DnsRecord[] {
  return records.filter((record) => record.type !== 'other' && types[record.type] === type);
}

function reverse({ name, type, state }: Asked, address: string): Answer {
  const { zone, ownRanges } = state;
  const records: DnsRecord[] = zone.namesOf(address).map((each) => ({
    name,
    ttl: ttlSeconds,
    type: 'PTR',
    target: `${each}.svc.${clusterDomain}`,
  }));
  const range = ownRanges.find((each) => isWithin(address, each));
  if (records.length === 0 && range === undefined) return { kind: 'foreign' };
  if (records.length === 0 && !zone.isKnown)
    return { kind: 'reply', reply: failure(rcodes.servFail) };
  const answers = type === types.PTR ? records : [];
  const authority = startOfAuthority(reverseZone(name, range), state);
  const reply: Reply = {
    rcode: records.length === 0 ? rcodes.nxDomain : rcodes.noError,
    isAuthoritative: true,
    answers,
    authorities: answers.length > 0 ? [] : [authority],
    additionals: [],
  };
  return { kind: 'reply', reply };
}

/** The name above that is ours: as many whole bytes as the range has. */
function reverseZone(name: string, range = '/32'): string {
  const bytes = Math.ceil(Number(range.split('/')[1]) / 8);
  return name
    .split('.')
    .slice(-(bytes + 2))
    .join('.');
}

/** Of IPv4 addresses and ranges. */
export function isWithin(address: string, range: string): boolean {
  if (!isIPv4(address)) return false;
  const [base = '', bits = '32'] = range.split('/');
  const size = 2 ** (32 - Number(bits));
  return Math.floor(numeric(address) / size) === Math.floor(numeric(base) / size);
}

function numeric(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
