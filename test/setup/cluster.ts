// A whole cluster for the system tests: the real launcher with the real flags, on free ports and a
// data directory of its own; and the tools to look at it from outside.
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { systemClock } from '#kube/base/clock.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig } from '#platform/kubeconfig.ts';
import { removeRules } from '../../agent/proxy/nft-applier.ts';
import { proxySystem } from '../../agent/proxy/system.ts';
import { mountPointsWithin, systemMounter } from '../../agent/kubelet/volumes/disks/mounter.ts';
import { shortClusterId } from '../../agent/runtime/pod-network.ts';
import { cache, root } from './machine.ts';

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How long anything that should come about may take on a slow machine before a test gives up. */
const patienceMs = 60_000;

export interface ClusterOptions {
  /** Added to this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** What runs the launcher, such as a change of user: gets Node's command line, gives its own. */
  readonly runAs?: (command: readonly string[]) => readonly string[];
  /** False with `--no-agent`, if the test runs no agent either. */
  readonly usesDocker?: boolean;
}

export class Cluster {
  readonly dataDirectory: string;
  apiUrl = '';
  uiUrl = '';
  kubeconfig = '';
  readyMs = 0;
  /** All that the launcher printed to stderr. */
  stderr = '';
  #process: ChildProcess | undefined;
  #clusterId = '';
  #isRunning = false;
  #transport: HttpsTransport | undefined;
  #exit: Promise<number | null> = Promise.resolve(0);
  readonly #arguments: readonly string[];
  readonly #options: ClusterOptions;

  constructor(args: readonly string[] = [], dataDirectory?: string, options: ClusterOptions = {}) {
    this.dataDirectory = dataDirectory ?? mkdtempSync(path.join(tmpdir(), 'flotilla-'));
    this.#arguments = args;
    this.#options = options;
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('the cluster does not run');
    return pid;
  }

  /** Resolves at the `ready` line; rejects with the launcher's last words when it ends before. */
  async start(): Promise<this> {
    const flags = ['--headless', '--data', this.dataDirectory, '--port', '0', '--ui-port', '0'];
    const node = [process.execPath, path.join(root, 'electron/start.ts')];
    const { env, runAs = (command) => command } = this.#options;
    const [command = '', ...args] = runAs([...node, ...flags, ...this.#arguments]);
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FLOTILLA_DISCOVERY: 'off', ...env },
    });
    this.#process = child;
    this.#isRunning = true;
    this.#exit = new Promise((resolve) => {
      child.once('exit', (code) => {
        this.#isRunning = false;
        resolve(code);
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`exit ${code}: ${this.stderr}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (this.#readLine(line)) resolve();
      });
    });
    return this;
  }

  #readLine(line: string): boolean {
    const [word, ...rest] = line.split(' ');
    const value = rest.join(' ');
    if (word === 'api') this.apiUrl = value;
    if (word === 'ui') this.uiUrl = value;
    if (word === 'kubeconfig') this.kubeconfig = value;
    if (word === 'ready') this.readyMs = Number(/in (\d+) ms/.exec(value)?.[1]);
    return word === 'ready';
  }

  /** SIGTERM to the launcher; its exit code. */
  async stop(): Promise<number | null> {
    // It goes on until the cluster has ended, for those who see it end.
    const transport = this.#transport;
    this.#transport = undefined;
    this.#process?.kill('SIGTERM');
    const code = await this.#exit;
    transport?.close();
    return code;
  }

  async exited(): Promise<number | null> {
    return await this.#exit;
  }

  /** Pids of a child by its bundle: `controlplane` or `agent`. */
  childPids(bundle: string): number[] {
    const out = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
    const own = out.split('\n').filter((line) => line.includes(`out/${bundle}/main.js`));
    return own
      .map((line) => line.trim().split(/\s+/, 2).map(Number))
      .filter(([, parent]) => parent === this.pid)
      .map(([pid]) => pid ?? 0);
  }

  /** `kill -9` of a child; its pid. */
  killChild(bundle: string): number {
    const [pid] = this.childPids(bundle);
    if (pid === undefined) throw new Error(`no ${bundle} process to kill`);
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  /**
   * With the admin's certificate, as kubectl, but without its start: for what a test asks again and
   * again. Another start needs another client.
   */
  async client(): Promise<RestClient> {
    this.#transport ??= new HttpsTransport(await readKubeconfig(this.kubeconfig), systemClock);
    return new RestClient({ transport: this.#transport, userAgent: 'test' });
  }

  /** Real kubectl 1.35 against this cluster. */
  async kubectl(...args: string[]): Promise<ToolResult> {
    return await tool('kubectl', ['--kubeconfig', this.kubeconfig, ...args]);
  }

  /** Its standard output; throws what it said when it failed. */
  async kubectlOk(...args: string[]): Promise<string> {
    const result = await this.kubectl(...args);
    if (result.code !== 0)
      throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  /** kubectl with something on its standard input. */
  async pipe(input: string, ...args: string[]): Promise<ToolResult> {
    return await tool('kubectl', ['--kubeconfig', this.kubeconfig, ...args], input);
  }

  async apply(manifest: string): Promise<string> {
    const result = await this.pipe(manifest, 'apply', '-f', '-');
    if (result.code !== 0) throw new Error(`kubectl apply: ${result.stderr}`);
    return result.stdout;
  }

  /** A running kubectl, such as `logs -f`. The caller stops it. */
  follow(...args: string[]): FollowedTool {
    return new FollowedTool('kubectl', ['--kubeconfig', this.kubeconfig, ...args]);
  }

  /** Full ids of this cluster's containers, sandboxes included. */
  async containers(): Promise<string[]> {
    return dockerList('ps', '-aq', '--no-trunc', ...(await this.#dockerFilter()));
  }

  /** Stops the cluster; removes its containers, networks, packet rules and data. */
  async destroy(): Promise<void> {
    const { usesDocker = !this.#arguments.includes('--no-agent') } = this.#options;
    if (this.#isRunning && usesDocker && this.kubeconfig !== '') await this.#dockerFilter();
    if (this.#isRunning) await this.stop();
    if (this.#clusterId !== '') {
      await removeContainers(await this.containers());
      for (const id of dockerList('network', 'ls', '-q', ...(await this.#dockerFilter())))
        execFileSync('docker', ['network', 'rm', id], { stdio: 'ignore' });
      await removePacketRules(this.#clusterId);
    }
    await this.#unmountAll();
    rmSync(this.dataDirectory, { recursive: true, force: true });
  }

  /** Memory and parts of volumes of pods that were not ended. */
  async #unmountAll(): Promise<void> {
    // Two clusters of a test may have had one after the other.
    if (!existsSync(this.dataDirectory)) return;
    const folder = realpathSync(this.dataDirectory);
    for (const point of mountPointsWithin(await systemMounter.mounts(), folder))
      execFileSync('umount', [point]);
  }

  /** The cluster's identity is the uid of its kube-system namespace. */
  async #dockerFilter(): Promise<string[]> {
    if (this.#clusterId === '')
      this.#clusterId = await this.kubectlOk(
        'get',
        'ns',
        'kube-system',
        '-o',
        'jsonpath={.metadata.uid}',
      );
    return ['--filter', `label=flotilla.dev/cluster-id=${this.#clusterId}`];
  }
}

/** The agent leaves its packet rules, so that apps are reached while it is away: take them back. */
async function removePacketRules(clusterId: string): Promise<void> {
  const short = shortClusterId(clusterId);
  const system = proxySystem(process.getuid?.() ?? 0);
  await removeRules({ system, table: `flotilla_${short}`, bridge: `flt-${short}` });
}

/** Several at a time: to end one is mostly to wait. */
async function removeContainers(ids: readonly string[]): Promise<void> {
  const waiting = [...ids];
  async function work(): Promise<void> {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop())
      await promisify(execFile)('docker', ['rm', '-f', id]);
  }
  await Promise.all(Array.from({ length: 4 }, work));
}

function dockerList(...args: string[]): string[] {
  const out = execFileSync('docker', args, { encoding: 'utf8' });
  return out.split('\n').filter((id) => id !== '');
}

/** A tool that runs until it is stopped; what it prints is kept. */
export class FollowedTool {
  stdout = '';
  readonly #child: ChildProcess;
  readonly #exit: Promise<number | null>;

  constructor(name: string, args: readonly string[]) {
    const child = spawn(path.join(cache, 'bin', name), [...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.#child = child;
    this.#exit = new Promise((resolve) => child.once('exit', resolve));
  }

  /** Resolves with the exit code when the tool ends by itself. */
  exited(): Promise<number | null> {
    return this.#exit;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exit;
  }
}

/** Runs a tool of the test cache (kubectl, helm) to its end. */
export function tool(name: string, args: readonly string[], input?: string): Promise<ToolResult> {
  return new Promise((resolve) => {
    const child = execFile(
      path.join(cache, 'bin', name),
      [...args],
      { timeout: patienceMs, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.end(input ?? '');
  });
}

/**
 * Asks until `check` gives something, then returns it; throws the last complaint when it takes longer
 * than a minute. For what comes about by itself and has no event a test could wait for. Rests as long
 * as asking took: a kubectl takes a fifth of a second of the processor that what it waits for needs.
 */
export async function eventually<T>(
  check: () => Promise<T | undefined | false> | T | undefined | false,
  what: string,
  withinMs = patienceMs,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  let complaint = '';
  while (Date.now() < deadline) {
    const askedMs = Date.now();
    try {
      const result = await check();
      if (result !== undefined && result !== false) return result;
    } catch (error) {
      complaint = String(error);
    }
    const restMs = Math.max(50, Date.now() - askedMs);
    await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  throw new Error(`not within ${withinMs} ms: ${what} ${complaint}`);
}
