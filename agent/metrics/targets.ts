// Which processes the collector looks at: what runs, as the engine showed it last. Asked again only
// after a container changed.
import type { ObservedPod, Runtime } from '../runtime/runtime.ts';
import type { PodTarget } from './collector.ts';

export class Targets {
  readonly #runtime: Pick<Runtime, 'listPods'>;
  #targets: Promise<readonly PodTarget[]> | undefined;

  constructor(runtime: Pick<Runtime, 'listPods'>) {
    this.#runtime = runtime;
  }

  /** A container started or ended. */
  invalidate(): void {
    this.#targets = undefined;
  }

  /** Throws RuntimeError; the next call then asks again. */
  get(): Promise<readonly PodTarget[]> {
    if (this.#targets !== undefined) return this.#targets;
    const asked = this.#runtime.listPods().then((pods) => pods.flatMap(podTarget));
    this.#targets = asked;
    asked.catch(() => {
      if (this.#targets === asked) this.#targets = undefined;
    });
    return asked;
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
