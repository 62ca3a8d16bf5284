// Runs a program of this machine to its end.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const timeoutMs = 10_000;

/** Throws with what the program said. */
export async function runCommand(command: readonly string[]): Promise<void> {
  const [program = '', ...args] = command;
  await execute(program, args, { timeout: timeoutMs });
}
