// What this machine can be asked to do, by its system's own programs: logind's, through `systemctl`, and systemd's for the removal, which has to
// outlive the agent's own unit.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { OperationAction } from '#kube/machinery/node-operations.ts';

const execute = promisify(execFile);
const timeoutMs = 20_000;

export type MachineActions = Partial<Record<OperationAction, () => Promise<void>>>;

/** `installation`: where this agent was placed as a package; undefined: it was started by hand. */
export async function machineActions(
  isRoot: boolean,
  installation: string | undefined,
): Promise<MachineActions> {
  if (!isRoot || !existsSync('/run/systemd/system')) return {};
  const canSleep = await can('CanSuspend');
  return {
    Reboot: () => run('systemctl', ['reboot']),
    ShutDown: () => run('systemctl', ['poweroff']),
    ...(canSleep && { Sleep: () => run('systemctl', ['suspend']) }),
    ...(installation !== undefined && { Remove: () => remove(installation) }),
  };
}

/** Logind's word on it; a machine without it can't say that it can. */
async function can(method: string): Promise<boolean> {
  const manager = [
    'org.freedesktop.login1',
    '/org/freedesktop/login1',
    'org.freedesktop.login1.Manager',
  ];
  try {
    const { stdout } = await execute('busctl', ['--system', 'call', ...manager, method], {
      timeout: timeoutMs,
    });
    return stdout.startsWith('s "yes"');
  } catch {
    return false;
  }
}

/** In a unit of its own: the first thing it does is to stop this process. */
function remove(installation: string): Promise<void> {
  const program = path.join(installation, 'current/programs/remove');
  if (!existsSync(program)) throw new Error(`${program} is missing: add the machine again first`);
  return run('systemd-run', [
    '--quiet',
    '--collect',
    '--unit=flotilla-removal',
    '/bin/sh',
    program,
  ]);
}

async function run(program: string, args: readonly string[]): Promise<void> {
  try {
    await execute(program, args, { timeout: timeoutMs });
  } catch (error) {
    const said = (error as { readonly stderr?: string }).stderr?.trim() ?? '';
    const words = said === '' ? (error as Error).message : said;
    throw new Error(`${program} ${args[0] ?? ''}: ${words.slice(-400)}`, { cause: error });
  }
}
