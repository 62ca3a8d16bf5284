// Reads the firewalls of this machine's owner: all chains that packets enter by themselves, but those of our own tables,
// and of Docker's only what comes in (what it forwards is passed by DOCKER-USER).
import type { ProxySystem } from '../proxy/system.ts';
import { readIptables } from './iptables-reader.ts';
import { readNftTable, type NftChain, type NftListing } from './nft-reader.ts';
import type { Chain, Firewall } from './packets.ts';

/** Tables of this and other clusters on this machine. */
const ourTables = 'flotilla';
const families: readonly string[] = ['ip', 'inet'];

/** What can't be read is no reason to say anything. */
export async function readFirewalls(
  system: Pick<ProxySystem, 'run'>,
): Promise<readonly Firewall[]> {
  const iptables = await system.run('iptables', ['--wait', '--list-rules']);
  const isRead = iptables.exitCode === 0;
  const found = isRead ? [readIptables(iptables.stdout)] : [];
  const chains = (await listing(system, ['list', 'chains']))?.nftables ?? [];
  for (const { family, table } of tablesOf(chains.flatMap(({ chain }) => chain ?? []))) {
    // The same rules, where iptables writes them in nftables' way.
    if (isRead && family === 'ip' && table === 'filter') continue;
    // Sets may hold thousands, and are not read anyway.
    const content = await listing(system, ['--terse', 'list', 'table', family, table]);
    if (content !== undefined) found.push(readNftTable(content, family, table));
  }
  return found.map(withoutDockers);
}

/**
 * Calls when a chain of theirs came, went or got another policy, until the signal aborts; resolves when nobody tells any
 * more. Not for each rule: their events cost nft more, and it is known to lose its way among them.
 */
export async function followFirewalls(
  system: Pick<ProxySystem, 'isRoot' | 'follow'>,
  onChange: () => void,
  signal: AbortSignal,
): Promise<void> {
  if (!system.isRoot) return;
  const onLine = (line: string): void => {
    const [, what, , table = ''] = line.split(' ', 4);
    if (what === 'chain' && !table.startsWith(ourTables)) onChange();
  };
  await system.follow('nft', ['monitor', 'chains'], onLine, signal);
}

function tablesOf(chains: readonly NftChain[]): readonly NftChain[] {
  const entered = chains.filter(
    ({ family, table, hook }) =>
      (hook === 'input' || hook === 'forward') &&
      families.includes(family) &&
      !table.startsWith(ourTables),
  );
  return [...new Map(entered.map((chain) => [`${chain.family} ${chain.table}`, chain])).values()];
}

function withoutDockers(firewall: Firewall): Firewall {
  if (!firewall.chains.has('DOCKER-USER')) return firewall;
  const entered = ({ name, rules, hook, policy }: Chain): Chain =>
    hook === 'forward' ? { name, rules } : { name, rules, ...(hook && { hook, policy }) };
  const chains = new Map([...firewall.chains].map(([name, chain]) => [name, entered(chain)]));
  return { ...firewall, chains };
}

async function listing(
  system: Pick<ProxySystem, 'run'>,
  args: readonly string[],
): Promise<NftListing | undefined> {
  const result = await system.run('nft', ['--json', ...args]);
  if (result.exitCode !== 0) return undefined;
  try {
    return JSON.parse(result.stdout) as NftListing;
  } catch {
    return undefined;
  }
}
