// Live CPU, memory and network of machines and their copies: one stats stream per machine somebody
// looks at, none while nobody does or the page is hidden. Keeps the last minutes in memory only.
import { type ShallowRef, onScopeDispose, shallowRef } from 'vue';
import { systemClock, delay } from '#kube/base/clock.ts';
import { decodeJsonLines } from '#kube/client/json-lines.ts';
import { nodes, pathOfResource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { parseSample, podTotal, type StatsSample } from '../state/samples.ts';
import { appendPoint, type Point } from '../state/series.ts';
import { useCluster } from './cluster.ts';

/** `namespace/name` → its series. */
export type PodSeries = ReadonlyMap<string, Usage>;

export interface Usage {
  readonly cpu: readonly Point[];
  readonly memory: readonly Point[];
  readonly received: readonly Point[];
  readonly sent: readonly Point[];
}

export interface NodeStats {
  readonly latest: StatsSample | undefined;
  readonly node: Usage;
  readonly pods: PodSeries;
}

export const noUsage: Usage = { cpu: [], memory: [], received: [], sent: [] };
const noStats: NodeStats = { latest: undefined, node: noUsage, pods: new Map() };
const retryMs = 3000;
/** Samples of all machines are shown together: thirty machines redraw the page once a second. */
const showMs = 1000;

interface Feed {
  readonly stats: ShallowRef<NodeStats>;
  /** With what came since it was last shown. */
  next: NodeStats;
  watchers: number;
  abort: AbortController | undefined;
}

export class LiveStats {
  readonly #client: RestClient;
  readonly #feeds = new Map<string, Feed>();
  #isShowingSoon = false;

  constructor(client: RestClient) {
    this.#client = client;
    if (typeof document !== 'undefined')
      document.addEventListener('visibilitychange', () => this.#visibilityChanged());
  }

  /** Call the answer's `release` when nobody looks any more. */
  follow(nodeName: string): { stats: ShallowRef<NodeStats>; release: () => void } {
    const feed = this.#feeds.get(nodeName) ?? this.#addFeed(nodeName);
    feed.watchers++;
    if (!document.hidden) this.#open(nodeName, feed);
    return { stats: feed.stats, release: () => this.#release(feed) };
  }

  #addFeed(nodeName: string): Feed {
    const stats = shallowRef(noStats);
    const feed: Feed = { stats, next: noStats, watchers: 0, abort: undefined };
    this.#feeds.set(nodeName, feed);
    return feed;
  }

  #release(feed: Feed): void {
    feed.watchers--;
    if (feed.watchers === 0) close(feed);
  }

  #visibilityChanged(): void {
    for (const [name, feed] of this.#feeds)
      if (document.hidden) close(feed);
      else if (feed.watchers > 0) this.#open(name, feed);
  }

  #open(nodeName: string, feed: Feed): void {
    if (feed.abort !== undefined) return;
    feed.abort = new AbortController();
    void this.#run(nodeName, feed, feed.abort.signal);
  }

  /** A stream that can't be had is asked for again: statistics come and go with their machine. */
  async #run(nodeName: string, feed: Feed, signal: AbortSignal): Promise<void> {
    const path = pathOfResource(nodes, { name: nodeName, subresource: 'proxy/stats/stream' });
    while (!signal.aborted) {
      try {
        const stream = await this.#client.stream({ method: 'GET', path, signal });
        for await (const line of decodeJsonLines(stream.chunks)) {
          if (signal.aborted) return;
          const sample = parseSample(line);
          if (sample !== undefined) this.#take(feed, addSample(feed.next, sample));
        }
      } catch {
        this.#take(feed, { ...feed.next, latest: undefined });
      }
      await delay(systemClock, retryMs, signal);
    }
  }

  /** The first of a machine at once: somebody waits for it. */
  #take(feed: Feed, next: NodeStats): void {
    feed.next = next;
    if (feed.stats.value.latest === undefined) feed.stats.value = next;
    if (this.#isShowingSoon) return;
    this.#isShowingSoon = true;
    systemClock.timer(showMs, () => this.#show());
  }

  #show(): void {
    this.#isShowingSoon = false;
    for (const feed of this.#feeds.values()) feed.stats.value = feed.next;
  }
}

function close(feed: Feed): void {
  feed.abort?.abort();
  feed.abort = undefined;
}

export function addSample(stats: NodeStats, sample: StatsSample): NodeStats {
  const { timeMs, node } = sample;
  const pods = new Map<string, Usage>();
  for (const pod of sample.pods) {
    const key = `${pod.namespace}/${pod.name}`;
    pods.set(
      key,
      grow(stats.pods.get(key) ?? noUsage, timeMs, {
        cpu: podTotal(pod, 'cpuNanoCores'),
        memory: podTotal(pod, 'memoryWorkingSetBytes'),
        received: pod.network?.rxBytes,
        sent: pod.network?.txBytes,
      }),
    );
  }
  const usage = {
    cpu: node.cpuNanoCores,
    memory: node.memoryWorkingSetBytes,
    received: undefined,
    sent: undefined,
  };
  return { latest: sample, node: grow(stats.node, timeMs, usage), pods };
}

type UsageValues = { readonly [K in keyof Usage]: number | undefined };

function grow(usage: Usage, timeMs: number, values: UsageValues): Usage {
  const add = (series: readonly Point[], value: number | undefined): readonly Point[] =>
    value === undefined ? series : appendPoint(series, { timeMs, value });
  return {
    cpu: add(usage.cpu, values.cpu),
    memory: add(usage.memory, values.memory),
    received: add(usage.received, values.received),
    sent: add(usage.sent, values.sent),
  };
}

/** Follows several machines' statistics with the component; the list may change. */
export function useNodeStats(): (nodeName: string) => NodeStats {
  const { stats } = useCluster();
  const followed = new Map<string, ReturnType<LiveStats['follow']>>();
  onScopeDispose(() => {
    for (const { release } of followed.values()) release();
  });
  return (nodeName) => {
    let feed = followed.get(nodeName);
    if (feed === undefined) {
      feed = stats.follow(nodeName);
      followed.set(nodeName, feed);
    }
    return feed.stats.value;
  };
}
