// A collection as the server prints it (`kubectl get`), live: list as Table, then watch as Table.
// One at a time: the page for experts shows one kind.
import { type ShallowRef, onScopeDispose, shallowRef, watch } from 'vue';
import type { Table } from '#kube/api/object.ts';
import { delay, systemClock } from '#kube/base/clock.ts';
import { decodeJsonLines } from '#kube/client/json-lines.ts';
import { pathOfResource, type Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { applyTableEvents, type LiveTable, type TableEvent, tableOf } from '../state/table-rows.ts';
import { failureText } from './actions.ts';
import { useCluster } from './cluster.ts';
import { nextFrame } from './frame.ts';

const asTable = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const retryMs = 2000;
/** A hidden page draws no frames: what comes meanwhile is taken over in lots. */
const eventsMax = 1000;

export interface TableSelection {
  readonly resource: Resource;
  /** '' for all. */
  readonly namespace: string;
}

export function useLiveTable(selection: () => TableSelection | undefined): {
  table: ShallowRef<LiveTable | undefined>;
  problem: ShallowRef<string>;
} {
  const { client } = useCluster();
  const table = shallowRef<LiveTable>();
  const problem = shallowRef('');
  let abort: AbortController | undefined;
  watch(
    selection,
    (chosen) => {
      abort?.abort();
      table.value = undefined;
      problem.value = '';
      if (chosen === undefined) return;
      abort = new AbortController();
      void follow(client, chosen, {
        signal: abort.signal,
        show: (next) => (table.value = next),
        report: (text) => (problem.value = text),
      });
    },
    { immediate: true },
  );
  onScopeDispose(() => abort?.abort());
  return { table, problem };
}

interface FollowOptions {
  readonly signal: AbortSignal;
  readonly show: (table: LiveTable) => void;
  readonly report: (problem: string) => void;
}

async function follow(
  client: RestClient,
  selection: TableSelection,
  options: FollowOptions,
): Promise<void> {
  const { signal, report } = options;
  while (!signal.aborted) {
    try {
      await listAndWatch(client, selection, options);
    } catch (error) {
      if (!signal.aborted) report(failureText(error));
    }
    await delay(systemClock, retryMs, signal);
  }
}

/** Returns when the history is gone. */
async function listAndWatch(
  client: RestClient,
  selection: TableSelection,
  options: FollowOptions,
): Promise<void> {
  const { signal, show, report } = options;
  const { resource, namespace } = selection;
  const path = pathOfResource(resource, { namespace });
  const headers = { accept: asTable };
  const list = await client.json<Table>({ method: 'GET', path, headers, signal });
  let current = tableOf(list);
  let pending: TableEvent[] = [];
  let isGone = false;
  /** All events of a frame at once: a burst costs one copy of the table, not one for each. */
  const settle = (): void => {
    const next = pending.length === 0 ? current : applyTableEvents(current, pending);
    pending = [];
    if (next === undefined) isGone = true;
    else current = next;
  };
  let cancelFrame: (() => void) | undefined;
  const publish = (): void => {
    cancelFrame ??= nextFrame(() => {
      cancelFrame = undefined;
      settle();
      if (!signal.aborted && !isGone) show(current);
    });
  };
  report('');
  show(current);
  while (!signal.aborted) {
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: current.resourceVersion,
    };
    const stream = await client.stream({ method: 'GET', path, query, headers, signal });
    for await (const event of decodeJsonLines(stream.chunks)) {
      pending.push(event as TableEvent);
      if (pending.length >= eventsMax || (event as TableEvent).type === 'ERROR') settle();
      if (isGone) return;
      publish();
    }
    settle();
    if (isGone) return;
    await delay(systemClock, retryMs, signal);
  }
}
