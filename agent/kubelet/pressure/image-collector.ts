// Removes images that nothing uses when the disk they lie on fills up. Never touches volumes, nor
// images that a container of anybody's is made of (the engine refuses that).
// Source: kubernetes pkg/kubelet/images/image_gc_manager.go.
import type { ObjectReference } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import { isRuntimeError, type Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import { isImageName } from '../images/image-name.ts';
import {
  bytesToFree,
  lacksInodes,
  missingBytes,
  removalOrder,
  type DiskSpace,
  type KnownImage,
} from './image-garbage.ts';

export interface ImageCollectorDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly node: ObjectReference;
  /** Of the file system that a directory is on. */
  readonly diskSpace: (directory: string) => Promise<DiskSpace>;
  /** Of an image's id: it came by another machine, but a registry has it. */
  readonly isInRegistry: (id: string) => boolean;
  /** Names of images that pods of this node ask for, whether they run yet or not. */
  readonly wanted: () => ReadonlySet<string>;
}

function hasRoom(disk: DiskSpace): boolean {
  return missingBytes(disk) <= 0 && !lacksInodes(disk);
}

export class ImageCollector {
  readonly #deps: ImageCollectorDeps;
  #known = new Map<string, KnownImage>();

  constructor(deps: ImageCollectorDeps) {
    this.#deps = deps;
  }

  /** Looks once, and makes room if there is too little. Throws RuntimeError. */
  async collect(): Promise<void> {
    const { runtime, clock, events, logger, node } = this.#deps;
    const nowMs = clock.now();
    await this.#learn(nowMs);
    const before = await this.#space();
    const askedBytes = bytesToFree(before);
    if (askedBytes === 0 && !lacksInodes(before)) return;
    let foundBytes = 0;
    for (const image of removalOrder([...this.#known.values()], nowMs)) {
      try {
        await runtime.removeImage(image);
      } catch (error) {
        if (isRuntimeError(error, 'unavailable')) throw error;
        // A conflict: somebody else's container is made of it. The next may go all the same.
        const level = isRuntimeError(error, 'conflict') ? 'debug' : 'warn';
        logger[level]('Image not removed', { image: image.names[0], error: messageOf(error) });
        continue;
      }
      foundBytes += image.sizeBytes;
      logger.info('Image removed to free disk space', { image: image.names[0] });
      if (hasRoom(await this.#space())) return;
    }
    // Not all that was wished for, but nothing presses.
    if (bytesToFree(await this.#space()) === 0) return;
    const message = `Failed to garbage collect required amount of images. Attempted to free ${askedBytes} bytes, but only found ${foundBytes} bytes eligible to free.`;
    events.event(node, 'Warning', 'FreeDiskSpaceFailed', message);
  }

  async #space(): Promise<DiskSpace> {
    const { runtime, diskSpace } = this.#deps;
    return diskSpace(await runtime.storageDirectory());
  }

  /** Nothing of this is kept over a restart: what was unused before counts as unused since then. */
  async #learn(nowMs: number): Promise<void> {
    const { runtime, wanted, isInRegistry } = this.#deps;
    const pods = await runtime.listPods();
    const used = new Set(
      pods.flatMap(({ containers }) => containers.map(({ imageId }) => imageId)),
    );
    // By id: one image has many names, and `nginx` is one of them.
    for (const name of wanted())
      // What is no name is no image's, and no engine is asked for it.
      if (isImageName(name)) used.add((await runtime.imageStatus(name))?.id ?? '');
    const known = new Map<string, KnownImage>();
    for (const listed of await runtime.listImages()) {
      const image = { ...listed, isPulled: listed.isPulled || isInRegistry(listed.id) };
      const before = this.#known.get(image.id);
      known.set(image.id, {
        image,
        firstSeenMs: before?.firstSeenMs ?? nowMs,
        lastUsedMs: used.has(image.id) ? nowMs : (before?.lastUsedMs ?? 0),
      });
    }
    this.#known = known;
  }
}
