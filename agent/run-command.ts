// Runs programs of this machine to their end.
import { execFile } from 'node:child_process';
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
