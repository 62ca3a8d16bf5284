// Which of a machine's NVIDIA cards a container gets. The scheduler counts them; which one is free is read
// back from the containers that there are, one new container at a time.
import type { Runtime } from '../../runtime/runtime.ts';
import { ContainerConfigError } from '../container/environment.ts';
import type { Device } from './devices.ts';

/** The lowest ones. Throws ContainerConfigError when there are not enough. */
export function freeGpus(
  all: readonly string[],
  used: ReadonlySet<string>,
  count: number,
): readonly string[] {
  const free = all.filter((gpu) => !used.has(gpu)).slice(0, count);
  if (free.length === count) return free;
  throw new ContainerConfigError(
    `${count} NVIDIA graphics asked for, ${free.length} of ${all.length} free: others are still in use; the container starts when they are not`,
  );
}

/** Numbers of the cards, in order: `/dev/nvidia0` is `0`. */
export function gpusOf(devices: readonly Device[]): readonly string[] {
  const paths = devices.flatMap(({ grant, paths: own }) => (grant === 'nvidia' ? own : []));
  return paths
    .map((path) => Number(/\d+$/.exec(path)?.[0]))
    .toSorted((a, b) => a - b)
    .map(String);
}

export class Gpus {
  readonly #runtime: Pick<Runtime, 'listPods'>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(runtime: Pick<Runtime, 'listPods'>) {
    this.#runtime = runtime;
  }

  /** `create` gets undefined when none is asked for. */
  use<T>(
    count: number,
    devices: readonly Device[],
    create: (gpus: readonly string[] | undefined) => Promise<T>,
  ): Promise<T> {
    if (count === 0) return create(undefined);
    const work = this.#last.then(async () => {
      const pods = await this.#runtime.listPods();
      const live = pods
        .flatMap(({ containers }) => containers)
        .filter(({ state }) => state !== 'exited');
      const used = new Set(live.flatMap(({ gpus = [] }) => gpus));
      return create(freeGpus(gpusOf(devices), used, count));
    });
    this.#last = work.catch(() => undefined);
    return work;
  }
}
