// Compares this member's state with the others': once after each start, and whenever somebody's
// hash differs from ours. Most voters decide who is wrong; until they did, this member answers
// nothing. Where too few are there to decide, the leader is right.
// Source: etcd server/etcdserver/corrupt.go (check on start, periodic check, majority of hashes).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { MemberId } from '../raft/types.ts';
import type { Command } from './commands.ts';
import type { KvStateMachine } from './state-machine.ts';

export interface HashComparisonDeps {
  readonly state: Pick<KvStateMachine, 'hash' | 'onDoubt' | 'condemn'>;
  readonly memberId: MemberId;
  readonly isLeader: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Rejects when it may not have happened. */
  readonly propose: (command: Command) => Promise<unknown>;
}

const retryMs = 1_000;
/** Others that differ from the same claim have answered by then. */
const patienceMs = 5_000;

export class HashComparison {
  readonly #deps: HashComparisonDeps;
  #doubted: { readonly revision: number; readonly hash: number } | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(deps: HashComparisonDeps) {
    this.#deps = deps;
    deps.state.onDoubt((doubted) => {
      if (doubted === undefined) this.#settled();
      else this.#doubt(doubted);
    });
  }

  get isInDoubt(): boolean {
    return this.#doubted !== undefined;
  }

  /** Of the state as it is now; the others answer when theirs differs. */
  async claim(): Promise<void> {
    const { state } = this.#deps;
    await this.#claim(state.hash(0));
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #claim(at: { readonly revision: number; readonly hash: number }): Promise<void> {
    const { memberId, propose } = this.#deps;
    await propose({ type: 'hash-claim', member: memberId, ...at });
  }

  #doubt(doubted: { readonly revision: number; readonly hash: number }): void {
    if (this.#doubted !== undefined || this.#isStopped) return;
    this.#doubted = doubted;
    this.#deps.logger.error("The state differs from another member's; asks the others", doubted);
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const { clock, logger } = this.#deps;
    const doubted = this.#doubted;
    if (doubted === undefined || this.#isStopped) return;
    try {
      await this.#claim(doubted);
      if (this.#isOpen(doubted))
        this.#timer = clock.timer(patienceMs, () => this.#decide(doubted.revision));
    } catch (error) {
      logger.warn('Could not tell the others of a differing state; tries again', { error });
      if (this.#isOpen(doubted)) this.#timer = clock.timer(retryMs, () => void this.#ask());
    }
  }

  #decide(revision: number): void {
    const { state, isLeader, logger } = this.#deps;
    if (!isLeader()) return state.condemn(revision);
    this.#doubted = undefined;
    logger.error(
      'The state of another member differs, and too few are there to tell who is wrong: goes on, since it leads',
      { revision },
    );
  }

  #isOpen(doubted: object): boolean {
    return this.#doubted === doubted && !this.#isStopped;
  }

  #settled(): void {
    if (this.#doubted === undefined) return;
    this.#deps.logger.info('Most members have the same state as this one');
    this.#doubted = undefined;
    this.#timer?.cancel();
  }
}
