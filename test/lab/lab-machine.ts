// A machine of the lab: Debian with Docker Engine in namespaces of its own (network, processes, mounts, name,
// IPC, cgroups) on a disk that outlives a power cut. Everything that runs in it ends with its first process, and that one
// with this process. Root only.
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../setup/cluster.ts';
import { bareSystem, labLayer, root } from '../setup/machine.ts';
import { endInput, firstLine } from './held-network.ts';
import type { HomeNetwork, Segment } from './home-network.ts';
import { makeCgroups, removeCgroups } from './machine-cgroups.ts';

const execute = promisify(execFile);
const environment = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
const deadSocket =
  "use IO::Socket::UNIX; IO::Socket::UNIX->new(Local => '/run/docker.sock', Listen => 1) or die";

export interface LabMachineOptions {
  readonly name: string;
  readonly network: HomeNetwork;
  readonly segment: Segment;
  /** The last part of its address. */
  readonly host: number;
  /** Of the lab: its disk lies in there. */
  readonly folder: string;
  /** False: what asks only whether an engine is there finds a socket that nobody serves. */
  readonly hasEngine?: boolean;
}

export class LabMachine {
  readonly name: string;
  readonly #options: LabMachineOptions;
  readonly #disk: string;
  readonly #cgroup: string;
  #segment: Segment;
  #host: number;
  #process: ChildProcess | undefined;
  #pid = 0;
  readonly #programs = new Map<string, ChildProcess>();

  constructor(options: LabMachineOptions) {
    this.name = options.name;
    this.#options = options;
    this.#segment = options.segment;
    this.#host = options.host;
    this.#disk = path.join(options.folder, options.name);
    this.#cgroup = `${path.basename(options.folder)}-${options.name}`;
  }

  get segment(): Segment {
    return this.#segment;
  }

  get address(): string {
    return `${this.#segment}.${this.#host}`;
  }

  /** Of its first process. */
  get pid(): number {
    return this.#pid;
  }

  /** Boots it; resolves when its engine answers. The checkout and this Node are shared with it. */
  async powerOn(): Promise<this> {
    mkdirSync(this.#disk, { recursive: true });
    const joined = makeCgroups(this.#cgroup).map((file) => `echo $$ > ${file}`);
    const unshare = 'exec unshare --mount --uts --ipc --pid --net --cgroup --fork -- "$@"';
    const stage = path.join(root, 'test/lab/stage.sh');
    const system = `${labLayer}:${bareSystem}`;
    const inside = ['sh', stage, this.name, this.#disk, system, root, process.execPath];
    const script = [...joined, unshare].join('\n');
    const child = spawn('sh', ['-ec', script, 'machine', ...inside], {
      stdio: ['pipe', 'pipe', openSync(path.join(this.#disk, 'console.log'), 'a')],
    });
    this.#process = child;
    this.#pid = Number(await firstLine(child, `machine ${this.name}`));
    const plug = { port: `p-${this.name}`, segment: this.#segment, host: this.#host };
    await this.#options.network.plugIn(this.#pid, plug);
    if (this.#options.hasEngine === false) await this.run('perl', '-e', deadSocket);
    else {
      this.start('dockerd', ['dockerd']);
      await eventually(() => this.run('docker', 'version'), `the engine of ${this.name} answers`);
    }
    return this;
  }

  /** Everything in it ends at once; its disk stays. */
  async cutPower(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    process.kill(this.#pid, 'SIGKILL');
    await ended;
    this.#process = undefined;
    await this.#cleanUp();
  }

  setCable(isIn: boolean): Promise<void> {
    return this.#options.network.setCable(`p-${this.name}`, isIn);
  }

  /** In the same segment. */
  async changeAddress(host: number): Promise<void> {
    this.#host = host;
    await this.#options.network.changeAddress(this.#pid, this.#segment, host);
  }

  /** Its output. Throws with what it said. */
  async run(...command: readonly string[]): Promise<string> {
    const [program = '', ...args] = this.#command(command);
    return (await execute(program, args, { maxBuffer: 16 * 1024 * 1024 })).stdout;
  }

  /** A program that goes on until it ends or the machine does; it prints to `/var/log/NAME.log` there. */
  start(name: string, command: readonly string[]): void {
    // Who enters a machine is not yet counted as its own.
    const join = 'for file in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs';
    const script = `${join}; do [ ! -e "$file" ] || echo $$ > "$file"; done
      echo $$ > /run/${name}.pid
      exec "$@" >> /var/log/${name}.log 2>&1`;
    const [program = '', ...args] = this.#command(['sh', '-c', script, 'sh', ...command]);
    this.#programs.set(name, spawn(program, args, { stdio: 'ignore' }));
  }

  /** SIGTERM to what was started; resolves when it has ended. */
  async stop(name: string): Promise<void> {
    const child = this.#programs.get(name);
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    await this.run('sh', '-c', `kill $(cat /run/${name}.pid)`);
    await ended;
  }

  loadImage(tar: Buffer): void {
    const [program = '', ...args] = this.#command(['docker', 'load', '--quiet']);
    execFileSync(program, args, { input: tar, stdio: ['pipe', 'ignore', 'inherit'] });
  }

  /** Where a file of the machine lies here. */
  file(name: string): string {
    return path.join(`/proc/${this.#pid}/root`, name);
  }

  async destroy(): Promise<void> {
    await endInput(this.#process);
    this.#process = undefined;
    await this.#cleanUp();
  }

  #command(command: readonly string[]): readonly string[] {
    const enter = ['nsenter', `--target=${this.#pid}`, '--mount', '--uts', '--ipc', '--net'];
    const inside = ['env', '--ignore-environment', '--chdir=/', ...environment];
    return [...enter, '--pid', '--cgroup', '--', ...inside, ...command];
  }

  /** The kernel takes a moment to bury the last process. */
  async #cleanUp(): Promise<void> {
    await eventually(() => {
      removeCgroups(this.#cgroup);
      return true;
    }, `the cgroups of ${this.name} go`);
  }
}
