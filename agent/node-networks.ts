// The ways to and from this machine's pods: their network, who may, Services, names, apps by host and path. What
// each says of itself stands on the Node.
import path from 'node:path';
import type { Node, Pod } from '#kube/api/core.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { InformerFactory } from '#kube/client/informer.ts';
import { portsAnnotation } from '#kube/machinery/balancers.ts';
import type { LanAddresses } from './balancer/lan-addresses.ts';
import { startLanAddresses } from './balancer/start.ts';
import { PortHolders } from './balancer/port-holders.ts';
import {
  endpointSlices,
  namespaces,
  networkPolicies,
  nodes,
  pods,
  services,
} from '#kube/client/resources.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { PodGateway } from './api-servers/pod-gateway.ts';
import { isWithinMachine } from './api-servers/own-addresses.ts';
import { LocalSlices } from './dns/local-slices.ts';
import type { ClusterDns } from './dns/cluster-dns.ts';
import { dnsReasonAnnotation, machineDns } from './dns/machine-dns.ts';
import {
  ingressAnnotations,
  startIngress,
  type IngressPorts,
  type IngressStatus,
  type RunningIngress,
} from './ingress/ingress.ts';
import type { NodeVerdict } from './kubelet/node/machine-conditions.ts';
import type { PodNetworkKeeper } from './network/pod-network-keeper.ts';
import { clusterMark } from './network/network-rules.ts';
import { startPodNetwork, type PodNetworkDeps } from './network/start.ts';
import type { NodeRuntime } from './node-runtime.ts';
import { portHolder } from './port-holder.ts';
import { FirewallWatch } from './firewall/firewall-watch.ts';
import { followFirewalls, readFirewalls } from './firewall/firewalls.ts';
import type { Used } from './firewall/passages.ts';
import { fileAt } from './kept-file.ts';
import { networkNames, overlayPort } from './network/names.ts';
import { policyTableName } from './policy/policy-table.ts';
import { PolicyKeeper } from './policy/policy-keeper.ts';
import { slimPod } from './policy/pods.ts';
import { startProxy, type ProxySource, type ProxyStatus } from './proxy/proxy.ts';
import { proxySystem } from './proxy/system.ts';
import { externalMark } from './proxy/table-content.ts';
import { bridgeName, shortClusterId } from './runtime/pod-network.ts';

export interface NodeNetworksDeps extends Omit<PodNetworkDeps, 'informers' | 'runtime'> {
  readonly engine: NodeRuntime;
  readonly serviceCidr: string;
  /** Undefined: apps are not reached by their names on this machine. */
  readonly ingressPorts: IngressPorts | undefined;
  /** Where the home is told of apps' names. */
  readonly lanInterfaces: readonly string[];
  readonly dataDirectory: string;
  readonly events: EventRecorder;
  /** The API server that answers now. */
  readonly apiServer: () => string | undefined;
  /** Where others than this machine may speak with the agent; undefined: nowhere. */
  readonly agentPort: () => number | undefined;
}

export const proxyModeAnnotation = 'flotilla.dev/proxy-mode';
export const proxyReasonAnnotation = 'flotilla.dev/proxy-reason';

export class NodeNetworks {
  readonly #deps: NodeNetworksDeps;
  #pods: PodNetworkKeeper | undefined;
  #policies: PolicyKeeper | undefined;
  #dns: ClusterDns | undefined;
  #proxy: ProxyStatus | undefined;
  #ingress: IngressStatus | undefined;
  #running: RunningIngress | undefined;
  #portHolders: PortHolders | undefined;
  #lanAddresses: LanAddresses | undefined;
  #podGateway: PodGateway | undefined;
  #firewalls: FirewallWatch | undefined;

  constructor(given: NodeNetworksDeps) {
    const onChange = (): void => {
      // What a firewall has to let through follows from all of them.
      this.#firewalls?.judge();
      given.onChange();
    };
    this.#deps = { ...given, onChange };
  }

  /** Undefined before `start`, and where containers are in memory only. */
  get podNetwork(): PodNetworkKeeper | undefined {
    return this.#pods;
  }

  /** Before the kubelet starts pods. */
  start(informers: InformerFactory): void {
    const { engine } = this.#deps;
    const onAddresses = (): void => {
      this.#deps.onAddresses();
      this.#lanAddresses?.trigger();
      this.#listenForPods();
    };
    const deps = { ...this.#deps, informers, onAddresses };
    this.#pods = startPodNetwork({ ...deps, runtime: engine.runtime });
    if (engine.podNetwork === undefined) return;
    this.#policies = this.#startPolicies(informers);
    const firewalls = this.#startFirewalls();
    this.#dns = machineDns({
      ...this.#deps,
      informers,
      podNetwork: engine.podNetwork,
      hasClusterIps: () => this.#proxy?.mode === 'nftables',
      firewall: () => firewalls.holdsBack('dns'),
    });
  }

  /** Resolves once it is known what works here; rules and names follow. */
  async startServices(informers: InformerFactory): Promise<void> {
    this.#startIngress(informers);
    await this.#startProxy(informers);
    // Pods ask already.
    await this.#dns?.start();
    const { clock, onChange, signal } = this.#deps;
    const own = process.pid;
    this.#portHolders = new PortHolders({
      services: informers.informer(services),
      holder: async (port, protocol) =>
        portHolder(port, { protocol, exceptPid: own, exceptLoopback: true }),
      clock,
      onChange,
      signal,
    });
    this.#lanAddresses = await startLanAddresses({ ...this.#deps, informers });
  }

  /** The engine came, or went. */
  onEngine(): void {
    this.#pods?.trigger();
    this.#listenForPods();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#dns?.stop(), this.#running?.save()]);
  }

  /** Before its first container starts. Rejects, in words, when it must not start yet. */
  async join(pod: Pod, address: string): Promise<void> {
    await this.#policies?.join(pod, address);
  }

  /** The name server of pods; undefined while names of the cluster can't be asked for here. */
  async podServer(): Promise<string | undefined> {
    return this.#dns?.podServer();
  }

  verdicts(): NodeVerdict[] {
    const verdicts = [this.#pods?.verdict(), this.#policies?.verdict(), this.#firewalls?.verdict()];
    return verdicts.filter((verdict) => verdict !== undefined);
  }

  annotations(): Record<string, string | null> {
    const proxy = this.#proxy;
    const reason = proxy && [proxy.reason, ...proxy.problems].filter(Boolean).join(' ');
    return {
      ...ingressAnnotations(this.#ingress),
      [portsAnnotation]: this.#portHolders?.text ?? null,
      ...this.#lanAddresses?.annotations(),
      ...(proxy && { [proxyModeAnnotation]: proxy.mode, [proxyReasonAnnotation]: reason || null }),
      [dnsReasonAnnotation]: this.#dns?.problem() ?? null,
      ...this.#pods?.annotations(),
    };
  }

  #startPolicies(informers: InformerFactory): PolicyKeeper {
    const { clusterId, userId } = this.#deps;
    const keeper = new PolicyKeeper({
      ...this.#deps,
      policies: informers.informer(networkPolicies),
      others: () => ({
        namespaces: informers.informer(namespaces),
        pods: informers.informer(pods, { transform: slimPod }),
      }),
      system: proxySystem(userId),
      table: policyTableName(clusterId),
      bridge: bridgeName(clusterId),
    });
    keeper.start();
    return keeper;
  }

  #startFirewalls(): FirewallWatch {
    const { clock, logger, userId, onChange, signal } = this.#deps;
    const system = proxySystem(userId);
    const watch = new FirewallWatch({
      read: () => readFirewalls(system),
      follow: (...how) => followFirewalls(system, ...how),
      used: () => this.#used(),
      clock,
      logger,
      onChange: () => {
        void this.#dns?.lookAtFirewall();
        onChange();
      },
      signal,
    });
    this.#firewalls = watch;
    watch.start();
    return watch;
  }

  #used(): Used {
    const { bridge, overlay } = networkNames(this.#deps.clusterId);
    const { http, https } = this.#ingress?.ports ?? {};
    return {
      bridge,
      podCidr: this.#pods?.givenCidr(),
      dnsPort: this.#dns?.port || undefined,
      apiPort: this.#podGateway?.port,
      overlay: this.#pods?.hasOverlay === true ? { device: overlay, port: overlayPort } : undefined,
      agentPort: this.#deps.agentPort(),
      ingressPorts: [http, https].filter((port) => port !== undefined),
      mark: Number(externalMark) | Number(clusterMark),
    };
  }

  async #startProxy(informers: InformerFactory): Promise<void> {
    const { clock, logger, nodeName, clusterId, serviceCidr, userId, signal } = this.#deps;
    const onStatus = (status: ProxyStatus): void => {
      this.#proxy = status;
      // Names go by ClusterIP as soon as there are such.
      this.#listenForPods();
      this.#deps.onChange();
    };
    const proxy = await startProxy(
      {
        services: informers.informer(services),
        endpointSlices: this.#openGateway(informers),
        node: informers.informer<Node>(nodes),
        system: proxySystem(userId),
        clock,
        logger,
        nodeName,
        table: `flotilla_${shortClusterId(clusterId)}`,
        bridge: bridgeName(clusterId),
        serviceCidr,
        onStatus,
        onLost: () => this.#policies?.lost(),
      },
      signal,
    );
    onStatus(proxy.status());
  }

  /** Where pods ask: for names, and for the API. */
  #listenForPods(): void {
    void this.#dns?.listen();
    void this.#podGateway?.look().then(() => this.#firewalls?.judge());
  }

  /** The slices that the proxy goes by, with what is served on this machine itself. */
  #openGateway(informers: InformerFactory): ProxySource<EndpointSlice> {
    const { engine, nodeName, logger, apiServer: server, signal } = this.#deps;
    const cluster = informers.informer(endpointSlices);
    const { podNetwork } = engine;
    if (podNetwork === undefined || this.#dns === undefined) return cluster;
    const slices = new LocalSlices(this.#dns.localSlices, nodeName);
    this.#podGateway = new PodGateway({
      slices: cluster,
      publish: (local) => slices.set(local),
      podCidr: async () => (await podNetwork()).cidr,
      hasClusterIps: () => this.#proxy?.mode === 'nftables',
      server,
      mayCall: isWithinMachine,
      logger,
      signal,
    });
    this.#podGateway.start();
    return slices;
  }

  #startIngress(informers: InformerFactory): void {
    const { ingressPorts: ports, nodeName, lanInterfaces, events, signal } = this.#deps;
    if (ports === undefined) return;
    const inData = (name: string): string => path.join(this.#deps.dataDirectory, name);
    const onStatus = (status: IngressStatus): void => {
      this.#ingress = status;
      this.#deps.onChange();
    };
    this.#running = startIngress({
      informers,
      events,
      ports,
      nodeName,
      file: fileAt(inData('routes.json')),
      nodesFile: fileAt(inData('lan-nodes.json')),
      certificateFolder: inData('app-certificates'),
      lanInterfaces,
      onStatus,
      signal,
    });
  }
}
