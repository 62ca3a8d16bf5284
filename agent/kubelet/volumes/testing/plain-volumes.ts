// Volumes without root, on a machine whose disks are all there. For tests only.
import { readMachine } from '../disks/machine-disks.ts';
import { systemMounter } from '../disks/mounter.ts';
import { Volumes } from '../volumes.ts';

export function plainVolumes(rootDirectory: string): Volumes {
  return new Volumes({
    rootDirectory,
    mounter: systemMounter,
    isRoot: false,
    machine: () => readMachine('node-1', systemMounter),
    recordDisk: () => Promise.resolve(),
  });
}
