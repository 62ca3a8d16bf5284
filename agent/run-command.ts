// Runs programs of this machine: to their end, or for as long as this process lives.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const timeoutMs = 10_000;

/** Throws with what the program said. */
export async function runCommand(
  command: readonly string[],
  patienceMs = timeoutMs,
): Promise<void> {
  const [program = '', ...args] = command;
  await execute(program, args, { timeout: patienceMs });
}

/** Of util-linux, which is everywhere but where busybox is all there is. */
const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => existsSync(file));

/**
 * The command as one that the kernel ends with this process, however that ends: a program that only listens would go on
 * until it has something to say.
 */
export function boundToUs(
  command: string,
  args: readonly string[],
): readonly [command: string, args: readonly string[]] {
  return setpriv === undefined
    ? [command, args]
    : [setpriv, ['--pdeathsig', 'KILL', '--', command, ...args]];
}
