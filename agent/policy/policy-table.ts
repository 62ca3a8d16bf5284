// Puts the table into the kernel: whole at first, after an error and every few minutes, otherwise the elements that
// changed. One transaction each. It outlives the agent: policies hold while nobody is there to change them.
import type { Clock } from '#kube/base/clock.ts';
import { removeTableText } from '../nft-text.ts';
import { firstLine, type ProxySystem } from '../proxy/system.ts';
import { shortClusterId } from '../runtime/pod-network.ts';
import { changeText, isEmpty, wholeText, type PolicyContent } from './table-content.ts';

export function policyTableName(clusterId: string): string {
  return `flotilla_policy_${shortClusterId(clusterId)}`;
}

/** In case somebody changed it. */
const wholeMs = 290_000;

interface Loaded {
  /** Undefined: there is no table, and none is needed. */
  readonly content: PolicyContent | undefined;
  readonly wholeAtMs: number;
}

export class PolicyTable {
  readonly #system: ProxySystem;
  readonly #name: string;
  readonly #clock: Clock;
  /** Undefined: not known, as an earlier agent may have left some. */
  #loaded: Loaded | undefined;

  constructor(system: ProxySystem, name: string, clock: Clock) {
    this.#system = system;
    this.#name = name;
    this.#clock = clock;
  }

  /** Why this machine can't do it, in words. */
  async whyNot(): Promise<string | undefined> {
    if (!this.#system.isRoot) return 'that needs root';
    const trial = wholeText({ sets: new Map(), chains: new Map() }, this.#name);
    const result = await this.#system.run('nft', ['--check', '--file', '-'], trial);
    if (result.exitCode === 0) return undefined;
    if (result.exitCode === undefined)
      return 'the program nft is missing on this machine (package nftables)';
    return `the kernel or nft is too old for our rules: ${firstLine(result)}`;
  }

  /** Rejects when the kernel did not take it: what was there stays. */
  async apply(content: PolicyContent): Promise<void> {
    if (isEmpty(content)) return this.remove();
    const loaded = this.#loaded;
    const isFresh = loaded !== undefined && this.#clock.monotonicMs() - loaded.wholeAtMs < wholeMs;
    if (loaded?.content !== undefined && isFresh) {
      const change = changeText(loaded.content, content, this.#name);
      const isDone =
        change === '' || (change !== undefined && (await this.#run(change)) === undefined);
      if (isDone && this.#loaded === loaded) {
        this.#loaded = { ...loaded, content };
        return;
      }
    }
    const wholeAtMs = this.#clock.monotonicMs();
    const why = await this.#run(wholeText(content, this.#name));
    if (why !== undefined) throw new Error(`nft refused the rules of NetworkPolicies: ${why}`);
    this.#loaded = { content, wholeAtMs };
  }

  /** What is in the kernel is not known any more. */
  lost(): void {
    this.#loaded = undefined;
  }

  async remove(): Promise<void> {
    if (this.#loaded !== undefined && this.#loaded.content === undefined) return;
    await removePolicies(this.#system, this.#name);
    this.#loaded = { content: undefined, wholeAtMs: this.#clock.monotonicMs() };
  }

  async #run(text: string): Promise<string | undefined> {
    const result = await this.#system.run('nft', ['--file', '-'], text);
    return result.exitCode === 0 ? undefined : firstLine(result) || 'it did not end';
  }
}

/** Whoever made it. */
export async function removePolicies(
  system: Pick<ProxySystem, 'run'>,
  table: string,
): Promise<void> {
  const result = await system.run('nft', ['--file', '-'], removeTableText(table));
  // Without the command nobody made any.
  if (result.exitCode === undefined || result.exitCode === 0) return;
  throw new Error(`nft kept table ${table}: ${firstLine(result)}`);
}
