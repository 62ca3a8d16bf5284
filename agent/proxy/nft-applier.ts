// Puts nftables.ts's text into the kernel, and prepares the little around it: route_localnet on
// the pods' bridge, hairpins on its ports, and leave for our external traffic to pass Docker's own firewall.
// Touches no table but ours, and no chain of Docker's but DOCKER-USER, which is made for it.
import type { Applier, ApplyProblem } from './applier.ts';
import { externalMark, nftablesText, removeTableText } from './nftables.ts';
import type { RuleSet } from './rules.ts';
import type { CommandResult, ProxySystem } from './system.ts';

export interface NftApplierOptions {
  readonly system: ProxySystem;
  readonly table: string;
  readonly bridge: string;
  readonly serviceCidr: string;
}

/** Why this machine can't do it, as a sentence; undefined when it can. */
export async function whyNotNftables(system: ProxySystem): Promise<string | undefined> {
  if (!system.isRoot) return 'Proxying in the kernel needs root.';
  const trial = [
    'table ip flotilla-trial {',
    '  chain a { type nat hook output priority -100; }',
    '  chain b { meta l4proto tcp dnat to numgen random mod 2 map { 0 : 127.0.0.1 . 1, 1 : 127.0.0.1 . 2 }; }',
    '  chain c { fib daddr type local accept; }',
    '}',
  ];
  const result = await system.run('nft', ['--check', '--file', '-'], `${trial.join('\n')}\n`);
  if (result.exitCode === 0) return undefined;
  if (result.exitCode === undefined) return `The nft command is missing: ${firstLine(result)}.`;
  return `The kernel or nft is too old for our rules: ${firstLine(result)}.`;
}

export class NftApplier implements Applier {
  readonly mode = 'nftables';
  readonly #options: NftApplierOptions;
  /** Addresses that UDP was sent to when the rules were last applied. */
  #udpAddresses: ReadonlySet<string> = new Set();

  constructor(options: NftApplierOptions) {
    this.#options = options;
  }

  async apply(rules: RuleSet): Promise<readonly ApplyProblem[]> {
    const { bridge } = this.#options;
    const problems: ApplyProblem[] = [];
    const bridgeNetfilter = await this.#hasBridgeNetfilter();
    if (bridgeNetfilter) await this.#openHairpins();
    const hasBridge = (await this.#readLoopback()) !== undefined;
    // First the rules that keep pods from this machine's 127.0.0.1, then what they protect from.
    await this.#load(rules, { loopbackNodePorts: hasBridge, bridgeNetfilter });
    const loopbackNodePorts = hasBridge && (await this.#openLoopback());
    if (hasBridge && !loopbackNodePorts)
      await this.#load(rules, { loopbackNodePorts, bridgeNetfilter });
    await this.#forgetUdp(udpAddresses(rules));
    // Before its first pod a machine has no bridge, and nothing to be reached.
    const isClosed = hasBridge && !loopbackNodePorts;
    if (isClosed && rules.ports.some((rule) => rule.nodePort !== undefined))
      problems.push({
        message: `NodePorts are not reachable by 127.0.0.1: route_localnet of ${bridge} can't be written.`,
      });
    problems.push(...(await this.#passDockerFirewall()));
    return problems;
  }

  async remove(): Promise<void> {
    const { system, table } = this.#options;
    await this.#closeLoopback();
    const result = await system.run('nft', ['--file', '-'], removeTableText(table));
    if (result.exitCode !== 0) throw new Error(`nft kept table ${table}: ${firstLine(result)}`);
    for (const rule of this.#dockerRules())
      await system.run('iptables', ['--wait', '--delete', ...rule]);
  }

  async #load(
    rules: RuleSet,
    found: { readonly loopbackNodePorts: boolean; readonly bridgeNetfilter: boolean },
  ): Promise<void> {
    const { system, table, bridge, serviceCidr } = this.#options;
    const text = nftablesText(rules, { table, bridge, serviceCidr, ...found });
    const result = await system.run('nft', ['--file', '-'], text);
    if (result.exitCode !== 0) throw new Error(`nft refused the rules: ${firstLine(result)}`);
  }

  /**
   * UDP has no end that the kernel could see: without this, a client that keeps sending keeps its
   * vanished endpoint. Machines without the conntrack command wait for the kernel's timeout.
   */
  async #forgetUdp(current: ReadonlySet<string>): Promise<void> {
    const gone = [...this.#udpAddresses].filter((address) => !current.has(address));
    this.#udpAddresses = current;
    for (const address of gone)
      await this.#options.system.run('conntrack', ['-D', '-p', 'udp', '--reply-src', address]);
  }

  get #loopbackFile(): string {
    return `/proc/sys/net/ipv4/conf/${this.#options.bridge}/route_localnet`;
  }

  /** Undefined while there is no bridge. */
  async #readLoopback(): Promise<string | undefined> {
    return (await this.#options.system.readText(this.#loopbackFile))?.trim();
  }

  /** Lets packets from 127.0.0.1 leave by the bridge. */
  async #openLoopback(): Promise<boolean> {
    if ((await this.#readLoopback()) === '1') return true;
    return this.#options.system.writeText(this.#loopbackFile, '1\n');
  }

  /** Without our rules pods could reach what listens on this machine's 127.0.0.1 only. */
  async #closeLoopback(): Promise<void> {
    if ((await this.#readLoopback()) === '1')
      await this.#options.system.writeText(this.#loopbackFile, '0\n');
  }

  async #hasBridgeNetfilter(): Promise<boolean> {
    const path = '/proc/sys/net/bridge/bridge-nf-call-iptables';
    return (await this.#options.system.readText(path))?.trim() === '1';
  }

  /**
   * With bridge netfilter, a packet translated back to its own pod is bridged, not routed, and a
   * bridge does not send a frame out of the port it came by unless told so. Ports of pods that
   * start later are opened when their endpoints arrive.
   */
  async #openHairpins(): Promise<void> {
    const { system, bridge } = this.#options;
    const folder = `/sys/class/net/${bridge}/brif`;
    for (const port of await system.listFolder(folder)) {
      const file = `${folder}/${port}/hairpin_mode`;
      const current = await system.readText(file);
      if (current?.trim() === '0') await system.writeText(file, '1\n');
    }
  }

  /**
   * Docker drops forwarded packets it did not ask for; an accept in our table can't overrule that.
   * No DOCKER-USER chain, no such firewall.
   */
  async #passDockerFirewall(): Promise<readonly ApplyProblem[]> {
    const { system } = this.#options;
    const chain = await system.run('iptables', ['--wait', '--list-rules', 'DOCKER-USER']);
    if (chain.exitCode !== 0) return [];
    for (const rule of this.#dockerRules()) {
      const check = await system.run('iptables', ['--wait', '--check', ...rule]);
      if (check.exitCode === 0) continue;
      const insert = await system.run('iptables', ['--wait', '--insert', ...rule]);
      if (insert.exitCode === 0) continue;
      const why = firstLine(insert);
      return [{ message: `Docker's firewall keeps NodePorts from other machines: ${why}.` }];
    }
    return [];
  }

  /**
   * The first packet of a connection carries our mark; those that follow, either way, would meet
   * Docker's isolation of its bridges from each other.
   */
  #dockerRules(): string[][] {
    const { bridge, table } = this.#options;
    const established = ['-m', 'conntrack', '--ctstate', 'ESTABLISHED'];
    const matches = [
      ['-m', 'mark', '--mark', `${externalMark}/${externalMark}`],
      ['-i', bridge, ...established],
      ['-o', bridge, ...established],
    ];
    const comment = ['-m', 'comment', '--comment', `flotilla ${table}`];
    return matches.map((match) => ['DOCKER-USER', ...match, ...comment, '-j', 'ACCEPT']);
  }
}

function udpAddresses(rules: RuleSet): ReadonlySet<string> {
  const targets = rules.ports
    .filter((rule) => rule.protocol === 'udp')
    .flatMap((rule) => [rule.internal, rule.external]);
  return new Set(targets.flatMap((target) => target.endpoints.map((e) => e.address)));
}

function firstLine(result: CommandResult): string {
  return (result.stderr.trim().split('\n')[0] ?? '').slice(0, 200);
}
