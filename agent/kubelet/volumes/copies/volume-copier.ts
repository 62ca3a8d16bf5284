// The copies that this machine makes of volumes of others, as their PersistentVolumes order it: one job for each, told on
// the volume itself. A machine that can't be reached is tried again; while an app stands still, not for long.
import { Readable } from 'node:stream';
import type { Node, PersistentVolume } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { persistentVolumes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import {
  copyOrderOf,
  copyStateOf,
  moveAnnotations,
  type CopyOrder,
  type CopyState,
} from '#kube/machinery/volume-move.ts';
import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { messageOf } from '../../../error-message.ts';
import type { PeerAnswer, PeerClient } from '../../images/peer-client.ts';
import { ArchiveError } from './archive.ts';
import { CopyObstacle, copyVolume, forgetCopy, type CopySource } from './volume-copy.ts';

export const listPath = '/volumes/list';
export const contentPath = '/volumes/content';

export interface VolumeCopierDeps {
  readonly client: RestClient;
  /** Undefined: this agent has no certificate to show to others. */
  readonly peers: PeerClient | undefined;
  readonly nodeOf: (name: string) => Promise<Node | undefined>;
  readonly freeBytes: (directory: string) => Promise<number>;
  /** Of the agent: what is known of copies. */
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface CopyTarget {
  readonly directory: string;
  /** Told with the last pass: from then on it is a volume like others. */
  readonly madeAnnotations: Readonly<Record<string, string>>;
}

interface Job {
  readonly order: CopyOrder;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

const attemptsMax = { live: 60, final: 4 } as const;
const retryMs = { live: 10_000, final: 3_000 } as const;
/** A large file of the other machine's is read for its digest before anything comes; it says that it is alive. */
const silenceMs = 60_000;
const progressMs = 3_000;
const errorTextMax = 2_000;

export class VolumeCopier {
  readonly #deps: VolumeCopierDeps;
  readonly #jobs = new Map<string, Job>();

  constructor(deps: VolumeCopierDeps) {
    this.#deps = deps;
  }

  /** Does what the volume orders, unless it is under way or done. */
  want(volume: PersistentVolume, target: CopyTarget): void {
    const order = copyOrderOf(volume);
    const { name } = volume.metadata;
    if (order === undefined) return;
    const state = copyStateOf(volume);
    if (state?.pass === order.pass && state.state !== 'Running') return;
    const running = this.#jobs.get(name);
    if (running?.order.pass === order.pass) return;
    running?.abort.abort();
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, this.#deps.signal]);
    const done = (running?.done ?? Promise.resolve())
      .then(() => this.#run(name, order, target, signal))
      .catch((error: unknown) => {
        if (!signal.aborted)
          this.#deps.logger.warn('Copy not told of', { volume: name, error: messageOf(error) });
      })
      .finally(() => {
        if (this.#jobs.get(name)?.abort === abort) this.#jobs.delete(name);
      });
    this.#jobs.set(name, { order, abort, done });
  }

  /** Resolves when nothing writes to it any more. */
  async stop(name: string): Promise<void> {
    const job = this.#jobs.get(name);
    job?.abort.abort();
    await job?.done;
    await forgetCopy(this.#notes(name));
  }

  #notes(name: string): string {
    return join(this.#deps.folder, name);
  }

  async #run(
    name: string,
    order: CopyOrder,
    { directory, madeAnnotations }: CopyTarget,
    signal: AbortSignal,
  ): Promise<void> {
    const { pass } = order;
    for (let attempt = 1; !signal.aborted; attempt++)
      try {
        await this.#copy(name, order, directory, signal);
        await this.#tell(name, { pass, state: 'Done' }, pass === 'final' ? madeAnnotations : {});
        if (pass === 'final') await forgetCopy(this.#notes(name));
        return;
      } catch (error) {
        if (signal.aborted) return;
        const message = `${order.node} → here: ${messageOf(error)}`;
        const isHopeless = error instanceof CopyObstacle || error instanceof ArchiveError;
        this.#deps.logger.warn('Copy of a volume broke off', { volume: name, attempt, message });
        if (isHopeless || attempt >= attemptsMax[pass]) {
          await this.#tell(name, { pass, state: 'Failed', message });
          return;
        }
        await this.#tell(name, { pass, state: 'Running', message });
        await delay(this.#deps.clock, retryMs[pass], signal);
      }
  }

  async #copy(
    name: string,
    order: CopyOrder,
    directory: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, folder, freeBytes } = this.#deps;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let toldMs = -Infinity;
    await copyVolume({
      source: await this.#source(order),
      directory,
      notes: this.#notes(name),
      isFinal: order.pass === 'final',
      nowMs: () => clock.now(),
      freeBytes: () => freeBytes(directory),
      signal,
      onProgress: (copiedBytes, totalBytes) => {
        if (clock.monotonicMs() - toldMs < progressMs) return;
        toldMs = clock.monotonicMs();
        const state = { pass: order.pass, state: 'Running', copiedBytes, totalBytes } as const;
        // The next one says it as well.
        void this.#tell(name, state).catch(() => undefined);
      },
    });
  }

  async #source({ node: nodeName, from, pass }: CopyOrder): Promise<CopySource> {
    const { peers, nodeOf } = this.#deps;
    const node = await nodeOf(nodeName);
    if (peers === undefined) throw new CopyObstacle('this agent has no certificate of its own');
    if (node === undefined) throw new CopyObstacle(`there is no machine ${nodeName}`);
    const query = `volume=${encodeURIComponent(from)}&pass=${pass}`;
    return {
      list: async (signal) =>
        whole(await peers.get(node, { path: `${listPath}?${query}`, signal, silenceMs })),
      content: async (exclude, signal) => {
        const path = `${contentPath}?${query}`;
        const body = Readable.from(exclude);
        return whole(await peers.get(node, { path, signal, silenceMs, body }));
      },
    };
  }

  async #tell(
    name: string,
    state: CopyState,
    more: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const annotations = { ...more, [moveAnnotations.state]: JSON.stringify(state) };
    try {
      await this.#deps.client.patch(persistentVolumes, { name }, { metadata: { annotations } });
    } catch (error) {
      if (!hasReason(error, 'NotFound')) throw error;
    }
  }
}

async function whole({ status, body }: PeerAnswer): Promise<AsyncIterable<Uint8Array>> {
  if (status === 200) return body;
  let text = '';
  for await (const chunk of body)
    if (text.length < errorTextMax) text += new TextDecoder().decode(chunk);
  throw new Error(text.trim() || `it answered ${status}`);
}
