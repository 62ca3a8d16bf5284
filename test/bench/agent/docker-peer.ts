// The peer: Docker itself, given the very two containers that a pod of ours consists of, by as few
// calls as they take. And its stats API.
import { once } from 'node:events';
import { get } from 'node:http';
import type { ContainerCreate, DockerClient } from '../../../agent/runtime/docker-client.ts';
import { isSandbox, label } from '../../../agent/runtime/docker-config.ts';

export interface PodBodies {
  readonly sandbox: ContainerCreate;
  readonly container: ContainerCreate;
}

export class DockerPeer {
  readonly #docker: DockerClient;
  readonly #made = new Set<string>();

  constructor(docker: DockerClient) {
    this.#docker = docker;
  }

  /** What the agent asked for, read back from a pod that runs. */
  async bodiesOf(podUid: string): Promise<PodBodies> {
    const listed = await this.#docker.listContainers({ label: [`${label.podUid}=${podUid}`] });
    const details = await Promise.all(listed.map(({ Id }) => this.#docker.inspectContainer(Id)));
    const bodies = new Map(
      details.map(({ Config, HostConfig }) => {
        const kind = isSandbox(Config.Labels) ? 'sandbox' : 'container';
        // Without our labels the agent takes no care of it.
        const body = { ...Config, Labels: { 'flotilla.dev/bench': kind }, HostConfig };
        // A container has its sandbox's.
        if (kind === 'container') body.Hostname = '';
        return [kind, body] as const;
      }),
    );
    const sandbox = bodies.get('sandbox');
    const container = bodies.get('container');
    if (sandbox === undefined || container === undefined)
      throw new Error(`pod ${podUid} has no two containers`);
    return { sandbox, container };
  }

  /** Create and start of the two, one after the other, since one lives in the other. */
  async start({ sandbox, container }: PodBodies): Promise<{ id: string; body: ContainerCreate }> {
    const sandboxId = await this.#create(sandbox);
    await this.#docker.startContainer(sandboxId);
    const place = `container:${sandboxId}`;
    const HostConfig = { ...container.HostConfig, NetworkMode: place, IpcMode: place };
    const body = { ...container, HostConfig };
    const id = await this.#create(body);
    await this.#docker.startContainer(id);
    return { id, body };
  }

  /** Milliseconds from the death of a container's process to when its like has been started, by who waits for its event. */
  async restartCrashed(bodies: PodBodies): Promise<number> {
    const { id, body } = await this.start(bodies);
    const { State } = await this.#docker.inspectContainer(id);
    const stop = new AbortController();
    const events = await this.#docker.events({ container: [id], event: ['die'] }, stop.signal);
    const died = once(events, 'data');
    const killedMs = performance.now();
    process.kill(State.Pid, 'SIGKILL');
    await died;
    await this.#docker.startContainer(await this.#create(body));
    const tookMs = performance.now() - killedMs;
    events.on('error', () => {});
    stop.abort();
    return tookMs;
  }

  async #create(body: ContainerCreate): Promise<string> {
    const id = await this.#docker.createContainer(body);
    this.#made.add(id);
    return id;
  }

  /** Milliseconds for `count` pods, `parallel` of them at a time. */
  async startMany(bodies: PodBodies, count: number, parallel: number): Promise<number> {
    const startMs = performance.now();
    let left = count;
    const work = async (): Promise<void> => {
      while (left-- > 0) await this.start(bodies);
    };
    await Promise.all(Array.from({ length: Math.min(parallel, count) }, work));
    return performance.now() - startMs;
  }

  async removeAll(): Promise<void> {
    const ids = [...this.#made].toReversed();
    this.#made.clear();
    const work = async (): Promise<void> => {
      for (let id = ids.shift(); id !== undefined; id = ids.shift())
        await this.#docker.removeContainer(id);
    };
    await Promise.all(Array.from({ length: 4 }, work));
  }
}

/** Something that gives samples until it is stopped. */
export interface Sampling {
  samples(): number;
  stop(): void;
}

/** Docker's statistics of each container, a sample a second. */
export function followStats(socketPath: string, ids: readonly string[]): Sampling {
  const stop = new AbortController();
  const { signal } = stop;
  let samples = 0;
  for (const id of ids)
    get({ socketPath, path: `/containers/${id}/stats?stream=1`, signal }, (response) => {
      let rest = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          JSON.parse(line);
          samples++;
        }
      });
      response.on('error', () => {});
    }).on('error', () => {});
  return { samples: () => samples, stop: () => stop.abort() };
}
