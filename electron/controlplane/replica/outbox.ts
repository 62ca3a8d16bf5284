// Messages on their way to the transport. An append without entries only tells how far is committed,
// or probes: it waits for the next turn, and is left out when the next append to the same peer says
// it as well. Under load that is every one, and its answer.
// Any message may be lost and be overtaken, so nothing depends on it.
import type { MemberId, Message } from '../raft/types.ts';

export class Outbox {
  readonly #send: (message: Message) => void;
  /** By peer: of this turn, and of the one before. */
  #held = new Map<MemberId, Message>();
  #due = new Map<MemberId, Message>();

  constructor(send: (message: Message) => void) {
    this.#send = send;
  }

  send(message: Message): void {
    if (message.type === 'append') {
      this.#held.delete(message.to);
      this.#due.delete(message.to);
      if (message.entries.length === 0) return void this.#held.set(message.to, message);
    }
    this.#send(message);
  }

  /** At the end of a turn. True: something waits for the end of the next one. */
  endTurn(): boolean {
    for (const message of this.#due.values()) this.#send(message);
    this.#due = this.#held;
    this.#held = new Map();
    return this.#due.size > 0;
  }
}
