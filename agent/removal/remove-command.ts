// `agent --remove`: what node-removal.ts needs, of this machine. The API server is told if it answers; it may
// be gone for good, and nothing here depends on it.
import { X509Certificate } from 'node:crypto';
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { readKubeconfig, type ClientConfig } from '#platform/kubeconfig.ts';
import { lanLinks } from '../balancer/lan-link.ts';
import { removeLanAddresses } from '../balancer/start.ts';
import { findSocket } from '../engine/engine-socket.ts';
import { messageOf } from '../error-message.ts';
import { networkNames } from '../network/names.ts';
import { IpNetwork } from '../network/ip-network.ts';
import { NetworkRules } from '../network/network-rules.ts';
import { podCgroupsHere } from '../node-runtime.ts';
import { policyTableName, removePolicies } from '../policy/policy-table.ts';
import { removeRules } from '../proxy/nft-applier.ts';
import { proxySystem, type ProxySystem } from '../proxy/system.ts';
import { removePodCgroupParents } from '../runtime/pod-cgroup.ts';
import { DockerClient } from '../runtime/docker-client.ts';
import { label } from '../runtime/docker-config.ts';
import { DockerRuntime } from '../runtime/docker-runtime.ts';
import { bridgeName, shortClusterId } from '../runtime/pod-network.ts';
import { sandboxImageName } from '../runtime/sandbox-image.ts';
import { sayLastWord, type LastWordDeps } from './last-word.ts';
import { leaveCluster } from './leave.ts';
import { NodeRemoval } from './node-removal.ts';

export interface RemoveOptions {
  readonly data: string;
  readonly nodeName: string;
  readonly logDirectory: string;
  readonly userId: number;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly say: (line: string) => void;
  readonly withClient: <T>(
    config: ClientConfig,
    use: (client: RestClient) => Promise<T>,
  ) => Promise<T>;
}

/** False: something is still there, and was named. The cluster hears of both. */
export async function removeNode(given: RemoveOptions): Promise<boolean> {
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
    given.say(line);
  };
  const dataDirectory = await realpath(given.data).catch(() => given.data);
  const config = await readKubeconfig(path.join(dataDirectory, 'kubeconfig')).catch(
    () => undefined,
  );
  // Its certificate knows better than a setting that was written over.
  const nodeName = (config && certifiedName(config)) ?? given.nodeName;
  const options = { ...given, nodeName, say };
  if (nodeName !== given.nodeName)
    say(`this machine is the node ${nodeName} by its certificate, not ${given.nodeName}`);
  const isDone = await removeFrom(dataDirectory, options);
  if (config !== undefined) await tellEnd(config, options, { isFailed: !isDone, lines });
  return isDone;
}

async function removeFrom(dataDirectory: string, options: RemoveOptions): Promise<boolean> {
  const { nodeName, logDirectory, userId, variables, say } = options;
  const running = await runningAgent(dataDirectory);
  if (running !== undefined) {
    say(`could not remove anything: the agent still runs (process ${running}); stop it first`);
    return false;
  }
  // One that can't be read is no reason to look for no containers: it throws.
  const clusterId = (await readIfThere(path.join(dataDirectory, 'cluster-id'))).trim();
  const system = proxySystem(userId);
  const client = new DockerClient(findSocket({ variables, isRoot: userId === 0 }));
  const identity = { clusterId, nodeName };
  const runtime = new DockerRuntime({
    client: () => client,
    identity,
    clock: systemClock,
    ...podCgroupsHere(system.isRoot, systemClock),
  });
  const removal = new NodeRemoval({
    runtime: clusterId === '' ? undefined : runtime,
    nodeName,
    async nodeNames() {
      if (clusterId === '') return [];
      const found = await client.listContainers({ label: [`${label.cluster}=${clusterId}`] });
      return found.map(({ Labels }) => Labels[label.node] ?? '');
    },
    networks: {
      list: async () => {
        // One that never joined has none, and perhaps no engine to ask.
        if (clusterId === '') return [];
        const found = await client.listNetworks({ label: [`${label.cluster}=${clusterId}`] });
        return found.map(({ Name }) => Name);
      },
      remove: (name) => client.removeNetwork(name),
    },
    async removeImage() {
      if (clusterId === '') return false;
      const image = await runtime.imageStatus(sandboxImageName);
      if (image !== undefined) await runtime.removeImage(image);
      return image !== undefined;
    },
    leave: () => leave(path.join(dataDirectory, 'kubeconfig'), options),
    async removeRules() {
      if (clusterId === '' || !system.isRoot) return;
      // Without the command nobody made any.
      if ((await system.run('nft', ['--version'])).exitCode === undefined) return;
      const table = `flotilla_${shortClusterId(clusterId)}`;
      const bridge = bridgeName(clusterId);
      await removeRules({ system, table, bridge });
      await new NetworkRules(system, networkNames(clusterId)).remove();
      await removePolicies(system, policyTableName(clusterId));
      say(`removed packet rules of ${table}`);
    },
    async removeRoutes() {
      if (clusterId === '' || !system.isRoot) return;
      if ((await system.run('ip', ['-Version'])).exitCode === undefined) return;
      const taken = await new IpNetwork(system, networkNames(clusterId)).remove();
      if (taken > 0) say(`removed ${taken} routes to pods of other machines`);
      const given = await removeLanAddresses(dataDirectory, lanLinks(system, systemClock));
      if (given.length > 0) say(`gave back ${given.join(', ')}`);
    },
    kernelTraces: async () => (clusterId === '' || !system.isRoot ? [] : traces(system, clusterId)),
    removeCgroups: async () => {
      if (system.isRoot) await removePodCgroupParents();
    },
    system,
    dataDirectory,
    logDirectory,
    say,
  });
  return removal.run();
}

/** Undefined: it has no certificate of a node. */
export function certifiedName({ certPem }: ClientConfig): string | undefined {
  if (certPem === undefined) return undefined;
  try {
    const { subject } = new X509Certificate(certPem);
    return /^CN=system:node:(\S+)$/m.exec(subject)?.[1];
  } catch {
    return undefined;
  }
}

/** Of the cluster, in this machine's kernel. */
async function traces(
  system: Pick<ProxySystem, 'run'>,
  clusterId: string,
): Promise<readonly string[]> {
  const short = shortClusterId(clusterId);
  const [tables, links] = await Promise.all([
    system.run('nft', ['list', 'tables']),
    system.run('ip', ['-o', 'link']),
  ]);
  return [
    ...tables.stdout.matchAll(/^table \S+ (flotilla_\S+)$/gm),
    ...links.stdout.matchAll(/^\d+: ([^:@]+)/gm),
  ]
    .map(([, name = '']) => name)
    .filter((name) => /^fl(otilla|t|v)[-_]/.test(name) && name.endsWith(short));
}

/** Whether the cluster hears it or not: what was to be done is done. */
async function tellEnd(
  config: ClientConfig,
  { nodeName, say, withClient }: RemoveOptions,
  end: Pick<LastWordDeps, 'isFailed' | 'lines'>,
): Promise<void> {
  const late = new AbortController();
  const timer = systemClock.timer(leaveMs, () => late.abort(new Error('it does not answer')));
  try {
    const { signal } = late;
    await withClient(config, (client) =>
      sayLastWord({ client, nodeName, ...end, clock: systemClock, signal }),
    );
    if (!end.isFailed) say(`told the cluster, which deletes the Node ${nodeName}`);
  } catch (error) {
    const why = messageOf(late.signal.aborted ? late.signal.reason : error);
    if (!hasReason(error, 'NotFound')) say(`the cluster did not hear of the end (${why})`);
  } finally {
    timer.cancel();
  }
}

/** As built, or placed as a package. */
const agentProgram = /(^|\/)agent(-[0-9a-f]{12})?\/main\.js$/;

const leaveMs = 10_000;

async function leave(
  kubeconfig: string,
  { nodeName, say, withClient }: RemoveOptions,
): Promise<void> {
  const late = new AbortController();
  const timer = systemClock.timer(leaveMs, () => late.abort(new Error('it does not answer')));
  try {
    const config = await readKubeconfig(kubeconfig);
    const count = await withClient(config, (client) =>
      leaveCluster({ client, nodeName, clock: systemClock, signal: late.signal }),
    );
    say(`told the cluster that ${nodeName} left; took its ${count} pods off the list`);
  } catch (error) {
    const why = messageOf(late.signal.aborted ? late.signal.reason : error);
    say(
      `the cluster was not told (${why}): its pods go when somebody deletes the Node ${nodeName}`,
    );
  } finally {
    timer.cancel();
  }
}

/**
 * The process id of another agent with this data directory; undefined also where nobody can tell.
 * `proc`: where the kernel shows processes.
 */
export async function runningAgent(
  dataDirectory: string,
  proc = '/proc',
): Promise<number | undefined> {
  const ids = await readdir(proc).catch(() => []);
  for (const id of ids.filter((name) => /^\d+$/.test(name))) {
    if (Number(id) === process.pid) continue;
    const text = await readFile(path.join(proc, id, 'cmdline'), 'utf8').catch(() => '');
    const words = text.split('\0');
    // Such as the one that started this: `sudo node … --remove`.
    if (words.includes('--remove')) continue;
    const data = flagOf(words, '--data');
    if (!words.some((word) => agentProgram.test(word)) || data === undefined) continue;
    // Of a process of somebody else's it can't be read: an absolute path is right all the same.
    const cwd = await readlink(path.join(proc, id, 'cwd')).catch(() => '/');
    const found = path.resolve(cwd, data);
    if ((await realpath(found).catch(() => found)) === dataDirectory) return Number(id);
  }
  return undefined;
}

/** '' where there is none. */
async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** `--flag VALUE` or `--flag=VALUE`; the last one counts. */
function flagOf(words: readonly string[], flag: string): string | undefined {
  const last = words.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`));
  return words[last] === flag ? words[last + 1] : words[last]?.slice(flag.length + 1);
}
