// The Node that machines get, as a shell script that runs the one of the tests, where the control plane keeps the one it has made:
// a real one takes a minute of the processor (how large it is, and that it runs, the benchmark shows: fleet package).
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packArchive } from '../../electron/controlplane/fleet/package/archive.ts';
import type {
  Architecture,
  LockedRuntimes,
} from '../../electron/controlplane/fleet/package/locked-runtimes.ts';
import { runtimeFile } from '../../electron/controlplane/fleet/package/machine-package.ts';
import { npmRuntimes } from '../../electron/controlplane/fleet/package/runtime-source.ts';
import { root } from '../setup/machine.ts';

/** `isFake`: agents keep containers in memory only. */
export async function plantRuntime(dataDirectory: string, isFake = false): Promise<void> {
  const text = readFileSync(path.join(root, 'out/agent/runtimes.json'), 'utf8');
  const runtime = npmRuntimes({ locked: JSON.parse(text) as LockedRuntimes, modules: [] });
  const cache = path.join(dataDirectory, 'packages');
  const run = `exec ${process.execPath} "$@"`;
  const fake = `case $1 in */main.js) ${run} --runtime fake ;; esac\n`;
  const script = `#!/bin/sh\n${isFake ? fake : ''}${run}\n`;
  const bytes = await packArchive([{ name: 'bin/node', mode: 0o755, data: Buffer.from(script) }]);
  mkdirSync(cache, { recursive: true });
  writeFileSync(await runtimeFile(process.arch as Architecture, { cache, runtime }), bytes);
}
