// A network namespace that a process of its own holds: it goes when this process ends, whatever way, and
// with it every interface in it. No name of it is left anywhere.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Resolves with the first line that a child prints; rejects when it ends without one. */
export function firstLine(child: ChildProcess, what: string): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error('its output is not read');
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${what} ended: exit ${code}`)));
    createInterface({ input: stdout }).once('line', resolve);
  });
}

/** Ends a process that waits for the end of its input. */
export async function endInput(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.stdin?.end();
  await ended;
}

export class HeldNetwork {
  #process: ChildProcess | undefined;
  #pid = 0;

  get pid(): number {
    return this.#pid;
  }

  async start(): Promise<this> {
    const script = 'ip link set lo up; echo $$; exec cat';
    const child = spawn('unshare', ['--net', 'sh', '-c', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#process = child;
    this.#pid = Number(await firstLine(child, 'the namespace'));
    return this;
  }

  /** The same command on this network, with everything else of this machine's. */
  readonly command = (command: readonly string[]): readonly string[] => [
    'nsenter',
    `--target=${this.#pid}`,
    '--net',
    '--',
    ...command,
  ];

  /** Its output. Throws with what it said. */
  async run(...command: readonly string[]): Promise<string> {
    const [program = '', ...args] = this.command(command);
    return (await execute(program, args)).stdout;
  }

  end(): Promise<void> {
    return endInput(this.#process);
  }
}
