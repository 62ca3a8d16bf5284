// How full a machine is: live where the stats stream tells, else what its copies have reserved. Pure.
import { quantityNumber } from './amounts.ts';
import { formatBytes, formatShare } from './format.ts';
import type { Machine } from './machine.ts';
import type { NodeSample } from './samples.ts';

export interface Gauge {
  readonly label: string;
  /** 0…1; undefined when nobody knows. */
  readonly share: number | undefined;
  readonly text: string;
  /** Whether being full is a danger: a busy processor is only busy. */
  readonly isScarce: boolean;
}

export function machineGauges(machine: Machine, sample: NodeSample | undefined): Gauge[] {
  const { cores, memoryBytes, diskBytes } = machine;
  const measured = share(sample?.cpuNanoCores, cores * 1e9);
  // Two clocks measure it: a busy machine seems to use a little more than there is.
  const cpu = measured === undefined ? undefined : Math.min(1, measured);
  const memory = share(sample?.memoryWorkingSetBytes, memoryBytes);
  const disk = share(sample?.fsUsedBytes, sample?.fsCapacityBytes ?? diskBytes);
  return [
    {
      label: 'Processor',
      isScarce: false,
      share: cpu,
      text: cpu === undefined ? coresText(cores) : `${formatShare(cpu)} of ${coresText(cores)}`,
    },
    {
      label: 'Memory',
      isScarce: true,
      share: memory,
      text: amountText(sample?.memoryWorkingSetBytes, memoryBytes),
    },
    {
      label: 'Disk',
      isScarce: true,
      share: disk,
      text: amountText(sample?.fsUsedBytes, sample?.fsCapacityBytes ?? diskBytes),
    },
  ];
}

/** Memory limits promised to copies on the machine, in bytes. */
export function promisedMemory(machine: Machine): number {
  return machine.pods
    .flatMap(({ spec }) => spec.containers)
    .reduce((sum, { resources }) => sum + quantityNumber(resources?.limits?.['memory']), 0);
}

function share(used: number | undefined, whole: number): number | undefined {
  return used === undefined || whole <= 0 ? undefined : used / whole;
}

function coresText(cores: number): string {
  if (cores === 0) return 'unknown';
  return cores === 1 ? '1 core' : `${cores} cores`;
}

function amountText(used: number | undefined, whole: number): string {
  if (whole <= 0) return used === undefined ? 'unknown' : formatBytes(used);
  return used === undefined ? formatBytes(whole) : `${formatBytes(used)} of ${formatBytes(whole)}`;
}
