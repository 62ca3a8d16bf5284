// Wakes other machines of the cluster that are on this one's network, when their Nodes ask for it: the page may run where none of
// them is reached by a broadcast.
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import {
  cardsOf,
  isNodeReady,
  wakeRequestOf,
  type NetworkCard,
} from '#kube/machinery/node-operations.ts';

export interface WakerDeps {
  readonly nodeName: string;
  /** Sends; never throws. */
  readonly wake: (cards: readonly NetworkCard[]) => Promise<void>;
  readonly clock: Clock;
}

/** An older request was for others: clocks of a home differ by less. */
const freshMs = 120_000;

export class Waker {
  readonly #deps: WakerDeps;
  /** Node → the request that was answered. */
  readonly #answered = new Map<string, string>();

  constructor(deps: WakerDeps) {
    this.#deps = deps;
  }

  onNode(node: Node): void {
    const { nodeName, wake, clock } = this.#deps;
    const { name } = node.metadata;
    const request = wakeRequestOf(node);
    if (request === undefined || name === nodeName || isNodeReady(node)) return;
    if (this.#answered.get(name) === request.id) return;
    this.#answered.set(name, request.id);
    if (Math.abs(clock.now() - Date.parse(request.at)) <= freshMs) void wake(cardsOf(node));
  }

  forget(name: string): void {
    this.#answered.delete(name);
  }
}
