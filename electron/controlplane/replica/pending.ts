// The two things a leader is asked to do one at a time: a change of the membership, and handing
// leadership over. Who asked waits here for what the protocol makes of it.
import type { DropReason, Entry, MemberId, Proposal, Ready, Standing } from '../raft/types.ts';
import { dropSentence } from './proposals.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from './types.ts';

/** Not a number of Proposals: memberships are never forwarded, so one is enough. */
const changeId = -1;

interface Waiting {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface WaitingChange extends Waiting {
  readonly proposal: Proposal;
  isTaken: boolean;
  /** Of its entry, when the leader appended it. */
  entry: { readonly index: number; readonly term: number } | undefined;
}

export class PendingChange {
  #waiting: WaitingChange | undefined;

  /** Rejects with ReplicaUnavailableError (nothing changed) or ProposalUnknownError. */
  begin(encoded: Uint8Array, deadlineMs: number): Promise<void> {
    if (this.#waiting !== undefined)
      return Promise.reject(new ReplicaUnavailableError(dropSentence['change-in-progress']));
    const proposal: Proposal = { id: changeId, kind: 'membership', data: encoded };
    return new Promise((resolve, reject) => {
      const state = { isTaken: false, entry: undefined };
      this.#waiting = { proposal, deadlineMs, resolve, reject, ...state };
    });
  }

  /** To be proposed now. */
  take(): Proposal | undefined {
    if (this.#waiting === undefined || this.#waiting.isTaken) return undefined;
    this.#waiting.isTaken = true;
    return this.#waiting.proposal;
  }

  /** What came of proposing it, unless it was dropped. */
  stepped(ready: Ready): void {
    const entry = ready.entries.find(({ kind }) => kind === 'membership');
    if (this.#waiting !== undefined) this.#waiting.entry = entry;
  }

  /** Returns false when that is not about a change. */
  dropped(id: number, reason: DropReason): boolean {
    if (id !== changeId) return false;
    this.#take()?.reject(new ReplicaUnavailableError(dropSentence[reason]));
    return true;
  }

  applied(entries: readonly Entry[]): void {
    const { index, term } = this.#waiting?.entry ?? {};
    const last = entries.at(-1);
    if (index === undefined || last === undefined || last.index < index) return;
    const found = entries.find((entry) => entry.index === index);
    if (found?.term === term) this.#take()?.resolve();
    else this.#take()?.reject(unknownChange());
  }

  expire(nowMs: number): void {
    if (this.#waiting !== undefined && this.#waiting.deadlineMs <= nowMs)
      this.#take()?.reject(unknownChange());
  }

  end(why: ReplicaUnavailableError): void {
    const waiting = this.#take();
    waiting?.reject(waiting.isTaken ? unknownChange() : why);
  }

  #take(): WaitingChange | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

function unknownChange(): ProposalUnknownError {
  return new ProposalUnknownError('The membership may or may not have changed: look again');
}

export class PendingTransfer {
  #waiting: Waiting | undefined;

  /** Resolves when another member leads. */
  begin(deadlineMs: number): Promise<void> {
    if (this.#waiting !== undefined)
      return Promise.reject(new ReplicaUnavailableError(dropSentence.transferring));
    return new Promise((resolve, reject) => {
      this.#waiting = { deadlineMs, resolve, reject };
    });
  }

  seen({ leader }: Standing, self: MemberId): void {
    if (leader !== 0 && leader !== self) this.#take()?.resolve();
  }

  expire(nowMs: number): void {
    if (this.#waiting !== undefined && this.#waiting.deadlineMs <= nowMs)
      this.#take()?.reject(
        new ReplicaUnavailableError('The other voter did not take leadership over in time'),
      );
  }

  end(why: ReplicaUnavailableError): void {
    this.#take()?.reject(why);
  }

  #take(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}
