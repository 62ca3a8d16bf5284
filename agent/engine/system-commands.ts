// The machine beneath the engine's installer: what is installed, running its commands with their
// output in a log. Decides nothing.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from '#kube/base/logger.ts';
import { EngineInstallError, type EngineCommands } from './engine-installer.ts';
import { askedSocket, findProgram, type EngineEnvironment } from './engine-socket.ts';
import type { InstallFacts } from './install-plan.ts';

export function installFacts(environment: EngineEnvironment): InstallFacts {
  return {
    isRoot: environment.isRoot,
    engineProgram: findProgram('dockerd', environment),
    hasApt: findProgram('apt-get', environment) !== undefined,
    hasSystemd: existsSync('/run/systemd/system'),
    askedSocket: askedSocket(environment),
  };
}

export interface SystemCommandsDeps {
  readonly environment: EngineEnvironment;
  /** For dockerd's own log and that of the package manager. */
  readonly logDirectory: string;
  readonly logger: Logger;
}

export function systemCommands(deps: SystemCommandsDeps): EngineCommands {
  const { environment, logDirectory, logger } = deps;
  const engineLogPath = path.join(logDirectory, 'dockerd.log');
  const logPath = path.join(logDirectory, 'engine-install.log');
  const open = (file: string) => {
    mkdirSync(logDirectory, { recursive: true });
    return openSync(file, 'a');
  };
  return {
    engineLogPath,
    startDetached(program) {
      const log = open(engineLogPath);
      const child = spawn(program, [], { detached: true, stdio: ['ignore', log, log] });
      child.once('error', (error) => logger.error('dockerd did not start', { error }));
      child.unref();
      closeSync(log);
    },
    run(command, args) {
      const log = open(logPath);
      const env = { ...environment.variables, DEBIAN_FRONTEND: 'noninteractive' };
      return new Promise((resolve, reject) => {
        const child = spawn(command, args, { env, stdio: ['ignore', log, log] });
        closeSync(log);
        const fail = (why: string) => reject(new EngineInstallError(why));
        child.once('error', (error) => fail(`${command}: ${error.message}`));
        child.once('exit', (code) => {
          if (code === 0) return resolve();
          const text = readFileSync(logPath, 'utf8');
          fail(
            `"${command} ${args.join(' ')}" failed (exit ${code}): ${lastWords(text)} (see ${logPath})`,
          );
        });
      });
    },
  };
}

/** What a tool said last: its last error when it marks them as apt does, else its last line. */
export function lastWords(log: string): string {
  const lines = log
    .slice(-8192)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.findLast((line) => line.startsWith('E: ')) ?? lines.at(-1) ?? 'it said nothing';
}
