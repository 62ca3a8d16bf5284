// Sees to it that a container's image is on this machine: pull policy, back-off after failures,
// events in Kubernetes' wording. Source: kubernetes pkg/kubelet/images/image_manager.go.
import type { Container, ObjectReference, Pod, Secret } from '#kube/api/core.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { isRuntimeError, type ImageStatus, type RegistryAuth } from '../../runtime/runtime.ts';
import { containerReference } from '../container/event-target.ts';
import { BackOff } from '../pod/back-off.ts';
import { messageOf } from '../../error-message.ts';
import { failedPull, ImageError } from './image-error.ts';
import { parseImageName, type ImageName } from './image-name.ts';
import type { ImageFetchDeps } from './image-fetch.ts';
import { ImagePulls } from './image-pulls.ts';
import { platformProblem, pullProblem } from './platform.ts';
import { goDuration } from './pull-words.ts';
import { registryAuths } from './registry-auth.ts';

export interface ImagesDeps extends ImageFetchDeps {
  readonly events: EventRecorder;
}

export interface EnsureRequest {
  readonly pod: Pod;
  readonly container: Container;
  /** What the pod's imagePullSecrets name, as far as it is there. */
  readonly secrets: readonly Secret[];
  readonly missingSecrets: readonly string[];
  readonly onProgress: (sentence: string) => void;
}

interface PullRequest {
  readonly about: ObjectReference;
  readonly name: string;
  readonly image: ImageName;
  readonly isAlways: boolean;
  readonly auths: readonly RegistryAuth[];
  /** `<pod uid>_<image>`: failures count per pod. */
  readonly key: string;
  readonly onProgress: (sentence: string) => void;
}

/** Nothing changes by itself: this long until the next look. */
const retryMs = 10_000;

export class Images {
  readonly #deps: ImagesDeps;
  readonly #backOff = new BackOff();
  readonly #pulls: ImagePulls;
  /** Per pod and image: when the last pull failed and how. */
  readonly #failures = new Map<string, { atMs: number; message: string }>();

  constructor(deps: ImagesDeps) {
    this.#deps = deps;
    this.#pulls = new ImagePulls(deps);
  }

  /** Throws ImageError; RuntimeError only when the engine is gone. */
  async ensure(request: EnsureRequest): Promise<ImageStatus> {
    const { pod, container, secrets, onProgress } = request;
    const { events, runtime } = this.#deps;
    const about = containerReference(pod, container.name);
    const name = container.image ?? '';
    const parsed = this.#parse(about, name);
    const policy = container.imagePullPolicy ?? 'IfNotPresent';
    const present = policy === 'Always' ? undefined : await this.#inspect(about, name);
    const problem = present && platformProblem(name, present, await runtime.platform());
    if (present !== undefined && problem === undefined) {
      events.event(
        about,
        'Normal',
        'Pulled',
        `Container image "${name}" already present on machine`,
      );
      return present;
    }
    if (policy === 'Never') throw this.#neverPull(about, name, problem);
    const key = `${pod.metadata.uid}_${name}`;
    const auths = registryAuths(parsed, secrets);
    const isAlways = policy === 'Always';
    const pull = { about, name, image: parsed, isAlways, auths, key, onProgress };
    this.#checkBackOff(pull);
    this.#tellMissing(request);
    return this.#pull(pull);
  }

  #parse(about: ObjectReference, name: string): ImageName {
    try {
      return parseImageName(name);
    } catch (error) {
      const why = `couldn't parse image name "${name}": ${messageOf(error)}`;
      const message = `Failed to apply default image tag "${name}": ${why}`;
      this.#deps.events.event(about, 'Warning', 'InspectFailed', message);
      throw new ImageError('InvalidImageName', message, retryMs);
    }
  }

  async #inspect(about: ObjectReference, name: string): Promise<ImageStatus | undefined> {
    try {
      return await this.#deps.runtime.imageStatus(name);
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      const message = `Failed to inspect image "${name}": ${messageOf(error)}`;
      this.#deps.events.event(about, 'Warning', 'InspectFailed', message);
      throw new ImageError('ImageInspectError', message, retryMs);
    }
  }

  #neverPull(about: ObjectReference, name: string, problem: string | undefined): ImageError {
    const missing = `Container image "${name}" is not present with pull policy of Never`;
    const message = problem === undefined ? missing : `${missing}: ${problem}`;
    this.#deps.events.event(about, 'Warning', 'ErrImageNeverPull', message);
    return new ImageError('ErrImageNeverPull', message, retryMs);
  }

  #checkBackOff({ about, name, key }: PullRequest): void {
    const failure = this.#failures.get(key);
    if (failure === undefined) return;
    const waitMs = this.#backOff.remainingMs(key, failure.atMs, this.#deps.clock.now());
    if (waitMs === 0) return;
    const message = `Back-off pulling image "${name}"`;
    this.#deps.events.event(about, 'Normal', 'BackOff', message);
    throw new ImageError('ImagePullBackOff', `${message}: ${failure.message}`, waitMs);
  }

  #tellMissing({ pod, missingSecrets }: EnsureRequest): void {
    if (missingSecrets.length === 0) return;
    const message =
      `Unable to retrieve some image pull secrets (${missingSecrets.join(', ')}); ` +
      'attempting to pull the image may not succeed.';
    this.#deps.events.event(pod, 'Warning', 'FailedToRetrieveImagePullSecret', message);
  }

  async #pull(request: PullRequest): Promise<ImageStatus> {
    const { about, name, key } = request;
    const { events, clock } = this.#deps;
    const askedMs = clock.monotonicMs();
    events.event(about, 'Normal', 'Pulling', `Pulling image "${name}"`);
    try {
      const { image, tookMs, machine } = await this.#pulls.pull(request);
      const problem = platformProblem(name, image, await this.#deps.runtime.platform());
      if (problem !== undefined) throw new Error(problem);
      const took = goDuration(tookMs);
      const waited = goDuration(clock.monotonicMs() - askedMs);
      const from = machine === undefined ? '' : ` from machine ${machine}`;
      const message =
        `Successfully pulled image "${name}"${from} in ${took} (${waited} including waiting). ` +
        `Image size: ${image.sizeBytes} bytes.`;
      events.event(about, 'Normal', 'Pulled', message);
      this.#failures.delete(key);
      this.#backOff.forget(key);
      return image;
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      throw this.#failed(request, pullProblem(name, messageOf(error)));
    }
  }

  #failed({ about, name, key }: PullRequest, why: string): ImageError {
    const nowMs = this.#deps.clock.now();
    const { reason, message } = failedPull(name, why);
    this.#backOff.next(key, this.#failures.get(key)?.atMs ?? nowMs, nowMs);
    this.#failures.set(key, { atMs: nowMs, message: `${reason}: ${message}` });
    const text = `Failed to pull image "${name}": ${why}`;
    this.#deps.events.event(about, 'Warning', 'Failed', text);
    return new ImageError(reason, message, this.#backOff.delayMs(key));
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
