// What the kubelet asks of a container engine, in the nouns of the Container Runtime Interface:
// sandbox, container, image. Implementations keep no database: everything they know about a pod is
// read back from the labels of its containers, so an agent that restarts adopts what runs.
// Every implementation passes test/conformance/runtime.ts.
// Source: kubernetes cri-api pkg/apis/runtime/v1/api.proto.
import type { Writable } from 'node:stream';

export interface PodRef {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
}

export interface PortMapping {
  readonly containerPort: number;
  readonly hostPort: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly hostIp?: string;
}

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  /** `ndots:5` form. */
  readonly options: readonly string[];
}

export interface SandboxConfig {
  readonly pod: PodRef;
  /** Counts the pod's sandboxes from 0. */
  readonly attempt: number;
  readonly hostname: string;
  /** '' or what comes after the host name in its full name. */
  readonly domain: string;
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  readonly ports: readonly PortMapping[];
  /** `name:address` lines for /etc/hosts. */
  readonly extraHosts: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** Needed to end the pod's containers when the pod object is gone. */
  readonly gracePeriodSeconds: number;
  /** What the kubelet wants to read back from it. */
  readonly memo?: string;
  /** What all its containers together may use, in a cgroup of the pod's own; left out: it has none. */
  readonly limits?: ContainerLimits;
  /** Another program than the engine's own that runs containers (`nvidia`, `runsc`). */
  readonly runtimeHandler?: string;
}

export interface MountConfig {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
  readonly propagation: 'rprivate' | 'rslave' | 'rshared';
}

/** What can be changed while a container runs. */
export interface ContainerLimits {
  /** Relative weight; 1024 is one core. */
  readonly cpuShares: number;
  /** 0: no limit. Per period of 100 ms. */
  readonly cpuQuotaMicros: number;
  /** 0: no limit. */
  readonly memoryBytes: number;
}

export interface ContainerResources extends ContainerLimits {
  readonly oomScoreAdj: number;
  /** Processes and threads at the same time. */
  readonly pidsMax: number;
}

export interface ContainerSecurity {
  readonly privileged: boolean;
  readonly readOnlyRootFilesystem: boolean;
  readonly allowPrivilegeEscalation: boolean;
  /** `1000`, `1000:3000` or ''. */
  readonly user: string;
  readonly supplementalGroups: readonly number[];
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  /** Nothing of /proc is hidden or read-only. */
  readonly unmaskedProc: boolean;
  /** `type:container_t`. */
  readonly seLinuxLabels: readonly string[];
  /** `unconfined` or a profile as JSON; left out: the engine's own. */
  readonly seccompProfile?: string;
  /** `unconfined` or the name of a loaded profile; left out: the engine's own. */
  readonly appArmorProfile?: string;
}

/** What tells a container from the one that it replaces. */
export interface ContainerChange {
  readonly sandboxId: string;
  readonly attempt: number;
  readonly terminationMessageHostPath: string;
}

/** A device of the machine, or a directory of them. */
export interface DeviceMapping {
  readonly hostPath: string;
  readonly containerPath: string;
}

export interface ContainerConfig {
  readonly pod: PodRef;
  readonly sandboxId: string;
  readonly name: string;
  /** The pod's restart count of this container: 0 for the first. */
  readonly attempt: number;
  /** Tells whether a running container still is what the pod asks for. */
  readonly specHash: string;
  /** Name as the pod gives it. */
  readonly image: string;
  /** Undefined: the image's own entry point. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  /** `NAME=value`, unique names. */
  readonly env: readonly string[];
  readonly mounts: readonly MountConfig[];
  /** It may read, write and make these, and no other. */
  readonly devices: readonly DeviceMapping[];
  /** Also what is on USB, whatever number it has by then. */
  readonly usbBus?: true;
  /** NVIDIA cards, by number. */
  readonly gpus?: readonly string[];
  readonly resources: ContainerResources;
  /** Its pod's sandbox was made with limits. */
  readonly inPodCgroup: boolean;
  readonly security: ContainerSecurity;
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  readonly shareProcessNamespace: boolean;
  /** Whose processes it sees (ephemeral containers): the id of a running container. */
  readonly targetContainerId?: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly stopSignal?: string;
  /** As its sandbox's. */
  readonly runtimeHandler?: string;
  /** File on this machine that is mounted as the termination message. */
  readonly terminationMessageHostPath: string;
}

export interface SandboxStatus {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  /** '' while not running or on the host's network. */
  readonly ip: string;
  /** 0 while not running. */
  readonly pid: number;
  readonly createdAtMs: number;
  readonly hostNetwork: boolean;
}

export type ContainerState = 'created' | 'running' | 'exited';

export interface ContainerStatus {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly attempt: number;
  readonly specHash: string;
  readonly state: ContainerState;
  /** 0 while not running. */
  readonly pid: number;
  readonly createdAtMs: number;
  /** 0: not yet. */
  readonly startedAtMs: number;
  /** 0: not yet. */
  readonly finishedAtMs: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** The engine's reason when it could not start the container. */
  readonly error: string;
  readonly image: string;
  readonly imageId: string;
  readonly tty: boolean;
  readonly terminationMessageHostPath: string;
  /** Undefined: not known. */
  readonly limits?: ContainerLimits;
  /** What it was created with; the engine may not be able to set it. */
  readonly askedLimits?: ContainerLimits;
  /** NVIDIA cards that it was given, by number. */
  readonly gpus?: readonly string[];
}

/** All that the engine knows about one pod; containers and sandboxes newest first. */
export interface ObservedPod {
  readonly pod: PodRef;
  readonly gracePeriodSeconds: number;
  /** Of the newest sandbox. */
  readonly memo?: string;
  readonly sandboxes: readonly SandboxStatus[];
  readonly containers: readonly ContainerStatus[];
}

export interface ImageStatus {
  readonly id: string;
  /** Tags and digests. */
  readonly names: readonly string[];
  readonly sizeBytes: number;
  /** The user that the image runs as: '' (root), a number, or a name. */
  readonly user: string;
  /** It came from a registry and can be fetched from there again; false: it was made or loaded here. */
  readonly isPulled: boolean;
  /** `linux`, `arm64`; '' where it isn't told: in lists. */
  readonly os: string;
  readonly architecture: string;
  readonly createdAtMs: number;
}

/** What programs a machine runs. */
export interface Platform {
  readonly os: string;
  /** Go's word: `amd64`, `arm64`, `arm`. */
  readonly architecture: string;
  /** Others that it runs by emulation; `any`: nobody knows which. */
  readonly emulated: readonly string[] | 'any';
  readonly imageIds: ImageIds;
  /** What the engine can run containers by, besides its own. */
  readonly runtimes: readonly string[];
}

/**
 * Of what an image's id is the digest: of its configuration, or (containerd's image store) of the manifest
 * or index that its registry has. Saved and loaded it keeps its id only where that is the same.
 */
export type ImageIds = 'config' | 'manifest';

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  readonly serverAddress: string;
}

export interface PullOptions {
  readonly auth?: RegistryAuth | undefined;
  /** Ends the pull. */
  readonly signal?: AbortSignal;
  /** May be called many times a second, also when nothing is known yet (undefined). */
  readonly onProgress?: (progress: PullProgress | undefined) => void;
}

export interface LoadOptions {
  readonly onLoaded?: (name: string) => void;
  /** Of the layer that is unpacked just now. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface PullProgress {
  readonly step: 'downloading' | 'unpacking';
  /** Of what travels, that is compressed. */
  readonly doneBytes: number;
  /** Undefined: not all layers' sizes are known yet. */
  readonly totalBytes: number | undefined;
}

export interface ExecResult {
  readonly exitCode: number;
  /** stdout and stderr as they came, cut at 10 KiB. */
  readonly output: string;
}

export interface ProcessOptions {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface OutputFrame {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

/** A process in a container that somebody talks to. */
export interface ContainerProcess {
  /** Its end is the end of the process's input. */
  readonly stdin: Writable;
  /** In order as it came; with a terminal all is stdout. Ends when the process has no more to say. */
  readonly output: AsyncIterable<OutputFrame>;
  resize(size: { readonly width: number; readonly height: number }): Promise<void>;
  /** To be asked after the output's end. Attached to a container: 0, the pod's status tells more. */
  exitCode(): Promise<number>;
  /** Lets go of it; a process that was started for this is killed if it still runs. Idempotent. */
  close(): Promise<void>;
}

export interface LogOptions {
  readonly follow: boolean;
  /** Left out: all. */
  readonly tailLines?: number;
  readonly sinceMs?: number;
  readonly timestamps: boolean;
  readonly signal: AbortSignal;
}

export interface RuntimeEvent {
  readonly podUid: string;
  readonly containerId: string;
}

export interface RuntimeVersion {
  /** `docker`, `fake`. */
  readonly name: string;
  readonly version: string;
}

/** Every method throws RuntimeError. */
export interface Runtime {
  version(): Promise<RuntimeVersion>;
  /** Every pod of this cluster and node that the engine has anything of. */
  listPods(): Promise<readonly ObservedPod[]>;
  getPod(pod: PodRef): Promise<ObservedPod>;
  /** Creates and starts a sandbox; returns its id. Leaves nothing behind when it fails. */
  runSandbox(config: SandboxConfig): Promise<string>;
  /** Idempotent. */
  stopSandbox(id: string): Promise<void>;
  /** Idempotent. */
  removeSandbox(id: string): Promise<void>;
  createContainer(config: ContainerConfig): Promise<string>;
  /** A container like one that ended, but for what is given. */
  recreateContainer(id: string, change: ContainerChange): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** Asks the container to stop, kills it after the grace period; resolves when it is gone. */
  stopContainer(id: string, graceSeconds: number): Promise<void>;
  /** Of a running container. */
  updateLimits(id: string, limits: ContainerLimits): Promise<void>;
  /** Idempotent; kills when it still runs. */
  removeContainer(id: string): Promise<void>;
  exec(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult>;
  /** Starts a process beside the container's own. A conflict: the container does not run. */
  startProcess(id: string, options: ProcessOptions): Promise<ContainerProcess>;
  /** Connects to the container's own process. A conflict: it has ended. */
  attach(id: string, options: Omit<ProcessOptions, 'command'>): Promise<ContainerProcess>;
  /** Whole or partial lines; ends when the container ends (follow) or the log does. */
  logs(id: string, options: LogOptions): AsyncIterable<Uint8Array>;
  /** Undefined when the image is not on this machine. */
  imageStatus(name: string): Promise<ImageStatus | undefined>;
  platform(): Promise<Platform>;
  pullImage(name: string, options?: PullOptions): Promise<void>;
  /** What the registry has under the name now: `sha256:…`. */
  registryDigest(name: string, auth: RegistryAuth | undefined): Promise<string>;
  /**
   * Takes in what is in an archive as `docker save` writes it; `onLoaded` is told each tag, or id of what
   * has none, as it is there. Throws when the archive breaks off, too.
   */
  loadImages(archive: AsyncIterable<Uint8Array>, options?: LoadOptions): Promise<void>;
  /** An archive of the image by its id: no tag is in it. */
  saveImage(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** The name leaves the image that had it. */
  tagImage(id: string, name: string): Promise<void>;
  listImages(): Promise<readonly ImageStatus[]>;
  /** Idempotent. A conflict: a container of anybody's is made of it, running or not. */
  removeImage(image: ImageStatus): Promise<void>;
  /** The directory on this machine where images and containers' own layers lie. */
  storageDirectory(): Promise<string>;
  /** Bytes in the container's own layer; undefined when that can't be told. */
  containerDiskBytes(id: string): Promise<number | undefined>;
  /** On this machine, where the container's own layer lies; undefined when that can't be told. */
  containerDirectory(id: string): Promise<string | undefined>;
  /** Container state changes as they happen; throws when the engine goes away. */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
}

export type RuntimeErrorKind = 'unavailable' | 'notFound' | 'conflict' | 'timeout' | 'other';

export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly kind: RuntimeErrorKind;

  constructor(kind: RuntimeErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export function isRuntimeError(error: unknown, kind: RuntimeErrorKind): boolean {
  return error instanceof RuntimeError && error.kind === kind;
}

export function emptyPod(pod: PodRef): ObservedPod {
  return { pod, gracePeriodSeconds: 30, sandboxes: [], containers: [] };
}
