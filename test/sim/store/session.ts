// A member's process as clients see it: the store over its replica, until the process ends. Who waits
// for an answer then, or for too long, never gets one: what became of the question is unknown.
import { silentLogger } from '#kube/base/logger.ts';
import type { MemberId } from '../../../electron/controlplane/raft/types.ts';
import { entryVersionOf } from '../../../electron/controlplane/replica/announcements.ts';
import type { CommandResult } from '../../../electron/controlplane/store/commands.ts';
import { KvStore } from '../../../electron/controlplane/store/kv-store.ts';
import { ReplicatedKv } from '../../../electron/controlplane/store/replicated-kv.ts';
import type { RunningMember } from '../replica-group.ts';
import type { ObservedMachine } from './member-state.ts';
import type { World } from './world.ts';

export type Running = RunningMember<CommandResult, ObservedMachine>;

/** No answer came, or none will. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

export class Session {
  readonly id: MemberId;
  readonly kv: ReplicatedKv;
  readonly store: KvStore;
  readonly #running: Running;
  readonly #waiting = new Set<() => void>();
  #isEnded = false;

  constructor(id: MemberId, running: Running) {
    this.id = id;
    this.#running = running;
    const { replica, machine, process } = running;
    this.kv = new ReplicatedKv({
      state: machine.kv,
      consensus: {
        propose: (data) => replica.propose(data),
        readIndex: () => replica.readIndex(),
        leaderTerm: () => (replica.standing.role === 'leader' ? replica.standing.term : undefined),
        onLeadership(listener) {
          listener(replica.standing.role === 'leader');
          replica.onChange(({ role }) => listener(role === 'leader'));
        },
        entryVersion: () =>
          Math.min(machine.entryVersion, entryVersionOf(replica.standing.membership)),
        hasRoom: () => replica.hasRoom(),
        stop: () => replica.stop(),
      },
      clock: process.clock,
      logger: silentLogger,
    });
    this.store = new KvStore(this.kv);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  end(): void {
    this.#isEnded = true;
    for (const giveUp of this.#waiting) giveUp();
  }

  /** Has the process do `work`. Rejects with NoAnswerError, and as `work` does. */
  ask<T>(world: World, patienceMs: number, work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const giveUp = (): void => {
        timer.cancel();
        this.#waiting.delete(giveUp);
        reject(new NoAnswerError('no answer came'));
      };
      const timer = world.after(patienceMs, giveUp);
      if (this.#isEnded) return giveUp();
      this.#waiting.add(giveUp);
      this.#running.process.schedule(() => {
        work()
          .then(resolve, reject)
          .finally(() => {
            timer.cancel();
            this.#waiting.delete(giveUp);
          });
      });
    });
  }
}
