// Follows what is plugged in to this machine: looks once, and again when the kernel says that a file
// came or went. Nothing polls.
import { watch, type FSWatcher } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock, Timer } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { messageOf } from '../../error-message.ts';
import { deviceDirectories, linkDirectories, nestedDirectories } from './device-classes.ts';
import { discoverDevices, type Device, type DeviceFile } from './devices.ts';
import { hardwareOf, usbThings } from './hardware.ts';

export interface DeviceKeeperDeps {
  /** `/dev`. */
  readonly root: string;
  /** `/sys`. */
  readonly system: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: (change: DeviceChange) => void;
  readonly signal: AbortSignal;
  readonly watch?: typeof watch;
}

export interface DeviceChange {
  readonly gone: readonly Device[];
  readonly come: readonly Device[];
}

/** One thing makes several files, and its links a moment after them. */
const settleMs = 300;
/** What is gone for so long is unplugged: a Coral stick comes back with another name when it is first used. */
const goneMs = 3_000;
/** The kernel has only so many watches; others may give theirs back. */
const retryMs = 60_000;

export class DeviceKeeper {
  readonly #deps: DeviceKeeperDeps;
  readonly #watchers = new Map<string, FSWatcher>();
  #devices: readonly Device[] = [];
  /** Resource → when it was first missed. */
  #goneSince = new Map<string, number>();
  #timer: Timer | undefined;
  #isLooking = false;
  #isDirty = false;
  #hasWarned = false;

  constructor(deps: DeviceKeeperDeps) {
    this.#deps = deps;
  }

  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** Resolves when what is there is known. */
  async start(): Promise<void> {
    this.#deps.signal.addEventListener('abort', () => this.#stop(), { once: true });
    await this.#look();
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#unwatch();
  }

  /** One at a time: an older list must not win over a newer one. */
  async #look(): Promise<void> {
    this.#isDirty = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#isDirty && !this.#deps.signal.aborted) {
        this.#isDirty = false;
        await this.#lookOnce();
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookOnce(): Promise<void> {
    const { root, system, onChange, signal, clock } = this.#deps;
    // First, so that nothing comes unseen in between.
    await this.#watchAll();
    const found = discoverDevices(await deviceFiles(root, system), root, await usbThings(system));
    if (signal.aborted) return;
    const before = this.#devices;
    const now = this.#withBriefly(found, clock.monotonicMs());
    if (deepEqual(now, before)) return;
    this.#devices = now;
    const isIn = (list: readonly Device[]) => (device: Device) =>
      list.some((entry) => deepEqual(entry, device));
    onChange({
      gone: before.filter((device) => !now.some(({ resource }) => resource === device.resource)),
      come: now.filter((device) => !isIn(before)(device)),
    });
  }

  /** What is gone only just stays as it was, and is looked at again. */
  #withBriefly(found: readonly Device[], nowMs: number): readonly Device[] {
    const isFound = ({ resource }: Device) => found.some((device) => device.resource === resource);
    const missing = this.#devices.filter((device) => !isFound(device));
    this.#goneSince = new Map(
      missing.map(({ resource }) => [resource, this.#goneSince.get(resource) ?? nowMs]),
    );
    const isBrief = ({ resource }: Device) =>
      nowMs - (this.#goneSince.get(resource) ?? nowMs) < goneMs;
    const brief = missing.filter(isBrief);
    if (brief.length === 0) return found;
    this.#lookIn(goneMs);
    return [...found, ...brief].toSorted((a, b) => (a.resource < b.resource ? -1 : 1));
  }

  async #watchAll(): Promise<void> {
    const { root, logger } = this.#deps;
    // A directory that went and came again needs a new watch; nothing tells which did.
    this.#unwatch();
    // udev links every device here, and nobody writes to its files: `/dev` itself tells of each
    // write to /dev/null as well.
    const hasLinks = await isDirectory(path.join(root, 'char'));
    const names = [hasLinks ? 'char' : '.', 'serial', 'v4l', ...linkDirectories];
    const wanted = hasLinks ? names : [...names, ...deviceDirectories];
    try {
      for (const name of wanted) await this.#watch(path.join(root, name));
      this.#hasWarned = false;
    } catch (error) {
      if (!this.#hasWarned)
        logger.warn('Devices are noticed late', { directory: root, error: messageOf(error) });
      this.#hasWarned = true;
      this.#lookIn(retryMs);
    }
  }

  async #watch(directory: string): Promise<void> {
    if (this.#watchers.has(directory) || !(await isDirectory(directory))) return;
    if (this.#deps.signal.aborted) return;
    const watcher = (this.#deps.watch ?? watch)(directory, { persistent: false }, (event) => {
      if (event === 'rename') this.#lookIn(settleMs);
    });
    watcher.on('error', () => this.#lookIn(settleMs));
    this.#watchers.set(directory, watcher);
  }

  #unwatch(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #lookIn(delayMs: number): void {
    const { clock, logger } = this.#deps;
    this.#timer?.cancel();
    this.#timer = clock.timer(delayMs, () => {
      this.#look().catch((error: unknown) => {
        logger.error('Devices not looked at', { error: messageOf(error) });
      });
    });
  }
}

async function isDirectory(directory: string): Promise<boolean> {
  return stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** Paths relative to the root. A link that leads nowhere is none. */
async function deviceFiles(root: string, system: string): Promise<DeviceFile[]> {
  const realRoot = await realpath(root).catch(() => root);
  const nested = await Promise.all(
    nestedDirectories.map(async (directory) => {
      const names = await readdir(path.join(root, directory)).catch(() => []);
      return names.map((name) => path.join(directory, name));
    }),
  );
  const directories = ['.', ...deviceDirectories, ...linkDirectories, ...nested.flat()];
  const lists = await Promise.all(
    directories.map(async (directory) => {
      const names = await readdir(path.join(root, directory)).catch(() => []);
      return Promise.all(
        names.map((name) => deviceFile(realRoot, system, path.join(directory, name))),
      );
    }),
  );
  return lists.flat().filter((file) => file !== undefined);
}

async function deviceFile(
  root: string,
  system: string,
  name: string,
): Promise<DeviceFile | undefined> {
  try {
    const real = await realpath(path.join(root, name));
    const found = await stat(real);
    if (found.isDirectory()) return undefined;
    const file = { path: name, target: path.relative(root, real), groupId: found.gid };
    const tuner = /^dvb\/adapter(\d+)\/(\w+)$/.exec(name);
    const hardware =
      tuner === null ? undefined : await hardwareOf(system, `class/dvb/dvb${tuner[1]}.${tuner[2]}`);
    return hardware === undefined ? file : { ...file, hardware };
  } catch {
    // It went while we looked.
    return undefined;
  }
}
