// A cgroup of a pod's own, above those of its containers: what the pod as a whole may use. Docker
// puts containers into it, but neither sets its limits nor takes it away.
// Source: kernel Documentation/admin-guide/cgroup-v1, cgroup-v2.rst; kubernetes pkg/kubelet/cm.
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { ContainerLimits } from './runtime.ts';

export interface CgroupEngine {
  /** `1` or `2`. */
  readonly cgroupVersion: string;
  /** `cgroupfs` or `systemd`: who makes Docker's cgroups. */
  readonly cgroupDriver: string;
}

/** What there is to do, in order. */
export type CgroupStep =
  | { readonly kind: 'mkdir'; readonly path: string; readonly isOptional: boolean }
  /** `isOptional`: not every kernel has the file. */
  | {
      readonly kind: 'write';
      readonly path: string;
      readonly text: string;
      readonly isOptional: boolean;
    }
  | { readonly kind: 'run'; readonly command: readonly string[] };

export interface CgroupEdge {
  /** Such as `/sys/fs/cgroup`. */
  readonly root: string;
  readonly run: (command: readonly string[]) => Promise<void>;
}

const parentName = 'flotilla';
const periodMicros = 100_000;
const removeTries = 5;
const removeRetryMs = 50;

/** As Docker's `CgroupParent` takes it. */
export function podCgroupName(podUid: string, { cgroupDriver }: CgroupEngine): string {
  // A dash in a slice's name means one inside another.
  if (cgroupDriver === 'systemd') return `${parentName}-pod${podUid.replaceAll('-', '_')}.slice`;
  return `/${parentName}/pod${podUid}`;
}

export function podCgroupSteps(
  podUid: string,
  limits: ContainerLimits,
  engine: CgroupEngine,
): readonly CgroupStep[] {
  const name = podCgroupName(podUid, engine);
  if (engine.cgroupDriver === 'systemd') {
    const command = ['systemctl', 'set-property', '--runtime', name, ...properties(limits)];
    return [{ kind: 'run', command }];
  }
  return engine.cgroupVersion === '2' ? unifiedSteps(name, limits) : legacySteps(name, limits);
}

function properties({ cpuShares, cpuQuotaMicros, memoryBytes }: ContainerLimits): string[] {
  return [
    `CPUWeight=${weight(cpuShares)}`,
    `CPUQuota=${cpuQuotaMicros === 0 ? '' : `${cpuQuotaMicros / (periodMicros / 100)}%`}`,
    `MemoryMax=${memoryBytes === 0 ? 'infinity' : memoryBytes}`,
    ...(memoryBytes === 0 ? [] : ['MemorySwapMax=0']),
  ];
}

/** What concerns memory is left out where the kernel has its controller off: Docker does the same. */
function step(file: string, text: string | number): CgroupStep {
  return { kind: 'write', path: file, text: String(text), isOptional: file.includes('memory') };
}

function unifiedSteps(name: string, limits: ContainerLimits): readonly CgroupStep[] {
  const { cpuShares, cpuQuotaMicros, memoryBytes } = limits;
  const delegate = (directory: string) =>
    ['cpu', 'memory', 'pids'].map((controller): CgroupStep => ({
      kind: 'write',
      path: path.join(directory, 'cgroup.subtree_control'),
      text: `+${controller}`,
      isOptional: controller === 'memory',
    }));
  return [
    ...delegate('.'),
    { kind: 'mkdir', path: parentName, isOptional: false },
    ...delegate(parentName),
    { kind: 'mkdir', path: name, isOptional: false },
    step(path.join(name, 'cpu.weight'), weight(cpuShares)),
    step(path.join(name, 'cpu.max'), `${cpuQuotaMicros || 'max'} ${periodMicros}`),
    step(path.join(name, 'memory.max'), memoryBytes || 'max'),
    ...(memoryBytes === 0 ? [] : [step(path.join(name, 'memory.swap.max'), 0)]),
  ];
}

function legacySteps(name: string, limits: ContainerLimits): readonly CgroupStep[] {
  const { cpuShares, cpuQuotaMicros, memoryBytes } = limits;
  const files = (controller: string, values: Readonly<Record<string, number>>): CgroupStep[] => {
    const isOptional = controller === 'memory';
    return [
      { kind: 'mkdir', path: path.join(controller, parentName), isOptional },
      { kind: 'mkdir', path: path.join(controller, name), isOptional },
      ...Object.entries(values).map(([file, value]) =>
        step(path.join(controller, name, `${controller}.${file}`), value),
      ),
    ];
  };
  return [
    ...files('cpu', {
      shares: cpuShares,
      cfs_period_us: periodMicros,
      cfs_quota_us: cpuQuotaMicros || -1,
    }),
    ...(memoryBytes === 0
      ? []
      : files('memory', {
          limit_in_bytes: memoryBytes,
          // Memory and swap together; kernels without swap accounting have no such file.
          'memsw.limit_in_bytes': memoryBytes,
        })),
  ];
}

/** Shares of 2 to 262144 onto weights of 1 to 10000, as runc does. */
function weight(cpuShares: number): number {
  return 1 + Math.floor(((cpuShares - 2) * 9_999) / 262_142);
}

/** Makes and removes them. Without root there are none: a container's own limits have to do. */
export class PodCgroups {
  readonly #edge: CgroupEdge;
  readonly #clock: Clock;

  constructor(edge: CgroupEdge, clock: Clock) {
    this.#edge = edge;
    this.#clock = clock;
  }

  /** Throws what the system says. */
  async make(podUid: string, limits: ContainerLimits, engine: CgroupEngine): Promise<void> {
    for (const next of podCgroupSteps(podUid, limits, engine)) {
      if (next.kind === 'run') await this.#edge.run(next.command);
      else
        await this.#doFileStep(next).catch((error: unknown) => {
          const isMissing = ['ENOENT', 'EINVAL'].includes(codeOf(error));
          if (!next.isOptional || !isMissing) throw error;
        });
    }
  }

  async #doFileStep(next: Exclude<CgroupStep, { kind: 'run' }>): Promise<void> {
    const file = path.join(this.#edge.root, next.path);
    // Neither makes what is not there already above it: that is not the kernel's to offer.
    if (next.kind === 'write') return writeFile(file, next.text, { flag: 'r+' });
    await mkdir(file).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  }

  /** Of a pod none of whose containers is left. Idempotent; a pod without one is fine. */
  async remove(podUid: string, engine: CgroupEngine): Promise<void> {
    const { root, run } = this.#edge;
    const name = podCgroupName(podUid, engine);
    if (engine.cgroupDriver === 'systemd') {
      await run(['systemctl', 'stop', name]);
      return run(['systemctl', 'revert', name]);
    }
    const hierarchies = engine.cgroupVersion === '2' ? ['.'] : await readdir(root);
    for (const hierarchy of hierarchies) await this.#removeOne(path.join(root, hierarchy, name));
  }

  /** The last container's own may be on its way out. */
  async #removeOne(directory: string): Promise<void> {
    for (let left = removeTries; ; left--)
      try {
        return await rmdir(directory);
      } catch (error) {
        if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return;
        if (codeOf(error) !== 'EBUSY' || left === 0) throw error;
        await delay(this.#clock, removeRetryMs);
      }
  }
}

/** The directories that all pods' were in, where no pod's is left: of another cluster there may be. */
export async function removePodCgroupParents(root = '/sys/fs/cgroup'): Promise<void> {
  const found = await readdir(root).catch(() => []);
  for (const hierarchy of ['.', ...found])
    await rmdir(path.join(root, hierarchy, parentName)).catch((error: unknown) => {
      if (!['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EBUSY'].includes(codeOf(error))) throw error;
    });
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code);
}
