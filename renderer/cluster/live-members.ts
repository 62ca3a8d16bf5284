// Who keeps the state, live: one stream for the whole page. It tells of a lost majority, too, which
// no object could: then nothing can be written or read anew.
import { type InjectionKey, type ShallowRef, inject, onScopeDispose, shallowRef } from 'vue';
import type { MembersReport } from '#kube/api/flotilla.ts';
import { assert } from '#kube/base/assert.ts';
import { delay, systemClock } from '#kube/base/clock.ts';
import { decodeJsonLines } from '#kube/client/json-lines.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { describeKeepers, type Keepers } from '../state/keepers.ts';
import { useCluster } from './cluster.ts';

export interface LiveMembers {
  /** Undefined: not known yet, or not kept by members. */
  readonly keepers: ShallowRef<Keepers | undefined>;
  /** Why the server answers nothing at all now; ''. */
  readonly refusal: ShallowRef<string>;
}

export const liveMembersKey: InjectionKey<LiveMembers> = Symbol('live-members');
const path = '/flotilla/members';
const retryMs = 3_000;

/** Call once, in the root component. */
export function followMembers(): LiveMembers {
  const { client } = useCluster();
  const keepers = shallowRef<Keepers>();
  const refusal = shallowRef('');
  const abort = new AbortController();
  const { signal } = abort;
  async function follow(): Promise<void> {
    const query = { watch: true };
    const stream = await client.stream({ method: 'GET', path, query, signal });
    refusal.value = '';
    for await (const report of decodeJsonLines(stream.chunks))
      keepers.value = describeKeepers(report as MembersReport);
  }
  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await follow();
      } catch (error) {
        const code = error instanceof StatusError ? error.status.code : undefined;
        // An etcd keeps the state: there are no members, and there won't be.
        if (code === 400) return;
        refusal.value = code === 503 ? (error as StatusError).message : '';
      }
      await delay(systemClock, retryMs, signal);
    }
  }
  void run();
  onScopeDispose(() => abort.abort());
  return { keepers, refusal };
}

export function useMembers(): LiveMembers {
  const members = inject(liveMembersKey);
  assert(members, 'no members were provided');
  return members;
}
