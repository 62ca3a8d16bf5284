// What carries out a RuleSet. Two do: nft-applier.ts in the kernel, userspace.ts in this process.
import type { RuleSet } from './rules.ts';

export interface Applier {
  readonly mode: 'nftables' | 'userspace';
  /** Makes the machine match; the whole set each time. Rejects when it can't; the old one stays. */
  apply(rules: RuleSet): Promise<readonly ApplyProblem[]>;
  /** Sees to what is around the rules and may hinder them; after `apply`, which does not wait for it. */
  lookAround(): Promise<readonly ApplyProblem[]>;
  /** Nothing is followed any more; what serves stays as it is. */
  stop(): void;
  /** Takes everything away again. */
  remove(): Promise<void>;
}

/** Something that works only in part, for people to read. */
export interface ApplyProblem {
  readonly message: string;
}
