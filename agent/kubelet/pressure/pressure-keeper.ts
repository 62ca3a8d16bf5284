// Keeps this machine from running full: removes unused images every five minutes if the disk needs
// it, looks every ten seconds whether pods have to give way, and every minute at those that may hold
// only so much of the disk.
import { statfs } from 'node:fs/promises';
import type { ObjectReference, Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Sample } from '../../metrics/collector.ts';
import { isRuntimeError, type ObservedPod, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { EvictionManager } from './eviction-manager.ts';
import type { NodeSupply, PodUsage, Starved } from './eviction.ts';
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
  readonly evict: (pod: Pod, message: string) => void;
  readonly sample: () => Promise<Sample>;
  readonly memoryAvailableBytes: () => Promise<number>;
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

  constructor(deps: PressureDeps) {
    this.#deps = deps;
    const { runtime, events, clock, logger, nodeName, evict, onChange, signal } = deps;
    // By its name as uid: so `kubectl describe node` looks for them.
    const node: ObjectReference = { kind: 'Node', name: nodeName, uid: nodeName };
    const wanted = () => imageNames(deps.pods());
    this.#images = new ImageCollector({ runtime, events, clock, logger, node, diskSpace, wanted });
    this.#evictions = new EvictionManager({
      clock,
      logger,
      supply: () => this.#supply(),
      usage: (what) => this.#usage(what),
      freeDisk: () => this.#collectImages(),
      evict,
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
    const limited = this.#running().filter(hasStorageLimits);
    if (limited.length === 0) return;
    try {
      const observed = await this.#deps.runtime.listPods();
      for (const pod of limited) {
        const why = overLimit(pod, await this.#storageUse(pod, observed));
        if (why !== undefined) evict(pod, why);
      }
    } catch (error) {
      if (!isRuntimeError(error, 'unavailable'))
        logger.warn('Storage limits not looked at', { error: messageOf(error) });
    }
  }

  #running(): readonly Pod[] {
    const phases = new Set(['Pending', 'Running']);
    return this.#deps.pods().filter(({ status }) => phases.has(status?.phase ?? ''));
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
    const { runtime, dataDirectory, memoryAvailableBytes } = this.#deps;
    const storage = await runtime.storageDirectory().catch(() => dataDirectory);
    const disks = [await diskSpace(dataDirectory), await diskSpace(storage)];
    const share = ({ availableBytes, sizeBytes }: DiskSpace) => availableBytes / sizeBytes;
    const [fullest] = disks.sort((a, b) => share(a) - share(b)) as [DiskSpace, DiskSpace];
    return { memoryAvailableBytes: await memoryAvailableBytes(), disk: fullest };
  }

  async #usage(what: Starved): Promise<readonly PodUsage[]> {
    const running = this.#running();
    if (what === 'memory') return memoryUsage(running, await this.#deps.sample());
    const observed = await this.#deps.runtime.listPods();
    const usages: PodUsage[] = [];
    for (const pod of running) {
      const { containerBytes, volumeBytes } = await this.#storageUse(pod, observed);
      const containers = [...containerBytes].map(([name, bytes]) => ({ name, bytes }));
      const inVolumes = [...volumeBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
      usages.push({ pod, containers, volumeBytes: inVolumes });
    }
    return usages;
  }

  async #storageUse(pod: Pod, observed: readonly ObservedPod[]): Promise<StorageUse> {
    const { runtime, volumeBytes } = this.#deps;
    const seen = observed.find((entry) => entry.pod.uid === pod.metadata.uid);
    const containerBytes = new Map<string, number>();
    // Newest first: of a container that was restarted only the newest counts.
    for (const { id, name } of seen?.containers.toReversed() ?? [])
      containerBytes.set(name, (await runtime.containerDiskBytes(id)) ?? 0);
    return { containerBytes, volumeBytes: await volumeBytes(pod) };
  }
}

async function diskSpace(directory: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(directory);
  return { sizeBytes: blocks * bsize, availableBytes: bavail * bsize };
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
