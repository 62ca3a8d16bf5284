// The pulls under way: pods that ask for the same image with the same credentials share one, a few
// run at a time, and one that says nothing for long is given up, so that it holds up no other.
// Source: kubernetes pkg/kubelet/images/puller.go, pkg/kubelet/kuberuntime/kuberuntime_image.go.
import type { Clock } from '#kube/base/clock.ts';
import {
  isRuntimeError,
  type PullProgress,
  type RegistryAuth,
  type Runtime,
} from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { progressSentence } from './pull-words.ts';

export interface ImagePullsDeps {
  readonly runtime: Pick<Runtime, 'pullImage'>;
  readonly clock: Clock;
}

export interface PullRequest {
  readonly name: string;
  /** Tried in this order; none: without. */
  readonly auths: readonly RegistryAuth[];
  readonly onProgress: (sentence: string) => void;
}

export interface PullResult {
  /** Without the wait for its turn. */
  readonly tookMs: number;
}

/** Under way for every pod that asked meanwhile. */
interface Pull {
  readonly done: Promise<PullResult>;
  readonly listeners: Set<(sentence: string) => void>;
}

const parallelPullsMax = 3;
/** Each sentence is a write of every waiting pod's status. */
const progressIntervalMs = 1_000;
/** Unpacking a large layer on a slow card is silent for a while, too. */
const silenceMaxMs = 300_000;

export class ImagePulls {
  readonly #deps: ImagePullsDeps;
  readonly #pulls = new Map<string, Pull>();
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(deps: ImagePullsDeps) {
    this.#deps = deps;
  }

  /**
   * `onProgress` gets sentences, on all askers together at most one a second and pull, and none while
   * nothing moves. Throws RuntimeError.
   */
  async pull(request: PullRequest): Promise<PullResult> {
    const key = JSON.stringify([request.name, request.auths]);
    const pull = this.#pulls.get(key) ?? this.#start(key, request);
    pull.listeners.add(request.onProgress);
    try {
      return await pull.done;
    } finally {
      pull.listeners.delete(request.onProgress);
    }
  }

  #start(key: string, { name, auths }: PullRequest): Pull {
    const listeners: Pull['listeners'] = new Set();
    const report = this.#reporter(name, listeners);
    const done = this.#withSlot(() => this.#fromRegistry(name, auths, report)).finally(() =>
      this.#pulls.delete(key),
    );
    const pull = { done, listeners };
    this.#pulls.set(key, pull);
    return pull;
  }

  async #fromRegistry(
    name: string,
    auths: readonly RegistryAuth[],
    report: (progress: PullProgress) => void,
  ): Promise<void> {
    const failures: unknown[] = [];
    for (const auth of auths.length === 0 ? [undefined] : auths)
      try {
        return await this.#watched((signal, alive) =>
          this.#deps.runtime.pullImage(name, {
            auth,
            signal,
            onProgress(progress) {
              alive();
              if (progress !== undefined) report(progress);
            },
          }),
        );
      } catch (error) {
        if (isRuntimeError(error, 'unavailable')) throw error;
        failures.push(error);
      }
    const messages = [...new Set(failures.map(messageOf))];
    if (messages.length === 1) throw failures[0];
    throw new Error(`[${messages.join(', ')}]`);
  }

  /** Aborts what gives no sign of life. */
  async #watched(work: (signal: AbortSignal, alive: () => void) => Promise<void>): Promise<void> {
    const { clock } = this.#deps;
    const silence = new AbortController();
    let heardMs = clock.monotonicMs();
    const look = (): void => {
      const silentMs = clock.monotonicMs() - heardMs;
      if (silentMs >= silenceMaxMs) silence.abort();
      else timer = clock.timer(silenceMaxMs - silentMs, look);
    };
    let timer = clock.timer(silenceMaxMs, look);
    try {
      await work(silence.signal, () => (heardMs = clock.monotonicMs()));
    } catch (error) {
      if (!silence.signal.aborted) throw error;
      const why = `nothing came for ${silenceMaxMs / 60_000} minutes: is the line broken?`;
      throw new Error(why, { cause: error });
    } finally {
      timer.cancel();
    }
  }

  #reporter(name: string, listeners: Pull['listeners']): (progress: PullProgress) => void {
    const { clock } = this.#deps;
    let told = '';
    let toldMs = clock.monotonicMs();
    return (progress) => {
      const sentence = progressSentence(name, progress);
      const nowMs = clock.monotonicMs();
      if (sentence === told || nowMs - toldMs < progressIntervalMs * listeners.size) return;
      told = sentence;
      toldMs = nowMs;
      for (const tell of listeners) tell(sentence);
    };
  }

  async #withSlot(work: () => Promise<void>): Promise<PullResult> {
    if (this.#active >= parallelPullsMax)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#active++;
    const startedMs = this.#deps.clock.monotonicMs();
    try {
      await work();
      return { tookMs: this.#deps.clock.monotonicMs() - startedMs };
    } finally {
      this.#active--;
      this.#queue.shift()?.();
    }
  }
}
