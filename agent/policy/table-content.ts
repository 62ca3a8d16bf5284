// What the table holds, and the text of nft transactions on it: whole (the old one goes and the new one comes in
// the same commit, so no packet ever meets half of it), or the elements that changed. Pure.
//
// Packet flow, of what this machine forwards for its pods, after Services were translated to pods:
//   known connections pass ─ a pod to itself passes ─ from an isolated pod: its chain out-… ─ to one: its chain in-…
// A chain ends by `return` (may pass) or `drop`. What this machine itself sends to its pods, or they to it, is not
// forwarded and always passes, as probes have to.
import { blockText, chainText, elementChange, elementText, removeTableText } from '../nft-text.ts';

export type SetKind = 'addresses' | 'ranges' | 'ports' | 'pairs' | 'verdicts';

export interface PolicyContent {
  /** By name; elements with their value, '' in sets. */
  readonly sets: ReadonlyMap<
    string,
    { readonly kind: SetKind; readonly elements: ReadonlyMap<string, string> }
  >;
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

const definitions: Readonly<Record<SetKind, (name: string) => string>> = {
  addresses: (name) => `set ${name} { type ipv4_addr;`,
  ranges: (name) => `set ${name} { type ipv4_addr; flags interval;`,
  ports: (name) => `set ${name} { type ipv4_addr . inet_proto . inet_service;`,
  pairs: (name) => `set ${name} { type ipv4_addr . ipv4_addr;`,
  verdicts: (name) => `map ${name} { type ipv4_addr : verdict;`,
};

/** After the proxy's own (-10), so that a Service without endpoints still refuses instead of being silent. */
const priority = -5;

/** What the base chain looks up is there in any case. */
const always: Readonly<Record<string, SetKind>> = {
  self: 'pairs',
  'egress-pods': 'verdicts',
  'ingress-pods': 'verdicts',
};

/** No pod here is isolated: no table is needed. */
export function isEmpty({ chains }: PolicyContent): boolean {
  return chains.size === 0;
}

export function wholeText(content: PolicyContent, table: string): string {
  const missing = Object.entries(always).filter(([name]) => !content.sets.has(name));
  const lines = [
    `table ip ${table} {`,
    ...missing.flatMap(([name, kind]) => blockText(definitions[kind](name), [])),
    ...[...content.sets].flatMap(([name, { kind, elements }]) =>
      blockText(
        definitions[kind](name),
        Array.from(elements, ([key, value]) => elementText(key, value)),
      ),
    ),
    ...[...content.chains].flatMap(([name, rules]) => chainText(name, rules)),
    ...chainText('forward', [
      `type filter hook forward priority ${priority}`,
      'ct state established,related accept',
      // A pod can't be kept from itself, also by way of a Service.
      'ip saddr . ip daddr @self accept',
      'ip saddr vmap @egress-pods',
      'ip daddr vmap @ingress-pods',
    ]),
    '}',
  ];
  return `${removeTableText(table)}${lines.join('\n')}\n`;
}

/** Undefined: more than elements of sets has changed. '': nothing has. */
export function changeText(
  before: PolicyContent,
  after: PolicyContent,
  table: string,
): string | undefined {
  if (shape(before) !== shape(after)) return undefined;
  const removed: string[] = [];
  const added: string[] = [];
  for (const [name, { elements }] of after.sets) {
    const old = before.sets.get(name)?.elements ?? new Map<string, string>();
    const change = elementChange([table, name], old, elements);
    removed.push(...change.removed);
    added.push(...change.added);
  }
  const lines = [...removed, ...added];
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function shape({ sets, chains }: PolicyContent): string {
  const names = [...sets.keys()].filter((name) => always[name] === undefined).toSorted();
  const rules = Array.from(chains, ([name, own]) => `${name}\n${own.join('\n')}`).toSorted();
  return [...names, ...rules].join('\n');
}
