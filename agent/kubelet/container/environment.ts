// Pure: a container's environment out of its spec, the objects it refers to and the services
// around. Later entries win, references see what stands before them.
// Source: kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables).
import type {
  ConfigMap,
  Container,
  EnvVar,
  EnvVarSource,
  FileKeySelector,
  Pod,
  Secret,
} from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import { messageOf } from '../../error-message.ts';
import { containerResource, podField, type PodAddresses } from './downward.ts';
import { envFileValue } from './env-file.ts';
import { expandReferences } from './expansion.ts';

/** The container can't be made of what the pod says: waiting reason CreateContainerConfigError. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError';
}

export interface EnvironmentInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly addresses: PodAddresses;
  readonly allocatable: Readonly<Record<string, Quantity>>;
  readonly services: ReadonlyMap<string, string>;
  /** Undefined: there is no such object. */
  readonly configMap: (name: string) => ConfigMap | undefined;
  readonly secret: (name: string) => Secret | undefined;
  /** Of `envFiles`. */
  readonly file: (ref: FileKeySelector) => EnvFile | undefined;
}

/** A file that variables come from; undefined as text: it is not there. */
export interface EnvFile {
  readonly text: string | undefined;
  /** Why it can't be read. */
  readonly problem?: string;
}

/** The files that a container's variables come from, each once. */
export function envFiles({ env = [] }: Container): readonly FileKeySelector[] {
  const refs = env.flatMap(({ valueFrom }) => valueFrom?.fileKeyRef ?? []);
  return [...new Map(refs.map((ref) => [envFileKey(ref), ref])).values()];
}

export function envFileKey({ volumeName, path }: FileKeySelector): string {
  return `${volumeName}:${path}`;
}

/** Names to values, in the order the container gets them. Throws ContainerConfigError. */
export function containerEnvironment(input: EnvironmentInput): Map<string, string> {
  const result = new Map<string, string>();
  const { container, services } = input;
  for (const source of container.envFrom ?? []) {
    const data = source.configMapRef
      ? configMapData(input, source.configMapRef)
      : secretData(input, source.secretRef ?? {});
    for (const [key, value] of Object.entries(data)) result.set((source.prefix ?? '') + key, value);
  }
  const lookup = (name: string) => result.get(name) ?? services.get(name);
  for (const variable of container.env ?? []) {
    const value = valueOf(input, variable, lookup);
    if (value !== undefined) result.set(variable.name, value);
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return result;
}

interface Reference {
  readonly name?: string;
  readonly optional?: boolean;
}

function configMapData(input: EnvironmentInput, ref: Reference): Record<string, string> {
  const name = ref.name ?? '';
  const object = input.configMap(name);
  if (object !== undefined) return object.data ?? {};
  if (ref.optional === true) return {};
  throw new ContainerConfigError(`configmap "${name}" not found`);
}

function secretData(input: EnvironmentInput, ref: Reference): Record<string, string> {
  const name = ref.name ?? '';
  const object = input.secret(name);
  if (object === undefined) {
    if (ref.optional === true) return {};
    throw new ContainerConfigError(`secret "${name}" not found`);
  }
  const entries = Object.entries(object.data ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, fromBase64(value)]));
}

/** `constructor` is a key like any other. */
function entryOf(data: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(data, key) ? data[key] : undefined;
}

function fromBase64(text: string): string {
  return Buffer.from(text, 'base64').toString();
}

function valueOf(
  input: EnvironmentInput,
  variable: EnvVar,
  lookup: (name: string) => string | undefined,
): string | undefined {
  if (variable.valueFrom !== undefined) return sourceValue(input, variable.valueFrom);
  return expandReferences(variable.value ?? '', lookup);
}

function sourceValue(input: EnvironmentInput, source: EnvVarSource): string | undefined {
  const { pod, container } = input;
  if (source.fieldRef !== undefined) {
    const value = podField(pod, source.fieldRef, input.addresses);
    if (value !== undefined) return value;
    throw new ContainerConfigError(`unsupported fieldPath: ${source.fieldRef.fieldPath}`);
  }
  if (source.resourceFieldRef !== undefined) {
    const ref = source.resourceFieldRef;
    const named = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].find(
      (entry) => entry.name === ref.containerName,
    );
    const value = containerResource(named ?? container, ref, input.allocatable);
    if (value !== undefined) return value;
    throw new ContainerConfigError(`unsupported container resource : ${ref.resource}`);
  }
  if (source.configMapKeyRef !== undefined) {
    const { key, optional, name } = source.configMapKeyRef;
    const value = entryOf(configMapData(input, source.configMapKeyRef), key);
    if (value !== undefined || optional === true) return value;
    const where = `${pod.metadata.namespace}/${name}`;
    throw new ContainerConfigError(`couldn't find key ${key} in ConfigMap ${where}`);
  }
  if (source.secretKeyRef !== undefined) {
    const { key, optional, name } = source.secretKeyRef;
    const value = entryOf(secretData(input, source.secretKeyRef), key);
    if (value !== undefined || optional === true) return value;
    const where = `${pod.metadata.namespace}/${name}`;
    throw new ContainerConfigError(`couldn't find key ${key} in Secret ${where}`);
  }
  if (source.fileKeyRef !== undefined) return fileValue(input, source.fileKeyRef);
  return undefined;
}

const fileKeyMax = 128;
const fileValueBytesMax = 32 * 1024;

// Differs: a file that is missing counts as a missing key does, as the field's description says; in 1.35
// the kubelet refuses it although it is optional. The reason is told.
function fileValue(input: EnvironmentInput, ref: FileKeySelector): string | undefined {
  const { key, path, optional } = ref;
  if (key.length > fileKeyMax)
    throw new ContainerConfigError(
      `environment variable key "${key}" exceeds maximum length of ${fileKeyMax} characters`,
    );
  const { text, problem } = input.file(ref) ?? { text: undefined };
  let value: string | undefined;
  try {
    if (problem !== undefined) throw new Error(problem);
    value = text === undefined ? undefined : envFileValue(text, key);
  } catch (error) {
    const why = `couldn't parse env file "${path}": ${messageOf(error)}`;
    throw new ContainerConfigError(why, { cause: error });
  }
  if (Buffer.byteLength(value ?? '') > fileValueBytesMax)
    throw new ContainerConfigError(
      `environment variable value for key "${key}" exceeds maximum size of 32 KiB`,
    );
  // As in the kubelet an empty value counts as none.
  if (value !== undefined && value !== '') return value;
  if (optional === true) return undefined;
  throw new ContainerConfigError(`environment variable key "${key}" not found in file "${path}"`);
}
