// A container's last words: the file it wrote, or the end of its log when it failed without any and
// asked for that. Read once per container, after its end.
// Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (getTerminationMessage).
import { open } from 'node:fs/promises';
import type { Pod } from '#kube/api/core.ts';
import type { ContainerStatus, ObservedPod, Runtime } from '../../runtime/runtime.ts';

const messageLimitBytes = 4096;
const logLimitBytes = 2048;
const logLimitLines = 80;

export class TerminationMessages {
  readonly #runtime: Pick<Runtime, 'logs'>;
  /** By container id; kept while the pod has the container. */
  readonly #messages = new Map<string, string>();
  readonly #idsOfPod = new Map<string, readonly string[]>();

  constructor(runtime: Pick<Runtime, 'logs'>) {
    this.#runtime = runtime;
  }

  of(containerId: string): string {
    return this.#messages.get(containerId) ?? '';
  }

  /** Reads what is new of this pod, forgets what is gone. */
  async read(pod: Pod, observed: ObservedPod): Promise<void> {
    const ended = observed.containers.filter((status) => status.state === 'exited');
    for (const status of ended)
      if (!this.#messages.has(status.id))
        this.#messages.set(status.id, await this.#message(pod, status));
    const ids = ended.map((status) => status.id);
    for (const id of this.#idsOfPod.get(observed.pod.uid) ?? [])
      if (!ids.includes(id)) this.#messages.delete(id);
    if (ids.length > 0) this.#idsOfPod.set(observed.pod.uid, ids);
    else this.#idsOfPod.delete(observed.pod.uid);
  }

  async #message(pod: Pod, status: ContainerStatus): Promise<string> {
    const written = await readStart(status.terminationMessageHostPath);
    if (written !== '') return written;
    const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
    const policy = all.find(({ name }) => name === status.name)?.terminationMessagePolicy;
    if (policy !== 'FallbackToLogsOnError' || status.exitCode === 0) return '';
    return this.#endOfLog(status.id);
  }

  async #endOfLog(id: string): Promise<string> {
    const signal = new AbortController().signal;
    const options = { follow: false, tailLines: logLimitLines, timestamps: false, signal };
    let end = Buffer.alloc(0);
    for await (const chunk of this.#runtime.logs(id, options))
      end = Buffer.concat([end, chunk]).subarray(-logLimitBytes);
    return end.toString();
  }
}

/** '' when there is no such file. */
async function readStart(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(messageLimitBytes), 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT' || path === '') return '';
    throw error;
  }
}
