// A node with what runs on it, added up: what plugins look at. Kept current by cache.ts; plugins
// only read it. Source: kubernetes pkg/scheduler/framework/types.go NodeInfo, PodInfo.
import type { Node, Pod } from '#kube/api/core.ts';
import { countedSpec } from '#kube/machinery/pod-resources.ts';
import {
  add,
  parseResources,
  podRequests,
  scoringDefaults,
  type Resources,
} from './pod-resources.ts';

export interface HostPort {
  readonly hostIP: string;
  readonly protocol: string;
  readonly hostPort: number;
}

/** A pod with what is computed from it once. */
export interface PodInfo {
  readonly pod: Pod;
  readonly uid: string;
  readonly requests: Resources;
  /** With a little for containers that ask for nothing: so that scores see them. */
  readonly scoredRequests: Resources;
  readonly hostPorts: readonly HostPort[];
}

export function podInfoOf(pod: Pod): PodInfo {
  const spec = countedSpec(pod);
  return {
    pod,
    uid: uidOf(pod),
    requests: podRequests(spec),
    scoredRequests: podRequests(spec, scoringDefaults),
    hostPorts: hostPortsOf(pod),
  };
}

export function uidOf(pod: Pod): string {
  return pod.metadata.uid ?? `${pod.metadata.namespace}/${pod.metadata.name}`;
}

function hostPortsOf(pod: Pod): readonly HostPort[] {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  );
  return [...sidecars, ...(pod.spec?.containers ?? [])]
    .flatMap((container) => container.ports ?? [])
    .flatMap(({ hostPort = 0, hostIP = '', protocol = 'TCP' }) =>
      hostPort > 0 ? [{ hostPort, hostIP: hostIP === '' ? '0.0.0.0' : hostIP, protocol }] : [],
    );
}

export class NodeInfo {
  readonly name: string;
  #node: Node | undefined;
  #allocatable: Resources = new Map();
  /** Image name → size in bytes. */
  #images: ReadonlyMap<string, number> = new Map();
  readonly #pods = new Map<string, PodInfo>();
  readonly #requested = new Map<string, number>();
  readonly #scoredRequested = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }

  /** Undefined for a node that pods name but that isn't there (any more, or yet). */
  get node(): Node | undefined {
    return this.#node;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#node?.metadata.labels ?? {};
  }

  get allocatable(): Resources {
    return this.#allocatable;
  }

  get images(): ReadonlyMap<string, number> {
    return this.#images;
  }

  get requested(): Resources {
    return this.#requested;
  }

  get scoredRequested(): Resources {
    return this.#scoredRequested;
  }

  /** Pods that hold resources here, by uid; assumed ones too. */
  get pods(): ReadonlyMap<string, PodInfo> {
    return this.#pods;
  }

  setNode(node: Node | undefined): void {
    this.#node = node;
    this.#allocatable = parseResources(node?.status?.allocatable);
    const images = new Map<string, number>();
    for (const { names = [], sizeBytes = 0 } of node?.status?.images ?? [])
      for (const name of names) images.set(name, sizeBytes);
    this.#images = images;
  }

  addPod(info: PodInfo): void {
    this.removePod(info.uid);
    this.#pods.set(info.uid, info);
    add(this.#requested, info.requests);
    add(this.#scoredRequested, info.scoredRequests);
  }

  removePod(uid: string): void {
    const info = this.#pods.get(uid);
    if (info === undefined) return;
    this.#pods.delete(uid);
    add(this.#requested, info.requests, -1);
    add(this.#scoredRequested, info.scoredRequests, -1);
  }
}
