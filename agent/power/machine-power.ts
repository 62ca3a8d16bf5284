// This machine's power, put together: what its system announces (power-watch.ts), what is asked of it (node-operator.ts), how it can be
// woken, and others whom it wakes.
import { networkInterfaces } from 'node:os';
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  actionsAnnotation,
  cardsAnnotation,
  type NetworkCard,
} from '#kube/machinery/node-operations.ts';
import { networkLinks, wakeFrom } from '#platform/wake-on-lan.ts';
import type { NodeVerdict } from '../kubelet/node/machine-conditions.ts';
import { logindPower } from './logind.ts';
import { machineActions, type MachineActions } from './machine-actions.ts';
import { readNetworkCards } from './network-cards.ts';
import { NodeOperator } from './node-operator.ts';
import { PowerWatch, type PowerWatchDeps } from './power-watch.ts';
import { Waker } from './waker.ts';

export interface MachinePowerDeps extends Pick<PowerWatchDeps, 'tell' | 'shutDown' | 'startAnew'> {
  readonly nodeName: string;
  readonly isRoot: boolean;
  /** Undefined: this agent was started by hand. */
  readonly installation: string | undefined;
  /** Where the home may be told of something; magic packets go there, and where the cluster reaches this machine. */
  readonly lanInterfaces: readonly string[];
  readonly bootId: () => string;
  readonly annotate: (annotations: Readonly<Record<string, string | null>>) => Promise<void>;
  readonly events: EventRecorder;
  /** What is told on the Node changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class MachinePower {
  readonly #deps: MachinePowerDeps;
  readonly #waker: Waker;
  #actions: MachineActions = {};
  #operator: NodeOperator | undefined;
  #watch: PowerWatch | undefined;
  #cards: readonly NetworkCard[] = [];
  #seenLinks = '';
  #primary: string | undefined;

  constructor(deps: MachinePowerDeps) {
    const { nodeName, clock } = deps;
    this.#deps = deps;
    this.#waker = new Waker({ nodeName, clock, wake: (cards) => this.#wake(cards) });
  }

  async start(): Promise<void> {
    const { isRoot, installation, clock, logger, signal, tell, shutDown, startAnew } = this.#deps;
    this.#actions = await machineActions(isRoot, installation);
    this.#operator = new NodeOperator({ ...this.#deps, actions: this.#actions });
    const system = logindPower(isRoot);
    if (system === undefined) return;
    const onResume = () => this.#operator?.onResume() ?? Promise.resolve();
    const deps = { system, clock, logger, tell, shutDown, startAnew, onResume, signal };
    this.#watch = new PowerWatch(deps);
    void this.#watch.run();
  }

  get isGoingDown(): boolean {
    return this.#watch?.isGoingDown === true;
  }

  verdicts(): readonly NodeVerdict[] {
    return this.#watch === undefined ? [] : [this.#watch.verdict()];
  }

  annotations(): Record<string, string | null> {
    const actions = Object.keys(this.#actions).join(',');
    return {
      [actionsAnnotation]: actions === '' ? null : actions,
      [cardsAnnotation]: this.#cards.length === 0 ? null : JSON.stringify(this.#cards),
    };
  }

  onNode(node: Node): void {
    if (node.metadata.name === this.#deps.nodeName) void this.#operator?.onNode(node);
    else this.#waker.onNode(node);
  }

  /** Looks at the network cards again where addresses changed. `primary`: by which others know this machine. */
  async look(primary: string | undefined): Promise<void> {
    const present = networkInterfaces();
    const seen = JSON.stringify([primary, present]);
    if (seen === this.#seenLinks) return;
    this.#seenLinks = seen;
    this.#primary = primary;
    const cards = await readNetworkCards(present, primary);
    if (JSON.stringify(cards) === JSON.stringify(this.#cards)) return;
    this.#cards = cards;
    this.#deps.onChange();
  }

  #wake(cards: readonly NetworkCard[]): Promise<void> {
    const { lanInterfaces, logger } = this.#deps;
    const present = networkInterfaces();
    const own = Object.keys(present).filter((name) =>
      present[name]?.some(({ address }) => address === this.#primary),
    );
    return wakeFrom(networkLinks([...new Set([...lanInterfaces, ...own])], present), cards, logger);
  }
}
