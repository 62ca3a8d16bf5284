// The cluster's DNS on this machine: the zone from informers, the forwarder to the machine's own resolvers,
// one server on the pods' gateway, and how pods are told of it. Goes on without the control plane, and
// without the engine once it listens.
import { networkInterfaces } from 'node:os';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Service } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import { keyOf } from '#kube/client/resources.ts';
import { messageOf } from '../error-message.ts';
import { KeptFile, type FileAccess } from '../kept-file.ts';
import { gatewayOf } from '../runtime/pod-network.ts';
import { isWithin } from './answer.ts';
import { LocalSlices } from './local-slices.ts';
import { Resolver } from './resolver.ts';
import { DnsServer } from './server.ts';
import type { Exchange } from './upstream/exchange.ts';
import { Forwarder } from './upstream/forwarder.ts';
import { MachineServers } from './upstream/resolv-conf.ts';
import { Zone, type ZoneContent } from './zone.ts';

export interface DnsSource<T extends KubeObject> {
  readonly lister: { list(): T[]; get(namespace: string, name: string): T | undefined };
  addHandler(handlers: EventHandlers<T>): () => void;
  whenSynced(): Promise<void>;
}

export interface ClusterDnsDeps {
  readonly services: DnsSource<Service>;
  readonly endpointSlices: DnsSource<EndpointSlice>;
  /** The pods' range on this machine, such as `10.244.0.0/24`; rejects while nobody knows. */
  readonly podCidr: () => Promise<string>;
  readonly serviceCidr: string;
  readonly nodeName: string;
  /** Whether ClusterIPs lead anywhere on this machine. */
  readonly hasClusterIps: () => boolean;
  /** What of this machine drops questions of its pods, in a sentence. */
  readonly firewall: () => Promise<string | undefined>;
  readonly exchange: Exchange;
  readonly file: FileAccess;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `problem` may have changed. */
  readonly onChange: () => void;
  readonly signal: AbortSignal;
  /** For tests: where /etc is, which ports are tried in turn. */
  readonly root?: string;
  readonly ports?: (hasClusterIps: boolean) => readonly number[];
}

/** Known by this name to people and to charts, whoever serves it. */
export const dnsService = { namespace: 'kube-system', name: 'kube-dns' } as const;
const dnsPort = 53;
/**
 * Where the proxy leads to this server: 53 is left to a Pi-hole, which takes it on all addresses. Always
 * the same, as packet rules outlive the agent, and can't be changed without the control plane.
 */
const proxiedPort = 10_053;
const ownAddressesMs = 1_000;

export class ClusterDns {
  readonly #deps: ClusterDnsDeps;
  readonly #zone: Zone;
  readonly #file: KeptFile<ZoneContent>;
  readonly #servers: MachineServers;
  readonly #resolver: Resolver;
  #server: DnsServer;
  /** Still asked by pods that were made before ClusterIPs led anywhere. */
  #former: DnsServer | undefined;
  /** For the proxy: leads the Service's ClusterIP to this server. */
  readonly localSlices: LocalSlices;
  readonly #started = Promise.withResolvers<void>();
  #podCidr = '';
  /** That the server was to have, whichever it got. */
  #wantedPort = 0;
  #problem: string | undefined;
  /** How the machine's firewall stands in the way. */
  #firewall: string | undefined;
  #listening: Promise<void> | undefined;
  #own: { readonly addresses: ReadonlySet<string>; readonly atMs: number } | undefined;

  constructor(deps: ClusterDnsDeps) {
    const { clock, logger, exchange, serviceCidr, nodeName } = deps;
    this.#deps = deps;
    this.#zone = new Zone(() => clock.now());
    this.#file = new KeptFile({
      about: 'Names',
      content: () => this.#zone.content(),
      remember: (content) => this.#zone.remember(content),
      ...deps.file,
      clock,
      logger,
    });
    this.#servers = new MachineServers({
      ...(deps.root === undefined ? {} : { root: deps.root }),
      own: () => [this.#gateway, this.#clusterIp ?? ''],
      clock,
      logger,
    });
    const servers = () => this.#servers.list();
    this.#resolver = new Resolver({
      state: () => ({
        zone: this.#zone,
        ownRanges: this.#podCidr === '' ? [serviceCidr] : [serviceCidr, this.#podCidr],
        serverAddress: this.#clusterIp ?? this.#gateway,
      }),
      forwarder: new Forwarder({ exchange, servers, clock, logger }),
      logger,
    });
    this.#server = this.#makeServer();
    this.localSlices = new LocalSlices(deps.endpointSlices, nodeName);
  }

  /** When it is known whether ClusterIPs work. The engine is waited for by nobody. */
  async start(): Promise<void> {
    await Promise.all([this.#servers.start(), this.#file.load()]);
    this.#follow();
    this.#started.resolve();
    void this.listen();
  }

  /** Answers no more; what is known is written down. */
  async stop(): Promise<void> {
    this.#server.close();
    this.#former?.close();
    await this.#file.save();
  }

  /**
   * Where it should by now: the engine may be there, the pods' network in another range, or ClusterIPs lead
   * somewhere. What can't be found out changes nothing.
   */
  async listen(): Promise<void> {
    await this.#started.promise;
    if (this.#deps.signal.aborted) return;
    this.#listening ??= this.#listen().finally(() => {
      this.#listening = undefined;
    });
    await this.#listening;
  }

  /** The name server of pods; undefined while names of the cluster can't be asked for here. */
  async podServer(): Promise<string | undefined> {
    await this.listen();
    await this.lookAtFirewall();
    // Better the names of the world alone than none at all.
    if (this.#firewall !== undefined) return undefined;
    if (this.#deps.hasClusterIps() && this.#clusterIp !== undefined) return this.#clusterIp;
    return this.#server.port === dnsPort ? this.#gateway : undefined;
  }

  /** What it lets through may have changed. */
  async lookAtFirewall(): Promise<void> {
    const before = this.problem();
    this.#firewall = this.#server.port === 0 ? undefined : await this.#deps.firewall();
    if (this.problem() !== before) this.#deps.onChange();
  }

  /** Why names don't resolve in pods, as a sentence. */
  problem(): string | undefined {
    if (this.#firewall !== undefined) return this.#firewall;
    if (this.#problem === undefined) return undefined;
    const isReached = this.#server.port !== 0 && this.#deps.hasClusterIps();
    return isReached ? undefined : this.#problem;
  }

  get port(): number {
    return this.#server.port;
  }

  get #gateway(): string {
    return this.#podCidr === '' ? '' : gatewayOf(this.#podCidr);
  }

  get #service(): Service | undefined {
    return this.#deps.services.lister.get(dnsService.namespace, dnsService.name);
  }

  get #clusterIp(): string | undefined {
    return this.#zone.service(dnsService.namespace, dnsService.name)?.addresses[0];
  }

  #follow(): void {
    const { services, endpointSlices, signal } = this.#deps;
    const touch = (): void => this.#file.touch();
    const onService = (service: Service): void => {
      this.#zone.setService(service);
      if (isDnsService(service)) this.#publish();
      touch();
    };
    const onSlice = (slice: EndpointSlice): void => {
      this.#zone.setSlice(slice);
      touch();
    };
    const detach = [
      services.addHandler({
        onAdd: onService,
        onUpdate: (_old, service) => onService(service),
        onDelete: (service) => {
          this.#zone.removeService(service);
          touch();
        },
      }),
      endpointSlices.addHandler({
        onAdd: onSlice,
        onUpdate: (_old, slice) => onSlice(slice),
        onDelete: (slice) => {
          this.#zone.removeSlice(slice);
          touch();
        },
      }),
    ];
    signal.addEventListener('abort', () => detach.forEach((remove) => remove()), { once: true });
    void Promise.all([services.whenSynced(), endpointSlices.whenSynced()]).then(() => {
      const keys = (list: readonly KubeObject[]) => new Set(list.map(keyOf));
      this.#zone.keepOnly(keys(services.lister.list()), keys(endpointSlices.lister.list()));
      this.#zone.markKnown();
      touch();
    });
  }

  async #listen(): Promise<void> {
    const { podCidr, hasClusterIps, logger, onChange } = this.#deps;
    const before = this.problem();
    const listens = this.#server.port !== 0;
    try {
      const cidr = await podCidr();
      const ports = (this.#deps.ports ?? usualPorts)(hasClusterIps());
      if (listens && cidr === this.#podCidr && ports[0] === this.#wantedPort) return;
      this.#leave(cidr);
      this.#problem = await this.#bind(ports);
      logger.info('DNS for pods', { address: this.#gateway, port: this.#server.port });
      this.#publish();
    } catch (error) {
      if (this.#server.port !== 0) return;
      this.#problem = sentence(messageOf(error));
      if (listens) this.#publish();
    }
    if (this.#problem !== undefined) logger.debug('DNS for pods', { problem: this.#problem });
    if (this.problem() !== before) onChange();
  }

  /** The place of before: nobody asks there when the network is another. */
  #leave(cidr: string): void {
    if (cidr !== this.#podCidr) {
      this.#server.close();
      this.#former?.close();
      this.#former = undefined;
    } else if (this.#server.port !== 0) {
      this.#former?.close();
      this.#former = this.#server;
      this.#server = this.#makeServer();
    }
    this.#podCidr = cidr;
  }

  #makeServer(): DnsServer {
    const { clock, logger } = this.#deps;
    const mayAsk = (address: string) => this.#mayAsk(address);
    return new DnsServer({ resolver: this.#resolver, mayAsk, clock, logger });
  }

  /** Answers what is the matter where the port is not the one that pods ask at. */
  async #bind(ports: readonly number[]): Promise<string | undefined> {
    const [first = dnsPort, ...others] = ports;
    this.#wantedPort = first;
    try {
      await this.#server.listen(this.#gateway, [first]);
      return undefined;
    } catch (error) {
      await this.#server.listen(this.#gateway, others);
      return sentence(portProblem(error, `port ${first} of ${this.#gateway}`));
    }
  }

  /** To the proxy; not when somebody runs a DNS of their own behind the Service. */
  #publish(): void {
    const hasOther = Object.keys(this.#service?.spec.selector ?? {}).length > 0;
    const isServed = this.#server.port !== 0 && !hasOther;
    const { port } = this.#server;
    const ports = [
      { name: 'dns', protocol: 'UDP', port },
      { name: 'dns-tcp', protocol: 'TCP', port },
    ];
    this.localSlices.set(isServed ? { ...dnsService, address: this.#gateway, ports } : undefined);
  }

  /** Pods of this machine, and the machine itself: nobody on the network. */
  #mayAsk(address: string): boolean {
    return isWithin(address, this.#podCidr) || this.#ownAddresses().has(address);
  }

  #ownAddresses(): ReadonlySet<string> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#own === undefined || nowMs - this.#own.atMs > ownAddressesMs) {
      const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
      this.#own = { addresses: new Set(all.map((entry) => entry.address)), atMs: nowMs };
    }
    return this.#own.addresses;
  }
}

/** In turn. */
function usualPorts(hasClusterIps: boolean): readonly number[] {
  return [hasClusterIps ? proxiedPort : dnsPort, 0];
}

function sentence(why: string): string {
  return `Names of Services don't resolve in pods: ${why}.`;
}

function isDnsService({ metadata }: Service): boolean {
  return metadata.namespace === dnsService.namespace && metadata.name === dnsService.name;
}

function portProblem(error: unknown, what: string): string {
  const code = (error as { code?: unknown }).code;
  if (code === 'EACCES') return `${what} may be used by root only`;
  if (code === 'EADDRINUSE') return `${what} is taken by another program`;
  return messageOf(error);
}
