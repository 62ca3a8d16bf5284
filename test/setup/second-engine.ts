// A second Docker Engine on this machine, as another machine of a cluster would have: with a folder,
// a socket, a bridge and a containerd of its own, without packet rules. Root only.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from './cluster.ts';

export class SecondEngine {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-engine-'));
  /** Without one of its own it would take the first engine's away. */
  readonly #bridge = `fltest2-${process.pid % 100_000}`;
  #process: ChildProcess | undefined;

  get host(): string {
    return `unix://${this.#folder}/docker.sock`;
  }

  async start(): Promise<this> {
    ip('link', 'add', this.#bridge, 'type', 'bridge');
    ip('address', 'add', '10.77.8.1/24', 'dev', this.#bridge);
    const options = {
      'data-root': `${this.#folder}/data`,
      'exec-root': `${this.#folder}/exec`,
      pidfile: `${this.#folder}/pid`,
      host: this.host,
      bridge: this.#bridge,
      iptables: 'false',
      // In case it finds the system's containerd.
      'containerd-namespace': 'flotilla-test',
      'containerd-plugins-namespace': 'flotilla-test-plugins',
    };
    const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    this.#process = spawn('dockerd', flags, { stdio: 'ignore' });
    await eventually(async () => this.docker('version'), 'the second engine answers');
    return this;
  }

  docker(...args: readonly string[]): string {
    return execFileSync('docker', ['--host', this.host, ...args], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
  }

  async destroy(): Promise<void> {
    const child = this.#process;
    if (child !== undefined && child.exitCode === null) {
      const ids = this.docker('ps', '-aq').split('\n').slice(0, -1);
      if (ids.length > 0) this.docker('rm', '-f', ...ids);
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      // The network namespace of containers without one of their own: dockerd leaves it mounted.
      spawnSync('umount', ['--quiet', `${this.#folder}/exec/netns/default`]);
    }
    ip('link', 'delete', this.#bridge);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}
