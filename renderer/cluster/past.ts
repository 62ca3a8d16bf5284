// The past of what a page shows: asked of each machine when it is first drawn, and again before the
// page's own samples, which begin where it ends, are forgotten.
import { onScopeDispose, shallowRef, watch, type Ref, type ShallowRef } from 'vue';
import { systemClock, type Timer } from '#kube/base/clock.ts';
import { nodes, pathOfResource } from '#kube/client/resources.ts';
import { choiceOf, noPast, parseHistory, type Past, type Range } from '../state/history.ts';
import { useCluster } from './cluster.ts';

/** Answers the past of one series (`node`, or `NAMESPACE/NAME`) of a machine. */
export function usePast(range: Ref<Range>): (nodeName: string, series: string) => Past {
  const { client } = useCluster();
  const known = new Map<string, ShallowRef<Past>>();
  /** Of these nothing has drawn the last answer: what they belong to is no longer shown. */
  const idle = new Set<string>();
  let stop = new AbortController();
  let timer: Timer | undefined;

  async function ask(nodeName: string, series: string, past: ShallowRef<Past>): Promise<void> {
    const path = pathOfResource(nodes, { name: nodeName, subresource: 'proxy/stats/history' });
    const { signal } = stop;
    const query = { range: range.value, of: series };
    try {
      const answer = await client.json({ method: 'GET', path, query, signal });
      if (signal.aborted) return;
      idle.add(`${nodeName} ${series}`);
      // A new object each time: whoever shows it reads it again.
      past.value = { ...(parseHistory(answer).get(series) ?? noPast) };
    } catch {
      // A machine that does not answer has no past for now; its chart shows what comes.
    }
  }

  function askAll(): void {
    stop.abort();
    stop = new AbortController();
    timer?.cancel();
    timer = systemClock.timer(choiceOf(range.value).refreshMs, refresh);
    if (document.hidden) return;
    for (const [key, past] of known) {
      const [nodeName = '', ...series] = key.split(' ');
      void ask(nodeName, series.join(' '), past);
    }
  }

  function refresh(): void {
    for (const key of idle) known.delete(key);
    idle.clear();
    askAll();
  }

  watch(range, () => {
    for (const past of known.values()) past.value = noPast;
    askAll();
  });
  document.addEventListener('visibilitychange', askAll);
  onScopeDispose(() => {
    stop.abort();
    timer?.cancel();
    document.removeEventListener('visibilitychange', askAll);
  });
  timer = systemClock.timer(choiceOf(range.value).refreshMs, refresh);

  return (nodeName, series) => {
    const key = `${nodeName} ${series}`;
    idle.delete(key);
    let past = known.get(key);
    if (past === undefined) {
      past = shallowRef(noPast);
      known.set(key, past);
      void ask(nodeName, series, past);
    }
    return past.value;
  };
}
