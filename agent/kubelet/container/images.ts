// Sees to it that an image is on this machine: pull policy, one pull per image at a time, back-off
// after failures, events in Kubernetes' wording.
// Source: kubernetes pkg/kubelet/images/image_manager.go.
import type { Container, ObjectReference, Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  RuntimeError,
  type ImageStatus,
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

interface PullRequest {
  readonly about: ObjectReference;
  readonly name: string;
  readonly auth: RegistryAuth | undefined;
  /** `<pod uid>_<image>`: failures count per pod. */
  readonly key: string;
}

const parallelPullsMax = 3;

export class Images {
  readonly #deps: ImagesDeps;
  readonly #backOff = new BackOff();
  /** Pulls under way, by image. */
  readonly #pulls = new Map<string, Promise<void>>();
  /** Per pod and image: when the last pull failed and how. */
  readonly #failures = new Map<string, { atMs: number; message: string }>();
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
  }

  /** Throws ImageError; RuntimeError only when the engine is gone. */
  async ensure(
    pod: Pod,
    container: Container,
    auth: RegistryAuth | undefined,
  ): Promise<ImageStatus> {
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
    const request = { about, name, auth, key: `${pod.metadata.uid}_${name}` };
    this.#checkBackOff(request);
    await this.#pull(request);
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

  async #pull({ about, name, auth, key }: PullRequest): Promise<void> {
    const { events, clock } = this.#deps;
    const askedMs = clock.monotonicMs();
    try {
      events.event(about, 'Normal', 'Pulling', `Pulling image "${name}"`);
      await this.#pullOnce(name, auth);
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
  #pullOnce(name: string, auth: RegistryAuth | undefined): Promise<void> {
    const key = `${auth?.username ?? ''} ${name}`;
    const running = this.#pulls.get(key);
    if (running !== undefined) return running;
    const pull = this.#withSlot(() => this.#deps.runtime.pullImage(name, auth)).finally(() =>
      this.#pulls.delete(key),
    );
    this.#pulls.set(key, pull);
    return pull;
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

/** As Go prints durations of this size: `850ms`, `1.2s`. */
function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3).replace(/\.?0+$/, '')}s`;
}
