// Which firewalls of this machine's owner may hold back what our rules let through. Decides by what nft
// lists: a packet has to pass every chain of a hook, so an accept of ours can't overrule a drop of
// theirs. ufw and others that write iptables appear there, too. Docker's own is not meant: that one is
// passed by DOCKER-USER (surroundings.ts).
import type { ApplyProblem } from './applier.ts';
import { externalMark } from './table-content.ts';

/** Of `nft --json list …`, as far as it is read. */
export interface NftListing {
  readonly nftables: readonly NftEntry[];
}

interface NftEntry {
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly policy?: string;
  };
  readonly rule?: { readonly chain: string; readonly expr: readonly unknown[] };
}

export interface FirewallQuestion {
  readonly chains: NftListing;
  readonly rulesOf: (
    family: string,
    table: string,
    chain: string,
  ) => Promise<NftListing | undefined>;
  readonly bridge: string;
}

/** Tables of this and other clusters on this machine. */
const ourTables = 'flotilla';
const families: readonly string[] = ['ip', 'inet'];

export async function firewallProblems(
  question: FirewallQuestion,
): Promise<readonly ApplyProblem[]> {
  const { chains, rulesOf, bridge } = question;
  const all = chains.nftables.flatMap(({ chain }) => chain ?? []);
  const hasChain = (family: string, table: string, name: RegExp): boolean =>
    all.some((c) => c.family === family && c.table === table && name.test(c.name));
  const problems: ApplyProblem[] = [];
  for (const { family, table, name, hook, policy } of all) {
    const isForward = hook === 'forward' && families.includes(family);
    if (!isForward || table.startsWith(ourTables)) continue;
    if (hasChain(family, table, /^DOCKER-USER$/)) continue;
    const rules = await rulesOf(family, table, name);
    if (rules === undefined || !holdsBack(rules, policy, bridge)) continue;
    const remedy = hasChain(family, table, /^ufw-/)
      ? `ufw route allow in on ${bridge} && ufw route allow out on ${bridge}`
      : `nft insert rule ${family} ${table} ${name} oifname "${bridge}" accept, and the same with iifname`;
    problems.push({
      message: `The firewall ${family} ${table} of this machine (chain ${name}) drops what is forwarded, and may keep pods and NodePorts from each other and from other machines. It is left as it is; to let them through: ${remedy}.`,
    });
  }
  return problems;
}

/** By its policy or its last rule, and with no accept before for what is ours. */
function holdsBack({ nftables }: NftListing, policy: string | undefined, bridge: string): boolean {
  const rules = nftables.flatMap(({ rule }) => rule ?? []);
  const last = rules.at(-1)?.expr.filter((part) => !has(part, 'counter')) ?? [];
  const [only] = last;
  const endsSo = last.length === 1 && (has(only, 'drop') || has(only, 'reject'));
  return (policy === 'drop' || endsSo) && !rules.some(({ expr }) => letsThrough(expr, bridge));
}

/** Whether it is an accept of our bridge, our mark, or all that is translated; or of anything. */
function letsThrough(expr: readonly unknown[], bridge: string): boolean {
  if (!expr.some((part) => has(part, 'accept'))) return false;
  const conditions = expr.filter((part) => !has(part, 'accept') && !has(part, 'counter'));
  const text = JSON.stringify(conditions);
  const isMark = text.includes('"mark"') && text.includes(String(Number(externalMark)));
  const names = [bridge, 'flt-*', 'dnat'].some((word) => text.includes(`"${word}"`));
  return conditions.length === 0 || isMark || names;
}

function has(part: unknown, key: string): boolean {
  return typeof part === 'object' && part !== null && key in part;
}
