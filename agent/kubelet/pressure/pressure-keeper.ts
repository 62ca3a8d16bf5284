// Keeps this machine from running full: removes unused images every five minutes if the disk needs
// it, looks every ten seconds whether pods have to give way, and every minute at those that may hold
// only so much of the disk.
import { stat, statfs } from 'node:fs/promises';
import type { ObjectReference, Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Sample } from '../../metrics/collector.ts';
import { isRuntimeError, type ObservedPod, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { EvictionManager } from './eviction-manager.ts';
import {
  diskThresholdBytes,
  isCritical,
  type NodeSupply,
  type PodUsage,
  type Starved,
} from './eviction.ts';
import { hasStorageLimits, overLimit, type StorageUse } from './storage-limits.ts';
import { ImageCollector } from './image-collector.ts';
import type { DiskSpace } from './image-garbage.ts';

export interface PressureDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
  readonly dataDirectory: string;
  /** Every pod of this node that has not ended. */
  readonly pods: () => readonly Pod[];
  /** Of an image's id. */
  readonly isInRegistry: (id: string) => boolean;
  readonly evict: (pod: Pod, message: string, isDisruption: boolean) => void;
  /** Of the file system that a directory is on. Throws when there is none of that name. */
  readonly diskSpace: (directory: string) => Promise<DiskSpace>;
  readonly sample: () => Promise<Sample>;
  readonly memoryAvailableBytes: () => number;
  /** What a pod's own volumes hold, by name. */
  readonly volumeBytes: (pod: Pod) => Promise<ReadonlyMap<string, number>>;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const imagesIntervalMs = 300_000;
const limitsIntervalMs = 60_000;

export class PressureKeeper {
  readonly #deps: PressureDeps;
  readonly #images: ImageCollector;
  readonly #evictions: EvictionManager;
  /** Of which disk it is: the end of a pod frees nothing of the other one. */
  #short = { engines: false, own: false };

  constructor(deps: PressureDeps) {
    this.#deps = deps;
    const { clock, logger, nodeName, onChange, signal } = deps;
    // By its name as uid: so `kubectl describe node` looks for them.
    const node: ObjectReference = { kind: 'Node', name: nodeName, uid: nodeName };
    const wanted = () => imageNames(deps.pods());
    this.#images = new ImageCollector({ ...deps, node, wanted });
    this.#evictions = new EvictionManager({
      clock,
      logger,
      supply: () => this.#supply(),
      usage: (what) => this.#usage(what),
      freeDisk: () => this.#collectImages(),
      evict: (pod, message) => deps.evict(pod, message, true),
      onChange,
      signal,
    });
  }

  isShort(what: Starved): boolean {
    return this.#evictions.isShort(what);
  }

  /** Until the signal aborts. */
  start(): void {
    void this.#evictions.run();
    void this.#every(imagesIntervalMs, () => this.#collectImages());
    void this.#every(limitsIntervalMs, () => this.#enforceLimits());
  }

  async #every(intervalMs: number, look: () => Promise<void>): Promise<void> {
    const { clock, signal } = this.#deps;
    while (!signal.aborted) {
      await look();
      await delay(clock, intervalMs, signal);
    }
  }

  async #enforceLimits(): Promise<void> {
    const { logger, evict } = this.#deps;
    const limited = this.#running().filter((pod) => hasStorageLimits(pod) && !isCritical(pod));
    if (limited.length === 0) return;
    try {
      const observed = await this.#deps.runtime.listPods();
      for (const pod of limited) {
        const why = overLimit(pod, await this.#storageUse(pod, observed));
        if (why !== undefined) evict(pod, why, false);
      }
    } catch (error) {
      if (!isRuntimeError(error, 'unavailable'))
        logger.warn('Storage limits not looked at', { error: messageOf(error) });
    }
  }

  /** Those whose end would help: what is ending already can't be ended. */
  #running(): readonly Pod[] {
    const phases = new Set(['Pending', 'Running']);
    return this.#deps
      .pods()
      .filter(
        ({ metadata, status }) =>
          phases.has(status?.phase ?? '') && metadata.deletionTimestamp === undefined,
      );
  }

  async #collectImages(): Promise<void> {
    const { logger } = this.#deps;
    await this.#images.collect().catch((error: unknown) => {
      // An engine that is away is told of by the node's Ready condition.
      if (!isRuntimeError(error, 'unavailable'))
        logger.warn('Images not looked through', { error: messageOf(error) });
    });
  }

  async #supply(): Promise<NodeSupply> {
    const { runtime, dataDirectory, memoryAvailableBytes, diskSpace } = this.#deps;
    const own = await diskSpace(dataDirectory);
    // An engine that is away tells nothing, and one in a virtual machine nothing that is true here.
    const engines = await runtime
      .storageDirectory()
      .then(diskSpace)
      .catch(() => own);
    const isOne = engines.device === own.device;
    const disk = shortness(engines) < shortness(own) ? engines : own;
    const isShort = shortness(disk) < 1;
    this.#short = isOne
      ? { engines: isShort, own: isShort }
      : { engines: shortness(engines) < 1, own: shortness(own) < 1 };
    return { memoryAvailableBytes: memoryAvailableBytes(), disk };
  }

  async #usage(what: Starved): Promise<readonly PodUsage[]> {
    const running = this.#running();
    if (what === 'memory') return memoryUsage(running, await this.#deps.sample());
    const observed = await this.#deps.runtime.listPods();
    const usages: PodUsage[] = [];
    for (const pod of running) {
      const { containerBytes, volumeBytes } = await this.#storageUse(pod, observed);
      const inLayers = [...containerBytes].map(([name, bytes]) => ({ name, bytes }));
      const inVolumes = [...volumeBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
      usages.push({
        pod,
        containers: this.#short.engines ? inLayers : [],
        volumeBytes: this.#short.own ? inVolumes : 0,
      });
    }
    return usages;
  }

  async #storageUse(pod: Pod, observed: readonly ObservedPod[]): Promise<StorageUse> {
    const { runtime, volumeBytes } = this.#deps;
    const seen = observed.find((entry) => entry.pod.uid === pod.metadata.uid);
    const containerBytes = new Map<string, number>();
    // Newest first: of a container that was restarted only the newest counts.
    for (const { id, name } of seen?.containers ?? [])
      if (!containerBytes.has(name)) containerBytes.set(name, await layerBytes(runtime, id));
    return { containerBytes, volumeBytes: await volumeBytes(pod) };
  }
}

/** 0 for a container that went while we looked, and for what the engine can't tell. */
async function layerBytes(runtime: Runtime, id: string): Promise<number> {
  try {
    return (await runtime.containerDiskBytes(id)) ?? 0;
  } catch (error) {
    if (isRuntimeError(error, 'notFound')) return 0;
    throw error;
  }
}

/** Below 1 it is short. */
function shortness(disk: DiskSpace): number {
  return disk.availableBytes / diskThresholdBytes(disk);
}

export async function systemDiskSpace(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(directory);
  const { dev: device } = await stat(directory);
  return { device, sizeBytes: blocks * bsize, availableBytes: bavail * bsize };
}

function memoryUsage(pods: readonly Pod[], sample: Sample): readonly PodUsage[] {
  return pods.map((pod) => {
    const seen = sample.pods.find(({ uid }) => uid === pod.metadata.uid);
    const containers = (seen?.containers ?? []).map(({ name, memoryWorkingSetBytes = 0 }) => ({
      name,
      bytes: memoryWorkingSetBytes,
    }));
    return { pod, containers, volumeBytes: 0 };
  });
}

function imageNames(pods: readonly Pod[]): ReadonlySet<string> {
  return new Set(
    pods.flatMap(({ spec }) =>
      [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])].map(
        ({ image = '' }) => image,
      ),
    ),
  );
}
