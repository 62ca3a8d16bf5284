// A Runtime in memory, for tests and for the bench: containers "run" until somebody ends them.
// It follows the same contract as Docker's (test/conformance/runtime.ts), so what the kubelet does
// against it, it does against Docker.
import { type Clock } from '#kube/base/clock.ts';
import { packImages, unpackImages } from './fake-archive.ts';
import { echo, fakeProcess, type ProcessProgram } from './fake-process.ts';
import {
  emptyPod,
  RuntimeError,
  type ContainerChange,
  type ContainerConfig,
  type ContainerLimits,
  type ContainerProcess,
  type ContainerStatus,
  type ExecResult,
  type ImageIds,
  type ImageStatus,
  type LoadOptions,
  type LogOptions,
  type ObservedPod,
  type PodRef,
  type Platform,
  type ProcessOptions,
  type PullOptions,
  type PullProgress,
  type Runtime,
  type RuntimeEvent,
  type SandboxConfig,
  type SandboxStatus,
} from './runtime.ts';

interface FakeSandbox {
  readonly config: SandboxConfig;
  status: SandboxStatus;
}

interface FakeContainer {
  readonly config: ContainerConfig;
  status: ContainerStatus;
  readonly lines: string[];
  readonly ended: (() => void)[];
}

/** No process of this machine has such a number. */
function pid(number: number): number {
  return 10_000_000 + number;
}

function limitsOf({ cpuShares, cpuQuotaMicros, memoryBytes }: ContainerLimits): ContainerLimits {
  return { cpuShares, cpuQuotaMicros, memoryBytes };
}

export type ExecHandler = (id: string, command: readonly string[]) => Promise<ExecResult>;

export class FakeRuntime implements Runtime {
  readonly #clock: Clock;
  readonly #sandboxes = new Map<string, FakeSandbox>();
  readonly #containers = new Map<string, FakeContainer>();
  readonly #images = new Map<string, ImageStatus>();
  readonly #listeners = new Set<(event: RuntimeEvent | undefined) => void>();
  #nextId = 1;
  #down = false;
  /** Every call that changes something, in order: `start web`, `stop web 30`, … */
  readonly calls: string[] = [];
  /** Images that can be pulled; undefined: all. */
  pullable: ReadonlySet<string> | undefined;
  /** Names of containers that ignore SIGTERM: stopped only by the grace period's end. */
  readonly stubborn = new Set<string>();
  /** Names of containers that can't be started, and why. */
  readonly unstartable = new Map<string, string>();
  /** Names of containers whose limits can't be changed, and why. */
  readonly unresizable = new Map<string, string>();
  /** What a pull goes through before it is done; throws to fail it. */
  onPull: (
    name: string,
    tell: (progress: PullProgress) => void,
    options: PullOptions,
  ) => Promise<void> = async () => {};
  /** What the registry says of a tag. */
  onDigest: (name: string) => Promise<string> = async (name) => `sha256:${name}`;
  imageIds: ImageIds = 'config';
  /** What processes that are talked to do; by default they say what they hear. */
  onProcess: ProcessProgram = echo;
  onExec: ExecHandler = async () => ({ exitCode: 0, output: '' });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async version() {
    this.#check();
    return { name: 'fake', version: '1.0.0' };
  }

  async listPods(): Promise<readonly ObservedPod[]> {
    this.#check();
    const pods = new Map<string, PodRef>();
    for (const { config } of this.#sandboxes.values()) pods.set(config.pod.uid, config.pod);
    for (const { config } of this.#containers.values()) pods.set(config.pod.uid, config.pod);
    return [...pods.values()].map((pod) => this.#observe(pod));
  }

  async getPod(pod: PodRef): Promise<ObservedPod> {
    this.#check();
    return this.#observe(pod);
  }

  #observe(pod: PodRef): ObservedPod {
    const sandboxes = [...this.#sandboxes.values()].filter(
      ({ config }) => config.pod.uid === pod.uid,
    );
    const containers = [...this.#containers.values()].filter(
      ({ config }) => config.pod.uid === pod.uid,
    );
    const { gracePeriodSeconds: grace, memo } = sandboxes.at(-1)?.config ?? {};
    return {
      pod,
      gracePeriodSeconds: grace ?? emptyPod(pod).gracePeriodSeconds,
      ...(memo === undefined ? {} : { memo }),
      sandboxes: sandboxes.map(({ status }) => status).toReversed(),
      containers: containers
        .map(({ status }) => status)
        .toReversed()
        .sort((a, b) => b.attempt - a.attempt),
    };
  }

  async runSandbox(config: SandboxConfig): Promise<string> {
    this.#check();
    const number = this.#nextId++;
    const id = `sandbox-${number}`;
    const ip = config.hostNetwork ? '' : `10.244.${number >> 8}.${number & 255}`;
    const { attempt, hostNetwork } = config;
    const createdAtMs = this.#clock.now();
    const status = { id, attempt, ready: true, ip, pid: pid(number), createdAtMs, hostNetwork };
    this.#sandboxes.set(id, { config, status });
    this.#did(`run sandbox ${config.pod.name}`, config.pod.uid, id);
    return id;
  }

  async stopSandbox(id: string): Promise<void> {
    this.#check();
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined || !sandbox.status.ready) return;
    sandbox.status = { ...sandbox.status, ready: false, pid: 0, ip: '' };
    this.#did(`stop sandbox ${sandbox.config.pod.name}`, sandbox.config.pod.uid, id);
  }

  async removeSandbox(id: string): Promise<void> {
    this.#check();
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    this.#sandboxes.delete(id);
    this.#did(`remove sandbox ${sandbox.config.pod.name}`, sandbox.config.pod.uid, id);
  }

  async createContainer(config: ContainerConfig): Promise<string> {
    this.#check();
    const image = this.#images.get(config.image);
    if (image === undefined) throw new RuntimeError('notFound', `No such image: ${config.image}`);
    const id = `container-${this.#nextId++}`;
    const status: ContainerStatus = {
      id,
      name: config.name,
      sandboxId: config.sandboxId,
      attempt: config.attempt,
      specHash: config.specHash,
      state: 'created',
      pid: 0,
      createdAtMs: this.#clock.now(),
      startedAtMs: 0,
      finishedAtMs: 0,
      exitCode: 0,
      oomKilled: false,
      error: '',
      image: config.image,
      imageId: image.id,
      tty: config.tty,
      terminationMessageHostPath: config.terminationMessageHostPath,
      limits: limitsOf(config.resources),
      askedLimits: limitsOf(config.resources),
      ...(config.gpus === undefined ? {} : { gpus: config.gpus }),
    };
    this.#containers.set(id, { config, status, lines: [], ended: [] });
    this.#did(`create ${config.name}`, config.pod.uid, id);
    return id;
  }

  async recreateContainer(id: string, change: ContainerChange): Promise<string> {
    const { config } = this.#container(id);
    this.calls.push(`recreate ${config.name}`);
    return this.createContainer({ ...config, ...change });
  }

  async startContainer(id: string): Promise<void> {
    const container = this.#container(id);
    const error = this.unstartable.get(container.config.name);
    if (error !== undefined) {
      const atMs = this.#clock.now();
      const ended = { state: 'exited', startedAtMs: atMs, finishedAtMs: atMs } as const;
      container.status = { ...container.status, ...ended, exitCode: 127, error };
      throw new RuntimeError('other', error);
    }
    const startedAtMs = this.#clock.now();
    container.status = {
      ...container.status,
      state: 'running',
      startedAtMs,
      pid: pid(this.#nextId++),
    };
    this.#did(`start ${container.config.name}`, container.config.pod.uid, id);
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    this.#check();
    const container = this.#containers.get(id);
    if (container === undefined || container.status.state !== 'running') return;
    this.calls.push(`stop ${container.config.name} ${graceSeconds}`);
    if (!this.stubborn.has(container.config.name)) return this.exitContainer(id, 143);
    await new Promise<void>((resolve) => {
      container.ended.push(resolve);
      this.#clock.timer(graceSeconds * 1000, () => this.exitContainer(id, 137));
    });
  }

  async updateLimits(id: string, limits: ContainerLimits): Promise<void> {
    const container = this.#container(id);
    const error = this.unresizable.get(container.config.name);
    if (error !== undefined) throw new RuntimeError('other', error);
    container.status = { ...container.status, limits: limitsOf(limits) };
    this.calls.push(`update ${container.config.name}`);
  }

  async removeContainer(id: string): Promise<void> {
    this.#check();
    const container = this.#containers.get(id);
    if (container === undefined) return;
    this.exitContainer(id, 137);
    this.#containers.delete(id);
    this.#did(`remove ${container.config.name}`, container.config.pod.uid, id);
  }

  async exec(id: string, command: readonly string[], _timeoutMs: number): Promise<ExecResult> {
    if (this.#container(id).status.state !== 'running')
      throw new RuntimeError('conflict', `Container ${id} is not running`);
    return this.onExec(id, command);
  }

  async startProcess(id: string, options: ProcessOptions): Promise<ContainerProcess> {
    if (this.#container(id).status.state !== 'running')
      throw new RuntimeError('conflict', `Container ${id} is not running`);
    return fakeProcess(options, this.calls, this.onProcess);
  }

  async attach(id: string, options: Omit<ProcessOptions, 'command'>): Promise<ContainerProcess> {
    return this.startProcess(id, { ...options, command: ['attach'] });
  }

  async *logs(id: string, options: LogOptions): AsyncIterable<Uint8Array> {
    const { lines } = this.#container(id);
    const wanted =
      options.tailLines === undefined ? lines : lines.slice(-options.tailLines || lines.length);
    for (const line of wanted) yield new TextEncoder().encode(`${line}\n`);
  }

  async imageStatus(name: string): Promise<ImageStatus | undefined> {
    this.#check();
    return this.#images.get(name) ?? this.#imageOf(name);
  }

  async platform(): Promise<Platform> {
    this.#check();
    return {
      os: 'linux',
      architecture: 'amd64',
      emulated: [],
      imageIds: this.imageIds,
      runtimes: [],
    };
  }

  async pullImage(name: string, options: PullOptions = {}): Promise<void> {
    this.#check();
    this.calls.push(`pull ${name}`);
    await this.onPull(name, (progress) => options.onProgress?.(progress), options);
    if (this.pullable !== undefined && !this.pullable.has(name))
      throw new RuntimeError('notFound', `manifest for ${name} not found: manifest unknown`);
    this.addImage(name, { isPulled: true });
  }

  async registryDigest(name: string): Promise<string> {
    this.#check();
    this.calls.push(`ask for ${name}`);
    return this.onDigest(name);
  }

  async loadImages(
    archive: AsyncIterable<Uint8Array>,
    { onLoaded, onProgress }: LoadOptions = {},
  ): Promise<void> {
    const images = await unpackImages(archive);
    this.#check();
    for (const image of images) {
      // As Docker does, which takes in what comes before.
      if (image.sizeBytes < 0) throw new RuntimeError('other', 'invalid layer');
      onProgress?.(image.sizeBytes, image.sizeBytes);
      const known = this.#imageOf(image.id)?.names ?? [];
      this.#put({ ...image, names: [...new Set([...known, ...image.names])] });
      for (const name of image.names.length === 0 ? [image.id] : image.names) {
        this.calls.push(`load ${name}`);
        onLoaded?.(name);
      }
    }
  }

  /** Its names leave the images that had them. */
  #put(image: ImageStatus): void {
    for (const name of image.names) {
      const old = this.#images.get(name);
      this.#images.delete(name);
      if (old !== undefined && old.id !== image.id)
        this.#put({ ...old, names: old.names.filter((other) => other !== name) });
    }
    this.#images.delete(image.id);
    for (const key of image.names.length === 0 ? [image.id] : image.names)
      this.#images.set(key, image);
  }

  async saveImage(id: string): Promise<AsyncIterable<Uint8Array>> {
    this.#check();
    const image = this.#imageOf(id);
    if (image === undefined) throw new RuntimeError('notFound', `No such image: ${id}`);
    this.calls.push(`save ${id}`);
    return packImages([{ ...image, names: [], isPulled: false }]);
  }

  async tagImage(id: string, name: string): Promise<void> {
    this.#check();
    const image = this.#imageOf(id);
    if (image === undefined) throw new RuntimeError('notFound', `No such image: ${id}`);
    this.#put({ ...image, names: [...new Set([...image.names, name])] });
    this.calls.push(`tag ${id} ${name}`);
  }

  #imageOf(id: string): ImageStatus | undefined {
    return [...this.#images.values()].find((image) => image.id === id);
  }

  async listImages(): Promise<readonly ImageStatus[]> {
    this.#check();
    return [...this.#images.values()];
  }

  async removeImage({ id, names }: ImageStatus): Promise<void> {
    this.#check();
    if ([...this.#containers.values()].some(({ status }) => status.imageId === id))
      throw new RuntimeError('conflict', `image ${id} is used by a container`);
    for (const name of [id, ...names]) this.#images.delete(name);
  }

  async storageDirectory(): Promise<string> {
    return '/';
  }

  async containerDiskBytes(id: string): Promise<number | undefined> {
    this.#container(id);
    return 4096;
  }

  async containerDirectory(): Promise<undefined> {
    return undefined;
  }

  async *events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    this.#check();
    const queue: (RuntimeEvent | undefined)[] = [];
    let wake: () => void = () => {};
    const listener = (event: RuntimeEvent | undefined) => {
      queue.push(event);
      wake();
    };
    const stop = () => wake();
    this.#listeners.add(listener);
    signal.addEventListener('abort', stop);
    try {
      while (!signal.aborted) {
        while (queue.length > 0) {
          const event = queue.shift();
          if (event === undefined) throw new RuntimeError('unavailable', 'the engine stopped');
          yield event;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted || queue.length > 0) resolve();
        });
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener('abort', stop);
    }
  }

  // What tests and the bench do from outside.

  addImage(name: string, more: Partial<ImageStatus> = {}): void {
    const id = `sha256:${name}`;
    const platform = { os: 'linux', architecture: 'amd64' };
    const facts = { sizeBytes: 1_000_000, user: '', isPulled: false, createdAtMs: 0, ...platform };
    const image = { id, names: [name], ...facts, ...more };
    // It has a name now.
    this.#images.delete(image.id);
    this.#images.set(name, image);
  }

  addLog(id: string, line: string): void {
    this.#container(id).lines.push(line);
  }

  /** The container's program ends by itself, or is killed from outside. */
  exitContainer(id: string, exitCode: number): void {
    const container = this.#containers.get(id);
    if (container === undefined || container.status.state !== 'running') return;
    const finishedAtMs = this.#clock.now();
    container.status = { ...container.status, state: 'exited', exitCode, finishedAtMs, pid: 0 };
    for (const resolve of container.ended.splice(0)) resolve();
    this.#did(`exit ${container.config.name} ${exitCode}`, container.config.pod.uid, id);
  }

  running(podUid: string, name: string): ContainerStatus | undefined {
    const found = [...this.#containers.values()].find(
      ({ config, status }) =>
        config.pod.uid === podUid && config.name === name && status.state === 'running',
    );
    return found?.status;
  }

  configOf(id: string): ContainerConfig {
    return this.#container(id).config;
  }

  /** The engine goes away, or comes back. */
  setDown(down: boolean): void {
    this.#down = down;
    if (down) for (const listener of this.#listeners) listener(undefined);
  }

  #did(call: string, podUid: string, containerId: string): void {
    this.calls.push(call);
    for (const listener of this.#listeners) listener({ podUid, containerId });
  }

  #container(id: string): FakeContainer {
    this.#check();
    const container = this.#containers.get(id);
    if (container === undefined) throw new RuntimeError('notFound', `No such container: ${id}`);
    return container;
  }

  #check(): void {
    if (this.#down) throw new RuntimeError('unavailable', 'the fake engine is down');
  }
}
