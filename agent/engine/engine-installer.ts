// Installs Docker Engine by the system's package manager and starts it, as install-plan.ts says.
// The engine outlives us: containers have to. Never runs unasked after the start of the agent.
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  installObstacle,
  installSteps,
  startSteps,
  type InstallFacts,
  type InstallStep,
} from './install-plan.ts';

export interface EngineCommands {
  /** Resolves when it ended well; rejects with EngineInstallError. */
  readonly run: (command: string, args: readonly string[]) => Promise<void>;
  readonly startDetached: (program: string) => void;
  /** Where the engine's own log is, for the person. */
  readonly engineLogPath: string;
}

export interface EngineInstallerDeps {
  /** As it is now: installing changes it. */
  readonly facts: () => InstallFacts;
  readonly commands: EngineCommands;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Tells the person what happens, before it does. */
  readonly say: (sentence: string) => void;
  /** Whether the engine answers. */
  readonly isUp: () => Promise<boolean>;
}

const startTimeoutMs = 60_000;
const pollMs = 250;

/** A sentence for the person. */
export class EngineInstallError extends Error {
  override readonly name = 'EngineInstallError';
}

export class EngineInstaller {
  readonly #deps: EngineInstallerDeps;
  #running: Promise<void> | undefined;

  constructor(deps: EngineInstallerDeps) {
    this.#deps = deps;
  }

  /** Why it can't be done here; undefined: it can. */
  obstacle(): string | undefined {
    return installObstacle(this.#deps.facts());
  }

  /** Installs what is missing, starts the engine, waits until it answers. Throws EngineInstallError. */
  ensure(): Promise<void> {
    this.#running ??= this.#ensure().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #ensure(): Promise<void> {
    const { isUp, facts, logger } = this.#deps;
    if (await isUp()) return;
    const obstacle = this.obstacle();
    if (obstacle !== undefined) throw new EngineInstallError(obstacle);
    for (const step of installSteps(facts())) await this.#carryOut(step);
    if (await isUp()) return;
    for (const step of startSteps(facts())) await this.#carryOut(step);
    await this.#whenUp();
    logger.info('Docker Engine answers');
  }

  async #carryOut(step: InstallStep): Promise<void> {
    const { say, commands } = this.#deps;
    if (step.kind === 'say') say(step.sentence);
    else if (step.kind === 'run') await commands.run(step.command, step.args);
    else commands.startDetached(step.program);
  }

  async #whenUp(): Promise<void> {
    const { clock, isUp, commands } = this.#deps;
    const endMs = clock.monotonicMs() + startTimeoutMs;
    while (clock.monotonicMs() < endMs) {
      if (await isUp()) return;
      await delay(clock, pollMs);
    }
    throw new EngineInstallError(
      `Docker Engine was started but does not answer after ${startTimeoutMs / 1000} s: see ${commands.engineLogPath}`,
    );
  }
}
