// Starts one container of a pod: back-off, image, configuration, create, start, postStart. What
// stands in the way becomes the container's waiting state and an event, never an exception, but for
// an engine that is gone. Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go.
import type { Container, Node, Pod, Secret, Service } from '#kube/api/core.ts';
import type { Quantity } from '#kube/api/scalars.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import {
  isRuntimeError,
  type DnsConfig,
  type ImageStatus,
  type MountConfig,
  type Runtime,
} from '../../runtime/runtime.ts';
import { grantDevices, type Device } from '../devices/devices.ts';
import { Gpus } from '../devices/gpus.ts';
import { BackOff } from '../pod/back-off.ts';
import { ImageError } from '../images/image-error.ts';
import type { Images } from '../images/images.ts';
import type { Waiting } from '../pod/container-status.ts';
import type { ContainerStart } from '../pod/pod-actions.ts';
import type { PodObjects } from '../volumes/object-source.ts';
import type { Volumes } from '../volumes/volumes.ts';
import { containerConfig } from './container-config.ts';
import {
  ContainerConfigError,
  containerEnvironment,
  envFileKey,
  envFiles,
  type EnvFile,
} from './environment.ts';
import { containerReference } from './event-target.ts';
import type { Hooks } from './hooks.ts';
import { podDns, resolvConfMounts, resolvConfText } from './pod-dns.ts';
import { podRef } from './sandbox-config.ts';
import { seccompOf } from './security.ts';
import { serviceEnvironment } from './service-env.ts';
import { messageOf } from '../../error-message.ts';

/** What a pod's containers can learn of the node and the cluster. */
export interface NodeView {
  readonly ips: () => readonly string[];
  readonly allocatable: () => Readonly<Record<string, Quantity>>;
  readonly memoryBytes: () => number;
  /** Processes and threads of one container at most. */
  readonly pidsMax: () => number;
  /** As /etc/resolv.conf has it. */
  readonly dns: () => Promise<DnsConfig>;
  /** The address of the cluster's DNS; undefined: it can't be reached here. */
  readonly clusterDns: () => Promise<string | undefined>;
  /** Before a pod's first container starts. Rejects, in words, when it must not start yet. */
  readonly joinNetwork: (pod: Pod, address: string) => Promise<void>;
  /** The content of a profile of this machine's. Throws ContainerConfigError. */
  readonly seccompProfile: (name: string) => Promise<string>;
  readonly services: () => readonly Service[];
  /** All that are not over, this one too. */
  readonly pods: () => readonly Pod[];
  /** Of them those that this node has taken. */
  readonly admittedPods: () => readonly Pod[];
  /** What is plugged in now. */
  readonly devices: () => readonly Device[];
  readonly maxPods: number;
  readonly hasAppArmor: () => boolean;
  /** Undefined: not known yet. */
  readonly self: () => Node | undefined;
  /** What runs containers of a RuntimeClass, as the engine calls it. Throws Error when there is none. */
  readonly runtimeHandler: (runtimeClassName: string) => Promise<string>;
}

export interface ContainerStarterDeps {
  readonly runtime: Runtime;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly images: Images;
  readonly hooks: Hooks;
  readonly volumes: Volumes;
  readonly node: NodeView;
}

export interface StartContext {
  readonly pod: Pod;
  readonly sandboxId: string;
  readonly podIp: string;
  readonly objects: PodObjects;
  readonly qosClass: string;
  /** No API server says what it is to be: each is made as the one before it was. */
  readonly isAsBefore: boolean;
  /** The id of a container of the pod, if it runs. */
  readonly runningId: (containerName: string) => string | undefined;
  /** The pod is being deleted: a pull is no longer waited for. */
  readonly signal: AbortSignal;
  /** How far the pull of a container's image is. */
  readonly onPulling: (containerName: string, sentence: string) => void;
}

export interface StartResult {
  /** Undefined: it runs. */
  readonly waiting: Waiting | undefined;
  readonly retryAfterMs: number;
}

const started: StartResult = { waiting: undefined, retryAfterMs: 0 };
const errorRetryMs = 5_000;

export class ContainerStarter {
  readonly #deps: ContainerStarterDeps;
  readonly #backOff = new BackOff();
  readonly #gpus: Gpus;

  constructor(deps: ContainerStarterDeps) {
    this.#deps = deps;
    this.#gpus = new Gpus(deps.runtime);
  }

  async start(context: StartContext, start: ContainerStart): Promise<StartResult> {
    const { pod } = context;
    const container = findContainer(pod, start.name);
    const waiting = this.#crashLoop(context, start);
    if (waiting !== undefined) return waiting;
    try {
      const id = context.isAsBefore
        ? await this.#recreate(context, start)
        : await this.#create(context, start, {
            container,
            image: await this.#image(context, container),
          });
      return await this.#run(context, container, id);
    } catch (error) {
      if (isRuntimeError(error, 'unavailable') || context.signal.aborted) throw error;
      return this.#failed(context, container, error);
    }
  }

  forget(pod: Pod): void {
    for (const { name } of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])])
      this.#backOff.forget(backOffKey(pod, name));
    this.#deps.images.forget(pod.metadata.uid ?? '');
  }

  #crashLoop({ pod }: StartContext, { name, last }: ContainerStart): StartResult | undefined {
    if (last === undefined) return undefined;
    const { clock, events } = this.#deps;
    const key = backOffKey(pod, name);
    const waitMs = this.#backOff.remainingMs(key, last.finishedAtMs, clock.now());
    const { name: podName, namespace, uid } = pod.metadata;
    const where = `container=${name} pod=${podName}_${namespace}(${uid})`;
    if (waitMs === 0) {
      this.#backOff.next(key, last.finishedAtMs, clock.now());
      return undefined;
    }
    const delaySeconds = goSeconds(this.#backOff.delayMs(key) / 1000);
    const about = containerReference(pod, name);
    const text = `Back-off restarting failed container ${name} in pod ${podName}_${namespace}(${uid})`;
    events.event(about, 'Warning', 'BackOff', text);
    const message = `back-off ${delaySeconds} restarting failed ${where}`;
    return { waiting: { reason: 'CrashLoopBackOff', message }, retryAfterMs: waitMs };
  }

  #image(context: StartContext, container: Container): Promise<ImageStatus> {
    const { pod, objects, signal, onPulling } = context;
    const names = (pod.spec.imagePullSecrets ?? []).map(({ name = '' }) => name);
    const found = names.map((name) => objects.secret(name));
    const secrets = found.filter((secret): secret is Secret => secret !== undefined);
    const missingSecrets = names.filter((_name, index) => found[index] === undefined);
    const onProgress = (sentence: string): void => {
      if (!signal.aborted) onPulling(container.name, sentence);
    };
    const request = { pod, container, secrets, missingSecrets, onProgress };
    return unlessAborted(this.#deps.images.ensure(request), signal);
  }

  async #create(
    context: StartContext,
    start: ContainerStart,
    { container, image }: { readonly container: Container; readonly image: ImageStatus },
  ): Promise<string> {
    const { pod, objects, sandboxId, qosClass, podIp } = context;
    const target = targetOf(context, start.name);
    const { runtime, volumes, node, events } = this.#deps;
    const { uid, namespace } = podRef(pod);
    const nodeIps = node.ips();
    const ip = pod.spec.hostNetwork === true ? nodeIps[0] : podIp;
    const files = await this.#envFiles(pod, container);
    const environment = containerEnvironment({
      pod,
      container,
      addresses: { podIps: ip === undefined ? [] : [ip], nodeIps },
      allocatable: node.allocatable(),
      services: serviceEnvironment(node.services(), namespace, pod.spec.enableServiceLinks ?? true),
      configMap: objects.configMap,
      secret: objects.secret,
      file: (ref) => files.get(envFileKey(ref)),
    });
    const seccomp = seccompOf(pod, container);
    const profile =
      seccomp?.type === 'Localhost'
        ? await node.seccompProfile(seccomp.localhostProfile ?? '')
        : undefined;
    const devices = grantDevices(container, node.devices());
    const input = {
      pod,
      container,
      sandboxId,
      attempt: start.attempt,
      environment,
      devices,
      mounts: await this.#mounts(pod, container, environment),
      terminationMessageHostPath: await volumes.terminationMessageFile(
        uid,
        container.name,
        start.attempt,
      ),
      image,
      qosClass,
      nodeMemoryBytes: node.memoryBytes(),
      pidsMax: node.pidsMax(),
      ...(target === undefined ? {} : { targetContainerId: target }),
      ...(profile === undefined ? {} : { seccompProfile: profile }),
      ...(await this.runtimeOf(pod)),
    };
    const id = await this.#gpus.use(devices.gpuCount, node.devices(), async (gpus) => {
      const config = containerConfig({ ...input, ...(gpus && { gpus }) });
      return this.#step('CreateContainerError', () => runtime.createContainer(config));
    });
    const message = `Created container: ${container.name}`;
    events.event(containerReference(pod, container.name), 'Normal', 'Created', message);
    return id;
  }

  async #mounts(
    pod: Pod,
    container: Container,
    environment: ReadonlyMap<string, string>,
  ): Promise<MountConfig[]> {
    const { volumes, node } = this.#deps;
    const mounts = await volumes.mounts(pod, container, environment);
    const [nodeDns, clusterServer] = await Promise.all([node.dns(), node.clusterDns()]);
    const dns = podDns(pod, { node: nodeDns, clusterServer });
    const file = dns && (await volumes.resolvConfFile(podRef(pod).uid, resolvConfText(dns)));
    const isReadOnly = container.securityContext?.readOnlyRootFilesystem === true;
    return [...mounts, ...resolvConfMounts(file, mounts, isReadOnly)];
  }

  /** What its sandbox is made with, too. */
  async runtimeOf({ spec }: Pod): Promise<{ readonly runtimeHandler?: string }> {
    const { runtimeClassName = '' } = spec;
    if (runtimeClassName === '') return {};
    return { runtimeHandler: await this.#deps.node.runtimeHandler(runtimeClassName) };
  }

  async #envFiles(pod: Pod, container: Container): Promise<ReadonlyMap<string, EnvFile>> {
    const files = new Map<string, EnvFile>();
    for (const ref of envFiles(container)) {
      const file = await this.#deps.volumes.file(pod, ref.volumeName, ref.path).then(
        (text): EnvFile => ({ text }),
        (error: unknown): EnvFile => {
          if (error instanceof ContainerConfigError) throw error;
          return { text: undefined, problem: messageOf(error) };
        },
      );
      files.set(envFileKey(ref), file);
    }
    return files;
  }

  async #recreate({ pod, sandboxId }: StartContext, start: ContainerStart): Promise<string> {
    const { runtime, volumes, events } = this.#deps;
    const { name, attempt, last } = start;
    if (last === undefined)
      throw new ContainerConfigError(
        'the control plane does not answer, and there is no earlier container to go by',
      );
    const { uid } = podRef(pod);
    const terminationMessageHostPath = await volumes.terminationMessageFile(uid, name, attempt);
    const change = { sandboxId, attempt, terminationMessageHostPath };
    const id = await this.#step('CreateContainerError', () =>
      runtime.recreateContainer(last.id, change),
    );
    const message = `Created container: ${name}, as it was before: the control plane does not answer`;
    events.event(containerReference(pod, name), 'Normal', 'Created', message);
    return id;
  }

  async #run(context: StartContext, container: Container, id: string): Promise<StartResult> {
    const { pod } = context;
    const { runtime, hooks, events, node } = this.#deps;
    // With the host's network a pod has no address of its own.
    const podIp = context.podIp === '' ? (node.ips()[0] ?? '127.0.0.1') : context.podIp;
    const about = containerReference(pod, container.name);
    await this.#step('RunContainerError', () => runtime.startContainer(id));
    events.event(about, 'Normal', 'Started', `Started container ${container.name}`);
    const problem = await hooks.postStart({ pod, container, containerId: id, podIp });
    if (problem === undefined) return started;
    events.event(about, 'Normal', 'Killing', 'FailedPostStartHook');
    await runtime.stopContainer(id, pod.spec.terminationGracePeriodSeconds ?? 30);
    const waiting = { reason: 'PostStartHookError', message: `PostStartHookError: ${problem}` };
    return { waiting, retryAfterMs: 0 };
  }

  async #step<T>(reason: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (isRuntimeError(error, 'unavailable')) throw error;
      throw new StepError(reason, error);
    }
  }

  #failed({ pod }: StartContext, container: Container, error: unknown): StartResult {
    const about = containerReference(pod, container.name);
    const message = messageOf(error);
    if (error instanceof ImageError) {
      this.#deps.events.event(about, 'Warning', 'Failed', `Error: ${error.reason}`);
      return { waiting: { reason: error.reason, message }, retryAfterMs: error.retryAfterMs };
    }
    this.#deps.events.event(about, 'Warning', 'Failed', `Error: ${message}`);
    const reason =
      error instanceof ContainerConfigError
        ? 'CreateContainerConfigError'
        : error instanceof StepError
          ? error.reason
          : 'CreateContainerError';
    return { waiting: { reason, message }, retryAfterMs: errorRetryMs };
  }
}

/** The listener goes with the answer: the signal lives as long as the pod, over many starts. */
async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new Error('the pod is being deleted'));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

class StepError extends Error {
  override readonly name = 'StepError';
  readonly reason: string;

  constructor(reason: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.reason = reason;
  }
}

function findContainer({ spec }: Pod, name: string): Container {
  const { containers, initContainers = [], ephemeralContainers = [] } = spec;
  const all = [...containers, ...initContainers, ...(ephemeralContainers as Container[])];
  return all.find((container) => container.name === name) ?? { name };
}

/** Whose processes an ephemeral container is to see. Throws ContainerConfigError. */
function targetOf({ pod, runningId }: StartContext, name: string): string | undefined {
  const container = pod.spec.ephemeralContainers?.find((entry) => entry.name === name);
  const target = container?.targetContainerName ?? '';
  if (target === '') return undefined;
  const id = runningId(target);
  if (id === undefined) throw new ContainerConfigError(`target container "${target}" does not run`);
  return id;
}

function backOffKey(pod: Pod, name: string): string {
  return `${pod.metadata.uid}_${name}`;
}

/** Go's way to print whole seconds: `40s`, `1m20s`, `5m0s`. */
function goSeconds(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds % 60}s`;
}
