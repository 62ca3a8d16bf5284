// The driver: Nodes and this machine's addresses → wanted.ts → routes, overlay, packet rules. Looks again when a
// Node or an address changes, and every five minutes. Nothing is taken away when the agent stops: containers run on,
// and so do the ways to them.
import type { Node } from '#kube/api/core.ts';
import { delay, type Clock, type Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { podNetworkAnnotations } from '#kube/machinery/pod-networks.ts';
import { messageOf } from '../error-message.ts';
import type { NodeVerdict } from '../kubelet/node/machine-conditions.ts';
import type { ProxySystem } from '../proxy/system.ts';
import { isOurRoute } from './changes.ts';
import { IpNetwork, type ReadMachine } from './ip-network.ts';
import { networksOf } from './machine-network.ts';
import type { NetworkNames } from './names.ts';
import { NetworkRules } from './network-rules.ts';
import { wantedNetwork, type WantedNetwork } from './wanted.ts';

export interface NodeSource {
  readonly lister: { list(): Node[]; get(namespace: string, name: string): Node | undefined };
  addHandler(handlers: {
    onAdd(node: Node): void;
    onUpdate(old: Node, node: Node): void;
    onDelete(node: Node): void;
  }): () => void;
  whenSynced(): Promise<void>;
}

export interface PodNetworkKeeperDeps {
  readonly nodes: NodeSource;
  readonly system: ProxySystem;
  readonly names: NetworkNames;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The network its pods are in, as the engine has it; undefined: none yet. Rejects while it can't be asked. */
  readonly engineNetwork: () => Promise<string | undefined>;
  /** Calls whenever an address or a route of this machine has changed, until the signal aborts. */
  readonly watchAddresses: (onChange: () => void, signal: AbortSignal) => void;
  /** What the Node has to tell has changed. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

/** Another program may have flushed the kernel's tables. */
const resyncMs = 300_000;
const retryMs = 10_000;
/** How long a pod waits for the network that its machine is yet to be given. */
const patienceMs = 10_000;

export class PodNetworkKeeper {
  readonly #deps: PodNetworkKeeperDeps;
  readonly #ip: IpNetwork;
  readonly #rules: NetworkRules;
  #isSynced = false;
  #isDirty = false;
  #isRunning = false;
  #timer: Timer | undefined;
  #annotations: Readonly<Record<string, string | null>> = {};
  #verdict: NodeVerdict | undefined;
  #hasOverlay = false;
  /** Undefined: not known, as an earlier agent may have left some. */
  #hasTraces: boolean | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(deps: PodNetworkKeeperDeps) {
    this.#deps = deps;
    this.#ip = new IpNetwork(deps.system, deps.names);
    this.#rules = new NetworkRules(deps.system, deps.names);
  }

  start(): void {
    const { nodes, watchAddresses, signal } = this.#deps;
    nodes.addHandler({
      onAdd: () => this.trigger(),
      onUpdate: (old, node) => {
        if (outline(old) !== outline(node)) this.trigger();
      },
      onDelete: () => this.trigger(),
    });
    void nodes.whenSynced().then(() => {
      this.#isSynced = true;
      this.trigger();
    });
    watchAddresses(() => {
      // The others' ways lead to the address that the Node tells.
      this.#deps.onChange();
      this.trigger();
    }, signal);
    signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true });
    this.trigger();
  }

  /** Something about this machine's network, or its engine, may have changed. */
  trigger(): void {
    this.#isDirty = true;
    if (!this.#isRunning) void this.#run();
  }

  /** Of the Node: nothing before the engine was asked. */
  annotations(): Readonly<Record<string, string | null>> {
    return this.#annotations;
  }

  /** Undefined until the cluster has given this machine a network. */
  verdict(): NodeVerdict | undefined {
    return this.#verdict;
  }

  /** Whether some machine is reached by the overlay. */
  get hasOverlay(): boolean {
    return this.#hasOverlay;
  }

  /** The network that the cluster gave to this machine's pods; undefined: none yet, or nobody to ask. */
  givenCidr(): string | undefined {
    const { nodes, nodeName } = this.#deps;
    return nodes.lister.get('', nodeName)?.spec.podCIDR || undefined;
  }

  /** Rejects when it has to be waited for too long. */
  async awaitCidr(): Promise<string> {
    const { clock, signal } = this.#deps;
    const known = this.givenCidr();
    if (known !== undefined) return known;
    const giveUp = new AbortController();
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve);
      void delay(clock, patienceMs, AbortSignal.any([signal, giveUp.signal])).then(resolve);
    });
    giveUp.abort();
    const cidr = this.givenCidr();
    if (cidr === undefined)
      throw new Error('the cluster has not given this machine a network for its pods yet');
    return cidr;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isDirty && !this.#deps.signal.aborted) {
      this.#isDirty = false;
      if (this.givenCidr() !== undefined) {
        for (const resolve of this.#waiting) resolve();
        this.#waiting.clear();
      }
      let nextMs = resyncMs;
      try {
        if (!(await this.#sync())) nextMs = retryMs;
      } catch (error) {
        nextMs = retryMs;
        this.#deps.logger.warn("The pods' network is out of date", { error: messageOf(error) });
      }
      this.#timer?.cancel();
      if (!this.#deps.signal.aborted)
        this.#timer = this.#deps.clock.timer(nextMs, () => this.trigger());
    }
    this.#isRunning = false;
  }

  /** False: something is missing that may come. */
  async #sync(): Promise<boolean> {
    const { nodes, nodeName } = this.#deps;
    // The engine first: what it has is on the machine then.
    const engine = await this.#askEngine();
    const machine = await this.#ip.read();
    if (engine !== undefined) this.#tellNetworks(machine, engine.cidr);
    // What is not known is not changed: without an API server the ways of before stay.
    if (!this.#isSynced) return false;
    const all = nodes.lister.list();
    const wanted = wantedNetwork(all, nodeName, machine.addresses, this.#deps.names);
    if (wanted === undefined) return false;
    const hadOverlay = this.#hasOverlay;
    this.#hasOverlay = wanted.overlay !== undefined;
    if (this.#hasOverlay !== hadOverlay) this.#deps.onChange();
    const problems = await this.#make(wanted, machine, engine?.cidr);
    if (engine?.cidr !== undefined && engine.cidr !== wanted.podCidr)
      problems.push(
        `this machine's pods are in ${engine.cidr}, and the cluster gave it ${wanted.podCidr}: the network is made anew once no pod is in it (kubectl drain ${nodeName})`,
      );
    this.#report(problems);
    return true;
  }

  /** The network that pods are in. Undefined: the engine can't be asked. */
  async #askEngine(): Promise<{ readonly cidr: string | undefined } | undefined> {
    try {
      return { cidr: await this.#deps.engineNetwork() };
    } catch {
      // Told by the node's Ready condition.
      return undefined;
    }
  }

  /** Never without the engine's word, or a network could be chosen that its pods are not in. */
  #tellNetworks(machine: ReadMachine, engine: string | undefined): void {
    const { names } = this.#deps;
    const networks = networksOf(machine, (entry) =>
      'destination' in entry
        ? isOurRoute(entry, names) || isOwnDevice(entry.device, names)
        : isOwnDevice(entry.device, names),
    );
    this.#tell({
      [podNetworkAnnotations.machineNetworks]: networks.join(','),
      [podNetworkAnnotations.podNetwork]: engine ?? null,
    });
  }

  async #make(
    wanted: WantedNetwork,
    machine: ReadMachine,
    engine: string | undefined,
  ): Promise<string[]> {
    const { system } = this.#deps;
    const hasPeers = wanted.cluster.length > 0;
    const alone = [...wanted.problems];
    if (!hasPeers && this.#hasTraces === false) return alone;
    const why = this.#obstacle(machine, engine);
    // Alone, a machine needs nothing of it.
    if (why !== undefined)
      return hasPeers ? [`pods of other machines can't be reached: ${why}`, ...alone] : alone;
    if (!hasPeers) {
      await this.remove();
      return alone;
    }
    this.#hasTraces = true;
    // The rules first, so that no connection is begun that Docker translates.
    const refused = await this.#rules.apply(wanted);
    const failed = await this.#ip.apply(wanted, machine);
    const forwards = await system.readText('/proc/sys/net/ipv4/ip_forward');
    const isOff = forwards?.trim() === '0';
    return [
      ...wanted.problems,
      ...refused,
      ...failed,
      ...(isOff
        ? [
            'this machine hands on no packets (net.ipv4.ip_forward is 0): sudo sysctl -w net.ipv4.ip_forward=1',
          ]
        : []),
    ];
  }

  #obstacle(machine: ReadMachine, engine: string | undefined): string | undefined {
    const { system, names } = this.#deps;
    const hasBridge = machine.addresses.some(({ device }) => device === names.bridge);
    if (engine !== undefined && !hasBridge)
      return 'the engine keeps them in a virtual machine of its own, as Docker Desktop does';
    if (!system.isRoot) return 'that needs root';
    return machine.problem;
  }

  /** Everything of ours on this machine. */
  async remove(): Promise<void> {
    await this.#ip.remove();
    await this.#rules.remove();
    this.#hasTraces = false;
  }

  #report(problems: readonly string[]): void {
    const verdict: NodeVerdict =
      problems.length === 0
        ? {
            type: 'NetworkUnavailable',
            status: 'False',
            reason: 'PodNetworkReady',
            message: 'pods here reach those of all machines',
          }
        : {
            type: 'NetworkUnavailable',
            status: 'True',
            reason: 'PodNetworkIncomplete',
            message: problems.join('; '),
          };
    const { message } = verdict;
    if (message === this.#verdict?.message) return;
    this.#verdict = verdict;
    if (problems.length > 0) this.#deps.logger.warn("The pods' network", { problem: message });
    this.#deps.onChange();
  }

  #tell(annotations: Readonly<Record<string, string | null>>): void {
    if (JSON.stringify(annotations) === JSON.stringify(this.#annotations)) return;
    this.#annotations = annotations;
    this.#deps.onChange();
  }
}

function isOwnDevice(device: string, { bridge, overlay }: NetworkNames): boolean {
  return device === bridge || device === overlay || device === 'lo';
}

/** All of a Node that counts here. */
function outline({ spec, status }: Node): string {
  const addresses = (status?.addresses ?? []).map(({ type, address }) => `${type}=${address}`);
  return [spec.podCIDR, ...addresses].join(' ');
}
