// The driver: Ingresses, their class, Services, EndpointSlices and TLS Secrets from informers → routes.ts
// → what listens (front.ts, loaded when the first Ingress of ours comes). Changes that come together
// become one. Goes on with what it knows while the API server is away.
import type { Node } from '#kube/api/core.ts';
import type { Timer } from '#kube/base/clock.ts';
import type { EventRecorder } from '#kube/client/event-recorder.ts';
import type { Informer, InformerFactory } from '#kube/client/informer.ts';
import {
  endpointSlices,
  ingressClasses,
  ingresses,
  nodes,
  services,
} from '#kube/client/resources.ts';
import { appHosts } from '#kube/machinery/app-names.ts';
import { ingressNode, servedPortsText, type ServedPorts } from '#kube/machinery/ingress.ts';
import { useCompilers } from '../compilers.ts';
import { messageOf } from '../error-message.ts';
import type { FileAccess } from '../kept-file.ts';
import type { AppCertificates } from './app-certificates.ts';
import { certificates, type Certificates } from './certificates.ts';
import type { Front } from './front.ts';
import { IngressSource } from './source.ts';
import { placeOf, type Place } from '../proxy/endpoints.ts';
import { homePagePort } from '#kube/machinery/home-page.ts';
import type { KnownNodes } from '../names/known-nodes.ts';
import type { LanNames, Told } from '../names/lan-names.ts';
import { servedNames, type ServedName } from '../names/owners.ts';
import { portHolder } from '../port-holder.ts';
import { routeTable, type RouteTable } from './routes.ts';
import { TlsSecrets } from './tls-secrets.ts';

export interface IngressPorts {
  readonly http: number;
  readonly https: number;
}

export interface IngressDeps {
  readonly informers: InformerFactory;
  readonly events: EventRecorder;
  readonly ports: IngressPorts;
  /** Every address of this machine when left out. */
  readonly listenAddress?: string;
  readonly nodeName: string;
  /** What is known of routes, for a start without an API server. */
  readonly file: FileAccess;
  /** What is known of nodes that tell names, for the same. */
  readonly nodesFile: FileAccess;
  /** Where certificates of apps' names are kept. */
  readonly certificateFolder: string;
  /** Names of the network interfaces on which the home is told of names; none: it is not. */
  readonly lanInterfaces: readonly string[];
  readonly onStatus: (status: IngressStatus) => void;
  /** The ports are closed when it aborts. */
  readonly signal: AbortSignal;
}

export interface IngressStatus {
  /** Open ones. */
  readonly ports: ServedPorts;
  /** Why one is not open that should be, in a sentence. */
  readonly problem: string | undefined;
  /** That the home is told of, from here. */
  readonly names: readonly string[];
  /** This machine's addresses in the networks where it tells what it has to. */
  readonly networks: readonly string[];
}

/** What a Node tells of it. */
export function ingressAnnotations(
  status: IngressStatus | undefined,
): Readonly<Record<string, string | null>> {
  const ports = status === undefined ? '' : servedPortsText(status.ports);
  return {
    [ingressNode.portsAnnotation]: ports || null,
    [ingressNode.reasonAnnotation]: status?.problem ?? null,
    [ingressNode.namesAnnotation]: status?.names.join(',') || null,
    [ingressNode.networksAnnotation]: status?.networks.join(',') || null,
  };
}

/** So that changes of one moment are one. */
const settleMs = 10;
const retryMs = 15_000;

export interface RunningIngress {
  /** What is known is written down. */
  save(): Promise<void>;
}

export function startIngress(deps: IngressDeps): RunningIngress {
  const driver = new IngressDriver(deps);
  driver.start();
  return driver;
}

class IngressDriver implements RunningIngress {
  readonly #deps: IngressDeps;
  readonly #source: IngressSource;
  readonly #nodes: Informer<Node>;
  readonly #secrets: TlsSecrets;
  #names: LanNames | undefined;
  #knownNodes: KnownNodes | undefined;
  #table: RouteTable | undefined;
  /** Names of apps on the LAN: what they are, by what they should be. */
  #held: ReadonlyMap<string, string> = new Map();
  #networks: readonly string[] = [];
  #open: { readonly ports: ServedPorts; readonly problem: string } = {
    ports: { http: undefined, https: undefined },
    problem: '',
  };
  #front: Front | undefined;
  #certificates: Certificates | undefined;
  /** What the cluster makes for hosts that no Secret is named for. */
  #apps: AppCertificates | undefined;
  #isRunning = false;
  #isDirty = false;
  #timer: Timer | undefined;
  #told = '';

  constructor(deps: IngressDeps) {
    const { informers } = deps;
    this.#deps = deps;
    this.#source = new IngressSource({
      ...informers.deps,
      ingresses: informers.informer(ingresses),
      classes: informers.informer(ingressClasses),
      services: informers.informer(services),
      endpointSlices: informers.informer(endpointSlices),
      file: deps.file,
      onChange: () => this.#changed(),
    });
    this.#nodes = informers.informer(nodes);
    this.#secrets = new TlsSecrets(informers.deps, () => this.#changed());
  }

  start(): void {
    const { signal } = this.#deps;
    const detach = [
      this.#source.start(),
      this.#nodes.addHandler({
        onAdd: (node) => {
          if (homePagePort(node) !== undefined) this.#changed();
        },
        onUpdate: (old, node) => {
          if (homePagePort(node) !== homePagePort(old)) this.#changed();
          const { nodeName } = this.#deps;
          const isMoved = placeOf(nodeName, old).zone !== placeOf(nodeName, node).zone;
          if (node.metadata.name === nodeName && isMoved) this.#changed();
        },
      }),
    ];
    const stop = (): void => {
      for (const remove of detach) remove();
      this.#timer?.cancel();
      this.#secrets.stop();
      void this.#front?.close();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  }

  async save(): Promise<void> {
    await Promise.all([this.#source.save(), this.#knownNodes?.save()]);
  }

  get #ownPagePort(): number | undefined {
    const own = this.#nodes.lister.get('', this.#deps.nodeName);
    return own && homePagePort(own);
  }

  #place(): Place {
    const { nodeName } = this.#deps;
    return placeOf(nodeName, this.#nodes.lister.get('', nodeName));
  }

  #changed(): void {
    this.#look(settleMs);
  }

  #look(delayMs: number): void {
    const { informers, signal } = this.#deps;
    if (signal.aborted) return;
    this.#timer?.cancel();
    this.#timer = informers.deps.clock.timer(delayMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    this.#isDirty = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#isDirty && !this.#deps.signal.aborted) {
      this.#isDirty = false;
      await this.#sync();
    }
    this.#isRunning = false;
  }

  async #sync(): Promise<void> {
    if (!this.#source.isKnown) return;
    const table = routeTable({ ...this.#source.objects, place: this.#place() });
    const hasRoutes = table.hosts.size > 0 || table.fallback !== undefined;
    if (!hasRoutes && this.#front === undefined) return this.#serveNames([]);
    this.#secrets.follow(table.tls);
    this.#certificates = certificates(table.tls, (...ref) => this.#secrets.get(...ref));
    const front = (this.#front ??= await this.#load());
    this.#table = table;
    front.use(table, this.#aliases);
    front.usePage(this.#ownPagePort);
    await this.#apps?.want(this.#hostsWithoutSecret(table));
    const problems: string[] = [];
    try {
      const hasTls = table.tls.length > 0 || this.#apps?.hasAny === true;
      await front.open({ http: hasRoutes, https: hasRoutes && hasTls });
    } catch (error) {
      const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
      for (const each of errors) problems.push(await this.#whyClosed(each, front.ports));
    }
    if (this.#deps.signal.aborted) return void front.close();
    if (problems.length > 0) this.#look(retryMs);
    const { ports } = front;
    this.#open = { ports, problem: problems.join(' ') };
    await this.#serveNames(ports.http === undefined ? [] : servedNames(table));
    this.#report();
  }

  /** By the name an app is reached by: the one it should have. */
  get #aliases(): ReadonlyMap<string, string> {
    return new Map(Array.from(this.#held, ([wanted, name]) => [name, wanted]));
  }

  #onTold({ held, networks }: Told): void {
    this.#networks = networks;
    for (const [wanted, name] of held)
      if (name !== wanted && this.#held.get(wanted) !== name) this.#tellRenamed(wanted, name);
    this.#held = held;
    if (this.#table !== undefined) {
      this.#front?.use(this.#table, this.#aliases);
      // Another name wants another certificate.
      this.#changed();
    }
    this.#report();
  }

  #hostsWithoutSecret({ tls }: RouteTable): string[] {
    const named = new Set(tls.map(({ host }) => host));
    const { ingresses: all, classes } = this.#source.objects;
    const hosts = appHosts(all, classes);
    const names = hosts.flatMap((host) => [host, this.#held.get(host) ?? host]);
    return [...new Set(names)].filter(
      (host) => !named.has(host) && !named.has(`*${host.slice(host.indexOf('.'))}`),
    );
  }

  #awaitsSecret(host: string): boolean {
    const wildcard = `*${host.slice(host.indexOf('.'))}`;
    const named = (this.#table?.tls ?? []).filter((tls) => [host, wildcard].includes(tls.host));
    return named.some(({ namespace, secretName }) => !this.#secrets.isKnown(namespace, secretName));
  }

  #tellRenamed(wanted: string, name: string): void {
    const sentence = `Another device of this home is called ${wanted}: the app answers to ${name}.`;
    for (const ingress of this.#source.objects.ingresses)
      if (ingress.spec.rules?.some(({ host = '' }) => host.toLowerCase() === wanted) === true)
        this.#deps.events.event(ingress, 'Warning', 'NameTaken', sentence);
  }

  /** What it takes is loaded with the first name. */
  async #serveNames(names: readonly ServedName[]): Promise<void> {
    const { informers, nodeName, nodesFile: file, lanInterfaces: interfaces, signal } = this.#deps;
    const hasPage = this.#nodes.lister.list().some((node) => homePagePort(node) !== undefined);
    const isNeeded = names.length > 0 || hasPage || this.#names !== undefined;
    if (interfaces.length === 0 || !isNeeded) return;
    const [{ LanNames: Loaded }, { KnownNodes: Known }] = await Promise.all([
      import('../names/lan-names.ts'),
      import('../names/known-nodes.ts'),
    ]);
    if (signal.aborted) return;
    if (this.#knownNodes === undefined) {
      const { clock, logger } = informers.deps;
      this.#knownNodes = new Known({ nodes: this.#nodes, file, clock, logger, signal });
      await this.#knownNodes.load();
    }
    this.#names ??= new Loaded({
      ...informers.deps,
      nodes: this.#knownNodes,
      nodeName,
      interfaces,
      onTold: (told) => this.#onTold(told),
      signal,
    });
    this.#names.serve(names);
  }

  async #load(): Promise<Front> {
    const { ports, listenAddress, informers, nodeName, certificateFolder, signal } = this.#deps;
    useCompilers();
    const [{ Front: Loaded }, { AppCertificates: Apps }] = await Promise.all([
      import('./front.ts'),
      import('./app-certificates.ts'),
    ]);
    const apps = new Apps({
      ...informers.deps,
      folder: certificateFolder,
      nodeName,
      onChange: () => this.#changed(),
      signal,
    });
    await apps.load();
    this.#apps = apps;
    return new Loaded({
      address: listenAddress,
      httpPort: ports.http,
      httpsPort: ports.https,
      certificate: (host) => this.#certificates?.find(host) ?? apps.find(host),
      awaitsCertificate: (host) => this.#awaitsSecret(host),
      trustedRoot: () => apps.rootPem,
      clock: informers.deps.clock,
    });
  }

  async #whyClosed(error: unknown, open: ServedPorts): Promise<string> {
    const { code, port } = error as NodeJS.ErrnoException & { readonly port?: number };
    if (port !== undefined && code === 'EADDRINUSE') {
      const holder = (await portHolder(port)) ?? 'another program';
      return `${this.#unreached(port, open)}: port ${port} is taken by ${holder}.`;
    }
    if (port !== undefined && code === 'EACCES')
      return `${this.#unreached(port, open)}: only root may listen on port ${port}.`;
    return `Apps can't be reached by their names here: ${messageOf(error)}.`;
  }

  #unreached(port: number, open: ServedPorts): string {
    const what = "Apps can't be reached by their names here";
    if (port === this.#deps.ports.https) return `${what} over HTTPS`;
    return open.https === undefined ? what : `${what} over plain HTTP, only by https://`;
  }

  #report(): void {
    const { informers, onStatus } = this.#deps;
    const { logger } = informers.deps;
    const { ports, problem } = this.#open;
    const names = [...this.#held.values()].toSorted();
    const networks = this.#networks;
    const text = JSON.stringify([servedPortsText(ports), names, networks, problem]);
    if (text === this.#told) return;
    this.#told = text;
    if (problem === '') logger.info('Ingress', { ports, names });
    else logger.warn('Ingress', { ports, names, problem });
    onStatus({ ports, names, networks, problem: problem === '' ? undefined : problem });
  }
}
