// The other machines of the cluster as a place to have images from: who offers one, and fetching it.
// Nothing of this is needed: any trouble is logged, and the image comes from its registry.
import type { Node } from '#kube/api/core.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import type { PullProgress, Runtime } from '../../runtime/runtime.ts';
import { messageOf } from '../../error-message.ts';
import type { DiskSpace } from '../pressure/image-garbage.ts';
import { onlyImage } from './image-archive.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerOffer } from './plan-fetch.ts';
import { parseAnswer, type Answer } from './turns/answer.ts';

export interface ImagePeersDeps {
  readonly runtime: Pick<
    Runtime,
    'loadImages' | 'imageStatus' | 'listImages' | 'removeImage' | 'storageDirectory'
  >;
  readonly diskSpace: (directory: string) => Promise<DiskSpace>;
  readonly client: PeerClient;
  readonly listNodes: (signal: AbortSignal) => Promise<readonly Node[]>;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The API server may be away: who was known before is asked then. */
const listMs = 1_000;
/** A machine that is there answers in milliseconds. */
const askMs = 3_000;
const machinesMax = 32;
/** An archive is a little larger than the image. */
const archiveExtraBytes = 64 * 1024 * 1024;
const offerBytesMax = 64 * 1024;
/** The engine there may have to put all of it together first. */
const contentSilenceMs = 120_000;

export interface PeerAnswer extends Answer {
  readonly machine: string;
}

/** It hands as many images over as it can. */
export class BusyError extends Error {
  override readonly name = 'BusyError';
}

export class ImagePeers {
  readonly #deps: ImagePeersDeps;
  /** As the API server last said: it may be away when an image is needed. */
  #nodes: readonly Node[] = [];

  constructor(deps: ImagePeersDeps) {
    this.#deps = deps;
  }

  get nodeName(): string {
    return this.#deps.nodeName;
  }

  /** All that have something to say of it, in random order. Never throws. */
  async ask(name: string): Promise<readonly PeerAnswer[]> {
    const machines = await this.#within(listMs, (signal) => this.#machines(signal));
    const answers = await this.#within(askMs, (signal) =>
      Promise.all(machines.map((node) => this.#answerOf(node, name, signal))),
    );
    return answers.filter((answer) => answer !== undefined);
  }

  /** One that was asked before. Undefined: it says nothing of it, or nothing at all. */
  async askOne(machine: string, name: string): Promise<PeerAnswer | undefined> {
    const node = this.#nodeOf(machine);
    return node && this.#within(askMs, (signal) => this.#answerOf(node, name, signal));
  }

  #nodeOf(machine: string): Node | undefined {
    return this.#nodes.find(({ metadata }) => metadata.name === machine);
  }

  async #within<T>(patienceMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const patience = new AbortController();
    const timer = this.#deps.clock.timer(patienceMs, () => patience.abort());
    try {
      return await work(patience.signal);
    } finally {
      timer.cancel();
    }
  }

  async #machines(signal: AbortSignal): Promise<readonly Node[]> {
    const { listNodes, nodeName, random, logger } = this.#deps;
    try {
      this.#nodes = await listNodes(signal);
    } catch (error) {
      logger.debug('Machines not listed', { error: messageOf(error) });
    }
    return this.#nodes
      .filter((node) => node.metadata.name !== nodeName && isReady(node))
      .map((node) => ({ node, order: random.next() }))
      .toSorted((a, b) => a.order - b.order)
      .slice(0, machinesMax)
      .map(({ node }) => node);
  }

  async #answerOf(node: Node, name: string, signal: AbortSignal): Promise<PeerAnswer | undefined> {
    const { client, logger } = this.#deps;
    const machine = node.metadata.name;
    try {
      const path = `/images/offer?name=${encodeURIComponent(name)}`;
      const { status, body } = await client.get(node, { path, signal, silenceMs: askMs });
      const answer = parseAnswer(status, await readAll(body, offerBytesMax));
      return answer && { machine, ...answer };
    } catch (error) {
      logger.debug('Machine not asked for an image', { machine, error: messageOf(error) });
      return undefined;
    }
  }

  /**
   * Brings the image here by its id, without a name. Throws, leaving nothing, when it does not come
   * whole or is another; BusyError when it may come later.
   */
  async fetch(
    { machine, offer: { id, ids, sizeBytes } }: PeerOffer,
    report: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, runtime, diskSpace } = this.#deps;
    const node = this.#nodeOf(machine);
    if (node === undefined) throw new Error(`machine ${machine} is gone`);
    const { availableBytes } = await diskSpace(await runtime.storageDirectory());
    // It lies there twice for a while: as it came, and unpacked.
    if (sizeBytes * 2 > availableBytes) throw new Error('the disk has no room for it');
    const path = `/images/content?id=${encodeURIComponent(id)}`;
    const { status, body } = await client.get(node, { path, signal, silenceMs: contentSilenceMs });
    if (status !== 200) {
      const text = await readAll(body, offerBytesMax);
      throw status === 503 ? new BusyError(text) : new Error(text);
    }
    const limitBytes = Math.min(sizeBytes * 2 + archiveExtraBytes, availableBytes);
    const before = new Set((await runtime.listImages()).map((image) => image.id));
    const loaded: string[] = [];
    try {
      const archive = counted(body, { sizeBytes, limitBytes, report });
      await runtime.loadImages(onlyImage(archive, id, ids), {
        signal,
        onLoaded: (name) => void loaded.push(name),
        onProgress: (doneBytes, totalBytes) => report({ step: 'unpacking', doneBytes, totalBytes }),
      });
    } finally {
      for (const name of loaded) await this.#dropOther(name, id, before);
    }
    if ((await runtime.imageStatus(id)) === undefined)
      throw new Error(`machine ${machine} sent another image than ${id}`);
  }

  /** The engine calls an image by its content, not by what the archive called it. */
  async #dropOther(name: string, id: string, before: ReadonlySet<string>): Promise<void> {
    const { runtime } = this.#deps;
    const image = await runtime.imageStatus(name);
    if (image === undefined || image.id === id || before.has(image.id)) return;
    if (image.names.length === 0) await runtime.removeImage(image);
  }
}

function isReady({ status }: Node): boolean {
  return (
    status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true
  );
}

interface Count {
  readonly sizeBytes: number;
  /** An archive that has no end is broken off. */
  readonly limitBytes: number;
  readonly report: (progress: PullProgress) => void;
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  { sizeBytes, limitBytes, report }: Count,
): AsyncGenerator<Uint8Array> {
  let doneBytes = 0;
  for await (const chunk of chunks) {
    doneBytes += chunk.length;
    if (doneBytes > limitBytes) throw new Error('more came than the image is large');
    const totalBytes = Math.max(sizeBytes, doneBytes);
    report({ step: 'downloading', doneBytes, totalBytes });
    yield chunk;
  }
}

async function readAll(chunks: AsyncIterable<Uint8Array>, limitBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) throw new Error('the answer is too long');
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString();
}
