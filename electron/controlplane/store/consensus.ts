// What the store needs of consensus, and the one for a state that nobody shares: everything asked
// for is committed at once, in groups. The real one is ../replica.
import type { AppliedCommand } from '../replica/types.ts';
import { ReplicaUnavailableError } from '../replica/types.ts';
import { commandVersion } from './command-codec.ts';
import type { CommandResult } from './commands.ts';
import type { KvStateMachine } from './state-machine.ts';

export interface Consensus {
  /**
   * The result of the command, applied here. Throws ReplicaUnavailableError (it never happens) and
   * ProposalUnknownError (it may or may not happen).
   */
  propose(data: Uint8Array): Promise<CommandResult>;
  /**
   * Resolves when all that was committed before the call, anywhere, is applied here. Throws
   * ReplicaUnavailableError.
   */
  readIndex(): Promise<unknown>;
  /** In which this member leads; undefined: it does not. */
  leaderTerm(): number | undefined;
  /** One listener; also called at once. */
  onLeadership(listener: (isLeader: boolean) => void): void;
  /** The newest version of commands that every member knows: newer ones must not be proposed. */
  entryVersion(): number;
  /** False when the log has no room: only what frees space should be proposed. */
  hasRoom(): boolean;
  stop(): Promise<void>;
}

interface Waiting {
  readonly data: Uint8Array;
  resolve(result: CommandResult): void;
  reject(error: Error): void;
}

/** Applies what is proposed in one turn as one group. Nothing is durable but what the state is. */
export class LocalConsensus implements Consensus {
  readonly #state: KvStateMachine;
  readonly #schedule: (work: () => void) => void;
  #waiting: Waiting[] = [];
  #isStopped = false;

  constructor(state: KvStateMachine, schedule: (work: () => void) => void) {
    this.#state = state;
    this.#schedule = schedule;
  }

  propose(data: Uint8Array): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      if (this.#isStopped) return reject(new ReplicaUnavailableError('the store is closed'));
      if (this.#waiting.push({ data, resolve, reject }) === 1) this.#schedule(() => this.#apply());
    });
  }

  #apply(): void {
    const group = this.#waiting;
    this.#waiting = [];
    const { index: before, ...mark } = this.#state.applied();
    const commands = group.map(({ data }, i): AppliedCommand => ({
      index: before + 1 + i,
      term: 1,
      data,
    }));
    try {
      const results = this.#state.apply(commands, {
        ...mark,
        index: before + group.length,
        term: 1,
      });
      for (const [i, { resolve }] of group.entries()) {
        const result = results[i];
        if (result !== undefined) resolve(result);
      }
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      for (const { reject } of group) reject(failure);
    }
  }

  readIndex(): Promise<unknown> {
    return Promise.resolve();
  }

  leaderTerm(): number {
    return 1;
  }

  onLeadership(listener: (isLeader: boolean) => void): void {
    listener(true);
  }

  entryVersion(): number {
    return commandVersion;
  }

  hasRoom(): boolean {
    return true;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#waiting.length > 0) this.#apply();
  }
}
