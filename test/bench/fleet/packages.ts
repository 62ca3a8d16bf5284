// What is copied to a machine that is added or upgraded, for both architectures, and whether what was cut off the Node of
// this one still runs.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type {
  Architecture,
  LockedRuntimes,
} from '../../../electron/controlplane/fleet/package/locked-runtimes.ts';
import {
  machinePackage,
  type MachinePackage,
} from '../../../electron/controlplane/fleet/package/machine-package.ts';
import { npmRuntimes } from '../../../electron/controlplane/fleet/package/runtime-source.ts';
import { cache, root } from '../../setup/machine.ts';
import { row, type Row } from '../harness.ts';

const million = 1e6;
/** Where they are kept from one run to the next. */
export const packageCache = path.join(cache, 'packages');

export async function packages(say: (text: string) => void): Promise<Row[]> {
  return (await Promise.all((['x64', 'arm64'] as const).map((one) => packageOf(one, say)))).flat();
}

export function makePackage(architecture: Architecture): Promise<MachinePackage> {
  const agent = path.join(root, 'out/agent');
  const locked = JSON.parse(
    readFileSync(path.join(agent, 'runtimes.json'), 'utf8'),
  ) as LockedRuntimes;
  return machinePackage(architecture, {
    version: '0.0.0',
    agent,
    cache: packageCache,
    runtime: npmRuntimes({ locked, modules: [path.join(root, 'node_modules')] }),
  });
}

async function packageOf(architecture: Architecture, say: (text: string) => void): Promise<Row[]> {
  say(`the package for ${architecture} (a minute or two of the processor, once)`);
  const made = await makePackage(architecture);
  if (architecture === process.arch) check(made.runtime.file);
  const upgrade = made.agent.bytes / million;
  const first = upgrade + made.runtime.bytes / million;
  return [
    row(`${architecture}: the first time`, [first], {
      unit: 'MB',
      goal: { of: 'value', atMost: 30 },
    }),
    row(`${architecture}: an upgrade`, [upgrade], {
      unit: 'MB',
      goal: { of: 'value', atMost: 2 },
    }),
  ];
}

/** Throws when what is in it does not run. */
function check(file: string): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bench-'));
  try {
    execFileSync('dpkg-deb', ['-x', file, folder]);
    const said = execFileSync(path.join(folder, 'bin/node'), ['-p', '6 * 7'], { encoding: 'utf8' });
    if (said !== '42\n') throw new Error(`the packed Node says ${said}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
