// Work on the database that takes long or waits for the disk, in a thread beside the one that
// serves: checkpoints, copies, the checking of received copies. The thread is started when there is
// something to do and ends when there was nothing for a while: to start one costs as much as a
// thousand writes, and an idle control plane has none.
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { StateAnswer, StateJob } from './state-jobs.ts';
import { NoSpaceError } from './store.ts';

/** Beside this file, or beside the bundle that this file is in. */
const workerFile = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? 'state-worker.ts' : 'state-worker.js',
);

type Done = (error?: Error, answer?: StateAnswer) => void;

interface Running {
  readonly worker: Worker;
  readonly waiting: Done[];
  posted: number;
  /** How many jobs the thread has done: shared with it. */
  readonly finished: Int32Array;
  /** Set while nothing waits. */
  rest: Timer | undefined;
}

/** How long a thread without work is kept. */
const restMs = 10_000;

/** A disk that takes longer to answer is not waited for. */
const settleMsMax = 10_000;

export class StateThread {
  readonly #clock: Clock;
  readonly #program: string;
  #running: Running | undefined;

  /** `program`: another one in tests. */
  constructor(clock: Clock, program = workerFile) {
    this.#clock = clock;
    this.#program = program;
  }

  /** Jobs are done one after the other. `done` is never called synchronously. */
  run(job: StateJob, done: Done): void {
    this.#running ??= this.#start();
    const { worker, waiting, rest } = this.#running;
    rest?.cancel();
    worker.ref();
    waiting.push(done);
    this.#running.posted++;
    worker.postMessage(job);
  }

  /**
   * Waits, and everybody with it, until no job is under way: before the file is closed or replaced.
   * Their `done` is still called later.
   */
  settle(): void {
    if (this.#running === undefined) return;
    const { finished, posted } = this.#running;
    for (let count = Atomics.load(finished, 0); count < posted; count = Atomics.load(finished, 0))
      if (Atomics.wait(finished, 0, count, settleMsMax) === 'timed-out') return;
  }

  #start(): Running {
    const finished = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(this.#program, { workerData: finished });
    const running: Running = { worker, waiting: [], posted: 0, finished, rest: undefined };
    worker.on('message', (answer: StateAnswer) => {
      const { error, isFull } = answer;
      const done = running.waiting.shift();
      if (running.waiting.length === 0) this.#restLater(running);
      if (error === undefined) done?.(undefined, answer);
      else done?.(isFull === true ? new NoSpaceError(`no space left: ${error}`) : new Error(error));
    });
    worker.on('error', (error) => {
      this.#end(running);
      for (const done of running.waiting.splice(0)) done(error as Error);
    });
    return running;
  }

  /** Without work it does not keep the process alive. */
  #restLater(running: Running): void {
    running.worker.unref();
    running.rest = this.#clock.timer(restMs, () => this.#end(running));
  }

  /** When what is under way is done. Their `done` is still called. */
  close(): void {
    if (this.#running !== undefined) this.#end(this.#running);
  }

  /** Another job starts another thread. */
  #end(running: Running): void {
    if (this.#running === running) this.#running = undefined;
    running.rest?.cancel();
    // Listens no more: ends by itself, its connections closed.
    running.worker.postMessage('end');
  }
}
