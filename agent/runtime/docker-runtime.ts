// The Runtime on Docker Engine. Holds no state of pods (labels do); remembers only what it learned
// about the engine: that the sandbox image and the network exist, and whether OOM scores below
// zero are allowed here.
import { networkInterfaces } from 'node:os';
import { Readable } from 'node:stream';
import type { Clock } from '#kube/base/clock.ts';
import type { AuthConfig, DockerClient, EngineFacts, LoadEvent } from './docker-client.ts';
import {
  containerBody,
  identityFilters,
  label,
  limitsBody,
  recreatedBody,
  sandboxBody,
  type NodeIdentity,
  type SandboxPlace,
} from './docker-config.ts';
import { decodeOutput, LogLines } from './docker-frames.ts';
import { DockerObserver } from './docker-observer.ts';
import {
  attachDockerProcess,
  endExec,
  exitCodeOf,
  processSystem,
  startDockerProcess,
  type DockerProcessDeps,
} from './docker-process.ts';
import { podCgroupName, type PodCgroups } from './pod-cgroup.ts';
import {
  bridgeName,
  freePodCidr,
  networkBody,
  networkName,
  type GivenNetwork,
  type PodNetwork,
} from './pod-network.ts';
import { emulatedArchitectures } from './emulation.ts';
import { PullLayers, type PullEvent } from './pull-progress.ts';
import {
  isRuntimeError,
  RuntimeError,
  type ContainerChange,
  type ContainerConfig,
  type ContainerLimits,
  type ContainerProcess,
  type ExecResult,
  type ImageStatus,
  type LoadOptions,
  type LogOptions,
  type ObservedPod,
  type PodRef,
  type Platform,
  type ProcessOptions,
  type PullOptions,
  type RegistryAuth,
  type Runtime,
  type RuntimeEvent,
  type RuntimeVersion,
  type SandboxConfig,
} from './runtime.ts';
import { sandboxImageName, sandboxImageTar, type SandboxArch } from './sandbox-image.ts';

export interface DockerRuntimeDeps {
  readonly client: () => DockerClient;
  readonly identity: NodeIdentity;
  readonly clock: Clock;
  /** Left out: pods get no cgroups of their own. */
  readonly podCgroups?: PodCgroups;
  /** What the cluster gave to this machine's pods; left out: any that is free here. */
  readonly givenNetwork?: GivenNetwork;
}

const defaultRootDirectory = '/var/lib/docker';
const execOutputLimitBytes = 10 * 1024;
const archOfDocker = { amd64: 'amd64', x86_64: 'amd64', arm64: 'arm64', aarch64: 'arm64' } as const;

export class DockerRuntime implements Runtime {
  readonly #deps: DockerRuntimeDeps;
  readonly #observer: DockerObserver;
  #mayLowerOomScore = true;
  #network: PodNetwork | undefined;
  #ensuring: Promise<PodNetwork> | undefined;
  #sandboxImage: Promise<void> | undefined;
  /** As the engine said when it was last asked for its version, that is since it last came up. */
  #facts: EngineFacts | undefined;

  constructor(deps: DockerRuntimeDeps) {
    this.#deps = deps;
    this.#observer = new DockerObserver(deps.client, identityFilters(deps.identity));
  }

  get #client(): DockerClient {
    return this.#deps.client();
  }

  async version(): Promise<RuntimeVersion> {
    this.#facts = await this.#client.facts();
    return { name: 'docker', version: this.#facts.version };
  }

  async #knownFacts(): Promise<EngineFacts> {
    return (this.#facts ??= await this.#client.facts());
  }

  listPods(): Promise<readonly ObservedPod[]> {
    return this.#observer.listPods();
  }

  getPod(pod: PodRef): Promise<ObservedPod> {
    return this.#observer.getPod(pod);
  }

  /** The pods' network, made when it is missing, and anew when the cluster gave another and no pod is in it. */
  async network(): Promise<PodNetwork> {
    const given = this.#deps.givenNetwork?.known();
    const known = this.#network;
    if (known !== undefined && (given === undefined || given === known.cidr)) return known;
    this.#ensuring ??= this.#ensureNetwork().finally(() => {
      this.#ensuring = undefined;
    });
    this.#network = await this.#ensuring;
    return this.#network;
  }

  async runSandbox(config: SandboxConfig): Promise<string> {
    this.#sandboxImage ??= this.#ensureSandboxImage().catch((error: unknown) => {
      this.#sandboxImage = undefined;
      throw error;
    });
    await this.#sandboxImage;
    const network = config.hostNetwork ? undefined : await this.network();
    // Several start at once: each has to know what itself asked for.
    const didLower = this.#mayLowerOomScore;
    try {
      return await this.#startSandbox(config, network);
    } catch (error) {
      // Somebody removed what we remembered (docker system prune): look again, once.
      const said = error instanceof Error ? error.message : '';
      if (/no such image|network .* not found/i.test(said)) {
        this.#network = undefined;
        this.#sandboxImage = undefined;
      }
      if (!didLower || !/oom_score_adj|final child|permission denied/i.test(said)) throw error;
      this.#mayLowerOomScore = false;
      return this.#startSandbox(config, network);
    }
  }

  async #startSandbox(config: SandboxConfig, network: PodNetwork | undefined): Promise<string> {
    const { pod, limits } = config;
    try {
      const cgroupParent = limits === undefined ? undefined : await this.#podCgroup(pod, limits);
      const place = { ...this.#place(network), ...(cgroupParent && { cgroupParent }) };
      const id = await this.#create(sandboxBody(config, place));
      try {
        await this.#client.startContainer(id);
        return id;
      } catch (error) {
        await this.removeContainer(id);
        throw error;
      }
    } catch (error) {
      // Why it did not start is what counts; the next try makes use of what could not be removed.
      if (limits !== undefined) await this.#dropPodCgroup(pod).catch(() => undefined);
      throw error;
    }
  }

  /** Undefined: pods have none here. Made anew or brought up to date when `limits` are given. */
  async #podCgroup(pod: PodRef, limits?: ContainerLimits): Promise<string | undefined> {
    const { podCgroups } = this.#deps;
    if (podCgroups === undefined) return undefined;
    const facts = await this.#knownFacts();
    if (limits !== undefined)
      await podCgroups.make(pod.uid, limits, facts).catch((error: unknown) => {
        throw new RuntimeError('other', `the pod's cgroup: ${String(error)}`, { cause: error });
      });
    return podCgroupName(pod.uid, facts);
  }

  #place(network: PodNetwork | undefined): SandboxPlace {
    return {
      identity: this.#deps.identity,
      networkName: network?.name ?? 'host',
      mayLowerOomScore: this.#mayLowerOomScore,
      engineDirectory: this.#facts?.rootDir ?? defaultRootDirectory,
    };
  }

  /** Creates; a leftover of the same name (the agent died in between) makes room first. */
  async #create(body: Parameters<DockerClient['createContainer']>[0]): Promise<string> {
    try {
      return await this.#client.createContainer(body);
    } catch (error) {
      if (!isRuntimeError(error, 'conflict') || body.name === undefined) throw error;
      const leftover = await this.#client.inspectContainer(body.name);
      if (leftover.State.Running) throw error;
      await this.#client.removeContainer(leftover.Id);
      return this.#client.createContainer(body);
    }
  }

  async stopSandbox(id: string): Promise<void> {
    this.#observer.forget(id);
    // Its program is PID 1 without handlers: only SIGKILL ends it. Already stopped is a conflict.
    await this.#unless(['notFound', 'conflict'], () => this.#client.killContainer(id));
  }

  async removeSandbox(id: string): Promise<void> {
    const pod = this.#observer.podOfCgroup(id);
    await this.removeContainer(id);
    if (pod !== undefined) await this.#dropPodCgroup(pod);
  }

  /** If nothing of the pod is left. */
  async #dropPodCgroup(pod: PodRef): Promise<void> {
    const { podCgroups } = this.#deps;
    if (podCgroups === undefined) return;
    const { sandboxes, containers } = await this.getPod(pod);
    if (sandboxes.length + containers.length === 0)
      await podCgroups.remove(pod.uid, await this.#knownFacts());
  }

  async createContainer(config: ContainerConfig): Promise<string> {
    await this.#knownFacts();
    const cgroupParent = config.inPodCgroup ? await this.#podCgroup(config.pod) : undefined;
    const parent = cgroupParent && { cgroupParent };
    const place = { ...this.#place(undefined), ...parent };
    if (config.resources.oomScoreAdj >= 0 || !place.mayLowerOomScore)
      return this.#create(containerBody(config, place));
    // After a restart of the agent the sandbox tells what this machine allowed.
    const sandbox = await this.#client.inspectContainer(config.sandboxId);
    this.#mayLowerOomScore = (sandbox.HostConfig.OomScoreAdj ?? 0) < 0;
    return this.#create(containerBody(config, { ...this.#place(undefined), ...parent }));
  }

  async recreateContainer(id: string, change: ContainerChange): Promise<string> {
    return this.#create(recreatedBody(await this.#client.inspectContainer(id), change));
  }

  async startContainer(id: string): Promise<void> {
    this.#observer.forget(id);
    await this.#unless(['conflict'], () => this.#client.startContainer(id));
    this.#observer.forget(id);
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    this.#observer.forget(id);
    // Docker takes a grace of 0 as "kill at once".
    await this.#unless(['notFound', 'conflict'], () =>
      this.#client.stopContainer(id, graceSeconds),
    );
    this.#observer.forget(id);
  }

  async updateLimits(id: string, limits: ContainerLimits): Promise<void> {
    await this.#client.updateContainer(id, limitsBody(limits));
    this.#observer.forget(id);
  }

  async removeContainer(id: string): Promise<void> {
    this.#observer.forget(id);
    // A conflict: its removal is already under way.
    await this.#unless(['notFound', 'conflict'], () => this.#client.removeContainer(id));
  }

  async #unless(kinds: readonly RuntimeError['kind'][], call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (!kinds.some((kind) => isRuntimeError(error, kind))) throw error;
    }
  }

  async exec(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const { id: execId, output } = await this.#client.exec(id, command);
    let timedOut = false;
    const timer = this.#deps.clock.timer(timeoutMs, () => {
      timedOut = true;
      output.destroy();
    });
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    try {
      for await (const bytes of decodeOutput(output, false)) {
        if (sizeBytes < execOutputLimitBytes) parts.push(bytes);
        sizeBytes += bytes.length;
      }
    } catch (error) {
      if (!timedOut) throw new RuntimeError('other', String(error), { cause: error });
    } finally {
      timer.cancel();
    }
    const text = Buffer.concat(parts).subarray(0, execOutputLimitBytes).toString();
    if (timedOut) {
      // It would run on, and the next probe would start another one beside it.
      await endExec(this.#processDeps(), id, execId);
      throw new RuntimeError('timeout', `command timed out after ${timeoutMs / 1000}s`);
    }
    return { exitCode: await exitCodeOf(this.#processDeps(), execId), output: text };
  }

  startProcess(id: string, options: ProcessOptions): Promise<ContainerProcess> {
    return startDockerProcess(this.#processDeps(), id, options);
  }

  attach(id: string, options: Omit<ProcessOptions, 'command'>): Promise<ContainerProcess> {
    return attachDockerProcess(this.#processDeps(), id, options);
  }

  #processDeps(): DockerProcessDeps {
    return { client: this.#client, clock: this.#deps.clock, system: processSystem };
  }

  async *logs(id: string, options: LogOptions): AsyncIterable<Uint8Array> {
    const details = await this.#client.inspectContainer(id);
    // With a terminal there are no frames to tell lines by.
    const lines = details.Config.Tty ? undefined : new LogLines(options);
    const stream = await this.#client.logs(id, {
      follow: options.follow,
      stdout: true,
      stderr: true,
      timestamps: options.timestamps || lines !== undefined,
      tail: options.tailLines ?? 'all',
      since: options.sinceMs === undefined ? 0 : (options.sinceMs / 1000).toFixed(3),
    });
    const stop = () => stream.destroy();
    options.signal.addEventListener('abort', stop);
    try {
      if (options.signal.aborted) return;
      yield* decodeOutput(stream, details.Config.Tty, lines);
    } catch (error) {
      if (!options.signal.aborted) throw error;
    } finally {
      options.signal.removeEventListener('abort', stop);
      stream.destroy();
    }
  }

  async imageStatus(name: string): Promise<ImageStatus | undefined> {
    try {
      const image = await this.#client.inspectImage(name);
      return {
        id: image.Id,
        names: [...(image.RepoTags ?? []), ...(image.RepoDigests ?? [])],
        sizeBytes: image.Size,
        user: image.Config?.User ?? '',
        isPulled: isPulled(image, await this.#knownFacts()),
        os: image.Os,
        architecture: image.Architecture,
        createdAtMs: Date.parse(image.Created) || 0,
      };
    } catch (error) {
      if (isRuntimeError(error, 'notFound')) return undefined;
      throw error;
    }
  }

  async platform(): Promise<Platform> {
    const { os, arch, digestsTellPulls, runtimes } = await this.#knownFacts();
    return {
      os,
      architecture: arch,
      emulated: await emulatedArchitectures(process.platform),
      imageIds: digestsTellPulls ? 'config' : 'manifest',
      runtimes,
    };
  }

  async pullImage(name: string, { auth, signal, onProgress }: PullOptions = {}): Promise<void> {
    const layers = new PullLayers();
    const onEvent = (event: PullEvent): void => onProgress?.(layers.take(event));
    await this.#client.pullImage(withTag(name), { auth: configOf(auth), signal, onEvent });
  }

  registryDigest(name: string, auth: RegistryAuth | undefined): Promise<string> {
    return this.#client.registryDigest(withTag(name), configOf(auth));
  }

  async loadImages(
    archive: AsyncIterable<Uint8Array>,
    { onLoaded, onProgress, signal }: LoadOptions = {},
  ): Promise<void> {
    const onEvent = ({ stream = '', progressDetail: { current, total } = {} }: LoadEvent): void => {
      const name = /^Loaded image(?: ID)?: (\S+)/.exec(stream)?.[1];
      if (name !== undefined) onLoaded?.(name);
      if (current !== undefined && total !== undefined) onProgress?.(current, total);
    };
    await this.#client.loadImages(archive, onEvent, signal);
  }

  saveImage(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#client.saveImage(id, signal);
  }

  async tagImage(id: string, name: string): Promise<void> {
    const full = withTag(name);
    const colon = full.lastIndexOf(':');
    await this.#client.tagImage(id, full.slice(0, colon), full.slice(colon + 1));
  }

  async listImages(): Promise<readonly ImageStatus[]> {
    const images = await this.#client.listImages();
    const facts = await this.#knownFacts();
    return images.map((image) => ({
      id: image.Id,
      names: [...(image.RepoTags ?? []), ...(image.RepoDigests ?? [])],
      sizeBytes: image.Size,
      user: '',
      isPulled: isPulled(image, facts),
      os: '',
      architecture: '',
      createdAtMs: image.Created * 1000,
    }));
  }

  async removeImage({ id, names }: ImageStatus): Promise<void> {
    // Docker would take away a name from an image in use, as long as it has another.
    const [user] = await this.#client.listContainers({ ancestor: [id] });
    if (user !== undefined)
      throw new RuntimeError('conflict', `image ${id} is used by container ${user.Id}`);
    // It takes no id of an image that has several names. A digest goes with its repository's last tag.
    const tags = names.filter((name) => !name.includes('@') && name !== '<none>:<none>');
    for (const name of tags.length === 0 ? [id] : tags)
      await this.#client.removeImage(name).catch((error: unknown) => {
        if (!isRuntimeError(error, 'notFound')) throw error;
      });
  }

  async storageDirectory(): Promise<string> {
    return (await this.#knownFacts()).rootDir;
  }

  containerDiskBytes(id: string): Promise<number | undefined> {
    return this.#client.containerSizeBytes(id);
  }

  /** Of Docker's own drivers; containerd's image store tells of none. */
  async containerDirectory(id: string): Promise<string | undefined> {
    const { GraphDriver } = (await this.#client.inspectContainer(id)) as {
      readonly GraphDriver?: { readonly Data?: { readonly UpperDir?: string } | null };
    };
    return GraphDriver?.Data?.UpperDir;
  }

  async *events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const filters = {
      type: ['container'],
      event: ['start', 'die', 'oom', 'destroy', 'pause', 'unpause'],
      label: identityFilters(this.#deps.identity),
    };
    const stream = await this.#client.events(filters, signal);
    let pending = '';
    try {
      for await (const chunk of stream) {
        const lines = (pending + String(chunk)).split('\n');
        pending = lines.pop() ?? '';
        for (const line of lines) {
          const event = runtimeEvent(line);
          if (event === undefined) continue;
          this.#observer.forget(event.containerId);
          yield event;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      throw new RuntimeError('unavailable', `event stream: ${String(error)}`, { cause: error });
    }
    if (!signal.aborted) throw new RuntimeError('unavailable', 'the engine ended its event stream');
  }

  async #ensureSandboxImage(): Promise<void> {
    if ((await this.imageStatus(sandboxImageName)) !== undefined) return;
    const { arch } = await this.#knownFacts();
    const known: Partial<Record<string, SandboxArch>> = archOfDocker;
    const name = known[arch];
    if (name === undefined)
      throw new RuntimeError('other', `no sandbox program for the processor architecture ${arch}`);
    await this.loadImages(Readable.from([await sandboxImageTar(name)]));
  }

  /** What the pods' network is on this engine; undefined: it is not made yet. */
  async foundNetwork(): Promise<PodNetwork | undefined> {
    const { clusterId } = this.#deps.identity;
    const name = networkName(clusterId);
    const existing = (await this.#client.listNetworks()).find((network) => network.Name === name);
    const cidr = existing?.IPAM?.Config?.[0]?.Subnet;
    return cidr === undefined ? undefined : { name, bridge: bridgeName(clusterId), cidr };
  }

  /** One with pods in it stays as it is, whatever the cluster gave since: they would have to end. */
  async #ensureNetwork(): Promise<PodNetwork> {
    const { identity, givenNetwork } = this.#deps;
    const found = await this.foundNetwork();
    const given = givenNetwork?.known();
    const isAsGiven = given === undefined || given === found?.cidr;
    if (found !== undefined && (isAsGiven || (await this.#client.isNetworkUsed(found.name))))
      return found;
    const cidr = (await givenNetwork?.wait()) ?? (await this.#freeCidr());
    if (found !== undefined) await this.#client.removeNetwork(found.name);
    const { version } = await this.#knownFacts();
    const body = networkBody(identity.clusterId, cidr, version);
    await this.#client.createNetwork({ ...body, Labels: { [label.cluster]: identity.clusterId } });
    return { name: body.Name, bridge: bridgeName(identity.clusterId), cidr };
  }

  async #freeCidr(): Promise<string> {
    const networks = await this.#client.listNetworks();
    const ofDocker = networks.flatMap((network) => network.IPAM?.Config ?? []);
    const ofMachine = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
    const cidr = freePodCidr([
      ...ofDocker.map((entry) => entry.Subnet ?? ''),
      ...ofMachine.map((entry) => entry.cidr ?? ''),
    ]);
    if (cidr === undefined)
      throw new RuntimeError('other', 'no free /24 left in 10.244.0.0/16 for the pod network');
    return cidr;
  }
}

function configOf(auth: RegistryAuth | undefined): AuthConfig | undefined {
  if (auth === undefined) return undefined;
  const { username, password, serverAddress: serveraddress } = auth;
  return { username, password, serveraddress };
}

/** Docker's pull takes every tag of a name that has none. */
function withTag(name: string): string {
  const last = name.slice(name.lastIndexOf('/') + 1);
  return /[:@]/.test(last) ? name : `${name}:latest`;
}

function runtimeEvent(line: string): RuntimeEvent | undefined {
  if (line.trim() === '') return undefined;
  const event = JSON.parse(line) as {
    Actor?: { ID?: string; Attributes?: Record<string, string> };
  };
  const podUid = event.Actor?.Attributes?.[label.podUid];
  return podUid === undefined ? undefined : { podUid, containerId: event.Actor?.ID ?? '' };
}

function isPulled(
  { RepoDigests }: { readonly RepoDigests?: readonly string[] | null },
  { digestsTellPulls }: EngineFacts,
): boolean {
  return digestsTellPulls && (RepoDigests ?? []).some((digest) => digest !== '<none>@<none>');
}
