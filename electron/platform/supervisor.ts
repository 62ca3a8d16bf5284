// Keeps one child process running: starts it, restarts it with back-off when it dies, stops it in
// order. How a child is made (Node, Electron utility process) is the caller's business.
// Invariant: at most one instance runs at a time.
import { fork } from 'node:child_process';
import path from 'node:path';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { exitCodes, type ChildMessage } from './parent-channel.ts';

export interface ChildHandle {
  readonly pid: number | undefined;
  send(message: ChildMessage): void;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  onMessage(listener: (message: ChildMessage) => void): void;
  /** `code` is null when a signal ended it. */
  onExit(listener: (code: number | null) => void): void;
}

export interface SupervisorOptions {
  readonly name: string;
  /** Called for each (re)start. */
  readonly spawn: () => ChildHandle;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onMessage: (message: ChildMessage) => void;
  /** The child ended with exitCodes.cannotRun, and will not be started again. */
  readonly onCannotRun: () => void;
}

const firstBackoffMs = 200;
const maxBackoffMs = 30_000;
/** A child that ran this long starts with a fresh back-off. */
const stableMs = 60_000;
/** Two children in turn have to fit into the 5 s that the whole may take. */
const killAfterMs = 2_200;

export class Supervisor {
  readonly #options: SupervisorOptions;
  #child: ChildHandle | undefined;
  #exited: Promise<void> = Promise.resolve();
  #backoffMs = firstBackoffMs;
  #restart: Timer | undefined;
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { clock, logger, name, onMessage, spawn } = this.#options;
    const startedMs = clock.monotonicMs();
    const child = spawn();
    this.#child = child;
    child.onMessage(onMessage);
    this.#exited = new Promise((resolve) => {
      child.onExit((code) => {
        this.#child = undefined;
        resolve();
        if (this.#stopping) return;
        if (code === exitCodes.cannotRun) return this.#options.onCannotRun();
        if (clock.monotonicMs() - startedMs > stableMs) this.#backoffMs = firstBackoffMs;
        logger.error('Child process ended; starting it again', {
          name,
          code,
          inMs: this.#backoffMs,
        });
        this.#restart = clock.timer(this.#backoffMs, () => this.start());
        this.#backoffMs = Math.min(this.#backoffMs * 2, maxBackoffMs);
      });
    });
  }

  /** Asks the child to stop, kills it after 2.2 s, resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#restart?.cancel();
    const child = this.#child;
    if (child === undefined) return;
    child.send({ type: 'stop' });
    const deadline = this.#options.clock.timer(killAfterMs, () => {
      this.#options.logger.warn('Child process did not stop in time; killing it', {
        name: this.#options.name,
      });
      child.kill('SIGKILL');
    });
    await this.#exited;
    deadline.cancel();
  }
}

export interface NodeChildOptions {
  /** Node's binary; this process's own when left out. */
  readonly execPath?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * glibc gives each thread an arena of its own and hands little of it back: with one arena the state
 * takes a third less memory. Other systems don't look at it.
 */
export const allocatorEnvironment = { MALLOC_ARENA_MAX: '1' };

/**
 * Young objects get 8 MB instead of 16 to die in, three times over. Puts in a second differ by less than
 * from run to run (test/bench, `store one`).
 */
export const heapArguments = ['--max-semi-space-size=8'];

/**
 * The agent makes little garbage, computes little and has to be small (what each of these is worth:
 * test/bench/README.md): a heap that grows in small steps, is collected thoroughly when little happens, leaves no
 * holes and forgets code that no longer runs, none of the compilers whose own code and results lie in memory, no
 * certificates of the whole world's authorities, nor those that the environment names (it trusts the cluster's), and
 * Node's own start from its sources, for a tenth of a second: the picture of a started one stays in memory.
 */
export const agentArguments = [
  '--max-semi-space-size=1',
  '--optimize-for-size',
  '--bytecode-old-age=1',
  '--memory-reducer-gc-count=4',
  '--compact-on-every-full-gc',
  '--no-turbofan',
  '--no-maglev',
  '--no-sparkplug',
  '--use-openssl-ca',
  '--no-node-snapshot',
];

/**
 * glibc keeps twice as much as the largest buffer that was ever freed, unless these are set: what is read from a
 * socket at a time, 64 KiB, stays below both. And it keeps what each thread freed at hand for that thread.
 */
const agentAllocator = {
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '524288',
  GLIBC_TUNABLES: 'glibc.malloc.tcache_count=0',
};

/** Of an agent's process. */
export const agentEnvironment: Readonly<Record<string, string>> = {
  ...allocatorEnvironment,
  ...agentAllocator,
};

function isAgent(file: string): boolean {
  return path.basename(path.dirname(file)) === 'agent';
}

/** Node's own, of the process that runs `file`. */
export function childArguments(file: string): readonly string[] {
  const own = isAgent(file) ? agentArguments : heapArguments;
  return ['--disable-warning=ExperimentalWarning', ...own];
}

/** Of the same. */
export function childEnvironment(
  file: string,
  own: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  if (!isAgent(file)) return { ...allocatorEnvironment, ...own };
  const { NODE_EXTRA_CA_CERTS: _, SSL_CERT_FILE: __, ...rest } = own;
  return { ...agentEnvironment, ...rest };
}

/** A child on Node with an IPC channel. It shares our stderr and has no stdin. */
export function nodeChild(
  file: string,
  args: readonly string[],
  options: NodeChildOptions = {},
): ChildHandle {
  const child = fork(file, args, {
    execPath: options.execPath ?? process.execPath,
    execArgv: [...childArguments(file)],
    env: childEnvironment(file, options.env),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Its own group: Ctrl-C reaches only the parent, which then stops the children in order.
    detached: process.platform !== 'win32',
  });
  return {
    pid: child.pid,
    send(message) {
      if (child.connected) child.send(message, (error) => void error);
    },
    kill: (signal) => void child.kill(signal),
    onMessage: (listener) =>
      void child.on('message', (message) => listener(message as ChildMessage)),
    onExit(listener) {
      child.once('error', () => listener(null));
      child.once('exit', listener);
    },
  };
}
