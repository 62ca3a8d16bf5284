// A RuleSet as what our nftables table holds of it: elements of maps and sets, chains, sets of clients.
// Pure; nftables.ts writes it down. Flat on purpose: endpoints of all Services are elements of one map,
// by address, port and slot, and Services with as many endpoints share the rule that draws a slot. So a
// thousand Services need a dozen chains, and one that changes needs a few elements. Only a Service whose
// clients keep their endpoints has chains and sets of its own, as in Kubernetes.
// Source: kubernetes pkg/proxy/nftables/proxier.go (syncProxyRules) for what goes where.
import type { Endpoint, RuleSet, ServicePortRule, Target } from './rules.ts';

export const mapNames = [
  'service-ips',
  'node-ports',
  'endpoints',
  'node-port-endpoints',
  'unserved-ips',
  'unserved-node-ports',
  'restricted-ips',
  'allowed-sources',
  'hairpin',
  'lone-ips',
  'no-node-ports',
] as const;
export type MapName = (typeof mapNames)[number];

export interface TableContent {
  /** Key → value; the value of a set's element is empty. */
  readonly maps: Readonly<Record<MapName, ReadonlyMap<string, string>>>;
  /** Chains with their rules. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Sets of clients: how many seconds each is remembered. */
  readonly clientSets: ReadonlyMap<string, number>;
  /** Addresses that two Services claim, as sentences. */
  readonly problems: readonly string[];
}

/** As numbers: nft looks names up, for a fifth of its time. */
const protocolNumber = { tcp: 6, udp: 17, sctp: 132 } as const;
/** Marks packets that came for a Service from outside the pod network. */
export const externalMark = '0x00100000';
/** Slots of what is on this node, where others have slots from 0 on. */
const localSlot = 32_768;
/**
 * Chains for so many endpoints are always there: nft (1.0.6) takes no rule that looks into one of our maps once the
 * map is in the kernel, so that a Service with another number of endpoints than all others would have everything
 * written anew.
 */
const preparedCounts = 6;
/** What `dnat` with a port has to see first. */
export const hasPorts = 'meta l4proto { 6, 17, 132 }';

interface Maps extends Record<MapName, Map<string, string>> {}

interface Draft {
  readonly maps: Maps;
  readonly chains: Map<string, readonly string[]>;
  readonly clientSets: Map<string, number>;
  readonly problems: string[];
  /** Who has an address and port, or a node port. */
  readonly owners: Map<string, string>;
  readonly bridge: string;
}

export function tableContent(rules: RuleSet, bridge: string): TableContent {
  const maps = Object.fromEntries(mapNames.map((name) => [name, new Map()])) as Maps;
  const draft: Draft = {
    maps,
    chains: new Map(),
    clientSets: new Map(),
    problems: [],
    owners: new Map(),
    bridge,
  };
  for (const side of [byAddress, byNodePort])
    for (const role of ['out', 'near'] as const)
      for (let count = 1; count <= preparedCounts; count++) addDrawing(draft, side, count, role);
  for (const rule of rules.ports) addRule(draft, rule);
  for (const address of rules.loneIps) maps['lone-ips'].set(address, '');
  for (const address of [...rules.loneIps, ...rules.innerIps])
    maps['no-node-ports'].set(address, '');
  return draft;
}

/** Where packets for one address, or one node port, go. */
interface Door {
  /** Key in the maps, without slot. */
  readonly key: string;
  readonly side: Side;
  readonly target: Target;
  /** What this node and its pods may use beside the target. */
  readonly shortCut: readonly Endpoint[];
  readonly isExternal: boolean;
}

/** The maps of Services' addresses, or of this node's ports. */
interface Side {
  readonly prefix: '' | 'node-';
  readonly what: string;
  readonly verdicts: MapName;
  readonly slots: MapName;
  readonly unserved: MapName;
  readonly lookup: string;
}

const byAddress: Side = {
  prefix: '',
  what: 'address',
  verdicts: 'service-ips',
  slots: 'endpoints',
  unserved: 'unserved-ips',
  lookup: 'ip daddr . meta l4proto . th dport',
};
const byNodePort: Side = {
  prefix: 'node-',
  what: 'node port',
  verdicts: 'node-ports',
  slots: 'node-port-endpoints',
  unserved: 'unserved-node-ports',
  lookup: 'meta l4proto . th dport',
};

function addRule(draft: Draft, rule: ServicePortRule): void {
  const { internal, external, shortCut = [] } = rule;
  const port = `${protocolNumber[rule.protocol]} . ${rule.port}`;
  for (const ip of rule.clusterIps) {
    const key = `${ip} . ${port}`;
    const side = byAddress;
    addDoor(draft, rule, { key, side, target: internal, shortCut: [], isExternal: false });
  }
  const outside = { target: external, shortCut, isExternal: true };
  for (const ip of rule.externalIps)
    addDoor(draft, rule, { key: `${ip} . ${port}`, side: byAddress, ...outside });
  for (const ip of rule.balancerIps) {
    const isOurs = addDoor(draft, rule, { key: `${ip} . ${port}`, side: byAddress, ...outside });
    if (isOurs) restrict(draft, `${ip} . ${port}`, rule.sources);
  }
  if (rule.nodePort !== undefined) {
    const key = `${protocolNumber[rule.protocol]} . ${rule.nodePort}`;
    addDoor(draft, rule, { key, side: byNodePort, ...outside });
  }
  for (const address of rule.nearby) draft.maps.hairpin.set(`${address} . ${address}`, '');
}

function restrict({ maps }: Draft, key: string, sources: readonly string[] | undefined): void {
  if (sources === undefined) return;
  maps['restricted-ips'].set(key, '');
  for (const range of sources) maps['allowed-sources'].set(`${key} . ${range}`, '');
}

/** False: the address is another Service's, which came first and keeps it. */
function addDoor(draft: Draft, rule: ServicePortRule, door: Door): boolean {
  const { key, side, target, shortCut } = door;
  const owner = draft.owners.get(key);
  if (owner !== undefined && owner !== rule.key) {
    const text = key.split(' . ').toSpliced(-2, 1).join(':');
    draft.problems.push(
      `The ${side.what} ${text} of ${rule.key} is ${owner}'s already: only the latter is served.`,
    );
    return false;
  }
  draft.owners.set(key, rule.key);
  if (target.endpoints.length === 0)
    draft.maps[side.unserved].set(key, target.whenEmpty === 'reject' ? 'goto refuse' : 'drop');
  if (target.endpoints.length > 0 || shortCut.length > 0)
    draft.maps[side.verdicts].set(key, `goto ${entrance(draft, rule, door)}`);
  return true;
}

/** The chain that a door leads to, made if there is none yet. */
function entrance(draft: Draft, rule: ServicePortRule, door: Door): string {
  const { isExternal, target, shortCut } = door;
  const all = (endpoints: readonly Endpoint[], role: Role): string =>
    rule.affinitySeconds === undefined
      ? drawing(draft, door, endpoints, role)
      : keeping(draft, rule, endpoints, role);
  if (!isExternal) return all(target.endpoints, 'in');
  if (shortCut.length === 0) return marked(draft, all(target.endpoints, 'out'));
  const own = all(shortCut, 'out');
  const isServedHere = target.endpoints.length > 0;
  const others = isServedHere ? [`goto ${marked(draft, all(target.endpoints, 'near'))}`] : [];
  const name = rule.affinitySeconds === undefined ? own : `keep-${nameOf(rule)}`;
  return split(draft, `ext-${name}-or-${target.endpoints.length}`, own, others);
}

/** Whose endpoints: a ClusterIP's, an external address's, or those of the latter on this node. */
type Role = 'in' | 'out' | 'near';

/** Draws one of as many slots as there are endpoints. */
function drawing(
  draft: Draft,
  { key, side }: Door,
  endpoints: readonly Endpoint[],
  role: Role,
): string {
  const first = firstSlot(role);
  for (const [i, { address, port }] of endpoints.entries())
    draft.maps[side.slots].set(`${key} . ${first + i}`, `${address} . ${port}`);
  return addDrawing(draft, side, endpoints.length, role);
}

function firstSlot(role: Role): number {
  return role === 'near' ? localSlot : 0;
}

/** The chain that draws one of `count` slots. */
function addDrawing({ chains }: Draft, side: Side, count: number, role: Role): string {
  const first = firstSlot(role);
  const name = `${side.prefix}${role === 'near' ? 'near' : 'pick'}-${count}`;
  const translate = (slots: number): string => {
    const slot = `numgen random mod ${slots}${first === 0 ? '' : ` offset ${first}`}`;
    return `${hasPorts} dnat ip to ${side.lookup} . ${slot} map @${side.slots}`;
  };
  // A slot that goes while a packet is on its way to it is no reason to refuse: the first is left.
  const fallback = count === 1 ? [] : [translate(1)];
  chains.set(name, [translate(count), ...fallback]);
  return name;
}

/** External packets may be answered by other ways, and have to pass Docker's firewall. */
function marked({ chains }: Draft, chain: string): string {
  const name = `ext-${chain}`;
  chains.set(name, [`meta mark set meta mark | ${externalMark}`, `goto ${chain}`]);
  return name;
}

/** This node and its pods are not held to what is on this node. */
function split(draft: Draft, name: string, own: string, others: readonly string[]): string {
  draft.chains.set(name, [
    `fib saddr type local goto ${marked(draft, own)}`,
    `iifname "${draft.bridge}" goto ${own}`,
    ...others,
  ]);
  return name;
}

/** Looks a client up in the sets of the endpoints; one that is in none gets an endpoint. */
function keeping(
  draft: Draft,
  rule: ServicePortRule,
  endpoints: readonly Endpoint[],
  role: Role,
): string {
  const ways = endpoints.map((endpoint) => wayTo(draft, rule, endpoint));
  const name = `${role}-${nameOf(rule)}`;
  const slots = ways.map(({ chain }, slot) => `${slot} : goto ${chain}`).join(', ');
  draft.chains.set(name, [
    ...ways.map(({ chain, clients }) => `ip saddr @${clients} goto ${chain}`),
    `numgen random mod ${ways.length} vmap { ${slots} }`,
  ]);
  return name;
}

interface Way {
  readonly chain: string;
  readonly clients: string;
}

function wayTo(draft: Draft, rule: ServicePortRule, { address, port }: Endpoint): Way {
  const id = `${nameOf(rule)}-${address}-${port}`;
  const { affinitySeconds = 0 } = rule;
  // A set with another time is another set.
  const way = { chain: `to-${id}`, clients: `of-${id}-${affinitySeconds}s` };
  draft.clientSets.set(way.clients, affinitySeconds);
  draft.chains.set(way.chain, [
    `update @${way.clients} { ip saddr }`,
    `meta l4proto ${rule.protocol} dnat to ${address}:${port}`,
  ]);
  return way;
}

/** Names of namespaces and Services are of letters that nft takes; anything else stays out of its text. */
function nameOf({ key }: ServicePortRule): string {
  return key.replaceAll(/[^\w./-]/g, '_');
}
