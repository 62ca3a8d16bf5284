// Installs Docker Engine by the system's package manager and starts it: as root, on a system with
// apt. The engine outlives us: containers have to. Never runs unasked after the start of the agent.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { findProgram, type EngineEnvironment } from './engine-socket.ts';

export interface EngineInstallerDeps {
  readonly environment: EngineEnvironment;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For dockerd's own log and that of the package manager. */
  readonly logDirectory: string;
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
    const { environment } = this.#deps;
    if (!environment.isRoot)
      return 'installing Docker Engine needs root: run "sudo apt-get install docker.io", or start Flotilla as root';
    if (this.#isInstalled() || findProgram('apt-get', environment) !== undefined) return undefined;
    return 'this system has no apt-get: install Docker Engine by its own package manager';
  }

  /** Installs what is missing, starts the engine, waits until it answers. Throws EngineInstallError. */
  ensure(): Promise<void> {
    this.#running ??= this.#ensure().finally(() => (this.#running = undefined));
    return this.#running;
  }

  #isInstalled(): boolean {
    return findProgram('dockerd', this.#deps.environment) !== undefined;
  }

  async #ensure(): Promise<void> {
    const { isUp, say, logDirectory } = this.#deps;
    if (await isUp()) return;
    const obstacle = this.obstacle();
    if (obstacle !== undefined) throw new EngineInstallError(obstacle);
    mkdirSync(logDirectory, { recursive: true });
    if (!this.#isInstalled()) {
      say(
        'No container engine on this machine: installing Docker Engine (docker.io, nftables) with apt-get. --no-install forbids it.',
      );
      await this.#run('apt-get', ['update']);
      const packages = ['docker.io', 'nftables', 'iptables'];
      await this.#run('apt-get', ['install', '-y', '--no-install-recommends', ...packages]);
    }
    if (await isUp()) return;
    say('Starting Docker Engine.');
    if (existsSync('/run/systemd/system'))
      await this.#run('systemctl', ['enable', '--now', 'docker']);
    else this.#startDetached();
    await this.#whenUp();
    this.#deps.logger.info('Docker Engine answers', { log: logDirectory });
  }

  /** No service manager here: the engine becomes a process of its own that stays. */
  #startDetached(): void {
    const program = findProgram('dockerd', this.#deps.environment) ?? 'dockerd';
    const log = openSync(path.join(this.#deps.logDirectory, 'dockerd.log'), 'a');
    const child = spawn(program, [], { detached: true, stdio: ['ignore', log, log] });
    child.once('error', (error) => this.#deps.logger.error('dockerd did not start', { error }));
    child.unref();
    closeSync(log);
  }

  async #whenUp(): Promise<void> {
    const { clock, isUp, logDirectory } = this.#deps;
    const endMs = clock.monotonicMs() + startTimeoutMs;
    while (clock.monotonicMs() < endMs) {
      if (await isUp()) return;
      await delay(clock, pollMs);
    }
    throw new EngineInstallError(
      `Docker Engine was started but does not answer after ${startTimeoutMs / 1000} s: see ${logDirectory}/dockerd.log`,
    );
  }

  #run(command: string, args: readonly string[]): Promise<void> {
    const { logDirectory, environment } = this.#deps;
    const logPath = path.join(logDirectory, 'engine-install.log');
    const log = openSync(logPath, 'a');
    const env = { ...environment.variables, DEBIAN_FRONTEND: 'noninteractive' };
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { env, stdio: ['ignore', log, log] });
      closeSync(log);
      child.once('error', (error) =>
        reject(new EngineInstallError(`${command}: ${error.message}`)),
      );
      child.once('exit', (code) => {
        if (code === 0) resolve();
        else
          reject(
            new EngineInstallError(
              `"${command} ${args.join(' ')}" failed (exit ${code}): see ${logPath}`,
            ),
          );
      });
    });
  }
}
