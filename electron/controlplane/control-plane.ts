// The composition root of the control plane: builds each part with its dependencies, starts them in
// order, stops them in reverse. Every part but the API server is an API client on the loopback
// transport, with an identity of its own.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Node, Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { delay, rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import type { Random } from '#kube/base/random.ts';
import {
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  services,
} from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason, StatusError } from '#kube/machinery/status.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { writeAgentKubeconfig, writeKubeconfig } from '#platform/kubeconfig.ts';
import { LineFile } from '#platform/line-file.ts';
import { networkLinks, wakeFrom } from '#platform/wake-on-lan.ts';
import { ClusterPki, ensureSecret } from '#platform/pki.ts';
import type { Options } from '../options.ts';
import { assembleApiServer, type AssembledApiServer } from './api-server.ts';
import { defaultAuditPolicy } from './apiserver/audit/default-policy.ts';
import { readAuditPolicy } from './apiserver/audit/policy-file.ts';
import { bootstrapLevels, bootstrapSchemas } from './apiserver/flowcontrol/bootstrap.ts';
import { HttpsKubeletClient } from './apiserver/kubelet-client.ts';
import type { ApiHandler } from './apiserver/http.ts';
import type { NodeVolumes } from './apiserver/identity/node-volumes.ts';
import { ApiServer } from './apiserver/listener/server.ts';
import { goPlatform } from './apiserver/documents/version.ts';
import { openBacking, type Backing } from './backing.ts';
import { digestOf } from './backup/bundle.ts';
import { createClusterBackup, type ClusterBackupParts } from './cluster-backup.ts';
import { addressForOthers, everywhere, listenedAddresses, servingNames } from './bind-address.ts';
import type { MachinePackages } from './fleet/package/machine-packages.ts';
import { createNodeOperations } from './fleet/power/operations.ts';
import type { Group } from './fleet/replicas/group.ts';
import { serveEtcd } from './etcd-serving.ts';
import { authorityOf } from './cluster-authority.ts';
import { ensureClusterTrust, FrontProxy } from './cluster-trust.ts';
import { ensureBootstrapRbac } from './bootstrap-rbac.ts';
import { LateHandler } from './late-handler.ts';
import { LeaderWork } from './leader-work.ts';
import { lead, type LeadingDeps } from './leading.ts';
import { ingressSecrets } from './ingress-secrets.ts';
import { apiServersOf, ensureObject, keepersOf, registerApiServer } from './own-objects.ts';
import { OwnClients } from './own-clients.ts';
import type { Invitation } from './members/invitation.ts';
import { createMachineAdding } from './machine-adding.ts';
import { createMachinePaths, packAhead, packagesOf } from './machine-paths.ts';
import { groupOf, runReleases, type StateKeepingDeps } from './state-keeping.ts';
import { createMemberPaths } from './members/paths.ts';
import { stayWithinReach } from './reach/reach.ts';
import { bootstrapObjects, kubernetesServiceIP } from './registry/bootstrap.ts';
import { UnavailableError } from './store/store.ts';
import { loopbackDoor } from './ui/door.ts';
import { HomePage } from './ui/home-page.ts';
import { createPageLinks } from './ui/links.ts';
import { UiServer } from './ui/server.ts';
import { UiSessions } from './ui/sessions.ts';
import { PrintedTokens } from './ui/tokens.ts';

export interface ControlPlaneDeps {
  readonly options: Options;
  /** Resolved: the flag's, or made from the host's name. */
  readonly nodeName: string;
  /** Accepted; for a machine that joins others. */
  readonly invitation: Invitation | undefined;
  /** For tests: how long a learner has to be there before it votes. */
  readonly voterStableMs: number | undefined;
  readonly version: string;
  /** Folder of the built renderer. */
  readonly pages: string;
  /** Of the SSH agent of whoever started this. */
  readonly sshAgentSocket: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The disk failed under the store, or a part is broken: the process has to end. */
  readonly onFatal: (error: unknown) => void;
  /** This process is to end in order, and to be started again. */
  readonly onRestart: (why: string) => void;
  /** Something a person should know, while everything goes on. */
  readonly onNotice: (sentence: string) => void;
}

export interface StartedControlPlane {
  readonly apiUrl: string;
  /** By which one cluster is told from another. */
  readonly authority: string;
  readonly apiPort: number;
  readonly uiPort: number;
  readonly uiToken: string;
}

const host = '127.0.0.1';
const dayMs = 24 * 3_600_000;
const retryMs = 200;
export const clusterConfig = {
  serviceCidr: '10.96.0.0/16',
  nodePortRange: [30_000, 32_767],
} as const;

/** By which pods reach the API. */
const serviceIp = kubernetesServiceIP(clusterConfig.serviceCidr);

/** By namespace. */
const ownServices = { default: 'kubernetes', 'kube-system': 'kube-dns' };

/** Reasons by which the API server says that it could not try. */
const notAnswered = ['ServiceUnavailable', 'Timeout', 'ServerTimeout'];

export class ControlPlane {
  readonly #deps: ControlPlaneDeps;
  readonly #stopping = new AbortController();
  /** In the order in which things started; stopped in reverse. */
  readonly #stops: (() => void | Promise<void>)[] = [];
  #apiPort = 0;
  /** Control planes that there are, this one first, and whether they were heard of. */
  #apiServers: () => ReadonlyMap<string, boolean> = () => new Map();
  /** Who keeps the state, while no etcd does. */
  #group: Group | undefined;
  #missing: string | undefined = 'the first objects are being made';
  #homePage: HomePage | undefined;
  #kubelet: HttpsKubeletClient | undefined;

  #backup: ClusterBackupParts | undefined;

  /** For machines that are added or upgraded. */
  readonly #packages: MachinePackages;

  constructor(deps: ControlPlaneDeps) {
    this.#deps = deps;
    this.#packages = packagesOf(deps);
  }

  /** Resolves when the API and the user interface serve. Throws a sentence for a person. */
  async start(): Promise<StartedControlPlane> {
    const { options, clock, random, logger, pages } = this.#deps;
    const directory = options.dataDirectory;
    const [pki, frontProxy] = await Promise.all([
      ClusterPki.open({ directory: path.join(directory, 'pki'), clock, random }),
      FrontProxy.open({ directory: path.join(directory, 'pki/front-proxy'), clock, random }),
    ]);
    const keys = { pki, frontProxy };
    const late = new LateHandler();
    const server = new ApiServer({
      handler: late.handle,
      certificate: await pki.apiServer(servingNames(options.bindAddress, serviceIp)),
      caPem: pki.caPem,
      clock,
      logger,
    });
    const sessionKey = await ensureSecret(path.join(directory, 'pki/ui-session.key'), 32, random);
    const sessions = new UiSessions({ key: sessionKey, clock, random });
    const uiTokens = new PrintedTokens(random);
    const ui = new UiServer({
      handler: late.handle,
      door: loopbackDoor,
      sessions,
      tokens: uiTokens,
      directory: pages,
      clock,
      logger,
    });
    const apiPort = await server.start({ host: options.bindAddress, port: options.port });
    this.#apiPort = apiPort;
    this.#stops.push(() => server.stop());
    const uiPort = await ui.start(options.uiPort);
    this.#stops.push(() => ui.stop());
    const backing = await this.#openBacking(pki);
    this.#group = groupOf(backing);
    await this.#untilAnswering(backing, late);
    const assembled = await this.#startApi(keys, apiPort, backing);
    const { tokens, probeApiService, clients } = assembled;
    late.set(assembled.handler);
    this.#apiServers = () => apiServersOf(backing, this.#deps.nodeName);
    const client = clients.apiServer();
    await this.#bootstrap(client, apiPort);
    await this.#unlessRefused(() =>
      ensureClusterTrust(client, {
        clientCaPem: pki.caPem,
        frontProxyCaPem: frontProxy.caPem,
        nowMs: clock.now(),
      }),
    );
    this.#missing = undefined;
    if (!existsSync(this.#marker)) await writeFileAtomic(this.#marker, `${rfc3339(clock.now())}\n`);
    await this.#writeCredentials(pki, apiPort);
    const homePage = this.#openHomePage(pki, late.handle, clients);
    this.#homePage = homePage;
    const authority = authorityOf(pki, tokens);
    const stateKeeping = this.#stateKeeping(clients);
    const backup = this.#backup;
    this.#lead({ clients, probeApiService, authority, homePage, stateKeeping, backup }, backing);
    void runReleases(stateKeeping, this.#stopping.signal).catch(this.#deps.onFatal);
    void packAhead({ ...this.#deps, packages: this.#packages }, this.#stopping.signal);
    const etcd = await serveEtcd(pki, backing, { ...this.#deps, serviceIp });
    if (etcd !== undefined) this.#stops.push(() => etcd.close());
    const serve = async (): Promise<void> => {
      const serving = await pki.apiServer(servingNames(options.bindAddress, serviceIp));
      server.setCertificate(serving);
      etcd?.setCertificate({ key: serving.keyPem, cert: serving.certPem });
    };
    const move = async (): Promise<void> => {
      backing.own?.opened.moved();
      await serve();
    };
    this.#stayWithinReach(clients, apiPort, move);
    void this.#renewDaily(pki, async () => {
      await serve();
      await backing.own?.opened.renew();
      await frontProxy.renew();
    });
    return {
      apiUrl: this.#apiUrl(apiPort),
      authority: digestOf(Buffer.from(pki.caPem)),
      apiPort,
      uiPort,
      uiToken: uiTokens.mint(),
    };
  }

  /** Ends watches, drains requests, lets the store's last write finish. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const stop of this.#stops.toReversed()) await stop();
  }

  /** As programs of this machine reach it. */
  #apiUrl(port: number): string {
    const { bindAddress } = this.#deps.options;
    return `https://${bindAddress === everywhere ? host : bindAddress}:${port}`;
  }

  /** Tells a new data directory from one whose database has vanished. */
  get #marker(): string {
    return path.join(this.#deps.options.dataDirectory, 'cluster-made');
  }

  async #openBacking(pki: ClusterPki): Promise<Backing> {
    const mustExist = existsSync(this.#marker);
    const backing = await openBacking({ ...this.#deps, mustExist, pki });
    // The listeners were first: they stop before the store closes.
    this.#stops.unshift(() => backing.close());
    return backing;
  }

  /** Alone at once; one of several when a majority is there. */
  async #untilAnswering({ store, problem, own }: Backing, late: LateHandler): Promise<void> {
    const { clock, onNotice } = this.#deps;
    let told: string | undefined;
    late.answerMeanwhile(createMemberPaths(own?.members));
    while (!this.#stopping.signal.aborted) {
      try {
        await store.currentRevision({ linearizable: true });
        return;
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        const why = problem() ?? error.message;
        late.waitFor(why);
        if (told !== why) onNotice(`Not ready yet. ${why}`);
        told = why;
        await delay(clock, retryMs, this.#stopping.signal);
      }
    }
  }

  async #startApi(
    { pki, frontProxy }: Keys,
    port: number,
    backing: Backing,
  ): Promise<AssembledApiServer & { readonly clients: OwnClients }> {
    const { clock, random, logger, version, nodeName, options } = this.#deps;
    const { store, own } = backing;
    const audit = await this.#openAudit();
    let lastLook = performance.eventLoopUtilization();
    const certificate = await pki.kubeletClient();
    let podsOnNode: (name: string) => readonly Pod[] = () => [];
    let volumes: NodeVolumes = { claim: () => undefined, volume: () => undefined };
    let isIngressSecret = (_namespace: string, _name: string): boolean => false;
    const adding = createMachineAdding({
      ...this.#deps,
      packages: this.#packages,
      caPem: pki.caPem,
      port,
      client: () => clients.account('machine-enrolment', 'machine-enrolment'),
      signal: this.#stopping.signal,
    });
    this.#stops.push(adding.whenIdle);
    const backup = createClusterBackup({
      ...this.#deps,
      dataDirectory: this.#deps.options.dataDirectory,
      own,
      pki,
      client: () => clients.account('cluster-backup', 'cluster-backup'),
      reader: () => clients.apiServer(),
    });
    this.#backup = backup;
    const assembled = assembleApiServer({
      store,
      config: clusterConfig,
      build: { version, platform: goPlatform(process.platform, process.arch) },
      address: new URL(this.#apiUrl(port)).host,
      kubelet: (reader) => {
        const client = new HttpsKubeletClient({
          getNode: async (name) => (await reader.get(nodes, '', name)) as Node | undefined,
          certificate,
          caPem: pki.caPem,
          localNodeName: nodeName,
        });
        this.#kubelet = client;
        this.#stops.push(() => client.close());
        return client;
      },
      podsOnNode: (name) => podsOnNode(name),
      nodeVolumes: {
        claim: (...ref) => volumes.claim(...ref),
        volume: (name) => volumes.volume(name),
      },
      isIngressSecret: (...secret) => isIngressSecret(...secret),
      frontProxy: () => frontProxy.client,
      tokenKeyPem: await pki.tokenKey(),
      audit,
      enrol: adding.enrol,
      operateNode: createNodeOperations({
        client: () => clients.account('node-operation', 'node-operation'),
        keepers: () => keepersOf(backing, nodeName),
        wake: (cards) => wakeFrom(networkLinks(options.discovery), cards, logger),
        clock,
        random,
        logger,
      }),
      setBackupPassphrase: backup.setBackupPassphrase,
      backupPaths: backup.paths,
      bootstrapState: () => this.#missing,
      storeProblem: () => backing.problem(),
      memberPaths: createMemberPaths(own?.members),
      pageLinks: createPageLinks(() => this.#homePage),
      machinePaths: createMachinePaths({
        ...this.#deps,
        packages: this.#packages,
        pki,
        port,
        serviceIp,
        client: () => clients.apiServer(),
        replicas: {
          ...this.#deps,
          group: this.#group,
          client: () => clients.account('control-plane-replicas'),
        },
      }),
      eventLoopUtilization: () => {
        const now = performance.eventLoopUtilization();
        const { utilization } = performance.eventLoopUtilization(now, lastLook);
        lastLook = now;
        return utilization;
      },
      clock,
      random,
      logger,
    });
    const { handler, registry } = assembled;
    const clients = new OwnClients({ handler, clock, random, logger });
    await registry.start(this.#stopping.signal);
    const client = clients.apiServer();
    const informers = clients.informers(client);
    // A `delete service --all` takes the cluster's own along: they come back at once.
    for (const [namespace, serviceName] of Object.entries(ownServices))
      informers.informer(services, { namespace }).addHandler({
        onDelete: ({ metadata }) => {
          if (metadata.name === serviceName) void this.#restoreService(client, port);
        },
      });
    const informer = informers.informer(pods, {
      indexers: { node: (pod) => (pod.spec.nodeName === undefined ? [] : [pod.spec.nodeName]) },
    });
    podsOnNode = (name) => informer.lister.byIndex('node', name);
    const claims = informers.informer(persistentVolumeClaims).lister;
    const allVolumes = informers.informer(persistentVolumes).lister;
    volumes = {
      claim: (namespace, name) => claims.get(namespace, name),
      volume: (name) => allVolumes.get('', name),
    };
    isIngressSecret = ingressSecrets(informers);
    informers.start(this.#stopping.signal);
    return { ...assembled, clients };
  }

  /** For the home's other devices, where the API is for other machines. */
  #openHomePage(pki: ClusterPki, handler: ApiHandler, clients: OwnClients): HomePage | undefined {
    const { options, pages } = this.#deps;
    const { bindAddress, uiPort } = options;
    if (addressForOthers(bindAddress) === undefined) return undefined;
    const client = clients.apiServer();
    const informers = clients.informers(client);
    const page = new HomePage({
      ...this.#deps,
      handler,
      directory: pages,
      client,
      informers,
      authority: pki.apps(),
      sessionKey: pki.pageKey(),
      host: bindAddress,
      port: uiPort === 0 ? 0 : uiPort + 1,
      addresses: () => listenedAddresses(bindAddress),
      signal: this.#stopping.signal,
    });
    this.#stops.push(() => page.stop());
    page.start();
    informers.start(this.#stopping.signal);
    return page;
  }

  async #openAudit() {
    const { options, clock, logger } = this.#deps;
    const { auditPolicy } = options;
    const policy =
      auditPolicy === undefined ? defaultAuditPolicy : await readAuditPolicy(auditPolicy);
    const file = path.join(options.dataDirectory, 'logs', 'audit.log');
    const sink = new LineFile({ file, clock, logger });
    // The listeners stop before: their last requests are in it.
    this.#stops.unshift(() => sink.flush());
    return { policy, sink };
  }

  /** Creates what every cluster starts with; what a person changed since stays as it is. */
  async #bootstrap(client: RestClient, apiServerPort: number): Promise<void> {
    const { serviceCidr } = clusterConfig;
    const objects = bootstrapObjects({ serviceCidr, apiServerPort });
    const ensure = (object: KubeObject) => this.#unlessRefused(() => ensureObject(client, object));
    for (const object of objects) await ensure(object);
    await Promise.all([...bootstrapLevels, ...bootstrapSchemas].map(ensure));
    await this.#unlessRefused(() => ensureBootstrapRbac(client));
    await this.#unlessRefused(() => this.#register(client, apiServerPort));
  }

  /** Where others reach this control plane now. */
  async #register(client: RestClient, port: number): Promise<void> {
    const [id = ''] = this.#apiServers().keys();
    const address = addressForOthers(this.#deps.options.bindAddress);
    await registerApiServer(client, { id, address, port });
  }

  /** The addresses of this machine may be others at any time. */
  #stayWithinReach(clients: OwnClients, port: number, serve: () => Promise<void>): void {
    const { options, nodeName, onFatal } = this.#deps;
    const kubelet = this.#kubelet;
    if (kubelet === undefined) return;
    const client = clients.apiServer();
    const staying = stayWithinReach({
      ...this.#deps,
      bindAddress: options.bindAddress,
      port,
      localNodeName: nodeName,
      informers: clients.informers(client),
      kubelet,
      steps: [serve, () => this.#register(client, port)],
      signal: this.#stopping.signal,
    });
    staying.catch(onFatal);
  }

  /**
   * What a release adds to a cluster that is there may wait for the next start: a full disk, or a
   * webhook that is down, keeps no cluster from serving what it has. A store that does not answer
   * now is none of that.
   */
  async #unlessRefused(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const isRefusal =
        error instanceof StatusError && !notAnswered.some((reason) => hasReason(error, reason));
      if (!isRefusal || !existsSync(this.#marker)) throw error;
      this.#deps.logger.error('An object of the cluster itself is missing until the next start', {
        error,
      });
    }
  }

  async #restoreService(client: RestClient, apiServerPort: number): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    try {
      await this.#bootstrap(client, apiServerPort);
    } catch (error) {
      this.#deps.logger.error('Could not make a Service of the cluster again', { error });
    }
  }

  /** For the person's kubectl, and for this machine's agent. */
  async #writeCredentials(pki: ClusterPki, port: number): Promise<void> {
    const { options, nodeName } = this.#deps;
    const server = this.#apiUrl(port);
    const cluster = { server, caPem: pki.caPem };
    const kubeconfig = path.join(options.dataDirectory, 'kubeconfig');
    const names = { cluster: 'flotilla', user: 'admin' };
    await writeKubeconfig(kubeconfig, { ...cluster, ...(await pki.admin()) }, names);
    if (!options.agent) return;
    const folder = path.join(options.dataDirectory, 'agent');
    const client = await pki.nodeClient(path.join(folder, 'client'), nodeName);
    await pki.nodeServing(path.join(folder, 'serving'), nodeName);
    await writeFileAtomic(path.join(folder, 'ca.crt'), pki.caPem);
    const user = `system:node:${nodeName}`;
    const agentNames = { cluster: 'flotilla', user };
    const own = path.join(folder, 'kubeconfig');
    await writeAgentKubeconfig(own, { ...cluster, ...client }, agentNames);
  }

  /** What one control plane does for all, while this one's member leads. */
  #lead(parts: LeaderParts, { store, onLeadership }: Backing): void {
    const { clock, logger, onFatal } = this.#deps;
    const apiServers = this.#apiServers;
    const work = new LeaderWork({
      catchUp: () => store.currentRevision({ linearizable: true }),
      run: (signal) => lead({ ...this.#deps, ...parts, apiServers, store }, signal),
      clock,
      logger,
      onFatal,
    });
    // First of all to stop: its last writes still find an API.
    this.#stops.push(() => work.stop());
    onLeadership((isLeader) => work.setLeader(isLeader && !this.#stopping.signal.aborted));
  }

  #stateKeeping(clients: OwnClients): StateKeepingDeps {
    const { logger } = this.#deps;
    return {
      ...this.#deps,
      group: this.#group,
      packages: this.#packages,
      port: this.#apiPort,
      as: (account) => {
        const client = clients.account(account, account);
        return { client, informers: clients.informers(client) };
      },
      logger: logger.with({ component: 'fleet' }),
    };
  }

  /** Certificates last a year and are made again when two months are left, also while running. */
  async #renewDaily(pki: ClusterPki, renew: () => Promise<void>): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    for (;;) {
      await delay(clock, dayMs, signal);
      if (signal.aborted) return;
      try {
        await renew();
        await this.#writeCredentials(pki, this.#apiPort);
      } catch (error) {
        logger.error('Could not look after the certificates; tries again in a day', { error });
      }
    }
  }
}

type LeaderParts = Pick<
  LeadingDeps,
  'clients' | 'probeApiService' | 'authority' | 'homePage' | 'stateKeeping' | 'backup'
>;

interface Keys {
  readonly pki: ClusterPki;
  readonly frontProxy: FrontProxy;
}
