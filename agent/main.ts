// The agent's process: reads its flags and credentials, runs the agent, ends with its parent.
// Containers outlive it; the next start adopts them.
import { randomFillSync } from 'node:crypto';
import { hostname, networkInterfaces } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { delay, systemClock } from '#kube/base/clock.ts';
import { silentLogger, type Logger } from '#kube/base/logger.ts';
import { pooledRandom } from '#kube/base/random.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import type { Transport } from '#kube/client/transport.ts';
import { controlPlanePorts } from '#kube/machinery/control-planes.ts';
import { hasBattery } from '#platform/battery.ts';
import { retryAnnotation } from '#kube/machinery/agent-versions.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { processLogger } from '#platform/log-sink.ts';
import { exitCodes, parentChannel } from '#platform/parent-channel.ts';
import { openApiServers, type ApiServers } from './api-servers/open.ts';
import { HeldTransport, readClusterId } from './cluster-id.ts';
import {
  ensureCredentials,
  keepCredentials,
  type Credentials,
  type CredentialsDeps,
} from './credentials/credentials.ts';
import { ClockSkew, DatedTransport } from './kubelet/node/clock-skew.ts';
import type { PeerIdentity } from './kubelet/images/peer-client.ts';
import type { ServerCertificate } from './kubelet/server/server.ts';
import type { IngressPorts } from './ingress/ingress.ts';
import type { Announcer } from './names/announcer.ts';
import { NodeAgent } from './node-agent.ts';
import type { ControlPlaneKeeperDeps } from './control-plane/keeper.ts';
import type { RemoveOptions } from './removal/remove-command.ts';
import type { UpgraderDeps } from './upgrade/upgrader.ts';
import { messageOf } from './error-message.ts';
import { keptPort } from './kept-port.ts';

interface Flags {
  readonly data: string;
  readonly nodeName: string;
  readonly kubeconfig: string;
  readonly bootstrapKubeconfig: string | undefined;
  readonly mayInstall: boolean;
  readonly runtimeName: 'docker' | 'fake';
  readonly bindAddress: string;
  readonly port: number;
  readonly serviceCidr: string;
  readonly ingressPorts: IngressPorts | undefined;
  readonly podMaxPids: number | undefined;
  readonly lanInterfaces: readonly string[];
  readonly manifestDirectory: string;
  /** Undefined: this agent is upgraded by whoever started it. */
  readonly installation: string | undefined;
  readonly isRemoval: boolean;
  readonly isLeavingControlPlane: boolean;
}

const usage = `usage: agent --data DIR --node-name NAME [--kubeconfig FILE] [--no-install]
  --data DIR           pod volumes, credentials (kubeconfig, serving.crt, serving.key, ca.crt)
  --node-name NAME     the Node object that stands for this machine
  --kubeconfig FILE    how to reach the API server (DIR/kubeconfig)
  --bootstrap-kubeconfig FILE  with a bootstrap token: how a machine that is not known yet asks for its certificates
  --no-install         never install or start a container engine
  --runtime NAME       docker, or fake: containers in memory only (docker)
  --bind ADDRESS       where the agent's own HTTPS server listens (127.0.0.1)
  --port PORT          its port (0: any free one)
  --pod-manifest-path DIR  pods of this machine's own, run without any API server (DIR/manifests)
  --service-cidr CIDR  range of ClusterIPs (10.96.0.0/16)
  --ingress-ports P,P  where apps answer to their names, by HTTP and HTTPS (80,443), or off
  --pod-max-pids N     processes and threads of a container at most (4096, or half of what a small machine has)
  --discovery IF,…     network interfaces on which the home is told of apps' names, or off (off)
  --installation DIR   where this agent was placed as a package: it is upgraded there
  --leave-control-plane  have this machine's copy of the cluster's state count no more, if the others can do without it, and end
  --remove             take this node's traces off the machine, and end: pods, network, packet rules,
                       mounts, DIR; never the data of hostPath volumes and claims
`;

function parseFlags(args: readonly string[]): Flags {
  const { values } = parseArgs({
    args: [...args],
    options: {
      data: { type: 'string' },
      'node-name': { type: 'string' },
      kubeconfig: { type: 'string' },
      'bootstrap-kubeconfig': { type: 'string' },
      'no-install': { type: 'boolean', default: false },
      runtime: { type: 'string', default: 'docker' },
      bind: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '0' },
      'pod-manifest-path': { type: 'string' },
      'service-cidr': { type: 'string', default: '10.96.0.0/16' },
      'ingress-ports': { type: 'string', default: '80,443' },
      'pod-max-pids': { type: 'string' },
      discovery: { type: 'string', default: 'off' },
      installation: { type: 'string' },
      remove: { type: 'boolean', default: false },
      'leave-control-plane': { type: 'boolean', default: false },
    },
  });
  const { data, 'node-name': nodeName, runtime: runtimeName } = values;
  const port = Number(values.port);
  if (data === undefined || nodeName === undefined)
    throw new Error('--data and --node-name are needed');
  if (runtimeName !== 'docker' && runtimeName !== 'fake')
    throw new Error(`unknown runtime ${runtimeName}`);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`bad port ${values.port}`);
  return {
    data: path.resolve(data),
    nodeName,
    kubeconfig: values.kubeconfig ?? path.join(data, 'kubeconfig'),
    bootstrapKubeconfig: values['bootstrap-kubeconfig'],
    mayInstall: !values['no-install'],
    runtimeName,
    bindAddress: values.bind,
    port,
    serviceCidr: values['service-cidr'],
    ingressPorts: parseIngressPorts(values['ingress-ports']),
    podMaxPids: parseCount(values['pod-max-pids']),
    lanInterfaces: values.discovery === 'off' ? [] : values.discovery.split(','),
    manifestDirectory: path.resolve(values['pod-manifest-path'] ?? path.join(data, 'manifests')),
    installation: values.installation,
    isRemoval: values.remove,
    isLeavingControlPlane: values['leave-control-plane'],
  };
}

function parseIngressPorts(text: string): IngressPorts | undefined {
  if (text === 'off') return undefined;
  const [, http, https] = /^(\d{1,5}),(\d{1,5})$/.exec(text) ?? [];
  const ports = { http: Number(http), https: Number(https) };
  if (!(ports.http < 65_536 && ports.https < 65_536)) throw new Error(`bad ports ${text}`);
  return ports;
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`bad --pod-max-pids ${text}`);
  return Number(text);
}

function flagsOrExit(): Flags {
  try {
    return parseFlags(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${usage}`);
    process.exit(exitCodes.cannotRun);
  }
}

/** The same source as `systemRandom`, without the half of Node's web cryptography that comes with it. */
const random = pooledRandom(randomFillSync);

/** Less than what the supervisor gives. */
const stopMs = 1_500;

async function run(flags: Flags, logger: Logger, logDirectory: string): Promise<void> {
  const channel = parentChannel();
  const stopping = new AbortController();
  let agent: NodeAgent | undefined;
  let announcer: Announcer | undefined;
  let api: ApiServers | undefined;
  channel.onStop((why) => {
    logger.info('The agent stops', { why });
    stopping.abort();
    const all = Promise.all([agent?.stop(), announcer?.stop(), api?.known.save()]);
    const stopped = Promise.race([all, delay(systemClock, stopMs)]);
    void stopped.finally(() => {
      api?.transport.close();
      process.exit(0);
    });
  });
  const ways: CredentialsDeps = {
    ...flags,
    dataDirectory: flags.data,
    withClient: clientMaker(flags),
    clock: systemClock,
    random,
    logger,
    signal: stopping.signal,
  };
  const given = await ensureCredentials(ways);
  if (given === undefined) return;
  let credentials = given;
  const common = { clock: systemClock, random, logger };
  const { transport, known, moved, hear } = (api = await openApiServers({
    config: credentials.client,
    nodeName: flags.nodeName,
    dataDirectory: flags.data,
    ...common,
  }));
  const userAgent = `kubelet/flotilla-agent-${flags.nodeName}`;
  const clientDeps = { userAgent, clock: systemClock, random };
  const restart = (): never => process.exit(1);
  const { uid: clusterId, confirmed } = await readClusterId(
    new RestClient({ transport, ...clientDeps }),
    flags.data,
    { clock: systemClock, signal: stopping.signal, logger, onOther: restart },
  );
  const clockSkew = new ClockSkew();
  const dated = new DatedTransport(transport, clockSkew, systemClock);
  const client = new RestClient({ transport: new HeldTransport(dated, confirmed), ...clientDeps });
  const { bindAddress } = flags;
  const port =
    flags.port === 0 ? await keptPort(path.join(flags.data, 'port'), bindAddress) : flags.port;
  const shared = {
    onChange: () => agent?.tellNode(),
    clearRetry: async () => agent?.annotateNode({ [retryAnnotation]: null }),
    clock: systemClock,
    logger,
    signal: stopping.signal,
  };
  const sources = new SourceTransports(transport, () => credentials.client);
  const placed = await openInstalled(flags, {
    ...shared,
    transport: (source) => sources.of(source),
    to: (server, use) => withTransport({ ...credentials.client, server }, use),
  });
  const upgrader = placed?.upgrader;
  let told = '';
  agent = new NodeAgent({
    client,
    clockSkew,
    clusterId,
    nodeName: flags.nodeName,
    dataDirectory: flags.data,
    logDirectory,
    manifestDirectory: flags.manifestDirectory,
    runtimeName: flags.runtimeName,
    identity: given.client.certPem === undefined ? undefined : () => peerIdentity(credentials),
    mayInstall: flags.mayInstall,
    serviceCidr: flags.serviceCidr,
    ingressPorts: flags.ingressPorts,
    podMaxPids: flags.podMaxPids,
    lanInterfaces: flags.lanInterfaces,
    server: { ...serverCertificate(credentials), bindAddress, port },
    installation: flags.installation,
    upgrader,
    controlPlane: placed?.controlPlane,
    userId: process.getuid?.() ?? -1,
    variables: process.env,
    process: processUsage,
    clock: systemClock,
    random,
    logger,
    onAddresses: moved,
    apiServer: () => transport.server,
    hearApiServers(servers) {
      hear(servers);
      // What waits for its next attempt need not: who is well again says so now.
      agent?.tellNode();
    },
    followApiServers: (slices, signal) => known.follow(slices, signal),
    restart,
    say: (sentence) => process.stderr.write(`${sentence}\n`),
    onReady(isReady, message) {
      void upgrader?.onReady(isReady);
      const type = isReady ? 'ready' : 'not-ready';
      if (`${type} ${message}` === told) return;
      told = `${type} ${message}`;
      logger.info('Node status', { ready: isReady, message });
      channel.post({ type, message });
    },
  });
  void keepCredentials(ways, credentials, (renewed) => {
    credentials = renewed;
    transport.use(renewed.client);
    agent?.setCertificate(serverCertificate(renewed));
  });
  announcer = await announce(flags, clusterId, logger, stopping.signal);
  await agent.start();
}

/** What it takes is loaded where somebody may hear it. */
async function announce(
  { lanInterfaces, nodeName, port }: Flags,
  clusterId: string,
  logger: Logger,
  signal: AbortSignal,
): Promise<Announcer | undefined> {
  if (lanInterfaces.length === 0 || signal.aborted) return undefined;
  const [{ Announcer: Loaded }, { lanLinks }] = await Promise.all([
    import('./names/announcer.ts'),
    import('./names/lan-links.ts'),
  ]);
  return new Loaded({
    announcement: { clusterId, nodeName },
    hostName: hostname(),
    port,
    links: () => lanLinks(lanInterfaces, networkInterfaces()),
    clock: systemClock,
    logger,
    signal,
  });
}

/** Loaded only where an agent was placed as a package. */
async function openInstalled(
  { installation: root }: Flags,
  deps: Omit<UpgraderDeps, 'installation' | 'architecture' | 'restart'> &
    Pick<ControlPlaneKeeperDeps, 'to'>,
) {
  if (root === undefined) return undefined;
  const [{ openInstallation }, upgrades, { openPlaced }, { ControlPlaneKeeper }] =
    await Promise.all([
      import('./upgrade/installation.ts'),
      import('./upgrade/upgrader.ts'),
      import('./control-plane/placed.ts'),
      import('./control-plane/keeper.ts'),
    ]);
  const installation = await openInstallation(root, import.meta.dirname);
  // In order: the history is written down.
  const restart = (): unknown => process.kill(process.pid, 'SIGTERM');
  const upgrader = new upgrades.Upgrader({
    ...deps,
    installation,
    architecture: process.arch,
    restart,
  });
  const controlPlane = new ControlPlaneKeeper({
    ...deps,
    placed: await openPlaced(root, installation, systemClock),
    ownServer: `https://127.0.0.1:${controlPlanePorts.api}`,
    isAlwaysOn: !hasBattery(),
    restart,
  });
  await Promise.all([upgrader.start(), controlPlane.start()]);
  return { upgrader, controlPlane };
}

async function withTransport<T>(
  config: ClientConfig,
  use: (transport: HttpsTransport) => Promise<T>,
): Promise<T> {
  const transport = new HttpsTransport(config, systemClock);
  try {
    return await use(transport);
  } finally {
    transport.close();
  }
}

/** To the server that hands out what is wanted: often the one that is asked anyway. */
class SourceTransports {
  readonly #usual: ApiServers['transport'];
  readonly #client: () => ClientConfig;
  #last: { readonly source: string; readonly transport: HttpsTransport } | undefined;

  constructor(usual: ApiServers['transport'], client: () => ClientConfig) {
    this.#usual = usual;
    this.#client = client;
  }

  of(source: string | undefined): Transport {
    if (source === undefined || source === this.#usual.server) return this.#usual;
    if (this.#last?.source !== source) {
      this.#last?.transport.close();
      const transport = new HttpsTransport({ ...this.#client(), server: source }, systemClock);
      this.#last = { source, transport };
    }
    return this.#last.transport;
  }
}

function serverCertificate({ client, serving }: Credentials): ServerCertificate {
  return { ...serving, caPem: client.caPem };
}

function peerIdentity({ client }: Credentials): PeerIdentity {
  const { caPem, certPem = '', keyPem = '' } = client;
  return { caPem, certPem, keyPem };
}

/** To whichever API server answers: the one that `config` names, or another that this machine knows. */
function clientMaker({ data, nodeName }: Flags): RemoveOptions['withClient'] {
  const common = { clock: systemClock, random, logger: silentLogger };
  return async (config, use) => {
    const { transport } = await openApiServers({
      ...common,
      config,
      nodeName,
      dataDirectory: data,
    });
    try {
      return await use(new RestClient({ transport, userAgent: 'kubelet/flotilla-agent-joining' }));
    } finally {
      transport.close();
    }
  };
}

function processUsage() {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    startedAtMs: performance.timeOrigin,
  };
}

/** Ends the process: 0 when it counts no more. */
async function leaveControlPlane({ kubeconfig, nodeName }: Flags): Promise<never> {
  const { leaveGroup } = await import('./control-plane/leave-group.ts');
  try {
    const config = await readKubeconfig(kubeconfig);
    const own = `https://127.0.0.1:${controlPlanePorts.api}`;
    const said = await leaveGroup({
      nodeName,
      servers: [own, config.server],
      to: (server, use) => withTransport({ ...config, server }, use),
      clock: systemClock,
    });
    process.stdout.write(`${said}\n`);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  }
}

/** Ends the process: 0 when nothing is left. */
async function remove(flags: Flags, logDirectory: string): Promise<never> {
  const { data, nodeName } = flags;
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const userId = process.getuid?.() ?? -1;
  const variables = process.env;
  try {
    const { removeNode } = await import('./removal/remove-command.ts');
    const withClient = clientMaker(flags);
    const options = { data, nodeName, logDirectory, userId, variables, say, withClient };
    const isDone = await removeNode(options);
    process.exit(isDone ? 0 : 1);
  } catch (error) {
    say(`could not remove anything: ${messageOf(error)}`);
    process.exit(1);
  }
}

// Small buffers are cut from blocks of 64 KiB, and one that is kept keeps its block.
Buffer.poolSize = 8192;
const flags = flagsOrExit();
const logDirectory = path.join(flags.data, '..', 'logs');
// Timers and idle connections don't keep a process alive; the agent ends only when it is told to, or has removed everything.
setInterval(() => {}, 2 ** 30);
if (flags.isLeavingControlPlane) await leaveControlPlane(flags);
if (flags.isRemoval) await remove(flags, logDirectory);
const logger = processLogger({ directory: logDirectory, name: 'agent', clock: systemClock });
process.on('uncaughtException', (error) => {
  logger.error('The agent ends: unexpected error', { error });
  process.exit(1);
});
run(flags, logger, logDirectory).catch((error: unknown) => {
  logger.error('The agent cannot run', {
    error: messageOf(error),
  });
  process.exit(1);
});
