// Where the processes of a machine of the lab are counted: a cgroup in each hierarchy of this kernel, which the
// machine takes for the root. Version 2 as written in the kernel's documentation; tried on version 1 only.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const mount = '/sys/fs/cgroup';

/** The folders of the hierarchies, one with version 2. */
function hierarchies(): readonly string[] {
  if (existsSync(path.join(mount, 'cgroup.controllers'))) return [mount];
  return readdirSync(mount)
    .map((name) => path.join(mount, name))
    .filter((folder) => existsSync(path.join(folder, 'cgroup.procs')));
}

/** Makes them; the file of each that a process writes its id to. */
export function makeCgroups(name: string): readonly string[] {
  return hierarchies().map((hierarchy) => {
    const folder = path.join(hierarchy, name);
    mkdirSync(folder, { recursive: true });
    // A new one has no processors and no memory to run on.
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      if (existsSync(path.join(folder, file)))
        writeFileSync(path.join(folder, file), readFileSync(path.join(hierarchy, file)));
    return path.join(folder, 'cgroup.procs');
  });
}

/** Takes them away, with all that was made below. Nothing may run in them any more. */
export function removeCgroups(name: string): void {
  for (const hierarchy of hierarchies()) {
    const folder = path.join(hierarchy, name);
    if (!existsSync(folder)) continue;
    const below = execFileSync('find', [folder, '-depth', '-type', 'd'], { encoding: 'utf8' });
    for (const one of below.split('\n').slice(0, -1)) rmdirSync(one);
  }
}
