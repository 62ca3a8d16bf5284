// Which processes the collector looks at: what runs, as the engine showed it last. Asked again only
// after a container changed. While the engine is away what it showed before has to do: containers may
// well run on, and their files tell it.
import type { ObservedPod, Runtime } from '../runtime/runtime.ts';
import type { PodTarget } from './collector.ts';

export class Targets {
  readonly #runtime: Pick<Runtime, 'listPods'>;
  #asked: Promise<readonly PodTarget[]> | undefined;
  #known: readonly PodTarget[] = [];

  constructor(runtime: Pick<Runtime, 'listPods'>) {
    this.#runtime = runtime;
  }

  /** A container started or ended. */
  invalidate(): void {
    this.#asked = undefined;
  }

  get(): Promise<readonly PodTarget[]> {
    this.#asked ??= this.#ask();
    return this.#asked;
  }

  async #ask(): Promise<readonly PodTarget[]> {
    try {
      this.#known = (await this.#runtime.listPods()).flatMap(podTarget);
    } catch {
      // The engine watch tells who has to know; asked again next time.
      this.#asked = undefined;
    }
    return this.#known;
  }
}

/** Nothing for a pod that does not run. */
export function podTarget({ pod, sandboxes, containers }: ObservedPod): readonly PodTarget[] {
  const sandbox = sandboxes.find((entry) => entry.ready);
  if (sandbox === undefined) return [];
  const running = containers.filter((status) => status.state === 'running');
  return [
    {
      ...pod,
      // The host's network is not the pod's.
      sandboxPid: sandbox.hostNetwork ? 0 : sandbox.pid,
      startedAtMs: sandbox.createdAtMs,
      containers: running.map(({ id, name, pid, image, startedAtMs }) => ({
        id,
        name,
        pid,
        image,
        startedAtMs,
      })),
    },
  ];
}
