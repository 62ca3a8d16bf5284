// The pulls under way, from other machines of the cluster or from a registry: pods that ask for the same
// image with the same credentials share one, and a few run at a time.
// Source: kubernetes pkg/kubelet/images/puller.go, pkg/kubelet/kuberuntime/kuberuntime_image.go.
import { ImageFetch, type Fetched, type FetchRequest, type ImageFetchDeps } from './image-fetch.ts';
import type { Step, Teller } from './image-fetch.ts';
import { progressSentence } from './pull-words.ts';

export interface PullRequest extends FetchRequest {
  readonly onProgress: (sentence: string) => void;
}

export interface PullResult extends Fetched {
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

export class ImagePulls {
  readonly #deps: ImageFetchDeps;
  readonly #pulls = new Map<string, Pull>();
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(deps: ImageFetchDeps) {
    this.#deps = deps;
  }

  /**
   * `onProgress` gets sentences, on all askers together at most one a second and pull, and none while
   * nothing moves. Throws RuntimeError.
   */
  async pull(request: PullRequest): Promise<PullResult> {
    const key = JSON.stringify([request.name, request.isAlways, request.auths]);
    const pull = this.#pulls.get(key) ?? this.#start(key, request);
    pull.listeners.add(request.onProgress);
    try {
      return await pull.done;
    } finally {
      pull.listeners.delete(request.onProgress);
    }
  }

  #start(key: string, request: PullRequest): Pull {
    const listeners: Pull['listeners'] = new Set();
    const tell = this.#teller(request.name, listeners);
    const done = this.#run(request, tell).finally(() => this.#pulls.delete(key));
    const pull = { done, listeners };
    this.#pulls.set(key, pull);
    return pull;
  }

  /** A wait for another machine holds up no pull of this one. */
  async #run(request: PullRequest, tell: Teller): Promise<PullResult> {
    const fetch = new ImageFetch(this.#deps, request, tell);
    for (;;) {
      const { tookMs, step } = await this.#withSlot(() => fetch.step());
      if (step.kind === 'done') return { ...step.result, tookMs };
      if (step.kind === 'wait') await fetch.wait(step.wait);
    }
  }

  #teller(name: string, listeners: Pull['listeners']): Teller {
    const { clock } = this.#deps;
    let told = '';
    let toldMs = clock.monotonicMs();
    const sentence = (text: string): void => {
      const nowMs = clock.monotonicMs();
      if (text === told || nowMs - toldMs < progressIntervalMs * listeners.size) return;
      told = text;
      toldMs = nowMs;
      for (const tell of listeners) tell(text);
    };
    return { sentence, progress: (progress) => sentence(progressSentence(name, progress)) };
  }

  async #withSlot(work: () => Promise<Step>): Promise<{ tookMs: number; step: Step }> {
    if (this.#active >= parallelPullsMax)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#active++;
    const startedMs = this.#deps.clock.monotonicMs();
    try {
      const step = await work();
      return { tookMs: this.#deps.clock.monotonicMs() - startedMs, step };
    } finally {
      this.#active--;
      this.#queue.shift()?.();
    }
  }
}
