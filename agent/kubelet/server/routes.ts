// What the kubelet's HTTP server answers: logs, statistics, metrics, health, its pods, images.
// Source: kubernetes pkg/kubelet/server/server.go, server/stats.
import type { Readable } from 'node:stream';
import type { Pod } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import { apiServerHintPath } from '#kube/machinery/api-servers.ts';
import type { AgentMetrics } from '../../metrics/agent-metrics.ts';
import { cadvisorMetrics } from '../../metrics/cadvisor-metrics.ts';
import type { Collector, PodTarget, Sample } from '../../metrics/collector.ts';
import { rangeOf, ranges, type History } from '../../metrics/history.ts';
import { resourceMetrics } from '../../metrics/resource-metrics.ts';
import { summary } from '../../metrics/summary.ts';
import { isRuntimeError, type Runtime } from '../../runtime/runtime.ts';
import type { ImageLoader } from '../images/image-loader.ts';
import type { ImageShare } from '../images/image-share.ts';
import type { VolumeShare } from '../volumes/copies/volume-share.ts';
import { hearApiServer } from './api-server-routes.ts';
import { loadImages } from './image-load.ts';
import { contentPath, offerImage, offerPath, sendImage } from './image-share-routes.ts';
import { isVolumePath, shareVolume } from './volume-share-routes.ts';
import { loggedContainerId, LogRequestError, parseLogQuery } from './log-request.ts';

export interface RoutesDeps {
  readonly runtime: Pick<Runtime, 'logs'>;
  readonly pods: () => readonly Pod[];
  readonly collector: Collector;
  readonly history: Pick<History, 'query'>;
  readonly metrics: AgentMetrics;
  /** What the engine runs. */
  readonly running: () => Promise<readonly PodTarget[]>;
  readonly process: () => {
    readonly cpuSeconds: number;
    readonly residentBytes: number;
    readonly startedAtMs: number;
  };
  /** When the server's certificate ends. */
  readonly certificateEndMs: () => number;
  /** What /configz tells: a KubeletConfiguration. */
  readonly configuration: () => object;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly loader: ImageLoader;
  readonly share: ImageShare;
  readonly volumes: VolumeShare;
  /** Somebody says that these are API servers. */
  readonly hearApiServers: (servers: readonly string[]) => void;
  readonly machine: { readonly cpuCount: number; readonly memoryBytes: number };
}

export interface KubeletRequest {
  readonly method: string;
  readonly url: URL;
  /** Aborts when the client went away. */
  readonly signal: AbortSignal;
  readonly body: Readable;
  /** Which machine of the cluster asks, by its certificate; undefined: somebody else. */
  readonly node: string | undefined;
  /** The address that it comes from. */
  readonly from: string | undefined;
  /** Of the body; undefined: not said. */
  readonly sizeBytes: number | undefined;
}

export interface KubeletResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | AsyncIterable<Uint8Array>;
  /** A body's reader who takes nothing for this long is cut off; undefined: never. */
  readonly stalledMaxMs?: number;
}

const prometheusText = 'text/plain; version=0.0.4; charset=utf-8';

export function text(status: number, body: string): KubeletResponse {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

function json(value: unknown): KubeletResponse {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

export class Routes {
  readonly #deps: RoutesDeps;

  constructor(deps: RoutesDeps) {
    this.#deps = deps;
  }

  async handle(request: KubeletRequest): Promise<KubeletResponse> {
    const { pathname } = request.url;
    if (pathname === '/images/load' && request.method === 'POST')
      return loadImages(this.#deps.loader, this.#deps.clock, request);
    if (pathname === apiServerHintPath) return hearApiServer(this.#deps.hearApiServers, request);
    if (isVolumePath(request.method, pathname)) return shareVolume(this.#deps.volumes, request);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return text(405, 'method not allowed\n');
    const log = /^\/containerLogs\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(pathname);
    if (log !== null) return this.#logs(request, log.slice(1).map(decodeURIComponent));
    switch (pathname) {
      case '/healthz':
      case '/healthz/ping':
        return text(200, 'ok');
      case '/configz':
        return json({ kubeletconfig: this.#deps.configuration() });
      case '/runningpods':
      case '/runningpods/':
        return json(podList((await this.#deps.running()).map(runningPod)));
      case '/pods':
        return json(podList(this.#deps.pods()));
      case '/stats/summary':
        return json(summary(await this.#deps.collector.detailed(), this.#deps.nodeName));
      case '/stats/sample':
        return json(await this.#deps.collector.once());
      case '/stats/stream':
        return {
          status: 200,
          contentType: 'application/jsonl',
          body: this.#statsStream(request.signal),
        };
      case offerPath:
        return offerImage(this.#deps.share, request.url.searchParams.get('name') ?? '');
      case contentPath:
        return sendImage(this.#deps.share, request);
      case '/stats/history':
        return this.#history(request.url.searchParams);
      case '/metrics/resource':
        return metrics(resourceMetrics(await this.#deps.collector.detailed()));
      case '/metrics/cadvisor':
        return metrics(cadvisorMetrics(await this.#deps.collector.detailed(), this.#deps.machine));
      case '/metrics/probes':
        return metrics(this.#deps.metrics.probesText());
      case '/metrics':
        return metrics(await this.#ownMetrics());
      default:
        return text(404, '404 page not found\n');
    }
  }

  async #ownMetrics(): Promise<string> {
    const { collector, metrics: own, nodeName, process, certificateEndMs, clock } = this.#deps;
    const certificateSeconds = Math.floor((certificateEndMs() - clock.now()) / 1000);
    const sample = await collector.once();
    return own.text({ nodeName, sample, process: process(), certificateSeconds });
  }

  /** `range`, and `of` for each series that is wanted. */
  #history(query: URLSearchParams): KubeletResponse {
    const range = rangeOf(query.get('range'));
    if (range !== undefined) return json(this.#deps.history.query(range, query.getAll('of')));
    const known = Object.keys(ranges).join(', ');
    return text(400, `there is no range "${query.get('range')}": give one of ${known}\n`);
  }

  async #logs(request: KubeletRequest, parts: readonly string[]): Promise<KubeletResponse> {
    const [namespace = '', name = '', container = ''] = parts;
    const { pods, clock } = this.#deps;
    try {
      const query = parseLogQuery(request.url.searchParams, clock.now());
      const pod = pods().find(
        ({ metadata }) => metadata.namespace === namespace && metadata.name === name,
      );
      if (pod === undefined) throw new LogRequestError(404, `pod "${name}" not found`);
      const id = loggedContainerId(pod, container, query.previous);
      const chunks = this.#deps.runtime.logs(id, { ...query, signal: request.signal });
      const iterator = limited(chunks, query.limitBytes)[Symbol.asyncIterator]();
      const body = await startOf(iterator, query.follow);
      return { status: 200, contentType: 'text/plain', body };
    } catch (error) {
      if (error instanceof LogRequestError) return text(error.code, error.message);
      if (isRuntimeError(error, 'notFound'))
        return text(400, `unable to retrieve container logs for ${container}`);
      throw error;
    }
  }

  /** A line a second, only the newest one when the reader is slow. */
  async *#statsStream(signal: AbortSignal): AsyncIterable<Uint8Array> {
    let newest: Sample | undefined;
    let wake: () => void = () => {};
    const unsubscribe = this.#deps.collector.subscribe((sample) => {
      newest = sample;
      wake();
    });
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const sample = newest;
        newest = undefined;
        if (sample !== undefined) yield new TextEncoder().encode(`${JSON.stringify(sample)}\n`);
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (newest !== undefined || signal.aborted) resolve();
        });
      }
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** The first part of a path that leads somewhere: a label's value, and there are few of them. */
export function routeOf(pathname: string): string {
  const [, first = ''] = pathname.split('/');
  return routes.includes(first) ? first : 'other';
}

const routes = [
  'attach',
  'configz',
  'containerLogs',
  'dial',
  'exec',
  'flotilla',
  'healthz',
  'images',
  'metrics',
  'pods',
  'portForward',
  'runningpods',
  'stats',
];

function podList(items: readonly Pod[]): object {
  return { kind: 'PodList', apiVersion: 'v1', metadata: {}, items };
}

/** All that the engine's labels tell of a pod. */
function runningPod({ name, namespace, uid, containers }: PodTarget): Pod {
  const metadata = { name, namespace, uid };
  const running = containers.map((container) => ({ name: container.name, image: container.image }));
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: running } };
}

function metrics(body: string): KubeletResponse {
  return { status: 200, contentType: prometheusText, body };
}

async function* limited(
  chunks: AsyncIterable<Uint8Array>,
  limitBytes = Infinity,
): AsyncIterable<Uint8Array> {
  let leftBytes = limitBytes;
  for await (const chunk of chunks) {
    yield chunk.subarray(0, leftBytes);
    leftBytes -= chunk.length;
    if (leftBytes <= 0) return;
  }
}

/**
 * A log that can't be read fails before the answer begins. A followed log may have nothing to say
 * for long: its headers go out at once.
 */
async function startOf(
  iterator: AsyncIterator<Uint8Array>,
  follow: boolean,
): Promise<AsyncIterable<Uint8Array>> {
  const first = iterator.next();
  if (follow) first.catch(() => {});
  else await first;
  return (async function* () {
    try {
      for (let next = await first; next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  })();
}
