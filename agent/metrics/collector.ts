// Samples the machine and its containers as often as the most impatient listener wants, else only
// when asked. Rates come from two samples; what can't be known is absent.
import type { Clock, Timer } from '#kube/base/clock.ts';
import { delay, rfc3339Micro } from '#kube/base/clock.ts';
import { CgroupReader, readBuffer, type CgroupUsage } from './cgroup.ts';
import { readContainerDetail, type ContainerDetail } from './container-detail.ts';
import {
  readBlockDevices,
  readInterfaces,
  readMachineUsage,
  readNetworkUsage,
  type InterfaceUsage,
  type MachineUsage,
  type NetworkUsage,
} from './machine-usage.ts';

/** A running container to look at. */
export interface ContainerTarget {
  readonly id: string;
  readonly name: string;
  readonly pid: number;
  readonly image: string;
  readonly startedAtMs: number;
}

export interface PodTarget {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  /** 0: on the host's network, or not running. */
  readonly sandboxPid: number;
  readonly startedAtMs: number;
  readonly containers: readonly ContainerTarget[];
}

export interface ContainerSample extends CgroupUsage {
  readonly name: string;
  readonly id: string;
  readonly image: string;
  readonly startedAtMs: number;
  readonly cpuNanoCores?: number;
  /** The container's own layer. */
  readonly fsUsedBytes?: number;
}

export interface PodSample {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly startedAtMs: number;
  readonly containers: readonly ContainerSample[];
  readonly network?: NetworkUsage;
}

export interface Sample {
  /** RFC 3339. */
  readonly time: string;
  readonly atMs: number;
  /** Since the last one: what rates were counted over. Absent in the first. */
  readonly windowMs?: number;
  readonly node: MachineUsage & { readonly cpuNanoCores?: number };
  readonly pods: readonly PodSample[];
}

/** What only those want to know who scrape. */
export interface Details {
  readonly sample: Sample;
  /** By container id. */
  readonly containers: ReadonlyMap<string, ContainerDetail>;
  /** By pod uid. */
  readonly interfaces: ReadonlyMap<string, readonly InterfaceUsage[]>;
  readonly nodeInterfaces: readonly InterfaceUsage[];
  /** `8:0` → `/dev/sda`. */
  readonly devices: ReadonlyMap<string, string>;
}

/** Where the kernel tells things: `/proc`, `/sys`, `/sys/fs/cgroup`. */
export interface KernelFolders {
  readonly proc: string;
  readonly sys: string;
  readonly cgroup: string;
}

export const kernelFolders: KernelFolders = {
  proc: '/proc',
  sys: '/sys',
  cgroup: '/sys/fs/cgroup',
};

export interface CollectorDeps {
  readonly clock: Clock;
  readonly folders: KernelFolders;
  readonly dataDirectory: string;
  /** What runs now; cheap when nothing changed. */
  readonly targets: () => Promise<readonly PodTarget[]>;
  /** Bytes in the container's own layer; undefined when the engine can't tell. */
  readonly diskBytes: (containerId: string) => Promise<number | undefined>;
}

const intervalMs = 1000;
/** Asking the engine for sizes makes it walk directories: seldom, and only for who asks for them. */
const diskIntervalMs = 300_000;
const maxAgeMs = 15_000;

/**
 * For who wants them seldom, at a quarter of each step of the clock's, however late the one before was: samples that drift, or
 * come late on a busy machine, would leave steps of the past without any.
 */
function untilNext(nowMs: number, paceMs: number): number {
  if (paceMs <= intervalMs || !Number.isFinite(paceMs)) return paceMs;
  const sinceMs = (((nowMs - paceMs / 4) % paceMs) + paceMs) % paceMs;
  const restMs = paceMs - sinceMs;
  // Two that are close say little of what came between.
  return restMs < intervalMs / 2 ? restMs + paceMs : restMs;
}

interface Counter {
  readonly atMs: number;
  readonly nanoseconds: number;
}

export class Collector {
  readonly #deps: CollectorDeps;
  /** With the milliseconds after which each wants another sample at the latest. */
  readonly #listeners = new Map<(sample: Sample) => void, number>();
  readonly #readers = new Map<string, { readonly pid: number; readonly reader: CgroupReader }>();
  readonly #buffer = readBuffer();
  readonly #counters = new Map<string, Counter>();
  readonly #disk = new Map<string, number>();
  #diskAtMs = -Infinity;
  #timer: Timer | undefined;
  #last: Sample | undefined;
  #told: Sample | undefined;
  #sampling: Promise<Sample> | undefined;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
  }

  /** A sample at least every `everyMs` until the returned function is called; the first one at once. */
  subscribe(listener: (sample: Sample) => void, everyMs = intervalMs): () => void {
    if (this.#isFresh() && this.#last !== undefined) listener(this.#last);
    const paceMs = this.#paceMs();
    this.#listeners.set(listener, everyMs);
    if (everyMs < paceMs) this.#tick();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.close();
    };
  }

  /** Infinity: nobody listens. */
  #paceMs(): number {
    return Math.min(Infinity, ...this.#listeners.values());
  }

  #isFresh(): boolean {
    if (this.#last === undefined || this.#timer === undefined) return false;
    return this.#deps.clock.monotonicMs() - this.#last.atMs <= intervalMs * 2;
  }

  /** One sample with rates, for those who ask once. */
  async once(): Promise<Sample> {
    const { clock } = this.#deps;
    if (this.#isFresh() && this.#last !== undefined) return this.#last;
    const age = this.#last === undefined ? Infinity : clock.monotonicMs() - this.#last.atMs;
    if (age > maxAgeMs) {
      await this.#sample();
      await delay(clock, intervalMs / 2);
    }
    const sample = await this.#sample();
    if (this.#listeners.size === 0) this.#closeReaders();
    return sample;
  }

  /** All there is, with a fresh sample; also what the containers' own layers take, as of late. */
  async detailed(): Promise<Details> {
    const sample = await this.once();
    const targets = await this.#deps.targets();
    this.#refreshDisk(targets.flatMap((pod) => pod.containers.map(({ id }) => id)));
    const { proc, cgroup: root } = this.#deps.folders;
    const containers = new Map<string, ContainerDetail>();
    const interfaces = new Map<string, readonly InterfaceUsage[]>();
    for (const pod of targets) {
      if (pod.sandboxPid !== 0) interfaces.set(pod.uid, readInterfaces(proc, pod.sandboxPid));
      for (const { id, pid } of pod.containers) {
        const detail = pid === 0 ? undefined : readContainerDetail({ root, proc }, pid);
        if (detail !== undefined) containers.set(id, detail);
      }
    }
    const devices = readBlockDevices(proc);
    return { sample, containers, interfaces, nodeInterfaces: readInterfaces(proc), devices };
  }

  /** Nobody looks: no timer, no open files. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#closeReaders();
  }

  #closeReaders(): void {
    for (const { reader } of this.#readers.values()) reader.close();
    this.#readers.clear();
  }

  #tick(): void {
    this.#timer?.cancel();
    const waitMs = untilNext(this.#deps.clock.now(), this.#paceMs());
    this.#timer = this.#deps.clock.timer(waitMs, () => this.#tick());
    this.#sample().then(
      (sample) => this.#tell(sample),
      // The disk could not be asked: no sample this time.
      () => {},
    );
  }

  /** Once, also when it took so long that several ticks waited for it. */
  #tell(sample: Sample): void {
    if (sample === this.#told) return;
    this.#told = sample;
    for (const listener of this.#listeners.keys()) listener(sample);
  }

  /** One at a time: a slow disk must not pile up samples. */
  #sample(): Promise<Sample> {
    this.#sampling ??= this.#take().finally(() => (this.#sampling = undefined));
    return this.#sampling;
  }

  async #take(): Promise<Sample> {
    const { clock, folders, dataDirectory: data } = this.#deps;
    const targets = await this.#deps.targets();
    const ids = new Set(targets.flatMap((pod) => pod.containers.map(({ id }) => id)));
    this.#forgetAllBut(ids);
    const atMs = clock.monotonicMs();
    const machine = readMachineUsage({ ...folders, data });
    const sample: Sample = {
      time: rfc3339Micro(clock.now()),
      atMs,
      ...(this.#last === undefined ? {} : { windowMs: atMs - this.#last.atMs }),
      node: { ...machine, ...this.#rate('node', atMs, machine.cpuNanoseconds) },
      pods: targets.map((pod) => this.#pod(pod, atMs)),
    };
    this.#last = sample;
    return sample;
  }

  #pod(pod: PodTarget, atMs: number): PodSample {
    const { uid, name, namespace, startedAtMs, sandboxPid } = pod;
    const network =
      sandboxPid === 0 ? undefined : readNetworkUsage(this.#deps.folders.proc, sandboxPid);
    const containers = pod.containers.map((container) => this.#container(container, atMs));
    const sample: PodSample = { uid, name, namespace, startedAtMs, containers };
    return network === undefined ? sample : { ...sample, network };
  }

  #container(target: ContainerTarget, atMs: number): ContainerSample {
    const { id, name, image, startedAtMs } = target;
    const usage = this.#reader(target)?.read() ?? {};
    const fsUsedBytes = this.#disk.get(id);
    const disk = fsUsedBytes === undefined ? {} : { fsUsedBytes };
    const rate = this.#rate(id, atMs, usage.cpuNanoseconds);
    return { id, name, image, startedAtMs, ...usage, ...rate, ...disk };
  }

  #reader({ id, pid }: ContainerTarget): CgroupReader | undefined {
    const open = this.#readers.get(id);
    if (open?.pid === pid) return open.reader;
    open?.reader.close();
    const { proc, cgroup: root } = this.#deps.folders;
    const reader = pid === 0 ? undefined : CgroupReader.open({ root, proc }, pid, this.#buffer);
    if (reader === undefined) this.#readers.delete(id);
    else this.#readers.set(id, { pid, reader });
    return reader;
  }

  #rate(key: string, atMs: number, nanoseconds: number | undefined): { cpuNanoCores?: number } {
    if (nanoseconds === undefined) return {};
    const before = this.#counters.get(key);
    this.#counters.set(key, { atMs, nanoseconds });
    if (before === undefined || atMs <= before.atMs) return {};
    const spent = Math.max(0, nanoseconds - before.nanoseconds);
    return { cpuNanoCores: Math.round((spent * 1000) / (atMs - before.atMs)) };
  }

  #forgetAllBut(ids: ReadonlySet<string>): void {
    for (const id of this.#counters.keys())
      if (id !== 'node' && !ids.has(id)) this.#counters.delete(id);
    for (const id of this.#disk.keys()) if (!ids.has(id)) this.#disk.delete(id);
    for (const [id, { reader }] of this.#readers)
      if (!ids.has(id)) {
        reader.close();
        this.#readers.delete(id);
      }
  }

  /** In the background: the answer does not wait for it. */
  #refreshDisk(ids: readonly string[]): void {
    const { clock, diskBytes } = this.#deps;
    if (clock.monotonicMs() - this.#diskAtMs < diskIntervalMs) return;
    this.#diskAtMs = clock.monotonicMs();
    for (const id of ids)
      diskBytes(id).then(
        (bytes) => {
          if (bytes !== undefined) this.#disk.set(id, bytes);
        },
        // The container ended, or the engine is away: unknown.
        () => this.#disk.delete(id),
      );
  }
}
