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
import { directoryUse, type DiskUse } from '../volumes/directory-size.ts';
import { messageOf } from '../../error-message.ts';
import { EvictionManager } from './eviction-manager.ts';
import {
  diskThresholdBytes,
  inodesLeft,
  isCritical,
  type ContainerUsage,
  type NodeSupply,
  type PodUsage,
  type Starved,
} from './eviction.ts';
import { hasStorageLimits, overLimit, type StorageUse } from './storage-limits.ts';
import { ImageCollector } from './image-collector.ts';
import type { DiskSpace, Stock } from './image-garbage.ts';

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
  /** Processes and threads of this machine. */
  readonly pids: () => Stock;
  /** What a pod's own volumes hold, by name. */
  readonly volumeUse: (pod: Pod) => Promise<ReadonlyMap<string, DiskUse>>;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const imagesIntervalMs = 300_000;
const limitsIntervalMs = 60_000;

export class PressureKeeper {
  readonly #deps: PressureDeps;
  readonly #images: ImageCollector;
  readonly #evictions: EvictionManager;
  /** At the last look; of one file system both are the same. */
  #disks: { readonly engines: DiskSpace; readonly own: DiskSpace } | undefined;

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
    const { runtime, dataDirectory, memoryAvailableBytes, pids, diskSpace } = this.#deps;
    const own = await diskSpace(dataDirectory);
    // An engine that is away tells nothing, and one in a virtual machine nothing that is true here.
    const engines = await runtime
      .storageDirectory()
      .then(diskSpace)
      .catch(() => own);
    const disk = shortness(engines) < shortness(own) ? engines : own;
    const { inodes } = inodesLeft(engines) < inodesLeft(own) ? engines : own;
    this.#disks = engines.device === own.device ? { engines: disk, own: disk } : { engines, own };
    return { memoryAvailableBytes: memoryAvailableBytes(), disk, inodes, pids: pids() };
  }

  async #usage(what: Starved): Promise<readonly PodUsage[]> {
    const running = this.#running();
    if (what === 'memory' || what === 'pids')
      return sampledUsage(running, await this.#deps.sample(), what);
    const observed = await this.#deps.runtime.listPods();
    const usages: PodUsage[] = [];
    for (const pod of running) usages.push(await this.#diskUsage(pod, observed, what));
    return usages;
  }

  /** Only of the disk that is short: the end of a pod frees nothing of the other one. */
  async #diskUsage(
    pod: Pod,
    observed: readonly ObservedPod[],
    what: 'ephemeral-storage' | 'inodes',
  ): Promise<PodUsage> {
    const { runtime, volumeUse } = this.#deps;
    const unit = what === 'inodes' ? 'files' : 'bytes';
    const isShort = (disk: DiskSpace | undefined): boolean =>
      disk !== undefined && (what === 'inodes' ? inodesLeft(disk) : shortness(disk)) < 1;
    const containers: ContainerUsage[] = [];
    if (isShort(this.#disks?.engines))
      for (const [name, id] of newestContainers(pod, observed))
        containers.push({ name, amount: (await layerUse(runtime, id, unit)) ?? 0 });
    const volumes = isShort(this.#disks?.own) ? [...(await volumeUse(pod)).values()] : [];
    return { pod, containers, inVolumes: volumes.reduce((sum, use) => sum + use[unit], 0) };
  }

  async #storageUse(pod: Pod, observed: readonly ObservedPod[]): Promise<StorageUse> {
    const { runtime, volumeUse } = this.#deps;
    const containerBytes = new Map<string, number>();
    for (const [name, id] of newestContainers(pod, observed))
      containerBytes.set(name, (await layerUse(runtime, id, 'bytes')) ?? 0);
    const volumes = [...(await volumeUse(pod))];
    return {
      containerBytes,
      volumeBytes: new Map(volumes.map(([name, { bytes }]) => [name, bytes])),
    };
  }
}

/** Name → id: of a container that was restarted only the newest counts. */
function newestContainers(
  { metadata }: Pod,
  observed: readonly ObservedPod[],
): ReadonlyMap<string, string> {
  const seen = observed.find((entry) => entry.pod.uid === metadata.uid);
  // The newest comes first.
  return new Map((seen?.containers ?? []).toReversed().map(({ name, id }) => [name, id]));
}

/** Undefined for a container that went while we looked, and for what the engine can't tell. */
async function layerUse(
  runtime: Runtime,
  id: string,
  unit: keyof DiskUse,
): Promise<number | undefined> {
  try {
    if (unit === 'bytes') return await runtime.containerDiskBytes(id);
    const directory = await runtime.containerDirectory(id);
    return directory === undefined ? undefined : (await directoryUse(directory)).files;
  } catch (error) {
    if (isRuntimeError(error, 'notFound')) return undefined;
    throw error;
  }
}

/** Below 1 it is short. */
function shortness(disk: DiskSpace): number {
  return disk.availableBytes / diskThresholdBytes(disk);
}

export async function systemDiskSpace(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize, files, ffree } = await statfs(directory);
  const { dev: device } = await stat(directory);
  const inodes = files === 0 ? {} : { inodes: { total: files, available: ffree } };
  return { device, sizeBytes: blocks * bsize, availableBytes: bavail * bsize, ...inodes };
}

function sampledUsage(
  pods: readonly Pod[],
  sample: Sample,
  what: 'memory' | 'pids',
): readonly PodUsage[] {
  return pods.map((pod) => {
    const seen = sample.pods.find(({ uid }) => uid === pod.metadata.uid);
    const containers = (seen?.containers ?? []).map(
      ({ name, memoryWorkingSetBytes = 0, pidCount = 0 }) => ({
        name,
        amount: what === 'memory' ? memoryWorkingSetBytes : pidCount,
      }),
    );
    return { pod, containers, inVolumes: 0 };
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
