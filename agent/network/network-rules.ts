// Packet rules of the pods' network, in a table of our own: pods meet pods and neighbouring machines by their
// own addresses, which neither Docker's translation nor its firewall may change. One nft transaction.
import { removeTableText } from '../nft-text.ts';
import { firstLine, type ProxySystem } from '../proxy/system.ts';
import type { NetworkNames } from './names.ts';
import type { WantedNetwork } from './wanted.ts';

/** On packets from the cluster to our pods. Of no bits that Kubernetes' proxy or Tailscale use. */
export const clusterMark = '0x02000000';

export function networkRulesText(
  { podCidr, cluster }: Pick<WantedNetwork, 'podCidr' | 'cluster'>,
  { table, bridge, overlay }: NetworkNames,
): string {
  const lines = [
    `table ip ${table} {`,
    '  set cluster {',
    '    type ipv4_addr;',
    '    flags interval;',
    '    auto-merge;',
    `    elements = { ${cluster.join(', ')} }`,
    '  }',
    '  chain nat-postrouting {',
    // Docker masquerades all that leaves its bridge, at 100. A packet is translated once: to what it is.
    '    type nat hook postrouting priority 99;',
    `    oifname != "${bridge}" ip saddr ${podCidr} ip daddr @cluster snat to ip saddr;`,
    // From this machine itself, or forwarded for others: only our end of the overlay is known there.
    `    oifname "${overlay}" ip saddr != ${podCidr} masquerade;`,
    '  }',
    '  chain filter-forward {',
    '    type filter hook forward priority -20;',
    `    oifname "${bridge}" ip saddr @cluster meta mark set meta mark | ${clusterMark};`,
    // Pods send what fits their own network, and the overlay carries less.
    `    oifname "${overlay}" tcp flags syn tcp option maxseg size set rt mtu;`,
    '  }',
    '}',
  ];
  return `${removeTableText(table)}${lines.join('\n')}\n`;
}

export class NetworkRules {
  readonly #system: Pick<ProxySystem, 'run'>;
  readonly #names: NetworkNames;

  constructor(system: Pick<ProxySystem, 'run'>, names: NetworkNames) {
    this.#system = system;
    this.#names = names;
  }

  /** What could not be done, in words. */
  async apply(wanted: WantedNetwork): Promise<readonly string[]> {
    const text = networkRulesText(wanted, this.#names);
    const result = await this.#system.run('nft', ['--file', '-'], text);
    const problems: string[] = [];
    if (result.exitCode === undefined)
      problems.push(
        "pods of other machines can't be reached by their own addresses: the program nft is missing on this machine (package nftables)",
      );
    else if (result.exitCode !== 0)
      problems.push(`nft refused the rules of the pods' network: ${firstLine(result)}`);
    const refused = await this.#passDockerFirewall();
    if (refused !== undefined)
      problems.push(`Docker's firewall keeps other machines from pods here: ${refused}`);
    return problems;
  }

  async remove(): Promise<void> {
    const { table } = this.#names;
    const result = await this.#system.run('nft', ['--file', '-'], removeTableText(table));
    // Without the command nobody made any.
    if (result.exitCode === undefined) return;
    if (result.exitCode !== 0) throw new Error(`nft kept table ${table}: ${firstLine(result)}`);
    await this.#system.run('iptables', ['--wait', '--delete', ...this.#dockerRule]);
  }

  /** Docker drops forwarded packets it did not ask for. No DOCKER-USER chain, no such firewall. */
  async #passDockerFirewall(): Promise<string | undefined> {
    const { run } = this.#system;
    const check = await run('iptables', ['--wait', '--check', ...this.#dockerRule]);
    if (check.exitCode === 0) return undefined;
    const chain = await run('iptables', ['--wait', '--list-rules', 'DOCKER-USER']);
    if (chain.exitCode !== 0) return undefined;
    const insert = await run('iptables', ['--wait', '--insert', ...this.#dockerRule]);
    return insert.exitCode === 0 ? undefined : firstLine(insert);
  }

  get #dockerRule(): readonly string[] {
    const { table, bridge } = this.#names;
    const match = ['-o', bridge, '-m', 'mark', '--mark', `${clusterMark}/${clusterMark}`];
    const comment = ['-m', 'comment', '--comment', `flotilla ${table}`];
    return ['DOCKER-USER', ...match, ...comment, '-j', 'ACCEPT'];
  }
}
