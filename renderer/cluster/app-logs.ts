// The followed logs of all copies of an app, merged: one stream per container, opened as copies
// appear, resumed from the last line's time after a break. Bounded by state/log-lines.ts.
import { type ShallowRef, onScopeDispose, shallowRef, watch } from 'vue';
import type { Pod } from '#kube/api/core.ts';
import { delay, systemClock } from '#kube/base/clock.ts';
import { decodeLines } from '#kube/client/json-lines.ts';
import { pathOfResource, pods as podResource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { type LogLine, mergeLogLines, parseLogLine } from '../state/log-lines.ts';
import { useCluster } from './cluster.ts';
import { nextFrame } from './frame.ts';

export interface AppLogs {
  readonly lines: ShallowRef<readonly LogLine[]>;
  /** The server's words when a copy's log can't be read, by copy. */
  readonly problems: ShallowRef<ReadonlyMap<string, string>>;
  clear(): void;
}

interface Source {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

const tailLines = 500;
const retryMs = 1500;

export function useAppLogs(pods: () => readonly Pod[]): AppLogs {
  const { client } = useCluster();
  const lines = shallowRef<readonly LogLine[]>([]);
  const problems = shallowRef<ReadonlyMap<string, string>>(new Map());
  const streams = new Map<string, AbortController>();
  let fresh: LogLine[] = [];
  let nextId = 0;
  let cancelFrame: (() => void) | undefined;

  function take(source: Source, raw: string): string {
    const { time, text } = parseLogLine(raw);
    fresh.push({ id: nextId++, source: source.pod, time, text });
    cancelFrame ??= nextFrame(() => {
      cancelFrame = undefined;
      lines.value = mergeLogLines(lines.value, fresh);
      fresh = [];
    });
    return time;
  }

  function report(source: Source, problem: string | undefined): void {
    if (problems.value.get(source.pod) === problem) return;
    const next = new Map(problems.value);
    if (problem === undefined) next.delete(source.pod);
    else next.set(source.pod, problem);
    problems.value = next;
  }

  watch(
    () => sourcesOf(pods()).map((source) => ({ source, key: `${source.pod}/${source.container}` })),
    (wanted) => {
      const keys = new Set(wanted.map(({ key }) => key));
      for (const { source, key } of wanted) {
        if (streams.has(key)) continue;
        const abort = new AbortController();
        streams.set(key, abort);
        void follow(client, source, { signal: abort.signal, take, report });
      }
      for (const [key, abort] of streams) {
        if (keys.has(key)) continue;
        abort.abort();
        streams.delete(key);
      }
    },
    { immediate: true },
  );
  onScopeDispose(() => {
    cancelFrame?.();
    for (const abort of streams.values()) abort.abort();
  });
  return { lines, problems, clear: () => (lines.value = []) };
}

/** Containers that have started once: before that there is no log to ask for. */
export function sourcesOf(pods: readonly Pod[]): Source[] {
  return pods.flatMap(({ metadata, status }) =>
    (status?.containerStatuses ?? [])
      .filter(
        ({ state, lastState }) =>
          state?.waiting === undefined || lastState?.terminated !== undefined,
      )
      .map(({ name }) => ({
        namespace: metadata.namespace ?? '',
        pod: metadata.name,
        container: name,
      })),
  );
}

interface FollowOptions {
  readonly signal: AbortSignal;
  /** Answers the line's time. */
  readonly take: (source: Source, line: string) => string;
  readonly report: (source: Source, problem: string | undefined) => void;
}

async function follow(client: RestClient, source: Source, options: FollowOptions): Promise<void> {
  const { signal, take, report } = options;
  const path = pathOfResource(podResource, {
    namespace: source.namespace,
    name: source.pod,
    subresource: 'log',
  });
  let lastTime = '';
  while (!signal.aborted) {
    try {
      const since = lastTime === '' ? { tailLines } : { sinceTime: lastTime };
      const query = { container: source.container, follow: true, timestamps: true, ...since };
      const stream = await client.stream({ method: 'GET', path, query, signal });
      report(source, undefined);
      for await (const line of decodeLines(stream.chunks)) {
        if (line === '' || isKnown(line, lastTime)) continue;
        lastTime = take(source, line) || lastTime;
      }
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return;
      report(source, error instanceof Error ? error.message : String(error));
    }
    // The container ended or the connection broke: its next run continues the log.
    await delay(systemClock, retryMs, signal);
  }
}

/** `sinceTime` counts whole seconds on some servers: what was seen already comes again. */
function isKnown(line: string, lastTime: string): boolean {
  return lastTime !== '' && parseLogLine(line).time !== '' && parseLogLine(line).time <= lastTime;
}
