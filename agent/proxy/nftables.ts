// The text of nft transactions on a table of our own: the whole table (the old one goes and the new one
// comes in the same commit, so no packet ever sees half of it), or what changed between two contents.
// Pure; nft-applier.ts runs it.
//
// Packet flow:  prerouting (pods, network) ─┐                       ┌─ pick-3: dnat by a slot of three
//               output (this host) ─────────┴─ service-ips: vmap ───┼─ ext-…: mark, then as above
//                                              node-ports: vmap     └─ in-…, out-…: keep a client's endpoint
//               prerouting, output before that: who may not reach a balancer's address is dropped
//               forward, output, input: what no endpoint serves is refused or dropped
//               postrouting: masquerade where the answer would not come back by itself
// Source: kubernetes pkg/proxy/nftables/README.md for the idea, not the layout.
import { blockText, chainText, elementChange, elementText, removeTableText } from '../nft-text.ts';
import {
  externalMark,
  hasPorts,
  mapNames,
  type MapName,
  type TableContent,
} from './table-content.ts';

export interface NftablesOptions {
  /** Name of our table, family ip. */
  readonly table: string;
  /** The pods' bridge. */
  readonly bridge: string;
  /** Addresses in it that no Service has are refused instead of leaving by the uplink. */
  readonly serviceCidr: string;
  /** NodePorts on 127.0.0.1 too; needs route_localnet on the bridge. */
  readonly loopbackNodePorts: boolean;
  /** Whether bridged packets pass through conntrack (bridge-nf-call-iptables). */
  readonly bridgeNetfilter: boolean;
}

/** A client that a set remembers, and for how long yet. */
export interface RememberedClient {
  readonly set: string;
  readonly address: string;
  readonly expiresSeconds: number;
}

/**
 * Pods of other clusters on this machine, also of one that is gone and left its table: each
 * cluster has its own idea of 10.96.0.1. Named by runtime/pod-network.ts.
 */
const siblingBridges = 'flt-*';

const addressKey = 'ipv4_addr . inet_proto . inet_service';
const portKey = 'inet_proto . inet_service';
/** Slots are numbers without a type of their own, which only `typeof` can say. */
const slot = 'numgen random mod 2';
const definitions: Readonly<Record<MapName, string>> = {
  'service-ips': `map service-ips { type ${addressKey} : verdict;`,
  'node-ports': `map node-ports { type ${portKey} : verdict;`,
  endpoints: `map endpoints { typeof ip daddr . meta l4proto . th dport . ${slot} : ip daddr . th dport;`,
  'node-port-endpoints': `map node-port-endpoints { typeof meta l4proto . th dport . ${slot} : ip daddr . th dport;`,
  'unserved-ips': `map unserved-ips { type ${addressKey} : verdict;`,
  'unserved-node-ports': `map unserved-node-ports { type ${portKey} : verdict;`,
  'restricted-ips': `set restricted-ips { type ${addressKey};`,
  'allowed-sources': `set allowed-sources { type ${addressKey} . ipv4_addr; flags interval;`,
  hairpin: 'set hairpin { type ipv4_addr . ipv4_addr;',
  'lone-ips': 'set lone-ips { type ipv4_addr;',
  'no-node-ports': 'set no-node-ports { type ipv4_addr;',
};

/** Everything anew; `clients` keep their endpoints, if those are still there. */
export function wholeText(
  content: TableContent,
  options: NftablesOptions,
  clients: readonly RememberedClient[] = [],
): string {
  const lines = [
    `table ip ${options.table} {`,
    ...mapNames.flatMap((name) => blockText(definitions[name], elementsOf(content.maps[name]))),
    ...[...content.clientSets].flatMap(([name, seconds]) =>
      blockText(clientSet(name, seconds), clientElements(name, seconds, clients)),
    ),
    // The kernel limits how many ICMP refusals a client gets; resets it does not.
    ...chainText('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    ...[...content.chains].flatMap(([name, rules]) => chainText(name, rules)),
    ...baseChains(options),
    '}',
  ];
  return `${removeTableText(options.table)}${lines.join('\n')}\n`;
}

export interface Change {
  readonly text: string;
  /** Emptied, and to be deleted by a later transaction: old kernels hold references a little longer. */
  readonly staleChains: readonly string[];
}

/** Undefined when nothing changed. `stale`: chains that earlier changes left behind. */
export function changeText(
  before: TableContent,
  after: TableContent,
  table: string,
  stale: readonly string[] = [],
): Change | undefined {
  const removed: string[] = [];
  const added: string[] = [];
  for (const name of mapNames) {
    const change = elementChange([table, name], before.maps[name], after.maps[name]);
    removed.push(...change.removed);
    added.push(...change.added);
  }
  const chains = [...after.chains].filter(
    ([name, rules]) => before.chains.get(name)?.join('\n') !== rules.join('\n'),
  );
  const staleChains = [...before.chains.keys()].filter((name) => !after.chains.has(name));
  const flushed = [...chains.map(([name]) => name), ...staleChains];
  const goneSets = [...before.clientSets.keys()].filter((name) => !after.clientSets.has(name));
  const newSets = [...after.clientSets].filter(([name]) => !before.clientSets.has(name));
  const lines = [
    ...removed,
    ...chains.map(([name]) => `add chain ip ${table} ${name}`),
    ...flushed.map((name) => `flush chain ip ${table} ${name}`),
    ...goneSets.map((name) => `delete set ip ${table} ${name}`),
    ...newSets.map(([name, seconds]) => `add ${clientSet(name, seconds, `ip ${table} `)} }`),
    ...chains.flatMap(([name, rules]) =>
      rules.map((rule) => `add rule ip ${table} ${name} ${rule}`),
    ),
    ...added,
  ];
  if (lines.length === 0) return undefined;
  const deleted = stale.filter((name) => !after.chains.has(name) && !staleChains.includes(name));
  lines.push(...deleted.map((name) => `delete chain ip ${table} ${name}`));
  return { text: `${lines.join('\n')}\n`, staleChains };
}

function baseChains(options: NftablesOptions): string[] {
  const { bridge, serviceCidr, loopbackNodePorts, bridgeNetfilter } = options;
  const service = 'ip daddr . meta l4proto . th dport';
  const unserved = [
    `ct state new ${service} vmap @unserved-ips`,
    `ip daddr ${serviceCidr} goto refuse`,
  ];
  const forbidden = `ct state new ${service} @restricted-ips ${service} . ip saddr != @allowed-sources drop`;
  const notLoopback = loopbackNodePorts ? '' : 'ip daddr != 127.0.0.0/8 ';
  // What comes for a ClusterIP from elsewhere has to be answered by way of here.
  const markInside = `ip daddr ${serviceCidr} meta mark set meta mark | ${externalMark}`;
  return [
    ...chainText('local-services', [
      `${notLoopback}ip daddr != @no-node-ports fib daddr type local meta l4proto . th dport vmap @node-ports`,
    ]),
    ...chainText('services', [`${service} vmap @service-ips`, 'goto local-services']),
    ...chainText('filter-prerouting', ['type filter hook prerouting priority -110', forbidden]),
    ...chainText('filter-before-output', ['type filter hook output priority -110', forbidden]),
    ...chainText('nat-prerouting', [
      'type nat hook prerouting priority -100',
      `iifname "${siblingBridges}" iifname != "${bridge}" goto local-services`,
      `iifname != "${bridge}" ${markInside}`,
      'jump services',
    ]),
    ...chainText('nat-output', ['type nat hook output priority -100', markInside, 'jump services']),
    ...chainText('nat-postrouting', [
      'type nat hook postrouting priority 100',
      'ip saddr . ip daddr @hairpin ct status dnat masquerade',
      `oifname "${bridge}" ip saddr 127.0.0.0/8 masquerade`,
      `oifname != "${bridge}" meta mark & ${externalMark} != 0 ct status dnat masquerade`,
      // Bridged answers would pass the address translation by.
      ...(bridgeNetfilter
        ? []
        : [`iifname "${bridge}" oifname "${bridge}" ct status dnat masquerade`]),
    ]),
    ...chainText('filter-input', [
      'type filter hook input priority -10',
      // route_localnet opens the bridge to 127.0.0.0/8: for answers only.
      `iifname "${bridge}" ip daddr 127.0.0.0/8 ct state new,invalid drop`,
      // Programs of this machine listen on every address, and are not meant with a Service's own.
      `ct state new ip daddr @lone-ips ${hasPorts} goto refuse`,
      'ct state new ip daddr != @no-node-ports fib daddr type local meta l4proto . th dport vmap @unserved-node-ports',
    ]),
    ...chainText('filter-forward', ['type filter hook forward priority -10', ...unserved]),
    ...chainText('filter-output', ['type filter hook output priority 0', ...unserved]),
  ];
}

function clientSet(name: string, seconds: number, where = ''): string {
  return `set ${where}${name} { type ipv4_addr; flags dynamic,timeout; timeout ${seconds}s;`;
}

function clientElements(
  set: string,
  seconds: number,
  clients: readonly RememberedClient[],
): string[] {
  return clients
    .filter((client) => client.set === set && client.expiresSeconds > 0)
    .map(({ address, expiresSeconds }) => {
      const left = Math.min(seconds, Math.ceil(expiresSeconds));
      return `${address} timeout ${seconds}s expires ${left}s`;
    });
}

function elementsOf(map: ReadonlyMap<string, string>): string[] {
  return Array.from(map, ([key, value]) => elementText(key, value));
}
