// Puts the table into the kernel: whole at first, after an error, when somebody else deleted it, and
// every few minutes in case they did worse; otherwise only what changed. One transaction each. What the
// table needs around it is surroundings.ts' work. Touches no table but ours.
import { removeTableText } from '../nft-text.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Applier, ApplyProblem } from './applier.ts';
import { forgetUdp } from './conntrack.ts';
import { changeText, wholeText, type NftablesOptions, type RememberedClient } from './nftables.ts';
import type { RuleSet, ServicePortRule } from './rules.ts';
import {
  closeLoopback,
  hasBridgeNetfilter,
  leaveDockerFirewall,
  openHairpins,
  openLoopback,
  passDockerFirewall,
  readLoopback,
  type Surroundings,
} from './surroundings.ts';
import { firstLine, type ProxySystem } from './system.ts';
import { tableContent, type TableContent } from './table-content.ts';

export interface NftApplierOptions extends Surroundings {
  readonly serviceCidr: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Somebody else deleted our table: rules are to be applied again. */
  readonly onLost?: () => void;
}

/** Docker's firewall is looked at no more often: that takes ten times what a change takes. */
const surroundingsMs = 10_000;
/** Whole again, in case somebody changed a rule in it. */
const wholeMs = 290_000;
/** A deletion of our own that is not told by then was missed, as before the kernel was listened to. */
const ownDeletionMs = 5_000;

/** Why this machine can't do it, as a sentence; undefined when it can. */
export async function whyNotNftables(system: ProxySystem): Promise<string | undefined> {
  if (!system.isRoot) return 'Proxying in the kernel needs root.';
  const trial = [
    'table ip flotilla-trial {',
    '  chain a { type nat hook output priority -100; }',
    '  map m { typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }',
    '  chain b { meta l4proto { 6, 17 } dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @m; }',
    '  chain c { fib daddr type local accept; }',
    '  set s { type ipv4_addr; flags dynamic,timeout; timeout 9s; }',
    '  set r { type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }',
    '}',
  ];
  const result = await system.run('nft', ['--check', '--file', '-'], `${trial.join('\n')}\n`);
  if (result.exitCode === 0) return undefined;
  if (result.exitCode === undefined) return `The nft command is missing: ${firstLine(result)}.`;
  return `The kernel or nft is too old for our rules: ${firstLine(result)}.`;
}

/** Takes the table and all that was made around it away, whoever made it. */
export async function removeRules(here: Surroundings): Promise<void> {
  const { system, table } = here;
  await closeLoopback(here);
  const result = await system.run('nft', ['--file', '-'], removeTableText(table));
  if (result.exitCode !== 0) throw new Error(`nft kept table ${table}: ${firstLine(result)}`);
  await leaveDockerFirewall(here);
}

interface Loaded {
  readonly content: TableContent;
  readonly options: NftablesOptions;
  readonly wholeAtMs: number;
  readonly staleChains: readonly string[];
}

export class NftApplier implements Applier {
  readonly mode = 'nftables';
  readonly #options: NftApplierOptions;
  #loaded: Loaded | undefined;
  /** Whose UDP clients were looked at last. */
  #udp: readonly ServicePortRule[] = [];
  #udpProblems: readonly ApplyProblem[] = [];
  #surroundings: readonly ApplyProblem[] = [];
  #surroundingsAtMs = -Infinity;
  /** Deletions of our table that are our own doing, and not yet told; and when the last one began. */
  #ownDeletions = 0;
  #ownDeletionAtMs = -Infinity;
  /** How often somebody else deleted it. */
  #losses = 0;
  #watch: AbortController | undefined;

  constructor(options: NftApplierOptions) {
    this.#options = options;
  }

  async apply(rules: RuleSet): Promise<readonly ApplyProblem[]> {
    const { bridge } = this.#options;
    const content = tableContent(rules, bridge);
    const bridgeNetfilter = await hasBridgeNetfilter(this.#options);
    if (bridgeNetfilter) await openHairpins(this.#options);
    const hasBridge = (await readLoopback(this.#options)) !== undefined;
    const isKnownClosed = this.#loaded?.options.loopbackNodePorts === false;
    const isTried = hasBridge && !isKnownClosed;
    // First the rules that keep pods from this machine's 127.0.0.1, then what they protect from.
    await this.#load(content, { loopbackNodePorts: isTried, bridgeNetfilter });
    const isOpen = hasBridge && (await openLoopback(this.#options));
    if (isOpen !== isTried)
      await this.#load(content, { loopbackNodePorts: isOpen, bridgeNetfilter });
    await this.#forgetUdp(rules);
    // Before its first pod a machine has no bridge, and nothing to be reached.
    const isClosed =
      hasBridge && !isOpen && rules.ports.some((rule) => rule.nodePort !== undefined);
    return [
      ...(isClosed
        ? [
            {
              message: `NodePorts are not reachable by 127.0.0.1: route_localnet of ${bridge} can't be written.`,
            },
          ]
        : []),
      ...content.problems.map((message) => ({ message })),
      ...this.#udpProblems,
    ];
  }

  async lookAround(): Promise<readonly ApplyProblem[]> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#surroundingsAtMs < surroundingsMs) return this.#surroundings;
    this.#surroundingsAtMs = nowMs;
    this.#surroundings = await passDockerFirewall(this.#options);
    return this.#surroundings;
  }

  stop(): void {
    this.#watch?.abort();
  }

  async remove(): Promise<void> {
    this.stop();
    await removeRules(this.#options);
    this.#loaded = undefined;
  }

  async #load(
    content: TableContent,
    found: { readonly loopbackNodePorts: boolean; readonly bridgeNetfilter: boolean },
  ): Promise<void> {
    const { table, bridge, serviceCidr, clock } = this.#options;
    const options = { table, bridge, serviceCidr, ...found };
    const loaded = this.#loaded;
    const isFresh =
      loaded !== undefined &&
      clock.monotonicMs() - loaded.wholeAtMs < wholeMs &&
      loaded.options.loopbackNodePorts === found.loopbackNodePorts &&
      loaded.options.bridgeNetfilter === found.bridgeNetfilter;
    if (isFresh && (await this.#loadChange(loaded, content))) return;
    await this.#loadWhole(content, options);
  }

  /** False when the kernel did not take it: then the table is not what we think. */
  async #loadChange(loaded: Loaded, content: TableContent): Promise<boolean> {
    const { table, logger } = this.#options;
    const change = changeText(loaded.content, content, table, loaded.staleChains);
    if (change === undefined) return true;
    const losses = this.#losses;
    const why = await this.#run(change.text);
    if (why !== undefined) {
      logger.info('Service rules are not what they were; writing all anew', { why });
      return false;
    }
    this.#loaded = { ...loaded, content, staleChains: change.staleChains };
    // Told of a loss meanwhile, nobody knows which came first.
    return losses === this.#losses;
  }

  async #loadWhole(content: TableContent, options: NftablesOptions): Promise<void> {
    const { clock } = this.#options;
    this.#follow();
    const clients = content.clientSets.size === 0 ? [] : await this.#clients();
    this.#ownDeletions++;
    this.#ownDeletionAtMs = clock.monotonicMs();
    const losses = this.#losses;
    const why = await this.#run(wholeText(content, options, clients));
    if (why !== undefined) {
      this.#ownDeletions--;
      throw new Error(`nft refused the rules: ${why}`);
    }
    const loaded = { content, options, wholeAtMs: clock.monotonicMs(), staleChains: [] };
    this.#loaded = losses === this.#losses ? loaded : undefined;
    // What came before these rules has to be looked at once.
    this.#udp = [];
  }

  /** Why the kernel did not take it. */
  async #run(text: string): Promise<string | undefined> {
    const result = await this.#options.system.run('nft', ['--file', '-'], text);
    return result.exitCode === 0 ? undefined : firstLine(result);
  }

  /** Whom the table remembers, also one of an earlier run of this agent. */
  async #clients(): Promise<readonly RememberedClient[]> {
    const { system, table } = this.#options;
    const listed = await system.run('nft', ['--json', 'list', 'table', 'ip', table]);
    return listed.exitCode === 0 ? rememberedClients(listed.stdout) : [];
  }

  /** Told at once, `nft flush ruleset` of somebody else costs no five minutes of all Services. */
  #follow(): void {
    const { system, table, clock, onLost } = this.#options;
    if (this.#watch !== undefined || onLost === undefined) return;
    const watch = new AbortController();
    this.#watch = watch;
    this.#ownDeletions = 0;
    const onLine = (line: string): void => {
      if (line.trim() !== `delete table ip ${table}` || watch.signal.aborted) return;
      const isRecent = clock.monotonicMs() - this.#ownDeletionAtMs < ownDeletionMs;
      if (this.#ownDeletions > 0 && isRecent) {
        this.#ownDeletions--;
        return;
      }
      this.#ownDeletions = 0;
      this.#losses++;
      this.#loaded = undefined;
      onLost();
    };
    const ended = system.follow('nft', ['monitor', 'destroy', 'tables'], onLine, watch.signal);
    void ended.then(() => {
      if (this.#watch === watch) this.#watch = undefined;
    });
  }

  async #forgetUdp({ ports }: RuleSet): Promise<void> {
    const udp = ports.filter(({ protocol }) => protocol === 'udp');
    const isSame = udp.length === this.#udp.length && udp.every((rule, i) => rule === this.#udp[i]);
    if (isSame) return;
    this.#udp = udp;
    this.#udpProblems = await forgetUdp(this.#options.system, udp);
  }
}

/** Of `nft --json list table`: elements of the sets that know clients. */
export function rememberedClients(json: string): readonly RememberedClient[] {
  const { nftables } = JSON.parse(json) as {
    nftables: { set?: { name: string; elem?: readonly unknown[] } }[];
  };
  return nftables.flatMap(({ set }) =>
    (set?.elem ?? []).flatMap((entry) => {
      const { elem } = entry as { elem?: { val?: unknown; expires?: unknown } };
      if (set === undefined || typeof elem?.val !== 'string') return [];
      if (typeof elem.expires !== 'number') return [];
      return { set: set.name, address: elem.val, expiresSeconds: elem.expires };
    }),
  );
}
