// Follows a folder of pod manifests: looks once, and again when the kernel tells of a change. A file that
// can't be read as a pod is told, and what it said before stays until it can.
import { watch, type FSWatcher } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Pod } from '#kube/api/core.ts';
import type { Clock, Timer } from '#kube/base/clock.ts';
import { parseYamlDocuments } from '#platform/yaml-documents.ts';
import { messageOf } from '../../error-message.ts';
import { staticPod } from './static-pod.ts';

export interface StaticFolderDeps {
  readonly directory: string;
  readonly nodeName: string;
  readonly clock: Clock;
  /** All there are now. */
  readonly onPods: (pods: readonly Pod[]) => void;
  /** A sentence for a person, once for each state of a file. */
  readonly onProblem: (file: string, sentence: string) => void;
  readonly signal: AbortSignal;
  readonly watch?: typeof watch;
}

/** An editor writes a file in several steps. */
const settleMs = 300;
/** The kernel has only so many watches; others may give theirs back. */
const retryMs = 60_000;

export class StaticFolder {
  readonly #deps: StaticFolderDeps;
  readonly #pods = new Map<string, readonly Pod[]>();
  readonly #told = new Map<string, string>();
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;

  constructor(deps: StaticFolderDeps) {
    this.#deps = deps;
  }

  /** Resolves when what is there is known. A folder that can't be made or read is tried again. */
  async start(): Promise<void> {
    const { signal } = this.#deps;
    const stop = (): void => {
      this.#timer?.cancel();
      this.#watcher?.close();
    };
    signal.addEventListener('abort', stop, { once: true });
    await this.#lookAgain();
  }

  /** What is there runs also where changes of it can't be noticed. */
  #follow(): void {
    const { directory } = this.#deps;
    try {
      this.#watcher = (this.#deps.watch ?? watch)(directory, { persistent: false }, () =>
        this.#lookIn(settleMs),
      );
      this.#watcher.on('error', (error) => this.#onWatchFailed(error));
      this.#told.delete('.');
    } catch (error) {
      this.#onWatchFailed(error);
    }
  }

  #onWatchFailed(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#tell('.', `Changes of ${this.#deps.directory} are noticed late: ${messageOf(error)}`);
    this.#lookIn(retryMs);
  }

  #lookIn(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#deps.clock.timer(delayMs, () => void this.#lookAgain());
  }

  async #lookAgain(): Promise<void> {
    const { directory } = this.#deps;
    try {
      if (this.#watcher === undefined) {
        await mkdir(directory, { recursive: true, mode: 0o750 });
        // First, so that nothing comes unseen in between.
        this.#follow();
      }
      await this.#look();
    } catch (error) {
      // A folder that comes back is another one.
      this.#watcher?.close();
      this.#watcher = undefined;
      this.#tell('..', `${directory} can't be read: ${messageOf(error)}`);
      this.#lookIn(retryMs);
    }
  }

  #tell(about: string, sentence: string): void {
    if (this.#told.get(about) !== sentence) this.#deps.onProblem(about, sentence);
    this.#told.set(about, sentence);
  }

  async #look(): Promise<void> {
    const { directory, onPods, signal } = this.#deps;
    const names = (await readdir(directory)).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name));
    this.#told.delete('..');
    for (const name of this.#pods.keys()) if (!names.includes(name)) this.#pods.delete(name);
    for (const name of names.sort())
      try {
        this.#pods.set(name, await this.#read(name));
        this.#told.delete(name);
      } catch (error) {
        this.#tell(name, `${path.join(directory, name)} is not run: ${messageOf(error)}`);
      }
    if (signal.aborted) return;
    const byName = new Map<string, Pod>();
    for (const pod of [...this.#pods.values()].flat()) {
      const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
      if (!byName.has(key)) byName.set(key, pod);
    }
    onPods([...byName.values()]);
  }

  async #read(name: string): Promise<readonly Pod[]> {
    const { directory, nodeName } = this.#deps;
    const text = await readFile(path.join(directory, name), 'utf8');
    const documents = await parseYamlDocuments(text);
    return documents.map((document) => staticPod(document, name, nodeName));
  }
}
