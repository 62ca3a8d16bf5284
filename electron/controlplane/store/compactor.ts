// Keeps five minutes of history: samples the revision every minute and compacts to the newest
// sample that is old enough. Readers older than that get CompactedError and list again.
// Source: kubernetes apiserver pkg/storage/etcd3/compact.go (the interval of five minutes).
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { NoSpaceError, UnavailableError, type Store } from './store.ts';

export interface CompactorDeps {
  readonly store: Pick<Store, 'currentRevision' | 'compactedRevision' | 'compact'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

export const historyMs = 5 * 60_000;
export const sampleIntervalMs = 60_000;

/** Runs until `stop()` or the signal. */
export function startCompactor(deps: CompactorDeps): { stop(): void } {
  const { store, clock, logger, signal } = deps;
  const samples: { readonly atMs: number; readonly revision: number }[] = [];
  let timer: Timer | undefined;
  let isStopped = signal?.aborted === true;

  function stop(): void {
    isStopped = true;
    timer?.cancel();
    signal?.removeEventListener('abort', stop);
  }

  async function sample(): Promise<void> {
    const revision = await store.currentRevision();
    const nowMs = clock.monotonicMs();
    samples.push({ atMs: nowMs, revision });
    let mark = 0;
    while (samples[0] !== undefined && samples[0].atMs <= nowMs - historyMs)
      mark = samples.shift()?.revision ?? mark;
    if (mark > store.compactedRevision()) {
      await store.compact(mark);
      logger.debug('Compacted the store', { revision: mark });
    }
  }

  async function run(): Promise<void> {
    try {
      await sample();
    } catch (error) {
      // Closed; or, where a signal says when it is, without a majority for now.
      const isUnavailable = error instanceof UnavailableError;
      if (isUnavailable && signal === undefined) return stop();
      const remedy = error instanceof NoSpaceError ? 'free some space on the disk' : undefined;
      if (!isUnavailable)
        logger.error('Compaction failed, the next one continues', { error, remedy });
    }
    if (!isStopped) timer = clock.timer(sampleIntervalMs, () => void run());
  }

  signal?.addEventListener('abort', stop);
  if (!isStopped) void run();
  return { stop };
}
