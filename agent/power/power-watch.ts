// What this machine does when it is put to sleep or shut down. Before it sleeps the cluster is told, so
// that nobody takes its pods for lost; before it goes down its containers end in order, each with its
// grace, and start again when it is back.
// Source: kubernetes pkg/kubelet/nodeshutdown/nodeshutdown_manager_linux.go.
import type { Clock } from '#kube/base/clock.ts';
import { delay } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { messageOf } from '../error-message.ts';
import type { NodeVerdict } from '../kubelet/node/machine-conditions.ts';

export type PowerEvent = 'sleep' | 'resume' | 'shutdown' | 'shutdown-cancelled';

/** The system's own announcements. */
export interface PowerSystem {
  /** As they come; ends with the signal. Throws when they can't be heard. */
  events(signal: AbortSignal): AsyncIterable<PowerEvent>;
  /**
   * Sleep and shutdown wait until what this returns is called, or for as long as the system allows.
   * `onLost`: they no longer do, or never did.
   */
  hold(onLost: (why: string) => void): () => void;
  /** How long that is. */
  holdMs(): Promise<number>;
}

export interface PowerWatchDeps {
  readonly system: PowerSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Brings the node's status to the API server; resolves when it is there, or can't be. */
  readonly tell: () => Promise<void>;
  /** Ends containers within so many seconds: the ordinary ones first. */
  readonly shutDown: (grace: ShutdownGrace) => Promise<void>;
  /** What was ended has to begin again. */
  readonly startAnew: () => void;
  /** It woke up, and was told so. */
  readonly onResume?: () => Promise<void>;
  readonly signal: AbortSignal;
}

export interface ShutdownGrace {
  readonly ordinarySeconds: number;
  /** Of pods that the cluster or the node can't do without. */
  readonly criticalSeconds: number;
}

/** Of the time there is, what critical pods have to themselves; and what is left for telling. */
const criticalShare = 1 / 3;
const tellMs = 1_000;

export class PowerWatch {
  readonly #deps: PowerWatchDeps;
  #isAsleep = false;
  #isGoingDown = false;
  /** Why nothing holds back sleep and shutdown. */
  #notHeld: string | undefined;
  #release: () => void = () => {};

  constructor(deps: PowerWatchDeps) {
    this.#deps = deps;
  }

  get isGoingDown(): boolean {
    return this.#isGoingDown;
  }

  verdict(): NodeVerdict {
    if (!this.#isAsleep && this.#notHeld !== undefined)
      return {
        type: 'Asleep',
        status: 'False',
        reason: 'NotHeld',
        message: `the machine is awake; nothing holds back its sleep and shutdown (${this.#notHeld}): its containers may be ended without their grace`,
      };
    return this.#isAsleep
      ? {
          type: 'Asleep',
          status: 'True',
          reason: 'PutToSleep',
          message: 'the machine was put to sleep: its pods wait for it, and new ones go elsewhere',
        }
      : { type: 'Asleep', status: 'False', reason: 'Awake', message: 'the machine is awake' };
  }

  /** Runs until the signal aborts, or the system says nothing more. */
  async run(): Promise<void> {
    const { system, logger, signal } = this.#deps;
    try {
      this.#hold();
      for await (const event of system.events(signal)) await this.#on(event);
    } catch (error) {
      if (!signal.aborted)
        logger.warn('Sleep and shutdown are not announced here', { error: messageOf(error) });
    } finally {
      this.#release();
    }
  }

  #hold(): void {
    const { system, logger } = this.#deps;
    this.#notHeld = undefined;
    this.#release = system.hold((why) => {
      this.#notHeld = why;
      logger.warn('Nothing holds back sleep and shutdown', { error: why });
      void this.#atMost(this.#deps.tell(), tellMs);
    });
  }

  async #on(event: PowerEvent): Promise<void> {
    const { system, logger, tell, startAnew } = this.#deps;
    logger.info('The machine', { event });
    switch (event) {
      case 'sleep':
        this.#isAsleep = true;
        await this.#atMost(tell(), await system.holdMs());
        this.#release();
        break;
      case 'resume':
        this.#isAsleep = false;
        this.#hold();
        await this.#atMost(tell(), tellMs);
        await this.#atMost(this.#deps.onResume?.() ?? Promise.resolve(), tellMs);
        break;
      case 'shutdown':
        await this.#goDown();
        this.#release();
        break;
      case 'shutdown-cancelled':
        startAnew();
    }
  }

  async #goDown(): Promise<void> {
    const { system, tell, shutDown, logger } = this.#deps;
    this.#isGoingDown = true;
    await this.#atMost(tell(), tellMs);
    const seconds = Math.max(1, ((await system.holdMs()) - tellMs) / 1000);
    const criticalSeconds = Math.floor(seconds * criticalShare);
    const grace = { ordinarySeconds: Math.floor(seconds - criticalSeconds), criticalSeconds };
    await shutDown(grace).catch((error: unknown) =>
      logger.warn('Not all containers ended', { error: messageOf(error) }),
    );
  }

  /** The system does not wait for long, and neither do we. */
  async #atMost(work: Promise<void>, ms: number): Promise<void> {
    const { clock, logger } = this.#deps;
    const told = work.catch((error: unknown) => {
      logger.warn('The cluster was not told', { error: messageOf(error) });
    });
    await Promise.race([told, delay(clock, ms)]);
  }
}
