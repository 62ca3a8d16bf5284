// The pulls under way, from other machines of the cluster or from a registry: pods that ask for the same image with the same credentials share one, a few
// run at a time, and one that says nothing for long is given up, so that it holds up no other.
// Source: kubernetes pkg/kubelet/images/puller.go, pkg/kubelet/kuberuntime/kuberuntime_image.go.
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import {
  isRuntimeError,
  type ImageStatus,
  type PullProgress,
  type RegistryAuth,
  type Runtime,
} from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import type { ImageName } from './image-name.ts';
import type { ImageOrigins } from './image-origins.ts';
import type { ImagePeers } from './image-peers.ts';
import { planFetch, type Source } from './plan-fetch.ts';
import { progressSentence } from './pull-words.ts';

export interface ImagePullsDeps {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Undefined: this machine is alone. */
  readonly peers: Pick<ImagePeers, 'offers' | 'fetch'> | undefined;
  readonly origins: Pick<ImageOrigins, 'note'>;
}

export interface PullRequest {
  readonly name: string;
  readonly image: ImageName;
  readonly isAlways: boolean;
  /** Tried in this order; none: without. */
  readonly auths: readonly RegistryAuth[];
  readonly onProgress: (sentence: string) => void;
}

export interface PullResult {
  readonly image: ImageStatus;
  /** Without the wait for its turn. */
  readonly tookMs: number;
  /** Undefined: from the registry. */
  readonly machine: string | undefined;
}

/** Under way for every pod that asked meanwhile. */
interface Pull {
  readonly done: Promise<PullResult>;
  readonly listeners: Set<(sentence: string) => void>;
}

type Report = (progress: PullProgress) => void;
type PeerSource = Extract<Source, { readonly kind: 'peer' }>;

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
    const report = this.#reporter(request.name, listeners);
    const done = this.#withSlot(() => this.#fetch(request, report)).finally(() =>
      this.#pulls.delete(key),
    );
    const pull = { done, listeners };
    this.#pulls.set(key, pull);
    return pull;
  }

  async #fetch(request: PullRequest, report: Report): Promise<Omit<PullResult, 'tookMs'>> {
    const { name, auths } = request;
    const { runtime, origins } = this.#deps;
    for (const source of await this.#sources(request)) {
      if (source.kind === 'registry') break;
      const { machine, offer } = source.peer;
      const came = await this.#fromPeer(request, source, report);
      if (came === undefined) continue;
      const image = await runtime.imageStatus(name);
      if (image === undefined) continue;
      // What was here before may be private: no other machine's word makes it public.
      if (came === 'fetched' && image.id === offer.id) void origins.note(image.id, offer.origin);
      return { image, machine };
    }
    await this.#fromRegistry(name, auths, report);
    const image = await runtime.imageStatus(name);
    if (image === undefined) throw new Error(`image "${name}" is gone right after its pull`);
    if (auths.length === 0) void origins.note(image.id, 'registry');
    return { image, machine: undefined };
  }

  /** What is here already makes most of a pull: the registry alone knows what is missing. */
  async #sources({ name, image, isAlways, auths }: PullRequest): Promise<readonly Source[]> {
    const { runtime, peers } = this.#deps;
    const machine = await runtime.platform();
    const isAlone = peers === undefined || !machine.hasPortableIds;
    if (isAlone || (isAlways && (await runtime.imageStatus(name)) !== undefined)) return [];
    const offers = await peers.offers(name);
    if (offers.length === 0) return [];
    const registryDigest = isAlways
      ? await runtime.registryDigest(name, auths[0]).catch(() => undefined)
      : undefined;
    return planFetch({ image, isAlways, offers, registryDigest, machine });
  }

  /** Undefined: it did not come. Nothing is left of it then. Throws when no machine would do. */
  async #fromPeer(
    { name, auths }: PullRequest,
    { peer, isConfirmed }: PeerSource,
    report: Report,
  ): Promise<'fetched' | 'here' | undefined> {
    const { runtime, peers, logger } = this.#deps;
    const { machine, offer } = peer;
    const isHere = (await runtime.imageStatus(offer.id)) !== undefined;
    let isAsking = false;
    try {
      if (!isHere)
        await this.#watched((signal, alive) => peers!.fetch(peer, heard(report, alive), signal));
      isAsking = isConfirmed;
      // A pull that finds all of the image here fetches its manifest, no layer.
      if (isConfirmed) await this.#fromRegistry(name, auths, report);
      else await runtime.tagImage(offer.id, name);
      return isHere ? 'here' : 'fetched';
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      if (!isHere) await this.#dropNameless(offer.id);
      // The next machine's bytes would need the same registry's word.
      if (isAsking) throw error;
      logger.warn('Image not taken from a machine', {
        image: name,
        machine,
        error: messageOf(error),
      });
      return undefined;
    }
  }

  async #dropNameless(id: string): Promise<void> {
    const { runtime, logger } = this.#deps;
    try {
      const image = await runtime.imageStatus(id);
      if (image?.names.length === 0) await runtime.removeImage(image);
    } catch (error) {
      logger.debug('Image without a name stays', { id, error: messageOf(error) });
    }
  }

  async #fromRegistry(name: string, auths: readonly RegistryAuth[], report: Report): Promise<void> {
    const failures: unknown[] = [];
    for (const auth of auths.length === 0 ? [undefined] : auths)
      try {
        return await this.#watched((signal, alive) =>
          this.#deps.runtime.pullImage(name, {
            auth,
            signal,
            onProgress: heard(report, alive),
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

  #reporter(name: string, listeners: Pull['listeners']): Report {
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

  async #withSlot(work: () => Promise<Omit<PullResult, 'tookMs'>>): Promise<PullResult> {
    if (this.#active >= parallelPullsMax)
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#active++;
    const startedMs = this.#deps.clock.monotonicMs();
    try {
      const result = await work();
      return { ...result, tookMs: this.#deps.clock.monotonicMs() - startedMs };
    } finally {
      this.#active--;
      this.#queue.shift()?.();
    }
  }
}

/** Each sign of life counts, also one that tells no amount. */
function heard(report: Report, alive: () => void): (progress: PullProgress | undefined) => void {
  return (progress) => {
    alive();
    if (progress !== undefined) report(progress);
  };
}
