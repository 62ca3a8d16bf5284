// An agent that a test starts and kills itself, on a cluster whose launcher runs none: a launcher
// waits longer each time before it starts again what was killed.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Cluster } from './cluster.ts';
import { root } from './machine.ts';

/** The agent's credentials come from a first start, whose agent finds no engine. */
export async function clusterWithoutAgent(): Promise<Cluster> {
  const nowhere = { env: { DOCKER_HOST: 'unix:///nowhere/docker.sock' } };
  const first = await new Cluster(['--no-install'], undefined, nowhere).start();
  await first.stop();
  const { dataDirectory } = first;
  const cluster = await new Cluster(['--no-agent'], dataDirectory, { usesDocker: true }).start();
  const file = path.join(dataDirectory, 'agent/kubeconfig');
  const kubeconfig = readFileSync(file, 'utf8');
  writeFileSync(file, kubeconfig.replaceAll(first.apiUrl, cluster.apiUrl));
  return cluster;
}

export class AgentProcess {
  readonly dataDirectory: string;
  readonly nodeName: string;
  /** All that it printed to stderr, over all its starts. */
  stderr = '';
  readonly #env: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;
  #exit: Promise<number | null> = Promise.resolve(0);

  /** `folder`: where its own, with the credentials, was moved to. */
  constructor(
    { dataDirectory }: Cluster,
    env: Readonly<Record<string, string>> = {},
    folder = path.join(dataDirectory, 'agent'),
  ) {
    this.dataDirectory = folder;
    this.nodeName = readFileSync(path.join(dataDirectory, 'node-name'), 'utf8').trim();
    this.#env = env;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  start(...more: readonly string[]): this {
    const main = path.join(root, 'out/agent/main.js');
    const flags = ['--data', this.dataDirectory, '--node-name', this.nodeName, '--no-install'];
    const child = spawn(process.execPath, [main, ...flags, ...more], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.#env },
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#exit = new Promise((resolve) => child.once('exit', resolve));
    this.#process = child;
    return this;
  }

  /** At once, as by a power cut. */
  kill(): void {
    this.#process?.kill('SIGKILL');
  }

  async exited(): Promise<number | null> {
    return this.#exit;
  }

  async stop(): Promise<void> {
    this.#process?.kill('SIGTERM');
    await this.#exit;
  }
}
