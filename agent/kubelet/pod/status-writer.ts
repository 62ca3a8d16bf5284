// Brings pod statuses to the API server: per pod the newest one, one request at a time, again until
// it is taken. Conditions that others own are taken from the object as it is there.
// Source: kubernetes pkg/kubelet/status/status_manager.go.
import type { Pod, PodCondition, PodStatus } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { kubeletDisruption, ownConditions } from './pod-conditions.ts';
import { messageOf } from '../../error-message.ts';

export interface StatusWriterDeps {
  readonly client: Pick<RestClient, 'get' | 'updateStatus'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The object that shows the pod: `base` itself, or a mirror; undefined: there is none yet. */
  readonly shownAs: (podUid: string, base: Pod) => Pod | undefined;
  /** While our status was under way, somebody else wrote another one: the pod has to be looked at. */
  readonly onOverruled: (podUid: string) => void;
}

interface Entry {
  /** The object that the next write is based on. */
  base: Pod;
  /** The newest one that the API showed. */
  shown: Pod;
  wanted: PodStatus;
  sent: PodStatus | undefined;
  sending: Promise<void> | undefined;
}

const retryDelayMs = { first: 200, max: 5_000 };

export class StatusWriter {
  readonly #deps: StatusWriterDeps;
  /** By pod uid. */
  readonly #entries = new Map<string, Entry>();

  constructor(deps: StatusWriterDeps) {
    this.#deps = deps;
  }

  /** The pod with the newest status known: what the next one is computed from. */
  newest(pod: Pod): Pod {
    const entry = this.#entries.get(pod.metadata.uid ?? '');
    if (entry === undefined) return pod;
    return { ...pod, status: withForeignConditions(entry.wanted, pod.status) };
  }

  set(pod: Pod, status: PodStatus): void {
    const uid = pod.metadata.uid ?? '';
    const entry = this.#entries.get(uid);
    if (entry === undefined) {
      if (deepEqual(status, pod.status)) return;
      const fresh: Entry = {
        base: pod,
        shown: pod,
        wanted: status,
        sent: undefined,
        sending: undefined,
      };
      this.#entries.set(uid, fresh);
      fresh.sending = this.#send(uid, fresh);
      return;
    }
    entry.wanted = status;
    if (entry.sending === undefined && !deepEqual(status, entry.sent))
      entry.sending = this.#send(uid, entry);
  }

  /**
   * Looks at what the API shows; true when somebody else wrote over what is ours to say (the node
   * lifecycle controller does, while the node is not ready). The next `set` then writes it again.
   * Source: status_manager.go (needsReconcile).
   */
  isOverruled(pod: Pod): boolean {
    const entry = this.#entries.get(pod.metadata.uid ?? '');
    if (entry === undefined) return false;
    if (isNewer(pod, entry.shown)) entry.shown = pod;
    // The same one, of which the cache has a copy: not two in memory.
    if (pod.metadata.resourceVersion === entry.base.metadata.resourceVersion) entry.base = pod;
    // What is being sent may be what is shown here: told afterwards.
    return entry.sending === undefined && this.#yields(entry);
  }

  #yields(entry: Entry): boolean {
    const { base, shown } = entry;
    if (!isNewer(shown, base)) return false;
    entry.base = shown;
    if (deepEqual(ownPart(shown.status), ownPart(base.status))) return false;
    entry.sent = undefined;
    return true;
  }

  /** What shows the pod is there, or there anew. */
  resend(podUid: string): void {
    const entry = this.#entries.get(podUid);
    if (entry === undefined) return;
    entry.sent = undefined;
    if (entry.sending === undefined) entry.sending = this.#send(podUid, entry);
  }

  /** Resolves when all that was set so far is written, or never will be. */
  async flush(podUid: string): Promise<void> {
    await this.#entries.get(podUid)?.sending;
  }

  forget(podUid: string): void {
    this.#entries.delete(podUid);
  }

  async #send(uid: string, entry: Entry): Promise<void> {
    const { signal, clock, logger, onOverruled, shownAs } = this.#deps;
    let waitMs = retryDelayMs.first;
    // The caller's own tick sets `sending` first.
    await Promise.resolve();
    while (!signal.aborted && this.#entries.get(uid) === entry) {
      const { wanted } = entry;
      if (deepEqual(wanted, entry.sent)) break;
      const shown = shownAs(uid, entry.base);
      if (shown === undefined) break;
      entry.base = shown;
      try {
        await this.#write(entry, wanted);
        entry.sent = wanted;
        waitMs = retryDelayMs.first;
      } catch (error) {
        if (hasReason(error, 'NotFound')) {
          this.#entries.delete(uid);
          break;
        }
        const { name, namespace } = entry.base.metadata;
        logger.debug('Pod status not written', {
          pod: `${namespace}/${name}`,
          error: messageOf(error),
        });
        await delay(clock, waitMs, signal);
        waitMs = Math.min(waitMs * 2, retryDelayMs.max);
      }
    }
    entry.sending = undefined;
    if (this.#yields(entry)) onOverruled(uid);
  }

  async #write(entry: Entry, wanted: PodStatus): Promise<void> {
    const { client, signal } = this.#deps;
    const put = (base: Pod) =>
      client.updateStatus(
        pods,
        { ...base, status: withForeignConditions(wanted, base.status) },
        { signal },
      );
    try {
      entry.base = await put(entry.base);
    } catch (error) {
      if (!hasReason(error, 'Conflict')) throw error;
      const { uid } = entry.base.metadata;
      const fresh = await client.get(pods, entry.base.metadata, { signal });
      // Another pod of the same name: ours is gone, and nobody waits for its status.
      if (fresh.metadata.uid !== uid) return;
      entry.base = await put(fresh);
    }
  }
}

/** Kubernetes promises that resourceVersions of one resource compare as numbers (KEP-5504). */
function isNewer(a: Pod, b: Pod): boolean {
  return Number(a.metadata.resourceVersion) > Number(b.metadata.resourceVersion);
}

function ownPart(status: PodStatus = {}): unknown {
  const { conditions = [], ...rest } = status;
  const own = conditions.filter(({ type }) => ownConditions.has(type));
  return { ...rest, conditions: own.toSorted((a, b) => (a.type < b.type ? -1 : 1)) };
}

function withForeignConditions(wanted: PodStatus, current: PodStatus | undefined): PodStatus {
  const isOurs = ({ type, reason }: PodCondition): boolean =>
    // Others set DisruptionTarget as well.
    ownConditions.has(type) || (type === 'DisruptionTarget' && reason === kubeletDisruption);
  const own = (wanted.conditions ?? []).filter(isOurs);
  const types = new Set([...ownConditions, ...own.map(({ type }) => type)]);
  const foreign = (current?.conditions ?? []).filter(({ type }) => !types.has(type));
  return { ...wanted, conditions: [...own, ...foreign] };
}
