// A process of ours that is asked things: the parent's `Child` calls, the process answers what it
// was given to `serve`. By Node's own channel; one answer for each call, in any order.
import { fork, type ChildProcess } from 'node:child_process';
import { allocatorEnvironment, heapArguments } from '#platform/supervisor.ts';

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export interface ChildOptions {
  readonly args?: readonly string[];
  /** Node's own. */
  readonly execArgv?: readonly string[];
}

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  /** `file` calls `serve`. */
  constructor(file: string, { args = [], execArgv = [] }: ChildOptions = {}) {
    this.#process = fork(file, args, {
      execArgv: [...heapArguments, ...execArgv],
      env: { ...allocatorEnvironment, ...process.env },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#process.on('message', ({ id, result, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    this.#process.once('exit', () => {
      const error = new Error(`${file} (${this.pid}) has ended`);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  call<T>(name: string, argument?: unknown): Promise<T> {
    if (!this.#process.connected) return Promise.reject(new Error(`${this.pid} has ended`));
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (result) => resolve(result as T), reject });
      this.#process.send({ id, name, argument } satisfies Call);
    });
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    const exit = this.#exited();
    this.#process.kill('SIGKILL');
    await exit;
  }

  /** It has nothing more to do. */
  async end(): Promise<void> {
    const exit = this.#exited();
    if (this.#process.connected) this.#process.disconnect();
    await exit;
  }

  #exited(): Promise<void> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => child.once('exit', () => resolve()));
  }
}

export type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

/** In the process itself: answers until the parent is gone. */
export function serve(handlers: Handlers): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (call: Call) => void answer(handlers, call));
}

async function answer(handlers: Handlers, { id, name, argument }: Call): Promise<void> {
  let reply: Answer;
  try {
    reply = { id, result: await handlers[name]?.(argument as never) };
  } catch (error) {
    reply = { id, error: (error as Error).stack ?? String(error) };
  }
  process.send?.(reply);
}
