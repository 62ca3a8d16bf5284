// Pure: what an upgrade request to the kubelet's server asks for, and what is wrong with it.
// Source: kubernetes pkg/kubelet/server/server.go (getExec, getAttach, getPortForward),
// kubelet pkg/cri/streaming/remotecommand/httpstream.go (NewOptions).
import { portOf } from '#platform/streams/port-streams.ts';
import type { WantedStreams } from '#platform/streams/remote-streams.ts';
import type { ObservedPod, SandboxStatus } from '../../runtime/runtime.ts';

interface PodTarget {
  readonly namespace: string;
  readonly pod: string;
}

export type StreamRequest = PodTarget &
  (
    | {
        readonly kind: 'exec' | 'attach';
        readonly container: string;
        /** Empty for attach. */
        readonly command: readonly string[];
        readonly wanted: WantedStreams;
      }
    | { readonly kind: 'portForward'; readonly query: URLSearchParams }
    /** The bytes of one connection to a port of the pod's address, for the API server's proxies. */
    | { readonly kind: 'dial'; readonly port: number }
  );

/** Told to the client as text with this HTTP status, before anything is upgraded. */
export class StreamRequestError extends Error {
  override readonly name = 'StreamRequestError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const isOn = (query: URLSearchParams, name: string): boolean =>
  ['1', 'true'].includes(query.get(name) ?? '');

/** Undefined: no such path. Throws StreamRequestError. */
export function parseStreamRequest(url: URL): StreamRequest | undefined {
  const [, kind, namespace = '', pod = '', container = '', ...rest] = url.pathname
    .split('/')
    .map(decodeURIComponent);
  const query = url.searchParams;
  if (rest.length > 0 || namespace === '' || pod === '') return undefined;
  if (kind === 'portForward' && container === '') return { kind, namespace, pod, query };
  if (kind === 'dial' && container === '') {
    const port = portOf(query.get('port') ?? '');
    if (port === undefined) throw new StreamRequestError(400, 'no valid port');
    return { kind, namespace, pod, port };
  }
  if ((kind !== 'exec' && kind !== 'attach') || container === '') return undefined;
  const wanted = {
    stdin: isOn(query, 'input'),
    stdout: isOn(query, 'output'),
    stderr: isOn(query, 'error'),
    tty: isOn(query, 'tty'),
  };
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr)
    throw new StreamRequestError(400, 'you must specify at least 1 of stdin, stdout, stderr');
  const command = kind === 'exec' ? query.getAll('command') : [];
  if (kind === 'exec' && command.length === 0)
    throw new StreamRequestError(400, 'you must specify a command');
  return { kind, namespace, pod, container, command, wanted };
}

/** The engine's id of the running container. Throws StreamRequestError in Kubernetes' words. */
export function runningContainerId(observed: ObservedPod, name: string): string {
  const found = observed.containers.find(
    (status) => status.name === name && status.state === 'running',
  );
  if (found === undefined) throw new StreamRequestError(500, `container not found ("${name}")`);
  return found.id;
}

/** Throws StreamRequestError. */
export function readySandbox(observed: ObservedPod): SandboxStatus {
  const found = observed.sandboxes.find((sandbox) => sandbox.ready);
  if (found === undefined)
    throw new StreamRequestError(500, `pod "${observed.pod.name}" does not run`);
  return found;
}

/** The first of the client's protocols that is known here; '' when it names none. Throws 403. */
export function chosenProtocol(offered: readonly string[], known: readonly string[]): string {
  const [first] = offered.filter((name) => known.includes(name));
  if (first !== undefined || offered.length === 0) return first ?? '';
  const lists = `client supports ${goList(offered)}, server accepts ${goList(known)}`;
  throw new StreamRequestError(403, `unable to upgrade: unable to negotiate protocol: ${lists}`);
}

function goList(names: readonly string[]): string {
  return `[${names.join(' ')}]`;
}

/** A header's values, given several times or with commas. */
export function headerList(value: string | readonly string[] | undefined): readonly string[] {
  return [value ?? []]
    .flat()
    .flatMap((text) => text.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
