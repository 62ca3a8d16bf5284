// Shows static pods in the API: one mirror for each, made anew when somebody removes it, removed when
// its manifest is gone or says something else. What a mirror says is never acted upon.
// Source: kubernetes pkg/kubelet/pod/mirror_client.go, kubelet.go (tryReconcileMirrorPods).
import type { Node, Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { pods as podResource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { messageOf } from '../../error-message.ts';
import { mirroredUid, mirrorOf } from './static-pod.ts';

export interface MirrorsDeps {
  readonly client: Pick<RestClient, 'create' | 'delete'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Throws while it is not there. */
  readonly node: () => Promise<Node>;
  /** The pod of the static uid can be shown now. */
  readonly onMirror: (staticUid: string) => void;
  readonly signal: AbortSignal;
}

const retryMs = { first: 1_000, max: 60_000 };

export class Mirrors {
  readonly #deps: MirrorsDeps;
  /** By uid. */
  #wanted: ReadonlyMap<string, Pod> = new Map();
  #isAsked = false;
  /** By the uid of the static pod. */
  readonly #shown = new Map<string, Pod>();
  /** Static uids whose refusal was told. */
  readonly #refused = new Set<string>();
  #isSynced = false;
  #isRunning = false;
  #isDirty = false;

  constructor(deps: MirrorsDeps) {
    this.#deps = deps;
  }

  /** The object that shows a static pod; undefined: not yet. */
  of(staticUid: string): Pod | undefined {
    return this.#shown.get(staticUid);
  }

  want(pods: readonly Pod[]): void {
    this.#isAsked = true;
    this.#wanted = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    for (const uid of this.#refused) if (!this.#wanted.has(uid)) this.#refused.delete(uid);
    this.#reconcile();
  }

  /** All there are in the API are known. */
  synced(): void {
    this.#isSynced = true;
    this.#reconcile();
  }

  seen(mirror: Pod): void {
    const uid = mirroredUid(mirror) ?? '';
    const isNew = !this.#shown.has(uid);
    this.#shown.set(uid, mirror);
    if (!this.#wanted.has(uid) || mirror.metadata.deletionTimestamp !== undefined)
      this.#reconcile();
    else if (isNew) this.#deps.onMirror(uid);
  }

  gone(mirror: Pod): void {
    const uid = mirroredUid(mirror) ?? '';
    if (this.#shown.get(uid)?.metadata.uid === mirror.metadata.uid) this.#shown.delete(uid);
    this.#reconcile();
  }

  #reconcile(): void {
    this.#isDirty = true;
    if (!this.#isSynced || !this.#isAsked || this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { clock, logger, signal } = this.#deps;
    let waitMs = retryMs.first;
    while (this.#isDirty && !signal.aborted) {
      this.#isDirty = false;
      try {
        await this.#removeStale();
        await this.#createMissing();
        waitMs = retryMs.first;
      } catch (error) {
        logger.debug('Static pods not shown', { error: messageOf(error) });
        this.#isDirty = true;
        await delay(clock, waitMs, signal);
        waitMs = Math.min(waitMs * 2, retryMs.max);
      }
    }
    this.#isRunning = false;
  }

  async #removeStale(): Promise<void> {
    for (const [uid, { metadata }] of this.#shown) {
      if (this.#wanted.has(uid) && metadata.deletionTimestamp === undefined) continue;
      const options = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
      try {
        await this.#deps.client.delete(podResource, metadata, options);
      } catch (error) {
        if (!hasReason(error, 'NotFound') && !hasReason(error, 'Conflict')) throw error;
      }
      this.#shown.delete(uid);
    }
  }

  /** One that is refused hides none after it; the last refusal is thrown in the end. */
  async #createMissing(): Promise<void> {
    let refusal: StatusError | undefined;
    for (const [uid, pod] of this.#wanted) {
      if (this.#shown.has(uid)) continue;
      try {
        await this.#create(uid, pod);
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        refusal = error;
        this.#warn(uid, pod, error);
      }
    }
    if (refusal !== undefined) throw refusal;
  }

  async #create(uid: string, pod: Pod): Promise<void> {
    const node = await this.#deps.node();
    const made = await this.#deps.client.create(podResource, mirrorOf(pod, node));
    this.#refused.delete(uid);
    this.#shown.set(uid, made);
    this.#deps.onMirror(uid);
  }

  /** Once, however often it is tried. */
  #warn(uid: string, { metadata }: Pod, error: StatusError): void {
    if (this.#refused.has(uid)) return;
    this.#refused.add(uid);
    const pod = `${metadata.namespace}/${metadata.name}`;
    this.#deps.logger.warn('Static pod runs, but is not shown', { pod, error: error.message });
  }
}
