// What a connection is asked for, as webhooks and policies are shown it: the options in the query, as an
// object. What mutating webhooks make of them is what counts.
// Source: kubernetes apiserver pkg/endpoints/handlers/rest.go (ConnectResource), pkg/apis/core/v1/defaults.go.
import type { KubeObject } from '#kube/api/object.ts';
import { badRequest } from '#kube/machinery/status.ts';
import { isTrue } from '../request-info.ts';
import { attributesOf, type RequestScope } from './scope.ts';

interface Options {
  readonly kind: string;
  readonly apiVersion: string;
}
export interface CommandOptions extends Options {
  readonly container?: string;
  readonly command?: readonly string[];
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  readonly tty?: boolean;
}
export interface PortForwardOptions extends Options {
  readonly ports?: readonly number[];
}
export interface ProxyOptions extends Options {
  readonly path?: string;
}

/** Asks admission whether the connection may be made. Throws what refuses it. */
export async function admitConnect<T extends Options>(
  scope: RequestScope,
  name: string,
  options: T,
): Promise<T> {
  // Options have no metadata, which admission does without.
  const object = options as unknown as KubeObject;
  const subject = { operation: 'CONNECT', name, object, dryRun: false } as const;
  const attributes = attributesOf(scope, subject);
  await scope.deps.admission.admit(attributes);
  await scope.deps.admission.validate(attributes);
  return options;
}

const flags = { stdin: false, stdout: true, stderr: true, tty: false } as const;
type Flag = keyof typeof flags;

export function commandOptions(kind: 'exec' | 'attach', query: URLSearchParams): CommandOptions {
  const container = query.get('container') ?? '';
  const isWanted = (name: Flag): boolean =>
    query.has(name) ? isTrue(query.get(name)) : flags[name];
  const wanted = (Object.keys(flags) as Flag[]).filter(isWanted).map((name) => [name, true]);
  return {
    kind: kind === 'exec' ? 'PodExecOptions' : 'PodAttachOptions',
    apiVersion: 'v1',
    ...(Object.fromEntries(wanted) as Partial<Record<Flag, boolean>>),
    ...(container === '' ? {} : { container }),
    ...(kind === 'exec' ? { command: query.getAll('command') } : {}),
  };
}

/** As the node's agent is asked. */
export function commandQuery(options: CommandOptions): URLSearchParams {
  const query = new URLSearchParams();
  const names = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' } as const;
  for (const name of Object.keys(names) as Flag[])
    if (options[name] === true) query.set(names[name], '1');
  for (const word of listOf(options.command)) query.append('command', String(word));
  return query;
}

/** Webhooks may have put anything there. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function portForwardOptions(query: URLSearchParams): PortForwardOptions {
  const ports = query.getAll('ports').flatMap((text) => text.split(','));
  const wrong = ports.find((text) => !/^\d{1,5}$/.test(text));
  if (wrong !== undefined)
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(wrong)}: invalid syntax`);
  return {
    kind: 'PodPortForwardOptions',
    apiVersion: 'v1',
    ...(ports.length === 0 ? {} : { ports: ports.map(Number) }),
  };
}

export function proxyOptions(kind: string, rest: string): ProxyOptions {
  return { kind, apiVersion: 'v1', path: rest === '' ? '/' : rest };
}
