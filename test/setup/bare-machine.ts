// A machine on which nothing is installed: Debian's smallest system in namespaces of its own, with no
// network but loopback. The packages of Docker Engine lie in its package cache, out of reach until
// `plugIn`. Everything it writes is in memory and goes with it. Root only.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { bareSystem, root } from './machine.ts';

const archives = 'var/cache/apt/archives';

/** $1: an empty folder; $2: the system; the rest is shared with it under the same paths. */
const script = String.raw`
set -e
read -r pid rest < /proc/self/stat
memory=$1 system=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o size=3g flotilla-bare "$memory"
new=$memory/root
mkdir "$memory/upper" "$memory/work" "$memory/engine" "$new"
mount -t overlay -o "lowerdir=$system,upperdir=$memory/upper,workdir=$memory/work" overlay "$new"
mount -t proc proc "$new/proc"
mount --rbind /sys "$new/sys"
mount --rbind /dev "$new/dev"
mount -t tmpfs tmpfs "$new/run"
mount -t tmpfs tmpfs "$new/${archives}"
mkdir -p "$new/var/lib/docker" "$new/old"
mount --bind "$memory/engine" "$new/var/lib/docker"
for shared; do
  if [ -d "$shared" ]; then mkdir -p "$new$shared"
  elif [ ! -e "$new$shared" ]; then mkdir -p "$new$(dirname "$shared")"; : > "$new$shared"; fi
  mount --bind "$shared" "$new$shared"
done
ip link set lo up
pivot_root "$new" "$new/old"
umount --lazy /old
cd /
exec 3<&0
echo "$pid"
# The first process: reaps orphans, and ends with all others when its input does.
cat <&3 > /dev/null &
wait $!
`;

export class BareMachine {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bare-'));
  #process: ChildProcess | undefined;
  #pid = 0;

  /** The checkout and this Node are shared with it, and what is given: absolute paths. */
  async start(...shared: readonly string[]): Promise<void> {
    const memory = path.join(this.#folder, 'memory');
    mkdirSync(memory);
    const shell = [
      'sh',
      '-c',
      script,
      'bare',
      memory,
      bareSystem,
      root,
      process.execPath,
      ...shared,
    ];
    const child = spawn('unshare', ['--mount', '--pid', '--net', '--fork', ...shell], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#process = child;
    this.#pid = await new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the bare machine ended: exit ${code}`)));
      createInterface({ input: child.stdout }).once('line', (line) => resolve(Number(line)));
    });
  }

  /** The same command in it, from the checkout. */
  readonly run = (command: readonly string[]): readonly string[] => {
    const enter = ['nsenter', `--target=${this.#pid}`, '--mount', '--pid', '--net', '--'];
    return [...enter, 'sh', '-c', 'cd "$0" && exec "$@"', root, ...command];
  };

  /** From now on the packages can be had. */
  plugIn(): void {
    const [command = '', ...args] = this.run(['umount', `/${archives}`]);
    execFileSync(command, args);
  }

  /** Our Docker client at its engine. Throws when there is none. */
  docker(args: readonly string[], input?: Buffer): string {
    const socket = `unix:///proc/${this.#pid}/root/run/docker.sock`;
    return execFileSync('docker', ['--host', socket, ...args], {
      input,
      encoding: 'utf8',
      stdio: 'pipe',
    });
  }

  /** A program of ours that sees its network and nothing else of it: a file to execute. */
  onItsNetwork(program: string): string {
    const file = path.join(this.#folder, path.basename(program));
    writeFileSync(file, `#!/bin/sh\nexec nsenter --target=${this.#pid} --net -- ${program} "$@"\n`);
    chmodSync(file, 0o755);
    return file;
  }

  /** Containers first: their cgroups are the host's. */
  async destroy(): Promise<void> {
    try {
      const ids = this.docker(['ps', '-aq']).split('\n').slice(0, -1);
      if (ids.length > 0) this.docker(['rm', '-f', ...ids]);
    } catch {
      // No engine came.
    }
    const child = this.#process;
    if (child !== undefined && child.exitCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin?.end();
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
