// Puts the agent's parts together: engine, runtime, kubelet, node registration, metrics, the
// kubelet's server, the service proxy. Starts them in order; stopping leaves containers alone.
import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { ApiEventRecorder } from '#kube/client/event-recorder.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import {
  endpointSlices,
  nodes,
  persistentVolumes,
  pods,
  services,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { Node, NodeStatus } from '#kube/api/core.ts';
import { podQosClass } from '#kube/machinery/qos.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { EngineInstaller } from './engine/engine-installer.ts';
import { EngineKeeper, installEngineAnnotation } from './engine/engine-keeper.ts';
import { engineProblem, findSocket, type EngineEnvironment } from './engine/engine-socket.ts';
import { installFacts, systemCommands } from './engine/system-commands.ts';
import { Kubelet } from './kubelet/kubelet.ts';
import { readMachineFacts } from './kubelet/node/machine-facts.ts';
import { NodeRegistrar } from './kubelet/node/node-registrar.ts';
import { computeNodeStatus, nodeLabels, type MachineFacts } from './kubelet/node/node-status.ts';
import { PressureKeeper, systemDiskSpace } from './kubelet/pressure/pressure-keeper.ts';
import { systemDialer } from './kubelet/server/pod-dialer.ts';
import { Routes } from './kubelet/server/routes.ts';
import { KubeletServer } from './kubelet/server/server.ts';
import { Streams } from './kubelet/server/streams.ts';
import { ClaimSource } from './kubelet/volumes/claims/claim-source.ts';
import { LocalVolumes } from './kubelet/volumes/claims/local-volumes.ts';
import { readMachine } from './kubelet/volumes/disks/machine-disks.ts';
import { systemMounter } from './kubelet/volumes/disks/mounter.ts';
import { Volumes } from './kubelet/volumes/volumes.ts';
import { systemCgroups } from './metrics/cgroup.ts';
import { Collector } from './metrics/collector.ts';
import { Targets } from './metrics/targets.ts';
import { startProxy, type ProxyStatus } from './proxy/proxy.ts';
import { proxySystem } from './proxy/system.ts';
import { DockerClient } from './runtime/docker-client.ts';
import { DockerRuntime } from './runtime/docker-runtime.ts';
import { FakeRuntime } from './runtime/fake-runtime.ts';
import { bridgeName, shortClusterId } from './runtime/pod-network.ts';
import type { ImageStatus, Runtime } from './runtime/runtime.ts';
import { messageOf } from './error-message.ts';

export interface NodeAgentDeps {
  readonly client: RestClient;
  readonly clusterId: string;
  readonly nodeName: string;
  readonly dataDirectory: string;
  readonly logDirectory: string;
  readonly runtimeName: 'docker' | 'fake';
  readonly mayInstall: boolean;
  readonly serviceCidr: string;
  readonly server: {
    readonly certPem: string;
    readonly keyPem: string;
    readonly caPem: string;
    readonly bindAddress: string;
    readonly port: number;
  };
  readonly userId: number;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** A sentence for the person. */
  readonly say: (sentence: string) => void;
  /** The node's Ready condition, each time a status was written. */
  readonly onReady: (isReady: boolean, message: string) => void;
}

const imagesRefreshMs = 300_000;
export const proxyModeAnnotation = 'flotilla.dev/proxy-mode';
export const proxyReasonAnnotation = 'flotilla.dev/proxy-reason';

export class NodeAgent {
  readonly #deps: NodeAgentDeps;
  readonly #stopping = new AbortController();
  readonly #environment: EngineEnvironment;
  readonly #runtime: Runtime;
  readonly #targets: Targets;
  readonly #events: ApiEventRecorder;
  readonly #registrar: NodeRegistrar;
  readonly #engine: EngineKeeper;
  readonly #volumes: Volumes;
  readonly #claims: ClaimSource;
  #pressure: PressureKeeper | undefined;
  #facts: MachineFacts | undefined;
  #images: readonly ImageStatus[] = [];
  #imagesAtMs = -Infinity;
  #kubeletPort = 0;
  #server: KubeletServer | undefined;

  constructor(deps: NodeAgentDeps) {
    this.#deps = deps;
    const { clock, client, logger, nodeName: host, variables, userId } = deps;
    this.#environment = { variables, isRoot: userId === 0 };
    this.#runtime = this.#makeRuntime();
    this.#targets = new Targets(this.#runtime);
    this.#events = new ApiEventRecorder({ client, clock, logger, component: 'kubelet', host });
    this.#registrar = new NodeRegistrar({
      client,
      events: this.#events,
      clock,
      logger,
      nodeName: host,
      annotations: { [localPath.folderAnnotation]: this.#volumesFolder },
      labels: async () => nodeLabels(host, await this.#readFacts()),
      status: (previous) => this.#nodeStatus(previous),
      onWritten: (status) => this.#onStatusWritten(status),
      signal: this.#stopping.signal,
    });
    this.#engine = this.#makeEngineKeeper();
    this.#claims = new ClaimSource({ client, nodeName: host });
    this.#volumes = new Volumes({
      rootDirectory: path.join(deps.dataDirectory, 'pods'),
      mounter: systemMounter,
      isRoot: this.#environment.isRoot,
      machine: () => readMachine(host, systemMounter),
      recordDisk: (...disk) => this.#claims.recordDisk(...disk),
    });
  }

  /** Resolves when everything runs; the node may not be Ready yet. */
  async start(): Promise<void> {
    const { client, clock, random, logger, nodeName } = this.#deps;
    const { signal } = this.#stopping;
    const facts = await this.#readFacts();
    const informers = new InformerFactory({ client, clock, random, logger });
    const kubelet = this.#makeKubelet(informers, facts);
    const collector = this.#makeCollector();
    await this.#startServer(kubelet, collector, facts);
    this.#startPressureKeeper(kubelet, collector);
    if (this.#deps.runtimeName === 'docker') void this.#engine.installAtStart();
    const running = kubelet.start();
    await this.#startProxy(informers);
    const own = informers.informer<Node>(nodes, { fieldSelector: `metadata.name=${nodeName}` });
    own.addHandler({
      onAdd: (node) => void this.#engine.onNode(node),
      onUpdate: (_old, node) => void this.#engine.onNode(node),
      onDelete: () => this.#registrar.trigger(),
    });
    this.#startLocalVolumes(informers);
    informers.start(signal);
    await running;
  }

  /** Containers keep running; commands that somebody ran in them end. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#server?.stop();
  }

  #makeRuntime(): Runtime {
    const { clock, clusterId, nodeName, runtimeName } = this.#deps;
    if (runtimeName === 'fake') return new FakeRuntime(clock);
    let socketPath = '';
    let client: DockerClient | undefined;
    const connect = () => {
      // Docker may be installed while we run, and its socket appear elsewhere than first thought.
      const found = findSocket(this.#environment);
      if (client === undefined || found !== socketPath) client = new DockerClient(found);
      socketPath = found;
      return client;
    };
    return new DockerRuntime({ client: connect, identity: { clusterId, nodeName }, clock });
  }

  #makeEngineKeeper(): EngineKeeper {
    const { clock, logger, logDirectory, say, mayInstall } = this.#deps;
    const isUp = () =>
      this.#runtime.version().then(
        () => true,
        () => false,
      );
    const environment = this.#environment;
    const commands = systemCommands({ environment, logDirectory, logger });
    const facts = () => installFacts(environment);
    return new EngineKeeper({
      diagnose: (why) => engineProblem(why, environment),
      installer: new EngineInstaller({ facts, commands, clock, logger, say, isUp }),
      mayInstall,
      events: this.#events,
      clock,
      logger,
      onChange: () => this.#registrar.trigger(),
      clearRequest: () => this.#registrar.annotate({ [installEngineAnnotation]: null }),
    });
  }

  #makeKubelet(informers: InformerFactory, facts: MachineFacts): Kubelet {
    const { client, clock, random, logger, nodeName, runtimeName } = this.#deps;
    let isRegistering = false;
    return new Kubelet({
      runtime: this.#runtime,
      runtimeName,
      client,
      pods: informers.informer(pods, { fieldSelector: `spec.nodeName=${nodeName}` }),
      services: informers.informer(services),
      events: this.#events,
      volumes: this.#volumes,
      claims: this.#claims,
      node: {
        ips: () => this.#facts?.addresses ?? [],
        allocatable: () => ({ cpu: facts.cpuCount, memory: facts.memoryBytes }),
        memoryBytes: () => facts.memoryBytes,
      },
      clock,
      random,
      logger,
      qosClass: (pod) => pod.status?.qosClass ?? podQosClass(pod.spec),
      onEngineState: (state) => {
        this.#engine.onState(state);
        // Registered once it is known whether containers can run: the first status is a true one.
        if (!isRegistering) void this.#registrar.run();
        isRegistering = true;
      },
      onContainersChange: () => this.#targets.invalidate(),
      signal: this.#stopping.signal,
    });
  }

  #makeCollector(): Collector {
    const { clock, dataDirectory } = this.#deps;
    return new Collector({
      clock,
      cgroups: systemCgroups,
      dataDirectory,
      targets: () => this.#targets.get(),
      diskBytes: (id) => this.#runtime.containerDiskBytes(id),
    });
  }

  /** Told as an annotation of the node, so that volumes for this machine get a path. */
  get #volumesFolder(): string {
    return path.join(path.resolve(this.#deps.dataDirectory), 'volumes');
  }

  #startLocalVolumes(informers: InformerFactory): void {
    const { client, clock, logger, nodeName } = this.#deps;
    const labelSelector = `${localPath.nodeLabel}=${nodeName}`;
    const local = new LocalVolumes({
      client,
      volumes: informers.informer(persistentVolumes, { labelSelector }),
      folder: this.#volumesFolder,
      machine: () => readMachine(nodeName, systemMounter),
      isUsed: (volumeName) => this.#claims.isUsed(volumeName),
      events: this.#events,
      clock,
      logger,
    });
    void local.run(this.#stopping.signal);
  }

  #startPressureKeeper(kubelet: Kubelet, collector: Collector): void {
    const { clock, logger, nodeName, dataDirectory } = this.#deps;
    this.#pressure = new PressureKeeper({
      runtime: this.#runtime,
      events: this.#events,
      clock,
      logger,
      nodeName,
      dataDirectory,
      pods: () => kubelet.pods(),
      evict: (...eviction) => kubelet.evict(...eviction),
      diskSpace: systemDiskSpace,
      sample: () => collector.once(),
      memoryAvailableBytes: async () => (await this.#readFacts()).memoryAvailableBytes,
      volumeBytes: (pod) => this.#volumes.diskBytes(pod),
      onChange: () => this.#registrar.trigger(),
      signal: this.#stopping.signal,
    });
    this.#pressure.start();
  }

  async #startServer(kubelet: Kubelet, collector: Collector, machine: MachineFacts): Promise<void> {
    const { clock, logger, nodeName, userId } = this.#deps;
    const routes = new Routes({
      runtime: this.#runtime,
      pods: () => kubelet.pods(),
      collector,
      clock,
      nodeName,
      machine,
    });
    const streams = new Streams({
      runtime: this.#runtime,
      pods: () => kubelet.pods(),
      dialer: systemDialer(userId === 0),
      clock,
      logger,
    });
    this.#server = new KubeletServer({ ...this.#deps.server, routes, streams, logger });
    this.#kubeletPort = await this.#server.start();
  }

  async #startProxy(informers: InformerFactory): Promise<void> {
    const { clock, logger, nodeName, clusterId, serviceCidr, userId } = this.#deps;
    const proxy = await startProxy(
      {
        services: informers.informer(services),
        endpointSlices: informers.informer(endpointSlices),
        system: proxySystem(userId),
        clock,
        logger,
        nodeName,
        table: `flotilla_${shortClusterId(clusterId)}`,
        bridge: bridgeName(clusterId),
        serviceCidr,
        onStatus: (status) => void this.#tellProxyMode(status),
      },
      this.#stopping.signal,
    );
    this.#proxyStatus = proxy.status();
  }

  #proxyStatus: ProxyStatus | undefined;
  #toldProxy = '';

  /** As annotations, so that kubectl and the user interface show what root would add. */
  async #tellProxyMode(status: ProxyStatus): Promise<void> {
    this.#proxyStatus = status;
    const reason = [status.reason, ...status.problems]
      .filter((text) => text !== undefined)
      .join(' ');
    const told = `${status.mode} ${reason}`;
    if (told === this.#toldProxy) return;
    try {
      await this.#registrar.annotate({
        [proxyModeAnnotation]: status.mode,
        [proxyReasonAnnotation]: reason === '' ? null : reason,
      });
      this.#toldProxy = told;
    } catch (error) {
      // Told again with the next status that is written.
      this.#deps.logger.debug('Proxy mode not told', { error: messageOf(error) });
    }
  }

  async #readFacts(): Promise<MachineFacts> {
    const { nodeName, dataDirectory } = this.#deps;
    await access(dataDirectory);
    this.#facts = await readMachineFacts(nodeName, dataDirectory);
    return this.#facts;
  }

  async #nodeStatus(previous: NodeStatus | undefined): Promise<NodeStatus> {
    const { clock } = this.#deps;
    const facts = await this.#readFacts();
    const engine = this.#engine.problem();
    if (engine === undefined) await this.#refreshImages();
    return computeNodeStatus({
      facts,
      previous,
      engine,
      isShort: {
        memory: this.#pressure?.isShort('memory') === true,
        'ephemeral-storage': this.#pressure?.isShort('ephemeral-storage') === true,
      },
      runtimeVersion: this.#engine.runtimeVersion(),
      kubeletPort: this.#kubeletPort,
      images: this.#images,
      nowMs: clock.now(),
    });
  }

  async #refreshImages(): Promise<void> {
    const { clock, logger } = this.#deps;
    if (clock.monotonicMs() - this.#imagesAtMs < imagesRefreshMs) return;
    try {
      this.#images = await this.#runtime.listImages();
      this.#imagesAtMs = clock.monotonicMs();
    } catch (error) {
      logger.debug('Images not listed', { error: messageOf(error) });
    }
  }

  #onStatusWritten(status: NodeStatus): void {
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    this.#deps.onReady(ready?.status === 'True', ready?.message ?? '');
    if (this.#proxyStatus !== undefined) void this.#tellProxyMode(this.#proxyStatus);
  }
}
