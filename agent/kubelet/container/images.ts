// Sees to it that an image is on this machine: pull policy, one pull per image at a time, back-off
// after failures, events in Kubernetes' wording.
// Source: kubernetes pkg/kubelet/images/image_manager.go.
import type { Container, ObjectReference, Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  RuntimeError,
  type ImageStatus,
  type PullProgress,
  type RegistryAuth,
  type Runtime,
} from '../../runtime/runtime.ts';
import { BackOff } from '../pod/back-off.ts';
import { containerReference } from './event-target.ts';
import { messageOf } from '../../error-message.ts';

export interface ImagesDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

/** Why there is no image: goes into the container's waiting state. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly reason: string;
  /** Milliseconds until trying again makes sense. */
  readonly retryAfterMs: number;

  constructor(reason: string, message: string, retryAfterMs: number) {
    super(message);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface EnsureRequest {
  readonly pod: Pod;
  readonly container: Container;
  readonly auth: RegistryAuth | undefined;
  readonly onProgress: (sentence: string) => void;
}

interface PullRequest {
  readonly about: ObjectReference;
  readonly name: string;
  readonly auth: RegistryAuth | undefined;
  /** `<pod uid>_<image>`: failures count per pod. */
  readonly key: string;
  readonly onProgress: (sentence: string) => void;
}

/** Under way for every pod that asked meanwhile. */
interface Pull {
  readonly done: Promise<void>;
  readonly listeners: Set<(sentence: string) => void>;
}

const parallelPullsMax = 3;
/** Each sentence is a write of every waiting pod's status. */
const progressIntervalMs = 1_000;

export class Images {
  readonly #deps: ImagesDeps;
  readonly #backOff = new BackOff();
  /** Pulls under way, by image. */
  readonly #pulls = new Map<string, Pull>();
  /** Per pod and image: when the last pull failed and how. */
  readonly #failures = new Map<string, { atMs: number; message: string }>();
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
  }

  /**
   * Throws ImageError; RuntimeError only when the engine is gone. `onProgress` gets sentences, on
   * all pods together at most one a second and pull, and none while nothing moves.
   */
  async ensure(request: EnsureRequest): Promise<ImageStatus> {
    const { pod, container, auth, onProgress } = request;
    const { runtime, events } = this.#deps;
    const about = containerReference(pod, container.name);
    const name = container.image ?? '';
    const policy = container.imagePullPolicy ?? 'IfNotPresent';
    const present = await runtime.imageStatus(name);
    if (present !== undefined && policy !== 'Always') {
      const message = `Container image "${name}" already present on machine`;
      events.event(about, 'Normal', 'Pulled', message);
      return present;
    }
    if (policy === 'Never') {
      const message = `Container image "${name}" is not present with pull policy of Never`;
      events.event(about, 'Warning', 'ErrImageNeverPull', message);
      throw new ImageError('ErrImageNeverPull', message, 10_000);
    }
    const pull = { about, name, auth, key: `${pod.metadata.uid}_${name}`, onProgress };
    this.#checkBackOff(pull);
    await this.#pull(pull);
    const image = await runtime.imageStatus(name);
    if (image !== undefined) return image;
    throw new ImageError('ErrImagePull', `image "${name}" is gone right after its pull`, 10_000);
  }

  #checkBackOff({ about, name, key }: PullRequest): void {
    const failure = this.#failures.get(key);
    if (failure === undefined) return;
    const waitMs = this.#backOff.remainingMs(key, failure.atMs, this.#deps.clock.now());
    if (waitMs === 0) return;
    const message = `Back-off pulling image "${name}"`;
    this.#deps.events.event(about, 'Normal', 'BackOff', message);
    const full = `${message}: ErrImagePull: ${failure.message}`;
    throw new ImageError('ImagePullBackOff', full, waitMs);
  }

  async #pull(request: PullRequest): Promise<void> {
    const { about, name, key } = request;
    const { events, clock } = this.#deps;
    const askedMs = clock.monotonicMs();
    try {
      events.event(about, 'Normal', 'Pulling', `Pulling image "${name}"`);
      await this.#pullOnce(request);
      this.#failures.delete(key);
      this.#backOff.forget(key);
      const took = duration(clock.monotonicMs() - askedMs);
      const message = `Successfully pulled image "${name}" in ${took}`;
      events.event(about, 'Normal', 'Pulled', message);
    } catch (error) {
      if (error instanceof RuntimeError && error.kind === 'unavailable') throw error;
      const message = messageOf(error);
      const nowMs = clock.now();
      this.#backOff.next(key, this.#failures.get(key)?.atMs ?? nowMs, nowMs);
      this.#failures.set(key, { atMs: nowMs, message });
      events.event(about, 'Warning', 'Failed', `Failed to pull image "${name}": ${message}`);
      throw new ImageError('ErrImagePull', message, this.#backOff.delayMs(key));
    }
  }

  /** Pods that ask for the same image share one pull; only a few images at a time. */
  async #pullOnce({ name, auth, onProgress }: PullRequest): Promise<void> {
    const key = `${auth?.username ?? ''} ${name}`;
    const pull = this.#pulls.get(key) ?? this.#startPull(key, name, auth);
    pull.listeners.add(onProgress);
    try {
      await pull.done;
    } finally {
      pull.listeners.delete(onProgress);
    }
  }

  #startPull(key: string, name: string, auth: RegistryAuth | undefined): Pull {
    const listeners: Pull['listeners'] = new Set();
    const report = this.#reporter(name, listeners);
    const done = this.#withSlot(() => this.#deps.runtime.pullImage(name, auth, report)).finally(
      () => this.#pulls.delete(key),
    );
    const pull = { done, listeners };
    this.#pulls.set(key, pull);
    return pull;
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

  async #withSlot(work: () => Promise<void>): Promise<void> {
    if (this.#active >= parallelPullsMax)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#active++;
    try {
      await work();
    } finally {
      this.#active--;
      this.#queue.shift()?.();
    }
  }

  /** The pod is gone: what is known of its pulls is, too. */
  forget(podUid: string): void {
    for (const key of this.#failures.keys())
      if (key.startsWith(`${podUid}_`)) {
        this.#failures.delete(key);
        this.#backOff.forget(key);
      }
  }
}

/** `Pulling image "nginx:1": 62 of 180 MB`; the app's page reads it back (copy-state.ts). */
export function progressSentence(
  name: string,
  { step, doneBytes, totalBytes }: PullProgress,
): string {
  const verb = step === 'downloading' ? 'Pulling' : 'Unpacking';
  const digits = (totalBytes ?? doneBytes) < 10_000_000 ? 1 : 0;
  const inMegabytes = (bytes: number): string => (bytes / 1_000_000).toFixed(digits);
  const of = totalBytes === undefined ? '' : ` of ${inMegabytes(totalBytes)}`;
  return `${verb} image "${name}": ${inMegabytes(doneBytes)}${of} MB`;
}

/** As Go prints durations of this size: `850ms`, `1.2s`. */
function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3).replace(/\.?0+$/, '')}s`;
}
