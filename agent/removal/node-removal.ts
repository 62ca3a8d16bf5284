// Takes a node's traces off its machine: what carries the cluster's labels in the engine, its packet
// rules, what is mounted below its data directory, and that directory. Each step may be repeated and
// stands for itself; one that fails is told, and then the directory stays, since it knows whose
// containers to look for. What people put into hostPath folders and claims is never touched.
import { readdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import type { ProxySystem } from '../proxy/system.ts';
import { isRuntimeError, type ObservedPod, type Runtime } from '../runtime/runtime.ts';
import { messageOf } from '../error-message.ts';

type Engine = Pick<Runtime, 'listPods' | 'stopContainer' | 'removeContainer' | 'removeSandbox'>;

export interface NodeRemovalDeps {
  /** Undefined: this machine was never part of a cluster. */
  readonly runtime: Engine | undefined;
  readonly nodeName: string;
  /** Of each container that the cluster has in the engine. */
  readonly nodeNames: () => Promise<readonly string[]>;
  readonly networks: {
    readonly list: () => Promise<readonly string[]>;
    readonly remove: (name: string) => Promise<void>;
  };
  /** Of the sandboxes; false: it was not there. A conflict: others use it. */
  readonly removeImage: () => Promise<boolean>;
  /** Tells the cluster, if it can be asked; what it says is told. */
  readonly leave: () => Promise<void>;
  /** Packet rules; nothing is there without root. */
  readonly removeRules: () => Promise<void>;
  /** To pods of other machines, and the device of the overlay. */
  readonly removeRoutes: () => Promise<void>;
  /** Packet tables and devices of the cluster, by name. */
  readonly kernelTraces: () => Promise<readonly string[]>;
  /** The control groups that all pods' were in. */
  readonly removeCgroups: () => Promise<void>;
  readonly system: Pick<ProxySystem, 'run' | 'readText'>;
  /** Absolute, without links. */
  readonly dataDirectory: string;
  readonly logDirectory: string;
  readonly say: (line: string) => void;
}

/** People's: the data of claims, and pods they wrote for this machine. */
const kept: readonly string[] = ['volumes', 'manifests'];
/** What an agent's data directory has, of which one is enough to know it by. */
const marks: readonly string[] = ['cluster-id', 'serving.key'];
/** What a member's has: the whole cluster, which is not this node's to delete. */
const foreign: readonly string[] = ['store', 'pki'];
const parallelPods = 8;

export class NodeRemoval {
  readonly #deps: NodeRemovalDeps;
  #hasFailed = false;
  #isOtherNode = false;

  constructor(deps: NodeRemovalDeps) {
    this.#deps = deps;
  }

  /** False: something is still there, and was named. */
  async run(): Promise<boolean> {
    const { dataDirectory, say, leave, removeRules, removeRoutes, removeCgroups } = this.#deps;
    const entries = await names(dataDirectory);
    if (entries.length === 0) {
      say(`nothing to remove: ${dataDirectory} is not there`);
      return true;
    }
    const isAgents = entries.some((name) => marks.includes(name));
    if (!isAgents || entries.some((name) => foreign.includes(name))) {
      say(`could not remove ${dataDirectory}: it is not an agent's data directory`);
      return false;
    }
    const before = await this.#traces();
    await this.#step('containers', () => this.#removePods());
    if (this.#isOtherNode) return false;
    await leave();
    await this.#step('control groups', removeCgroups);
    await this.#step('packet rules', removeRules);
    await this.#step('routes', removeRoutes);
    await this.#step('networks', () => this.#removeNetworks());
    await this.#step('the sandbox image', () => this.#removeSandboxImage());
    await this.#step('mounts', () => this.#unmountAll());
    await this.#step('all of it', () => this.#compare(before));
    if (this.#hasFailed) say(`kept ${dataDirectory}, so that this can be run again`);
    else await this.#step(dataDirectory, () => this.#removeFiles());
    return !this.#hasFailed;
  }

  /** What the cluster has on this machine: containers, networks, packet tables, devices, mounts. */
  async #traces(): Promise<readonly string[]> {
    const { runtime, networks, kernelTraces } = this.#deps;
    const pods = runtime === undefined ? [] : await runtime.listPods().catch(() => []);
    return [
      ...pods.map(({ pod }) => `pod ${pod.namespace}/${pod.name}`),
      ...(await networks.list().catch(() => [])).map((name) => `network ${name}`),
      ...(await kernelTraces().catch(() => [])),
      ...(await this.#ownMounts()).map((point) => `mount ${point}`),
    ];
  }

  /** That everything is gone is looked at, not believed. */
  async #compare(before: readonly string[]): Promise<void> {
    const left = await this.#traces();
    this.#deps.say(`compared: ${before.length} traces of the cluster before, ${left.length} after`);
    if (left.length > 0) throw new Error(`still there: ${left.join(', ')}`);
  }

  async #step(what: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#failed(what, error);
    }
  }

  #failed(what: string, error: unknown): void {
    this.#hasFailed = true;
    this.#deps.say(`could not remove ${what}: ${messageOf(error)}`);
  }

  async #removePods(): Promise<void> {
    const { runtime, nodeName, nodeNames } = this.#deps;
    if (runtime === undefined) return;
    const all = await nodeNames();
    if (all.length > 0 && !all.includes(nodeName)) {
      this.#isOtherNode = true;
      const others = [...new Set(all)].join(', ');
      throw new Error(`none is of node ${nodeName}, but some of ${others}: is --node-name right?`);
    }
    const waiting = [...(await runtime.listPods())];
    const work = async (): Promise<void> => {
      for (let pod = waiting.pop(); pod !== undefined; pod = waiting.pop()) {
        const { namespace, name } = pod.pod;
        await this.#step(`pod ${namespace}/${name}`, () => this.#removePod(runtime, pod));
      }
    };
    await Promise.all(Array.from({ length: parallelPods }, work));
  }

  /** In order, with the patience that the pod asked for. */
  async #removePod(runtime: Engine, observed: ObservedPod): Promise<void> {
    const { pod, containers, sandboxes, gracePeriodSeconds } = observed;
    const running = containers.filter(({ state }) => state === 'running');
    await Promise.all(running.map(({ id }) => runtime.stopContainer(id, gracePeriodSeconds)));
    for (const { id } of containers) await runtime.removeContainer(id);
    for (const { id } of sandboxes) await runtime.removeSandbox(id);
    this.#deps.say(`removed pod ${pod.namespace}/${pod.name} (${containers.length} containers)`);
  }

  async #removeNetworks(): Promise<void> {
    const { networks, say } = this.#deps;
    for (const name of await networks.list()) {
      await networks.remove(name);
      say(`removed network ${name}`);
    }
  }

  async #removeSandboxImage(): Promise<void> {
    const { removeImage, say } = this.#deps;
    try {
      if (await removeImage()) say('removed the sandbox image');
    } catch (error) {
      if (!isRuntimeError(error, 'conflict')) throw error;
      say('kept the sandbox image: other containers are made of it');
    }
  }

  async #unmountAll(): Promise<void> {
    const { system, say } = this.#deps;
    for (const point of await this.#ownMounts()) {
      const result = await system.run('umount', [point]);
      if (result.exitCode === 0) say(`unmounted ${point}`);
      else this.#failed(`mount ${point}`, new Error(result.stderr.trim()));
    }
  }

  /** All below the data directory, deepest first. */
  async #mounts(): Promise<readonly string[]> {
    const { system, dataDirectory } = this.#deps;
    return mountsBelow((await system.readText('/proc/self/mountinfo')) ?? '', dataDirectory);
  }

  /** A disk for claims is mounted by people, and stays. */
  async #ownMounts(): Promise<readonly string[]> {
    const folders = kept.map((name) => path.join(this.#deps.dataDirectory, name));
    return (await this.#mounts()).filter(
      (point) => !folders.some((folder) => `${point}/`.startsWith(`${folder}/`)),
    );
  }

  async #removeFiles(): Promise<void> {
    const { dataDirectory, logDirectory, say } = this.#deps;
    const [mount] = await this.#ownMounts();
    // Deleting would go on behind it.
    if (mount !== undefined) throw new Error(`${mount} is still mounted`);
    const mounts = await this.#mounts();
    let hasData = false;
    for (const name of await names(dataDirectory)) {
      const file = path.join(dataDirectory, name);
      const isKept =
        kept.includes(name) && (mounts.includes(file) || (await names(file)).length > 0);
      if (isKept) say(`kept ${file}: what is in it is not ours`);
      else await rm(file, { recursive: true });
      hasData ||= isKept;
    }
    if (!hasData) await rmdir(dataDirectory);
    for (const name of await names(logDirectory))
      if (/^(agent(\.\d+)?|engine-install)\.log$/.test(name))
        await rm(path.join(logDirectory, name));
    await removeIfEmpty(logDirectory);
    say(`removed ${hasData ? 'all else of ' : ''}${dataDirectory}`);
  }
}

/** Others may have files in it. */
async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(code)) throw error;
  }
}

/** None when the folder is not there. */
async function names(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Mount points below the directory, deepest first. */
function mountsBelow(mountinfo: string, directory: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((point) =>
      point.replaceAll(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((point) => point.startsWith(`${directory}/`))
    .toSorted((a, b) => b.length - a.length);
}
