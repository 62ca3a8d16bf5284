// Programs of sh on a machine as root. What differs goes in as arguments or on stdin, never into a program's text. The password
// for sudo is one line of stdin before all else, each time: sudo is told to forget it at once (-k), so that it always reads it.
import { RemoteError, type Remote, type RunOptions, type RunResult } from './remote.ts';
import type { Rights } from './facts.ts';
import type { SudoAnswer } from './plan.ts';

export type RootRun = (
  text: string,
  args?: readonly string[],
  options?: RunOptions,
) => Promise<RunResult>;

export function rootShell(remote: Remote, rights: Rights, password: string | undefined): RootRun {
  return (text, args = [], options = {}) => {
    const shell = ['-c', text, 'sh', ...args];
    if (rights === 'root') return remote.run('sh', shell, options);
    if (rights === 'sudo') return remote.run('sudo', ['-n', '--', 'sh', ...shell], options);
    const stdin = [`${password ?? ''}\n`, ...(options.stdin ?? [])];
    return remote.run('sudo', [...withPassword, '--', 'sh', ...shell], { ...options, stdin });
  };
}

const withPassword = ['-k', '-S', '-p', ''];

/** Nothing but the password is on stdin: a wrong one is asked for again, and anything would be taken for it. */
export async function trySudo(remote: Remote, password: string): Promise<SudoAnswer> {
  const args = [...withPassword, '--', 'true'];
  const options = { stdin: [`${password}\n`] };
  const { code, stderr } = await named(
    'sudo there does not answer',
    remote.run('sudo', args, options),
  );
  if (code === 0) return 'accepted';
  if (/must have a tty|terminal is required/.test(stderr) && !/try again/.test(stderr))
    return 'needs-terminal';
  return /not in the sudoers|not allowed|may not run|afraid I can't/.test(stderr)
    ? 'not-allowed'
    : 'wrong-password';
}

/** An error of the program says what it was: a bare time-out tells nobody where to look. */
export async function named<T>(what: string, run: Promise<T>): Promise<T> {
  try {
    return await run;
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    throw new RemoteError(`${what}: ${error.message}`, { cause: error });
  }
}

/** What the program printed. Throws with what it said when it failed. */
export async function outputOf(run: Promise<RunResult>): Promise<string> {
  const { code, stdout, stderr } = await run;
  if (code !== 0)
    throw new RemoteError(lastWords(stderr) || lastWords(stdout) || `it ended with ${code}`);
  return stdout;
}

/** Of what a program said: the last lines, in one. */
function lastWords(text: string): string {
  const lines = text
    .replaceAll(/[^\P{Cc}\n]/gu, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.slice(-3).join('; ').slice(-400);
}
