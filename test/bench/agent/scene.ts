// What the agent is measured in: the real launcher's cluster with real Docker, a client that follows
// its objects, and pods to start. Times are taken when a watch's event arrives here.
import type { Pod } from '#kube/api/core.ts';
import type { KubeObject, WatchEvent } from '#kube/api/object.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { pods, type Resource } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { DockerClient } from '../../../agent/runtime/docker-client.ts';
import { Cluster, eventually } from '../../setup/cluster.ts';
import { ensureTestImages, webImage } from '../../setup/images.ts';
import { DockerPeer } from './docker-peer.ts';

export interface Scene {
  readonly cluster: Cluster;
  readonly client: RestClient;
  readonly pods: Follower<Pod>;
  readonly docker: DockerClient;
  readonly peer: DockerPeer;
  readonly agentPid: () => number;
  readonly say: (text: string) => void;
  /** Pairs of ours and the peer's that were asked for. */
  readonly rounds: (otherwise: number) => number;
}

export const socketPath = '/var/run/docker.sock';

export async function openScene(
  say: (text: string) => void,
  pairs: number | undefined,
): Promise<{ scene: Scene; close: () => Promise<void> }> {
  ensureTestImages();
  const profile = process.env['FLOTILLA_BENCH_PROFILE'];
  const env: Record<string, string> =
    profile === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` };
  const cluster = await new Cluster(['--no-install'], undefined, { env }).start();
  const stop = new AbortController();
  const client = await cluster.client();
  const docker = new DockerClient(socketPath);
  const peer = new DockerPeer(docker);
  const following = new Follower(client, pods, stop.signal);
  await following.start();
  await eventually(() => cluster.childPids('agent').length === 1, 'the agent runs');
  const agentPid = (): number => cluster.childPids('agent')[0] ?? 0;
  const rounds = (otherwise: number): number => pairs ?? otherwise;
  return {
    scene: { cluster, client, pods: following, docker, peer, agentPid, say, rounds },
    async close() {
      stop.abort();
      await peer.removeAll();
      await cluster.destroy();
    },
  };
}

/** The newest of each object in the namespace `default`, and when something came true of it. */
export class Follower<T extends KubeObject> {
  readonly #client: RestClient;
  readonly #resource: Resource<T>;
  readonly #signal: AbortSignal;
  readonly #objects = new Map<string, T>();
  readonly #waiting = new Set<(atMs: number) => void>();

  constructor(client: RestClient, resource: Resource<T>, signal: AbortSignal) {
    this.#client = client;
    this.#resource = resource;
    this.#signal = signal;
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  async start(): Promise<void> {
    const signal = this.#signal;
    const events = await this.#client.watch(this.#resource, { namespace: 'default', signal });
    void this.#follow(events);
  }

  async #follow(events: AsyncIterable<WatchEvent<T>>): Promise<void> {
    for await (const { type, object } of events) {
      const atMs = performance.now();
      if (type === 'ERROR' || type === 'BOOKMARK') continue;
      const { name } = object.metadata;
      if (type === 'DELETED') this.#objects.delete(name);
      else this.#objects.set(name, object);
      for (const wake of this.#waiting) wake(atMs);
    }
  }

  /** Resolves with the moment (`performance.now()`) the event arrived that made it true. */
  until(isTrue: (objects: ReadonlyMap<string, T>) => boolean, what: string): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const wake = (atMs: number): void => {
      if (!isTrue(this.#objects)) return;
      this.#waiting.delete(wake);
      clearTimeout(deadline);
      resolve(atMs);
    };
    const deadline = setTimeout(() => reject(new Error(`not within 120 s: ${what}`)), 120_000);
    this.#waiting.add(wake);
    wake(performance.now());
    return promise;
  }
}

export interface PodOptions {
  readonly probe?: object;
  readonly labels?: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
}

export function benchPod(name: string, options: PodOptions = {}): Pod {
  const { probe, labels = { app: 'bench' }, command = ['sleep', '86400'] } = options;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { ...labels } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'app',
          image: webImage,
          imagePullPolicy: 'Never',
          command: [...command],
          ...(probe === undefined ? {} : { readinessProbe: probe }),
        },
      ],
    },
  };
}

export function isRunning(pod: Pod | undefined): boolean {
  const [status] = pod?.status?.containerStatuses ?? [];
  return pod?.status?.phase === 'Running' && status?.state?.running !== undefined;
}

/** Milliseconds from before the first create to when all of them are seen running. */
export async function startPods(scene: Scene, names: readonly string[]): Promise<number> {
  const startMs = performance.now();
  await Promise.all(names.map((name) => scene.client.create(pods, benchPod(name))));
  const areRunning = (all: ReadonlyMap<string, Pod>): boolean =>
    names.every((name) => isRunning(all.get(name)));
  return (await scene.pods.until(areRunning, `${names.length} pods run`)) - startMs;
}

/** Resolves when the API has forgotten them, and so the engine has. */
export async function deletePods(scene: Scene, names: readonly string[]): Promise<void> {
  for (const name of names)
    await scene.client
      .delete(pods, { namespace: 'default', name }, { gracePeriodSeconds: 1 })
      .catch((error: unknown) => {
        if (!hasReason(error, 'NotFound')) throw error;
      });
  await scene.pods.until((all) => !names.some((name) => all.has(name)), 'pods are gone');
}
