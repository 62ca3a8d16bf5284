// Puts the agent's parts together: engine, runtime, kubelet, node registration, metrics, the
// kubelet's server, the service proxy. Starts them in order; stopping leaves containers alone.
import { X509Certificate } from 'node:crypto';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { assert } from '#kube/base/assert.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import { ApiEventRecorder } from '#kube/client/event-recorder.ts';
import { InformerFactory, withoutManagedFields } from '#kube/client/informer.ts';
import { endpointSlices, nodes, pods, services } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { Node, NodeStatus, Pod } from '#kube/api/core.ts';
import { shuttingDown } from '#kube/machinery/node-shutdown.ts';
import { podQosClass } from '#kube/machinery/qos.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { readBytesIfExists, writeFileAtomic } from '#platform/atomic-file.ts';
import type { SliceSource } from './api-servers/known-servers.ts';
import { EngineInstaller } from './engine/engine-installer.ts';
import { EngineKeeper, installEngineAnnotation } from './engine/engine-keeper.ts';
import { engineProblem, type EngineEnvironment } from './engine/engine-socket.ts';
import { installFacts, systemCommands } from './engine/system-commands.ts';
import { useCompilers } from './compilers.ts';
import { readNodeDns } from './dns/upstream/resolv-conf.ts';
import { containerPidsMax } from './kubelet/container/container-resources.ts';
import { readSeccompProfile } from './kubelet/container/node-files.ts';
import { runtimeHandler } from './kubelet/container/runtime-class.ts';
import { ImageLoader } from './kubelet/images/image-loader.ts';
import { ImageOrigins } from './kubelet/images/image-origins.ts';
import { imagePeers } from './kubelet/images/image-peers-of-node.ts';
import { ImageShare } from './kubelet/images/image-share.ts';
import type { PeerIdentity } from './kubelet/images/peer-client.ts';
import { PullBoard } from './kubelet/images/turns/pull-board.ts';
import type { IngressPorts } from './ingress/ingress.ts';
import { Kubelet } from './kubelet/kubelet.ts';
import { DeviceKeeper, type DeviceChange } from './kubelet/devices/device-keeper.ts';
import { devicesAnnotation, devicesText, usableDevices } from './kubelet/devices/devices.ts';
import { memoryAvailableBytes, pidStock, readMachineFacts } from './kubelet/node/machine-facts.ts';
import type { ClockSkew } from './kubelet/node/clock-skew.ts';
import { MachineWatch } from './kubelet/node/machine-watch.ts';
import { NodeRegistrar } from './kubelet/node/node-registrar.ts';
import {
  computeNodeStatus,
  maxPods,
  nodeLabels,
  type MachineFacts,
} from './kubelet/node/node-status.ts';
import { starvable } from './kubelet/pressure/eviction.ts';
import { PressureKeeper, systemDiskSpace } from './kubelet/pressure/pressure-keeper.ts';
import { Access } from './kubelet/server/access.ts';
import { agentConfiguration } from './kubelet/server/configuration.ts';
import { systemDialer } from './kubelet/server/pod-dialer.ts';
import { Routes, type RoutesDeps } from './kubelet/server/routes.ts';
import { KubeletServer, type ServerCertificate } from './kubelet/server/server.ts';
import { StaticFolder } from './kubelet/static/static-folder.ts';
import { ClaimSource } from './kubelet/volumes/claims/claim-source.ts';
import { volumesOfNode, type NodeVolumes } from './kubelet/volumes/claims/volumes-of-node.ts';
import type { VolumeShare } from './kubelet/volumes/copies/volume-share.ts';
import { readMachine } from './kubelet/volumes/disks/machine-disks.ts';
import { systemMounter } from './kubelet/volumes/disks/mounter.ts';
import { Volumes } from './kubelet/volumes/volumes.ts';
import { AgentMetrics } from './metrics/agent-metrics.ts';
import { Collector, kernelFolders } from './metrics/collector.ts';
import { History, historyIntervalMs } from './metrics/history.ts';
import { Targets } from './metrics/targets.ts';
import { MachinePower } from './power/machine-power.ts';
import { givenNetworkOf } from './network/start.ts';
import { NodeNetworks } from './node-networks.ts';
import { nodeRuntime } from './node-runtime.ts';
import { measuredRuntime } from './runtime/measured-runtime.ts';
import type { ImageStatus, Runtime } from './runtime/runtime.ts';
import type { ControlPlaneKeeper } from './control-plane/keeper.ts';
import type { Upgrader } from './upgrade/upgrader.ts';
import { messageOf } from './error-message.ts';

export interface NodeAgentDeps {
  readonly client: RestClient;
  readonly clockSkew: ClockSkew;
  readonly clusterId: string;
  readonly nodeName: string;
  readonly dataDirectory: string;
  readonly logDirectory: string;
  /** Of static pods. */
  readonly manifestDirectory: string;
  readonly runtimeName: 'docker' | 'fake';
  /** As whom other machines are asked for images, by now; undefined: they are not. */
  readonly identity: (() => PeerIdentity) | undefined;
  readonly mayInstall: boolean;
  readonly serviceCidr: string;
  /** Undefined: apps are not reached by their names on this machine. */
  readonly ingressPorts: IngressPorts | undefined;
  /** Processes and threads of a container at most; undefined: what suits this machine. */
  readonly podMaxPids: number | undefined;
  /** Where the home is told of apps' names. */
  readonly lanInterfaces: readonly string[];
  readonly server: ServerCertificate & { readonly bindAddress: string; readonly port: number };
  /** Where it was placed as a package; undefined: it was started by hand. */
  readonly installation: string | undefined;
  /** Undefined: it is upgraded by whoever started it. */
  /** Both only where the agent was placed as a package. */
  readonly upgrader: Pick<Upgrader, 'annotations' | 'onNode'> | undefined;
  readonly controlPlane: Pick<ControlPlaneKeeper, 'annotations' | 'onNode'> | undefined;
  readonly userId: number;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** What this process used so far. */
  readonly process: RoutesDeps['process'];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Of this machine: some came or went. */
  readonly onAddresses: () => void;
  /** By the cluster's slices it is known where its API servers are. */
  readonly followApiServers: (slices: SliceSource, signal: AbortSignal) => void;
  /** That is spoken with now. */
  readonly apiServer: () => string | undefined;
  readonly hearApiServers: RoutesDeps['hearApiServers'];
  /** Ends this process, so that another takes its place. */
  readonly restart: () => void;
  /** A sentence for the person. */
  readonly say: (sentence: string) => void;
  /** The node's Ready condition, each time a status was written. */
  readonly onReady: (isReady: boolean, message: string) => void;
}

/** Kubernetes' words. */
const imagesRefreshMs = 300_000;

/** What the server tells of. */
interface Served {
  readonly kubelet: Kubelet;
  readonly collector: Collector;
  readonly volumes: VolumeShare;
}

export class NodeAgent {
  readonly #deps: NodeAgentDeps;
  readonly #stopping = new AbortController();
  readonly #environment: EngineEnvironment;
  readonly #runtime: Runtime;
  readonly #networks: NodeNetworks;
  readonly #targets: Targets;
  readonly #events: ApiEventRecorder;
  readonly #registrar: NodeRegistrar;
  readonly #engine: EngineKeeper;
  readonly #volumes: Volumes;
  readonly #devices: DeviceKeeper;
  readonly #machine: MachineWatch;
  #kubelet: Kubelet | undefined;
  #power: MachinePower | undefined;
  readonly #claims: ClaimSource;
  readonly #history: History;
  readonly #metrics = new AgentMetrics();
  #pressure: PressureKeeper | undefined;
  #facts: MachineFacts | undefined;
  #images: readonly ImageStatus[] = [];
  #imagesAtMs = -Infinity;
  #origins: ImageOrigins | undefined;
  readonly #pullBoard = new PullBoard();
  #self: Node | undefined;
  /** The engine's. */
  #runtimes: readonly string[] = [];
  #kubeletPort = 0;
  #certificate: ServerCertificate;
  #server: KubeletServer | undefined;

  constructor(deps: NodeAgentDeps) {
    this.#deps = deps;
    this.#certificate = deps.server;
    const { clock, client, logger, nodeName: host, variables, userId } = deps;
    this.#environment = { variables, isRoot: userId === 0 };
    const given = givenNetworkOf(() => this.#networks.podNetwork);
    const engine = nodeRuntime(deps, this.#environment, given);
    this.#runtime = measuredRuntime(engine.runtime, clock, (...operation) =>
      this.#metrics.operation(...operation),
    );
    this.#targets = new Targets(this.#runtime);
    this.#events = new ApiEventRecorder({ client, clock, logger, component: 'kubelet', host });
    this.#registrar = new NodeRegistrar({
      client,
      events: this.#events,
      clock,
      logger,
      nodeName: host,
      labels: async () => nodeLabels(host, await this.#readFacts()),
      status: (previous) => this.#nodeStatus(previous),
      annotations: () => this.#annotations(),
      onWritten: (status) => this.#onStatusWritten(status),
      signal: this.#stopping.signal,
    });
    this.#networks = new NodeNetworks({
      ...deps,
      engine,
      events: this.#events,
      onChange: () => this.#registrar.trigger(),
      agentPort: () => (isLoopback(deps.server.bindAddress) ? undefined : this.#kubeletPort),
      signal: this.#stopping.signal,
    });
    this.#engine = this.#makeEngineKeeper();
    this.#machine = new MachineWatch({
      clock,
      clockSkew: deps.clockSkew,
      dataDirectory: deps.dataDirectory,
      onChange: () => this.#registrar.trigger(),
      signal: this.#stopping.signal,
    });
    this.#devices = new DeviceKeeper({
      root: '/dev',
      system: '/sys',
      clock,
      logger,
      onChange: (change) => this.#onDevices(change),
      signal: this.#stopping.signal,
    });
    this.#claims = new ClaimSource({ client, nodeName: host });
    const file = path.join(deps.dataDirectory, 'history');
    this.#history = new History({
      clock,
      logger,
      read: () => readBytesIfExists(file),
      write: (bytes) => writeFileAtomic(file, bytes),
    });
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
    const { client, clock, random, logger, nodeName, dataDirectory } = this.#deps;
    const { signal } = this.#stopping;
    const facts = await this.#readFacts();
    this.#origins = await ImageOrigins.open(path.join(dataDirectory, 'images.json'), logger);
    const informers = new InformerFactory({ client, clock, random, logger }, withoutManagedFields);
    await this.#devices.start();
    await this.#machine.start();
    this.#networks.start(informers);
    this.#deps.followApiServers(informers.informer(endpointSlices), signal);
    // Pods run already, and are asked for: what leads to them waits for nothing else here.
    const leading = this.#networks.startServices(informers);
    // Told below, where it is waited for.
    leading.catch(() => undefined);
    const kubelet = this.#makeKubelet(informers, facts);
    this.#kubelet = kubelet;
    const collector = this.#makeCollector();
    await this.#history.load();
    collector.subscribe((sample) => this.#history.take(sample), historyIntervalMs);
    const nodeVolumes = this.#makeNodeVolumes(informers);
    await this.#startServer({ kubelet, collector, volumes: nodeVolumes.share }, facts);
    this.#startPressureKeeper(kubelet, collector);
    await this.#startPower(kubelet);
    if (this.#deps.runtimeName === 'docker') void this.#engine.installAtStart();
    await this.#followManifests(kubelet);
    const running = kubelet.start();
    await leading;
    const isOwn = ({ metadata }: Node): boolean => metadata.name === nodeName;
    const onNode = (node: Node): void => {
      this.#power?.onNode(node);
      if (isOwn(node)) this.#onSelf(node);
    };
    informers.informer<Node>(nodes).addHandler({
      onAdd: onNode,
      onUpdate: (_old, node) => onNode(node),
      onDelete: (node) => {
        if (isOwn(node)) this.#registrar.trigger();
      },
    });
    void nodeVolumes.local.run(signal);
    informers.start(signal);
    await running;
  }

  /** What its server shows from now on. */
  setCertificate(certificate: ServerCertificate): void {
    this.#certificate = certificate;
    this.#server?.setCertificate(certificate);
  }

  /** Containers keep running; commands that somebody ran in them end. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#server?.stop(), this.#history.save(), this.#networks.stop()]);
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
    const { client, clock, random, logger, nodeName, runtimeName, podMaxPids } = this.#deps;
    let isRegistering = false;
    return new Kubelet({
      runtime: this.#runtime,
      runtimeName,
      nodeName,
      client,
      pods: informers.informer(pods, { fieldSelector: `spec.nodeName=${nodeName}` }),
      services: informers.informer(services),
      events: this.#events,
      volumes: this.#volumes,
      images: {
        peers: imagePeers(this.#deps, this.#runtime),
        origins: this.#knownOrigins(),
        board: this.#pullBoard,
      },
      claims: this.#claims,
      node: {
        ips: () => this.#facts?.addresses ?? [],
        allocatable: () => ({ cpu: facts.cpuCount, memory: facts.memoryBytes }),
        memoryBytes: () => facts.memoryBytes,
        pidsMax: () => podMaxPids ?? containerPidsMax(facts.pidLimit),
        dns: () => readNodeDns(),
        clusterDns: () => this.#networks.podServer(),
        joinNetwork: (pod, address) => this.#networks.join(pod, address),
        devices: () => usableDevices(this.#devices.devices, this.#runtimes),
        maxPods,
        hasAppArmor: () => facts.hasAppArmor,
        self: () => this.#self,
        runtimeHandler: async (name) => runtimeHandler(client, name),
        seccompProfile: (name) =>
          readSeccompProfile(path.join(this.#deps.dataDirectory, 'seccomp'), name),
      },
      clock,
      random,
      logger,
      qosClass: (pod) => pod.status?.qosClass ?? podQosClass(pod.spec),
      onEngineState: (state) => {
        this.#engine.onState(state);
        this.#networks.onEngine();
        // Registered once it is known whether containers can run: the first status is a true one.
        if (!isRegistering) void this.#registrar.run();
        isRegistering = true;
      },
      onContainersChange: () => this.#targets.invalidate(),
      metrics: this.#metrics,
      signal: this.#stopping.signal,
    });
  }

  #makeCollector(): Collector {
    const { clock, dataDirectory } = this.#deps;
    return new Collector({
      clock,
      folders: kernelFolders,
      dataDirectory,
      targets: () => this.#targets.get(),
      diskBytes: (id) => this.#runtime.containerDiskBytes(id),
    });
  }

  /** Told as an annotation of the node, so that volumes for this machine get a path. */
  get #volumesFolder(): string {
    return path.join(path.resolve(this.#deps.dataDirectory), 'volumes');
  }

  #makeNodeVolumes(informers: InformerFactory): NodeVolumes {
    const isUsed = (volumeName: string) => this.#claims.isUsed(volumeName);
    const deps = { ...this.#deps, folder: this.#volumesFolder, isUsed, events: this.#events };
    return volumesOfNode(deps, informers, this.#stopping.signal);
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
      isInRegistry: (id) => this.#knownOrigins().of(id) === 'registry',
      evict: (...eviction) => kubelet.evict(...eviction),
      diskSpace: systemDiskSpace,
      sample: () => collector.once(),
      memoryAvailableBytes,
      pids: pidStock,
      volumeUse: (pod) => this.#volumes.diskUse(pod),
      onChange: () => this.#registrar.trigger(),
      signal: this.#stopping.signal,
    });
    this.#pressure.start();
  }

  /** Before the kubelet starts: what runs of them is no orphan. */
  async #followManifests(kubelet: Kubelet): Promise<void> {
    const { clock, logger, nodeName, manifestDirectory: directory } = this.#deps;
    const about = { kind: 'Node', name: nodeName, uid: nodeName };
    const onProblem = (_file: string, sentence: string): void => {
      logger.warn('Static pod', { problem: sentence });
      this.#events.event(about, 'Warning', 'InvalidStaticPod', sentence);
    };
    const onPods = (found: readonly Pod[]) => kubelet.setStaticPods(found);
    const { signal } = this.#stopping;
    const folder = new StaticFolder({ directory, nodeName, clock, onPods, onProblem, signal });
    await folder.start();
  }

  async #startPower(kubelet: Kubelet): Promise<void> {
    this.#power = new MachinePower({
      ...this.#deps,
      isRoot: this.#environment.isRoot,
      bootId: () => this.#facts?.bootId ?? '',
      annotate: (annotations) => this.#registrar.annotate(annotations),
      events: this.#events,
      tell: () => this.#registrar.tell(),
      shutDown: (grace) => kubelet.shutDown(grace),
      startAnew: this.#deps.restart,
      onChange: () => this.#registrar.trigger(),
      signal: this.#stopping.signal,
    });
    await this.#power.start();
  }

  async #startServer(
    { kubelet, collector, volumes }: Served,
    machine: MachineFacts,
  ): Promise<void> {
    const { client, clock, logger, nodeName, userId, server, process, hearApiServers } = this.#deps;
    const routes = new Routes({
      runtime: this.#runtime,
      pods: () => kubelet.pods(),
      collector,
      volumes,
      loader: new ImageLoader({
        runtime: this.#runtime,
        diskSpace: systemDiskSpace,
        onLoaded: (images) => this.#onLoaded(images),
      }),
      share: new ImageShare({
        runtime: this.#runtime,
        origins: this.#knownOrigins(),
        board: this.#pullBoard,
      }),
      hearApiServers,
      history: this.#history,
      metrics: this.#metrics,
      running: () => this.#targets.get(),
      process,
      certificateEndMs: () => Date.parse(new X509Certificate(this.#certificate.certPem).validTo),
      configuration: () => agentConfiguration(server.bindAddress, this.#kubeletPort),
      clock,
      nodeName,
      machine,
    });
    const streams = async () => {
      const { Streams } = await import('./kubelet/server/streams.ts');
      return new Streams({
        runtime: this.#runtime,
        pods: () => kubelet.pods(),
        dialer: systemDialer(userId === 0),
        clock,
        logger,
        onMuchInput: useCompilers,
      });
    };
    this.#server = new KubeletServer({
      ...server,
      ...this.#certificate,
      access: new Access({ client, clock, logger, nodeName }),
      metrics: this.#metrics,
      clock,
      routes,
      streams,
      logger,
    });
    this.#kubeletPort = await this.#server.start();
  }

  /** Something that is told on the Node changed. */
  tellNode(): void {
    this.#registrar.trigger();
  }

  /** Throws when it could not be written. */
  annotateNode(annotations: Readonly<Record<string, string | null>>): Promise<void> {
    return this.#registrar.annotate(annotations);
  }

  #onSelf(node: Node): void {
    this.#self = node;
    void this.#engine.onNode(node);
    this.#deps.upgrader?.onNode(node);
    this.#deps.controlPlane?.onNode(node);
  }

  #onDevices(change: DeviceChange): void {
    this.#kubelet?.devicesChanged(change);
    this.#registrar.trigger();
  }

  /** Of this machine: how its networks are, what is plugged in, where volumes lie. */
  #annotations(): Record<string, string | null> {
    const devices = usableDevices(this.#devices.devices, this.#runtimes);
    return {
      [localPath.folderAnnotation]: this.#volumesFolder,
      [devicesAnnotation]: devices.length === 0 ? null : devicesText(devices),
      ...this.#networks.annotations(),
      ...this.#power?.annotations(),
      ...this.#deps.upgrader?.annotations(),
      ...this.#deps.controlPlane?.annotations(),
    };
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
    await this.#power?.look(facts.addresses[0]);
    const goesDown = this.#power?.isGoingDown === true;
    const engine = goesDown ? shuttingDown : this.#engine.problem();
    if (engine === undefined) {
      await this.#refreshImages();
      this.#runtimes = (await this.#runtime.platform().catch(() => undefined))?.runtimes ?? [];
    }
    return computeNodeStatus({
      facts,
      previous,
      engine,
      short: starvable.filter((what) => this.#pressure?.isShort(what) === true),
      runtimeVersion: this.#engine.runtimeVersion(),
      kubeletPort: this.#kubeletPort,
      images: this.#images,
      devices: usableDevices(this.#devices.devices, this.#runtimes),
      verdicts: [
        ...this.#machine.verdicts(),
        ...this.#networks.verdicts(),
        ...(this.#power?.verdicts() ?? []),
      ],
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

  #knownOrigins(): ImageOrigins {
    assert(this.#origins, 'read at the start');
    return this.#origins;
  }

  /** For the other machines, too; shown on the Node at once. */
  #onLoaded(images: readonly ImageStatus[]): void {
    for (const { id } of images) void this.#knownOrigins().note(id, 'file');
    this.#imagesAtMs = -Infinity;
    this.#registrar.trigger();
  }

  #onStatusWritten(status: NodeStatus): void {
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    this.#deps.onReady(ready?.status === 'True', ready?.message ?? '');
  }
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
