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
  /** Name of our table. */
  readonly ours: string;
  readonly bridge: string;
}

const families: readonly string[] = ['ip', 'inet'];

export async function firewallProblems(
  question: FirewallQuestion,
): Promise<readonly ApplyProblem[]> {
  const { chains, rulesOf, ours, bridge } = question;
  const all = chains.nftables.flatMap(({ chain }) => chain ?? []);
  const isDockers = (family: string, table: string): boolean =>
    all.some((c) => c.family === family && c.table === table && c.name === 'DOCKER-USER');
  const problems: ApplyProblem[] = [];
  for (const { family, table, name, hook, policy } of all) {
    const isForward = hook === 'forward' && families.includes(family);
    if (!isForward || policy !== 'drop' || table === ours || isDockers(family, table)) continue;
    const rules = await rulesOf(family, table, name);
    if (rules === undefined || letsThrough(rules, bridge)) continue;
    problems.push({
      message: `The firewall ${family} ${table} of this machine (chain ${name}) drops what is forwarded, and may keep pods and NodePorts from each other and from other machines. It is left as it is; to let them through: nft insert rule ${family} ${table} ${name} oifname "${bridge}" accept, and the same with iifname.`,
    });
  }
  return problems;
}

/** Whether an accept says our bridge, our mark, or all that is translated; or asks nothing at all. */
function letsThrough({ nftables }: NftListing, bridge: string): boolean {
  return nftables.some(({ rule }) => {
    if (rule === undefined || !rule.expr.some(isAccept)) return false;
    const conditions = rule.expr.filter((part) => !isAccept(part) && !isCounter(part));
    const text = JSON.stringify(conditions);
    const isMark = text.includes('"mark"') && text.includes(String(Number(externalMark)));
    const names = [bridge, 'flt-*', 'dnat'].some((word) => text.includes(`"${word}"`));
    return conditions.length === 0 || isMark || names;
  });
}

function isAccept(part: unknown): boolean {
  return typeof part === 'object' && part !== null && 'accept' in part;
}

function isCounter(part: unknown): boolean {
  return typeof part === 'object' && part !== null && 'counter' in part;
}
