// Does what was asked of this machine (kube/machinery/node-operations.ts) when it is the agent's turn: it restarts, sleeps, shuts down, or takes
// this agent away. That it begins is written down first, so that a machine which comes back does not do it once more.
import type { Node } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  operationAnnotation,
  operationOf,
  operationText,
  type Operation,
  type OperationAction,
} from '#kube/machinery/node-operations.ts';
import { messageOf } from '../error-message.ts';

export interface NodeOperatorDeps {
  /** What this machine can do. Each resolves once the system has taken it on, and throws with its words. */
  readonly actions: Readonly<Partial<Record<OperationAction, () => Promise<void>>>>;
  readonly bootId: () => string;
  /** On the own Node; throws when it could not be written. */
  readonly annotate: (annotations: Readonly<Record<string, string | null>>) => Promise<void>;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

const words: Readonly<Record<OperationAction, string>> = {
  Reboot: 'The machine restarts, as it was asked to',
  ShutDown: 'The machine shuts down, as it was asked to',
  Sleep: 'The machine goes to sleep, as it was asked to',
  Remove: 'The agent is taken away, as it was asked for',
};

export class NodeOperator {
  readonly #deps: NodeOperatorDeps;
  /** The operation that this process has begun. */
  #begun = '';
  #current: Operation | undefined;
  #isBusy = false;

  constructor(deps: NodeOperatorDeps) {
    this.#deps = deps;
  }

  /** The own Node, each time it changes. */
  async onNode(node: Node): Promise<void> {
    const operation = operationOf(node);
    this.#current = operation;
    if (operation === undefined || this.#isBusy || operation.id === this.#begun) return;
    this.#isBusy = true;
    try {
      if (operation.state === 'Due') await this.#begin(node, operation);
      if (operation.state === 'Acting') await this.#settle(operation);
    } catch (error) {
      // The next change of the Node, or the next start, brings us here again.
      this.#deps.logger.warn('What is asked of this machine waits', { error: messageOf(error) });
    } finally {
      this.#isBusy = false;
    }
  }

  /** It was asleep. */
  async onResume(): Promise<void> {
    const operation = this.#current;
    if (operation?.action !== 'Sleep' || operation.state !== 'Acting') return;
    await this.#write({ ...operation, state: 'Done' });
  }

  async #begin(node: Node, operation: Operation): Promise<void> {
    const { actions, bootId, events, logger } = this.#deps;
    const { action, id } = operation;
    const act = actions[action];
    if (act === undefined)
      return this.#write({ ...operation, state: 'Failed', message: 'This machine can not do it' });
    const begun: Operation = { ...operation, state: 'Acting', bootId: bootId() };
    await this.#write(begun);
    this.#begun = id;
    this.#current = begun;
    logger.info('Something was asked of this machine', { action });
    events.event(node, 'Normal', action, words[action]);
    try {
      await act();
    } catch (error) {
      const message = messageOf(error);
      events.event(node, 'Warning', `${action}Failed`, message);
      await this.#write({ ...operation, state: 'Failed', message });
    }
  }

  /** Of an earlier process: the machine is here again, or it never went. */
  async #settle(operation: Operation): Promise<void> {
    const { action, bootId } = operation;
    if (action === 'Remove') {
      const message =
        'The removal ended early, and the agent runs again: journalctl -u flotilla-removal';
      return this.#write({ ...operation, state: 'Failed', message });
    }
    const wentDown = action === 'Sleep' || bootId !== this.#deps.bootId();
    await this.#write(
      wentDown
        ? { ...operation, state: 'Done' }
        : {
            ...operation,
            state: 'Failed',
            message: 'The agent was started anew, and the machine did not go down',
          },
    );
  }

  #write(operation: Operation): Promise<void> {
    const since = rfc3339(this.#deps.clock.now());
    return this.#deps.annotate({ [operationAnnotation]: operationText({ ...operation, since }) });
  }
}
