// Pure: what `nft --json list table` prints, as far as it asks for what is known of a packet. firewalld's is such a table.
import {
  comesIn,
  goesOut,
  isDestinationType,
  isFrom,
  isMark,
  isPort,
  isProtocol,
  isState,
  isStatus,
  isTo,
} from './conditions.ts';
import {
  not,
  unknown,
  type Chain,
  type Condition,
  type Firewall,
  type Rule,
  type Verdict,
} from './packets.ts';

export interface NftListing {
  readonly nftables: readonly NftEntry[];
}

export interface NftChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

interface NftEntry {
  readonly chain?: NftChain;
  readonly rule?: { readonly chain: string; readonly expr: readonly unknown[] };
}

type Json = Readonly<Record<string, unknown>>;

export function readNftTable(listing: NftListing, family: string, table: string): Firewall {
  const chains = listing.nftables.flatMap(({ chain }) => chain ?? []);
  const rules = listing.nftables.flatMap(({ rule }) => rule ?? []);
  const read = chains.map(({ name, hook, policy }): Chain => {
    const own = rules.filter(({ chain }) => chain === name).flatMap(({ expr }) => readRule(expr));
    if (hook !== 'input' && hook !== 'forward') return { name, rules: own };
    return { name, rules: own, hook, policy: policy === 'drop' ? 'drop' : 'accept' };
  });
  return {
    name: `${family} ${table}`,
    program: table === 'firewalld' ? 'firewalld' : 'nft',
    chains: new Map(read.map((chain) => [chain.name, chain])),
  };
}

/** Several, when it looks up what to do. */
function readRule(expr: readonly unknown[]): Rule[] {
  const conditions: Condition[] = [];
  for (const part of expr as readonly Json[]) {
    const [kind = '', content] = Object.entries(part)[0] ?? [];
    const verdict = verdictOf(kind, content);
    if (verdict !== undefined) return [{ conditions, verdict }];
    if (kind === 'vmap') return lookUps(content as Json, conditions);
    if (kind === 'match') conditions.push(matchOf(content as Json));
    else if (!isAside(kind, content)) conditions.push(unknown);
  }
  return [];
}

/** What asks for nothing. */
function isAside(kind: string, content: unknown): boolean {
  const name = isObject(content) ? content['name'] : undefined;
  return ['counter', 'log', 'mangle', 'comment'].includes(kind) || name === 'comment';
}

function verdictOf(kind: string, content: unknown): Verdict | undefined {
  const { target, type, name } = isObject(content) ? content : {};
  switch (kind) {
    case 'accept':
    case 'drop':
    case 'return':
      return { kind };
    case 'reject':
      return { kind: 'drop' };
    case 'jump':
    case 'goto':
      return { kind, chain: String(target) };
    case 'xt':
      return type === 'target' && name === 'REJECT' ? { kind: 'drop' } : undefined;
    default:
      return undefined;
  }
}

function lookUps({ key, data }: Json, before: readonly Condition[]): Rule[] {
  const entries = isObject(data) && Array.isArray(data['set']) ? data['set'] : [];
  return (entries as readonly [unknown, Json][]).flatMap(([value, content]) => {
    const [kind = '', inner] = Object.entries(content)[0] ?? [];
    const verdict = verdictOf(kind, inner);
    return verdict === undefined
      ? []
      : [{ conditions: [...before, equals(key, [value])], verdict }];
  });
}

function matchOf({ op, left, right }: Json): Condition {
  const condition = equals(left, valuesOf(right));
  if (op === '!=') return not(condition);
  return op === '==' || op === 'in' ? condition : unknown;
}

function valuesOf(right: unknown): readonly unknown[] {
  if (Array.isArray(right)) return right;
  return isObject(right) && Array.isArray(right['set']) ? right['set'] : [right];
}

/** Whether what `left` means is one of them. */
function equals(left: unknown, values: readonly unknown[]): Condition {
  const texts = values.map(textOf);
  if (!isObject(left) || texts.some((text) => text === undefined || text.startsWith('@')))
    return unknown;
  const known = texts.flatMap((text) => text ?? []);
  const [kind = '', content] = Object.entries(left)[0] ?? [];
  if (kind === '&') return masked(content as readonly unknown[], known);
  const about = [kind, ...Object.values(isObject(content) ? content : {})].join(' ');
  return questions[about]?.(known) ?? unknown;
}

const any =
  (one: (text: string) => Condition) =>
  (texts: readonly string[]): Condition =>
  (packet) => {
    const found = texts.map((text) => one(text)(packet));
    if (found.includes(true)) return true;
    return found.includes(undefined) ? undefined : false;
  };

const both =
  (a: Condition, b: Condition): Condition =>
  (packet) =>
    a(packet) === false ? false : b(packet);

const questions: Readonly<Record<string, (texts: readonly string[]) => Condition>> = {
  'meta iifname': any(comesIn),
  'meta oifname': any(goesOut),
  'meta iif': any(comesIn),
  'meta oif': any(goesOut),
  'meta l4proto': any(isProtocol),
  'meta nfproto': any((text) => () => text === 'ipv4'),
  'meta mark': any((text) => isMark(Number(text))),
  'payload ip protocol': any(isProtocol),
  'payload ip saddr': any(isFrom),
  'payload ip daddr': any(isTo),
  // Of what is only of IPv6 no packet is meant here.
  'payload ip6 saddr': () => () => false,
  'payload ip6 daddr': () => () => false,
  'payload ip6 nexthdr': () => () => false,
  'payload tcp dport': (ports) => both(isProtocol('tcp'), isPort(ports)),
  'payload udp dport': (ports) => both(isProtocol('udp'), isPort(ports)),
  'payload th dport': isPort,
  'payload icmp type': () => () => false,
  'payload icmpv6 type': () => () => false,
  'ct state': isState,
  'ct status': isStatus,
  'fib type daddr': any(isDestinationType),
};

/** `meta mark & MASK`, which nothing else is read with. */
function masked([what, mask]: readonly unknown[], texts: readonly string[]): Condition {
  const isOfMark = isObject(what) && isObject(what['meta']) && what['meta']['key'] === 'mark';
  if (!isOfMark || typeof mask !== 'number') return unknown;
  return any((text) => isMark(Number(text), mask))(texts);
}

/** Undefined: it can't be said in a word. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (!isObject(value)) return undefined;
  const { range, prefix } = value;
  if (Array.isArray(range)) return range.join('-');
  return isObject(prefix) ? `${String(prefix['addr'])}/${String(prefix['len'])}` : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
