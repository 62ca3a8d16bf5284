// The proxy's way to the machine: commands without a shell, and files below /proc/sys and /sys.
import { execFile, spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';
import { boundToUs } from '#platform/bound-process.ts';

export interface CommandResult {
  /** Undefined when the command does not exist or was killed. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProxySystem {
  readonly isRoot: boolean;
  run(command: string, args: readonly string[], input?: string): Promise<CommandResult>;
  /** Runs a command that goes on, until `signal` aborts; resolves when it has ended, however. */
  follow(
    command: string,
    args: readonly string[],
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** This machine's own IPv4 addresses. */
  addresses(): readonly string[];
  /** Those on bridges of container engines and virtual machines. */
  bridgeAddresses(): readonly string[];
  /** Names in a folder; none when it is not there. */
  listFolder(path: string): Promise<string[]>;
  /** Undefined when the file is not there or can't be read. */
  readText(path: string): Promise<string | undefined>;
  /** False when the file is not there or can't be written. */
  writeText(path: string, text: string): Promise<boolean>;
}

/** What a command that failed said, short enough for a sentence. */
export function firstLine({ stderr }: CommandResult): string {
  return (stderr.trim().split('\n')[0] ?? '').slice(0, 200);
}

const commandTimeoutMs = 30_000;
const maxOutputBytes = 16 * 1024 * 1024;

export function proxySystem(userId: number): ProxySystem {
  return {
    isRoot: userId === 0,
    run,
    follow,
    addresses: () => addresses(),
    bridgeAddresses: () => addresses(bridges),
    listFolder,
    readText,
    writeText,
  };
}

function run(command: string, args: readonly string[], input = ''): Promise<CommandResult> {
  return new Promise((resolve) => {
    const options = { timeout: commandTimeoutMs, maxBuffer: maxOutputBytes };
    const child = execFile(command, [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve({ exitCode: 0, stdout, stderr });
      const exitCode = typeof error.code === 'number' ? error.code : undefined;
      return resolve({ exitCode, stdout, stderr: stderr === '' ? error.message : stderr });
    });
    // A command that ends before it reads its input says why on stderr.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

function follow(
  command: string,
  args: readonly string[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    const child = spawn(...boundToUs(command, args), { signal, stdio });
    createInterface({ input: child.stdout }).on('line', onLine);
    child.once('error', () => resolve());
    child.once('close', () => resolve());
    // It ends with us, not we with it.
    child.unref();
  });
}

/** Docker's, ours, libvirt's. A bridge that somebody made for the home's network has another name. */
const bridges = /^(?:docker\d|br-[0-9a-f]{12}$|flt-|virbr)/;

function addresses(devices = /^/): readonly string[] {
  return Object.entries(networkInterfaces())
    .flatMap(([name, own]) => (devices.test(name) ? (own ?? []) : []))
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address);
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch {
    return [];
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

async function writeText(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text);
    return true;
  } catch {
    return false;
  }
}
