// What this machine lacks, put together for its Node: memory limits, clock, disk.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#kube/base/clock.ts';
import type { ClockSkew } from './clock-skew.ts';
import { DiskLatency, measureFlush } from './disk-latency.ts';
import {
  clockVerdict,
  diskVerdict,
  memoryLimitsVerdict,
  type CgroupFiles,
  type NodeVerdict,
} from './machine-conditions.ts';

export interface MachineWatchDeps {
  readonly clock: Clock;
  readonly clockSkew: ClockSkew;
  readonly dataDirectory: string;
  readonly onChange: () => void;
  readonly signal: AbortSignal;
}

export class MachineWatch {
  readonly #deps: MachineWatchDeps;
  readonly #disk: DiskLatency;
  #cgroups: CgroupFiles | undefined;
  #wasSkewed = false;

  constructor(deps: MachineWatchDeps) {
    this.#deps = deps;
    const { clock, dataDirectory, onChange, signal } = deps;
    const measure = () => measureFlush(dataDirectory, clock);
    this.#disk = new DiskLatency({ clock, measure, onChange, signal });
  }

  async start(): Promise<void> {
    // A kernel does not change its mind while it runs.
    this.#cgroups = await readCgroupFiles('/');
    void this.#disk.run();
  }

  verdicts(): readonly NodeVerdict[] {
    const { clockSkew, dataDirectory } = this.#deps;
    const verdicts: NodeVerdict[] = [];
    if (this.#cgroups !== undefined) verdicts.push(memoryLimitsVerdict(this.#cgroups));
    const skewMs = clockSkew.skewMs();
    if (skewMs !== undefined) {
      const verdict = clockVerdict(skewMs, this.#wasSkewed);
      this.#wasSkewed = verdict.status === 'True';
      verdicts.push(verdict);
    }
    const flushMs = this.#disk.flushMs();
    if (flushMs !== undefined) verdicts.push(diskVerdict(flushMs, dataDirectory));
    return verdicts;
  }
}

/** `root`: of the file system. */
export async function readCgroupFiles(root: string): Promise<CgroupFiles> {
  const read = (file: string) => readFile(path.join(root, file), 'utf8').catch(() => '');
  const model = await read('proc/device-tree/model');
  return {
    legacy: await read('proc/cgroups'),
    unified: await read('sys/fs/cgroup/cgroup.controllers'),
    // The kernel ends it with a zero byte.
    model: model.replaceAll('\0', '').trim(),
  };
}
