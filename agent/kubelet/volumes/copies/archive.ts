// Trees of files as archives, by the machine's own GNU tar: it alone keeps owners, modes, extended attributes, ACLs, hard
// links and holes, and walks by open directories. Every Debian has it. Differs from a library: Node reads no extended attributes.
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}

const keepAll = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--acls', '--sparse'];
const errorTextMax = 2_000;

export interface PackOptions {
  readonly signal: AbortSignal;
  /** A file with a name a line, as `./a/b`: what is left out. */
  readonly excludeFile?: string;
  /** Programs write meanwhile: what changes or goes under our hands is no failure. */
  readonly isLive: boolean;
}

/** Throws when tar failed: what came is not whole then. */
export async function* packTree(directory: string, options: PackOptions): AsyncGenerator<Buffer> {
  const { excludeFile, isLive, signal } = options;
  const args = ['--create', '--file=-', '--format=posix', ...keepAll, '--one-file-system'];
  args.push('--warning=no-file-ignored', `--directory=${directory}`);
  if (isLive) args.push('--ignore-failed-read', '--warning=no-file-changed');
  if (excludeFile !== undefined)
    args.push('--anchored', '--no-wildcards', `--exclude-from=${excludeFile}`);
  // The app's own reads come first.
  const child = startTar(['nice', '-n', '10', 'tar', ...args, '.'], 'ignore');
  const said = errorsOf(child);
  const onAbort = () => child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort);
  try {
    for await (const chunk of child.stdout as Readable) yield chunk as Buffer;
    const code = await ended(child);
    signal.throwIfAborted();
    // 1: a file changed as it was read.
    if (code !== 0 && !(isLive && code === 1)) throw new ArchiveError(await said);
  } finally {
    signal.removeEventListener('abort', onAbort);
    child.kill('SIGKILL');
  }
}

/** What is there under a name gives way, what else is there stays. */
export async function unpackTree(
  archive: AsyncIterable<Uint8Array>,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const args = ['--extract', '--file=-', ...keepAll, '--same-owner', '--preserve-permissions'];
  args.push('--delay-directory-restore', `--directory=${directory}`);
  const child = startTar(['tar', ...args], 'pipe');
  const said = errorsOf(child);
  child.stdout?.resume();
  try {
    await feed(child.stdin as Writable, archive, signal);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  if ((await ended(child)) !== 0) throw new ArchiveError(await said);
}

/** All of the archive is waited for, also when tar has seen its end: what breaks off after that is not whole. */
async function feed(
  input: Writable,
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  // Why it takes no more is told by how it ends.
  const gone = new Promise<void>((resolve) => {
    input.once('close', resolve);
    input.once('error', () => resolve());
  });
  for await (const chunk of archive) {
    signal.throwIfAborted();
    if (!input.writable || input.write(chunk)) continue;
    const drained = new Promise<void>((resolve) => input.once('drain', resolve));
    await Promise.race([drained, gone]);
  }
  input.end();
}

function startTar(command: readonly string[], input: 'ignore' | 'pipe'): ChildProcess {
  const [program = '', ...args] = command;
  // In words that can be read by whoever mends it, wherever the machine stands.
  const env = { PATH: process.env['PATH'], LC_ALL: 'C' };
  return spawn(program, args, { stdio: [input, 'pipe', 'pipe'], env });
}

async function errorsOf(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stderr as Readable)
    if (text.length < errorTextMax) text += String(chunk);
  const first = text.split('\n').find((line) => line !== '') ?? 'tar ended by itself';
  return /unrecognized option/.test(text)
    ? `GNU tar is needed to copy volumes, and this machine has another (${first})`
    : first;
}

function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve, reject) => {
    child.once('close', (code) => resolve(code));
    child.once('error', (error) =>
      reject(new ArchiveError(`tar can't be started: ${error.message}`, { cause: error })),
    );
  });
}
