// YAML bodies: short ones are read at once, long ones and those that refer to their own parts in a
// thread of their own, because they take seconds and no other request may wait for them. One thread at a time, for one body,
// bounded in time and memory; what passes a bound is refused, and the server goes on.
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock } from '#kube/base/clock.ts';
import { parseJson, type ParsedJson } from '#kube/machinery/json.ts';
import {
  bodyTooCostly,
  internalError,
  timeout,
  tooManyRequests,
  type StatusError,
} from '#kube/machinery/status.ts';
import { yamlToJson, type YamlAsJson } from './yaml-json.ts';
import type { YamlAnswer } from './yaml-worker.ts';

/** Real manifests of this length take 10 to 30 ms; what refers to itself may take seconds, however short. */
const inlineLengthMax = 16 * 1024;
/** What stands for another part looks so; other texts that do are read just as well, a little later. */
const alias = /[\s,[{:]\*[^\s,\]}]/;
/** 3 MiB of real manifests take 1 to 3 s on two slow cores. */
const timeMaxMs = 10_000;
/** Enough for 3 MiB of real manifests; what is nothing but brackets and commas needs more. */
const memoryMaxMb = 512;
/** Each waits with its text, up to 3 MiB. */
const waitingMax = 16;

/** Beside this file, or beside the bundle that this file is in. */
const workerFile = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? 'yaml-worker.ts' : 'yaml-worker.js',
);

export class YamlReader {
  readonly #clock: Clock;
  /** The last of those who wait; each starts when the one before it is done. */
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The value that `text` stands for, and one complaint if it gives keys twice. Throws 413 for what takes too long or too much memory, 429
   * when too many wait, 504 when `signal` aborts; an Error with one line for all that is not YAML.
   */
  async read(text: string, signal: AbortSignal): Promise<ParsedJson> {
    const { json, duplicates } = isQuick(text)
      ? yamlToJson(text)
      : await this.#inTurn(text, signal);
    const { value } = parseJson(json, { findDuplicates: false });
    if (duplicates.length === 0) return { value, duplicates };
    const lines = duplicates.map((line) => `  ${line}`);
    return { value, duplicates: [['yaml: unmarshal errors:', ...lines].join('\n')] };
  }

  async #inTurn(text: string, signal: AbortSignal): Promise<YamlAsJson> {
    if (this.#waiting === waitingMax)
      throw tooManyRequests('Too many long YAML bodies, please try again later.', 1);
    this.#waiting += 1;
    const turn = this.#tail.then(() => this.#inThread(text, signal));
    this.#tail = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  #inThread(text: string, signal: AbortSignal): Promise<YamlAsJson> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(gone());
      const worker = new Worker(workerFile, {
        workerData: text,
        resourceLimits: { maxOldGenerationSizeMb: memoryMaxMb },
      });
      const timer = this.#clock.timer(timeMaxMs, () => end(bodyTooCostly()));
      const abort = (): void => end(gone());
      signal.addEventListener('abort', abort);
      // Settled when the thread is gone: the next one has the memory for itself.
      let outcome: YamlAnswer | StatusError = bodyTooCostly();
      function end(why: StatusError): void {
        outcome = why;
        void worker.terminate();
      }
      worker.once('message', (answer: YamlAnswer) => (outcome = answer));
      worker.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') outcome = internalError(error);
      });
      worker.once('exit', () => {
        timer.cancel();
        signal.removeEventListener('abort', abort);
        if ('json' in outcome) resolve(outcome);
        else reject(outcome instanceof Error ? outcome : new Error(outcome.error));
      });
    });
  }
}

function isQuick(text: string): boolean {
  return text.length <= inlineLengthMax && !(text.includes('&') && alias.test(text));
}

/** Seen by nobody if the client left; told as a timeout if its time was over. */
function gone(): StatusError {
  return timeout('the request ended before its YAML body was read');
}
