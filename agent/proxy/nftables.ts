// A RuleSet as the text of one nft transaction on a table of our own: the old table goes and the
// new one comes in the same commit, so no packet ever sees half of it. Pure; nft-applier.ts runs it.
//
// Packet flow:  prerouting (pods, network) ─┐                   ┌─ svc-… : dnat to one endpoint
//               output (this host) ─────────┴─ services: vmap ──┴─ ext-… : mark, then as above
//               forward, output, input: what no endpoint serves is refused or dropped
//               postrouting: masquerade where the answer would not come back by itself
// Source: kubernetes pkg/proxy/nftables/README.md for the idea, not the layout.
import { fnv1a } from '#kube/machinery/hash.ts';
import type { Endpoint, RuleSet, ServicePortRule, Target } from './rules.ts';

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

/** Marks packets that came to this node for a Service from outside the pod network. */
export const externalMark = '0x00100000';

/**
 * Pods of other clusters on this machine, also of one that is gone and left its table: each
 * cluster has its own idea of 10.96.0.1. Named by runtime/pod-network.ts.
 */
const siblingBridges = 'flt-*';

/** Slots that clients hash into: removing one endpoint moves only that endpoint's clients. */
const affinitySlots = 64;

export function removeTableText(table: string): string {
  // `add` first, so that `delete` can't fail.
  return `add table ip ${table}\ndelete table ip ${table}\n`;
}

export function nftablesText(rules: RuleSet, options: NftablesOptions): string {
  const lines = [
    `table ip ${options.table} {`,
    ...block(
      'map service-ips',
      'ipv4_addr . inet_proto . inet_service : verdict',
      serviceIps(rules),
    ),
    ...block('map node-ports', 'inet_proto . inet_service : verdict', nodePorts(rules)),
    ...block(
      'map unserved-ips',
      'ipv4_addr . inet_proto . inet_service : verdict',
      unservedIps(rules),
    ),
    ...block(
      'map unserved-node-ports',
      'inet_proto . inet_service : verdict',
      unservedPorts(rules),
    ),
    ...block('set hairpin', 'ipv4_addr . ipv4_addr', hairpins(rules)),
    // The kernel limits how many ICMP refusals a client gets; resets it does not.
    ...chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    ...rules.ports.flatMap(portChains),
    ...baseChains(options),
    '}',
  ];
  return `${removeTableText(options.table)}${lines.join('\n')}\n`;
}

function baseChains(options: NftablesOptions): string[] {
  const { bridge, serviceCidr, loopbackNodePorts, bridgeNetfilter } = options;
  const unserved = [
    'ct state new ip daddr . meta l4proto . th dport vmap @unserved-ips',
    `ip daddr ${serviceCidr} goto refuse`,
  ];
  const notLoopback = loopbackNodePorts ? '' : 'ip daddr != 127.0.0.0/8 ';
  return [
    ...chain('local-services', [
      `${notLoopback}fib daddr type local meta l4proto . th dport vmap @node-ports`,
    ]),
    ...chain('services', [
      'ip daddr . meta l4proto . th dport vmap @service-ips',
      'goto local-services',
    ]),
    ...chain('nat-prerouting', [
      'type nat hook prerouting priority -100',
      `iifname "${siblingBridges}" iifname != "${bridge}" goto local-services`,
      'jump services',
    ]),
    ...chain('nat-output', ['type nat hook output priority -100', 'jump services']),
    ...chain('nat-postrouting', [
      'type nat hook postrouting priority 100',
      'ip saddr . ip daddr @hairpin ct status dnat masquerade',
      `oifname "${bridge}" ip saddr 127.0.0.0/8 masquerade`,
      `oifname != "${bridge}" meta mark & ${externalMark} != 0 ct status dnat masquerade`,
      // Bridged answers would pass the address translation by.
      ...(bridgeNetfilter
        ? []
        : [`iifname "${bridge}" oifname "${bridge}" ct status dnat masquerade`]),
    ]),
    ...chain('filter-input', [
      'type filter hook input priority -10',
      // route_localnet opens the bridge to 127.0.0.0/8: for answers only.
      `iifname "${bridge}" ip daddr 127.0.0.0/8 ct state new,invalid drop`,
      'ct state new fib daddr type local meta l4proto . th dport vmap @unserved-node-ports',
    ]),
    ...chain('filter-forward', ['type filter hook forward priority -10', ...unserved]),
    ...chain('filter-output', ['type filter hook output priority 0', ...unserved]),
  ];
}

function block(head: string, type: string, elements: readonly string[]): string[] {
  const lines = [`  ${head} {`, `    type ${type};`];
  // Two Services may claim one external address: the first keeps it, or nft would take nothing.
  const byKey = new Map<string, string>();
  for (const element of elements) {
    const [key = ''] = element.split(' : ');
    if (!byKey.has(key)) byKey.set(key, `      ${element},`);
  }
  if (byKey.size > 0) lines.push('    elements = {', ...byKey.values(), '    }');
  return [...lines, '  }'];
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule};`), '  }'];
}

function serviceIps(rules: RuleSet): string[] {
  return rules.ports.flatMap((rule) => {
    const port = `${rule.protocol} . ${rule.port}`;
    const inside = rule.internal.endpoints.length > 0 ? rule.clusterIps : [];
    const outside = reachesOutside(rule) ? rule.externalIps : [];
    return [
      ...inside.map((ip) => `${ip} . ${port} : goto ${chainName('svc', rule)}`),
      ...outside.map((ip) => `${ip} . ${port} : goto ${chainName('ext', rule)}`),
    ];
  });
}

function nodePorts(rules: RuleSet): string[] {
  return rules.ports
    .filter((rule) => rule.nodePort !== undefined && reachesOutside(rule))
    .map((rule) => `${rule.protocol} . ${rule.nodePort} : goto ${chainName('ext', rule)}`);
}

/** Whether external traffic has anywhere to go; this host's own may, where the network's may not. */
function reachesOutside(rule: ServicePortRule): boolean {
  return rule.external.endpoints.length > 0 || canShortCut(rule);
}

function canShortCut(rule: ServicePortRule): boolean {
  return rule.isExternalLocal && rule.internal.endpoints.length > 0;
}

function unservedIps(rules: RuleSet): string[] {
  return rules.ports.flatMap((rule) => {
    const port = `${rule.protocol} . ${rule.port}`;
    return [
      ...(rule.internal.endpoints.length > 0 ? [] : rule.clusterIps).map(
        (ip) => `${ip} . ${port} : ${verdict(rule.internal)}`,
      ),
      ...(rule.external.endpoints.length > 0 ? [] : rule.externalIps).map(
        (ip) => `${ip} . ${port} : ${verdict(rule.external)}`,
      ),
    ];
  });
}

function unservedPorts(rules: RuleSet): string[] {
  return rules.ports
    .filter((rule) => rule.nodePort !== undefined && rule.external.endpoints.length === 0)
    .map((rule) => `${rule.protocol} . ${rule.nodePort} : ${verdict(rule.external)}`);
}

function verdict(target: Target): string {
  return target.whenEmpty === 'reject' ? 'goto refuse' : 'drop';
}

/** A pod that reaches itself through a Service would answer itself directly. */
function hairpins(rules: RuleSet): string[] {
  const all = rules.ports.flatMap((rule) => [rule.internal, rule.external]);
  const addresses = new Set(all.flatMap((target) => target.endpoints.map((e) => e.address)));
  return [...addresses].map((address) => `${address} . ${address}`);
}

function portChains(rule: ServicePortRule): string[] {
  const lines: string[] = [];
  if (rule.internal.endpoints.length > 0)
    lines.push(...chain(chainName('svc', rule), [translate(rule, rule.internal)]));
  const isExposed = rule.nodePort !== undefined || rule.externalIps.length > 0;
  if (!isExposed || !reachesOutside(rule)) return lines;
  const own = canShortCut(rule) ? [`fib saddr type local goto ${chainName('svc', rule)}`] : [];
  const outside =
    rule.external.endpoints.length > 0
      ? [`meta mark set meta mark | ${externalMark}`, translate(rule, rule.external)]
      : [];
  return [...lines, ...chain(chainName('ext', rule), [...own, ...outside])];
}

function translate(rule: ServicePortRule, target: Target): string {
  const { endpoints } = target;
  const [only] = endpoints;
  const match = `meta l4proto ${rule.protocol} dnat to`;
  if (endpoints.length === 1 && only !== undefined) return `${match} ${only.address}:${only.port}`;
  if (!rule.hasClientAffinity)
    return `${match} numgen random mod ${endpoints.length} map { ${mapElements(endpoints)} }`;
  const slots = affinityTable(endpoints);
  return `${match} jhash ip saddr mod ${slots.length} seed 0x1 map { ${mapElements(slots)} }`;
}

function mapElements(endpoints: readonly Endpoint[]): string {
  return endpoints.map(({ address, port }, slot) => `${slot} : ${address} . ${port}`).join(', ');
}

/**
 * Which endpoint each slot of client addresses belongs to, by highest random weight.
 * Differs: Kubernetes remembers each client for sessionAffinityConfig's timeout; hashing needs no
 * memory, outlives restarts, and keeps a client for as long as its endpoint lives.
 */
export function affinityTable(endpoints: readonly Endpoint[]): Endpoint[] {
  const slotCount = Math.max(affinitySlots, endpoints.length * 4);
  return Array.from({ length: slotCount }, (_, slot) => {
    const weigh = (endpoint: Endpoint): number =>
      fnv1a(`${endpoint.address}:${endpoint.port}#${slot}#${slot * 2_654_435_761}`);
    return endpoints.reduce((best, next) => (weigh(next) > weigh(best) ? next : best));
  });
}

/** Readable and unique: the hash stands for what a long name loses. */
function chainName(prefix: 'svc' | 'ext', rule: ServicePortRule): string {
  const hash = fnv1a(rule.key).toString(16).padStart(8, '0');
  return `${prefix}-${hash}-${rule.key.slice(0, 90).replaceAll(/[^\w./-]/g, '_')}`;
}
