// A machine whose power can be cut: a Docker Engine and whatever a test runs on it, in namespaces of their own.
// All its processes end in the same moment by SIGKILL, as its mounts, its network and its memory do; what
// is on its disk is there at the next start. Its programs are this machine's. Root only.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from './cluster.ts';
import { root } from './machine.ts';

/** $1: where its engine keeps what it has. It ends with all others when its input does. */
const script = String.raw`
set -e
read -r pid rest < /proc/self/stat
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount --bind "$1" /var/lib/docker
ip link set lo up
exec 3<&0
echo "$pid"
dockerd --group root --log-level error < /dev/null > /dev/null 2>&1 3<&- &
cat <&3 > /dev/null &
wait $!
`;

export class PowerMachine {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-power-'));
  #process: ChildProcess | undefined;
  #pid = 0;
  /** Of all that it ever had: their cgroups are the host's. */
  readonly #containers = new Set<string>();

  /** Resolves when its engine answers. */
  async start(): Promise<this> {
    const engine = path.join(this.#folder, 'engine');
    mkdirSync(engine, { recursive: true });
    const shell = ['sh', '-c', script, 'power', engine];
    const child = spawn('unshare', ['--mount', '--pid', '--net', '--fork', ...shell], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    this.#pid = await new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the machine ended: exit ${code} ${said}`)));
      createInterface({ input: child.stdout }).once('line', (line) => resolve(Number(line)));
    });
    await eventually(() => this.docker(['version']), 'its engine answers');
    return this;
  }

  /** The same command on it, from the checkout. */
  readonly run = (command: readonly string[]): readonly string[] => {
    const enter = ['nsenter', `--target=${this.#pid}`, '--mount', '--pid', '--net', '--'];
    return [...enter, 'sh', '-c', 'cd "$0" && exec "$@"', root, ...command];
  };

  /** What a command on it says. Throws what it said when it failed. */
  read(command: readonly string[]): string {
    const [program = '', ...args] = this.run(command);
    return execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Our Docker client at its engine. */
  docker(args: readonly string[], input?: Buffer): string {
    const socket = `unix:///proc/${this.#pid}/root/run/docker.sock`;
    const all = ['--host', socket, ...args];
    return execFileSync('docker', all, { input, encoding: 'utf8', stdio: 'pipe' });
  }

  /** Full ids of all that its engine knows. */
  containers(): string[] {
    const ids = this.docker(['ps', '-aq', '--no-trunc']).split('\n').slice(0, -1);
    for (const id of ids) this.#containers.add(id);
    return ids;
  }

  /** Nothing of it runs any more when this resolves. */
  async cutPower(): Promise<void> {
    this.containers();
    const child = this.#process;
    if (child === undefined) return;
    this.#process = undefined;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    // The first process of its namespace: the kernel kills all others with it.
    process.kill(this.#pid, 'SIGKILL');
    await ended;
    // As a kernel that starts has none.
    for (const id of this.#containers)
      spawnSync('sh', ['-c', `rmdir /sys/fs/cgroup/*/docker/${id} /sys/fs/cgroup/docker/${id}`], {
        stdio: 'ignore',
      });
  }

  async destroy(): Promise<void> {
    if (this.#process !== undefined) {
      const ids = this.containers();
      if (ids.length > 0) this.docker(['rm', '-f', ...ids]);
      await this.cutPower();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
