// Pure: what a terminal asks the cluster for, and what its end means to a person.
// The protocol is Kubernetes' v5.channel.k8s.io: a message's first byte is its channel.
import type { Pod } from '#kube/api/core.ts';
import type { Status } from '#kube/api/meta.ts';

export const terminalProtocol = 'v5.channel.k8s.io';
export const terminalChannel = { stdin: 0, stdout: 1, error: 3, resize: 4 } as const;

export const shells = [
  { value: 'auto', label: 'bash, or sh' },
  { value: 'bash', label: 'bash' },
  { value: 'sh', label: 'sh' },
] as const;
export type Shell = (typeof shells)[number]['value'];

export function shellCommand(shell: Shell): readonly string[] {
  if (shell !== 'auto') return [shell];
  return ['sh', '-c', 'command -v bash >/dev/null 2>&1 && exec bash; exec sh'];
}

/** A container one can talk to. */
export interface TerminalTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** The containers that run now, in the order of their pods. */
export function terminalTargets(pods: readonly Pod[]): readonly TerminalTarget[] {
  return pods.flatMap(({ metadata, status }) =>
    [...(status?.containerStatuses ?? []), ...(status?.ephemeralContainerStatuses ?? [])]
      .filter(({ state }) => state?.running !== undefined)
      .map(({ name }) => ({
        namespace: metadata.namespace ?? '',
        pod: metadata.name,
        container: name,
      })),
  );
}

export function targetKey({ namespace, pod, container }: TerminalTarget): string {
  return `${namespace}/${pod}/${container}`;
}

/** The container's name only where a pod has several. */
export function targetLabel(target: TerminalTarget, all: readonly TerminalTarget[]): string {
  const isOnly = all.filter(({ pod }) => pod === target.pod).length === 1;
  return isOnly ? target.pod : `${target.pod} · ${target.container}`;
}

export function execPath({ namespace, pod, container }: TerminalTarget, shell: Shell): string {
  const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', tty: 'true' });
  query.set('stderr', 'false');
  for (const word of shellCommand(shell)) query.append('command', word);
  const [space, name] = [namespace, pod].map(encodeURIComponent);
  return `/api/v1/namespaces/${space}/pods/${name}/exec?${query.toString()}`;
}

export function sizeMessage(columns: number, rows: number): string {
  return JSON.stringify({ Width: columns, Height: rows });
}

/** How a session ended, as a sentence. `status`: undefined when the connection broke before. */
export function endSentence(status: Status | undefined, said: string): string {
  if (status === undefined) return 'The connection broke.';
  if (status.status === 'Success') return 'The shell has ended.';
  const code = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (code === undefined) return status.message ?? 'The shell could not be started.';
  const isMissing =
    (code === '126' || code === '127') && said.includes('executable file not found');
  return isMissing ? 'There is no such shell in this container.' : `The shell has ended (${code}).`;
}
