// Keeps this machine from running full: removes unused images every five minutes if the disk needs
// it, and looks every ten seconds whether pods have to give way.
import { statfs } from 'node:fs/promises';
import type { ObjectReference, Pod } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Sample } from '../../metrics/collector.ts';
import { isRuntimeError, type ObservedPod, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { EvictionManager } from './eviction-manager.ts';
import type { ContainerUsage, NodeSupply, PodUsage, Starved } from './eviction.ts';
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
  /** What a pod's own volumes hold. */
  readonly volumeBytes: (podUid: string) => Promise<number>;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

const imagesIntervalMs = 300_000;

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
    void this.#keepImages();
  }

  async #keepImages(): Promise<void> {
    const { clock, signal } = this.#deps;
    while (!signal.aborted) {
      await this.#collectImages();
      await delay(clock, imagesIntervalMs, signal);
    }
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
    const { pods, runtime } = this.#deps;
    const running = pods().filter(
      ({ status }) => status?.phase === 'Running' || status?.phase === 'Pending',
    );
    if (what === 'memory') return memoryUsage(running, await this.#deps.sample());
    const observed = await runtime.listPods();
    return Promise.all(running.map((pod) => this.#diskUsage(pod, observed)));
  }

  async #diskUsage(pod: Pod, observed: readonly ObservedPod[]): Promise<PodUsage> {
    const { runtime, volumeBytes } = this.#deps;
    const { uid = '' } = pod.metadata;
    const containers: ContainerUsage[] = [];
    for (const { id, name } of observed.find((entry) => entry.pod.uid === uid)?.containers ?? [])
      containers.push({ name, bytes: (await runtime.containerDiskBytes(id).catch(() => 0)) ?? 0 });
    return { pod, containers, volumeBytes: await volumeBytes(uid) };
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
