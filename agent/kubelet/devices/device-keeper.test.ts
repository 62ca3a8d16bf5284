// Hot plug in a directory made up: the kernel's own news of it, a manual clock.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { DeviceKeeper, type DeviceChange } from './device-keeper.ts';

let root = '';
let stopping: AbortController;
let clock: ManualClock;
let keeper: DeviceKeeper;
let isScarce: boolean;
/** Watches. */
let open: Set<object>;
let onChange: (change: DeviceChange) => void;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-dev-'));
  stopping = new AbortController();
  clock = new ManualClock();
  onChange = () => {};
  isScarce = false;
  const mine = (open = new Set());
  keeper = new DeviceKeeper({
    root,
    clock,
    logger: silentLogger,
    onChange: (change) => onChange(change),
    signal: stopping.signal,
    watch: ((...given: Parameters<typeof watch>) => {
      if (isScarce) throw new Error('EMFILE: too many open files');
      const watcher = watch(...given);
      mine.add(watcher);
      return watcher.on('close', () => void mine.delete(watcher));
    }) as typeof watch,
  });
});
afterEach(() => {
  stopping.abort();
  rmSync(root, { recursive: true });
});

const names = (): string[] =>
  keeper.devices.map(({ resource }) => resource.slice(resource.indexOf('/') + 1));

/** Resolves with what changed; the clock goes on until the kernel has told of it. */
async function changed(act: () => void): Promise<{ gone: string[]; come: string[] }> {
  const { promise, resolve } = Promise.withResolvers<DeviceChange>();
  onChange = resolve;
  act();
  const ticking = setInterval(() => clock.advance(300), 5);
  const { gone, come } = await promise;
  clearInterval(ticking);
  return {
    gone: gone.map(({ resource }) => resource),
    come: come.map(({ resource }) => resource),
  };
}

function plugIn(name: string): void {
  writeFileSync(path.join(root, name), '');
  mkdirSync(path.join(root, 'serial/by-id'), { recursive: true });
  symlinkSync(`../../${name}`, path.join(root, 'serial/by-id/usb-Stick_1'));
}

describe('devices that come and go', () => {
  it('are known at the start', async () => {
    writeFileSync(path.join(root, 'fuse'), '');
    symlinkSync('nowhere', path.join(root, 'kvm'));
    await keeper.start();
    expect(names()).toEqual(['fuse']);
  });

  it('are noticed, by the name their maker gave them', async () => {
    await keeper.start();
    const resource = 'devices.flotilla.dev/serial-usb-stick_1';
    expect(await changed(() => plugIn('ttyUSB0'))).toEqual({ gone: [], come: [resource] });
    const unplug = (): void => {
      rmSync(path.join(root, 'serial'), { recursive: true });
      rmSync(path.join(root, 'ttyUSB0'));
    };
    expect(await changed(unplug)).toEqual({ gone: [resource], come: [] });
    // Under another number of the kernel's it is the same thing.
    expect(await changed(() => plugIn('ttyUSB7'))).toEqual({ gone: [], come: [resource] });
    expect(keeper.devices[0]?.paths).toContain(path.join(root, 'ttyUSB7'));
  });

  it('are known where the kernel has no watch left, and noticed late', async () => {
    writeFileSync(path.join(root, 'fuse'), '');
    isScarce = true;
    await keeper.start();
    expect(names()).toEqual(['fuse']);
    isScarce = false;
    const { promise, resolve } = Promise.withResolvers<DeviceChange>();
    onChange = resolve;
    plugIn('ttyUSB0');
    clock.advance(60_000);
    await promise;
    expect((await changed(() => rmSync(path.join(root, 'fuse')))).gone).toHaveLength(1);
  });

  it('are noticed in a directory that went and came again; watches are given back', async () => {
    mkdirSync(path.join(root, 'char'));
    mkdirSync(path.join(root, 'serial/by-id'), { recursive: true });
    await keeper.start();
    const before = open.size;
    await changed(() => {
      rmSync(path.join(root, 'serial'), { recursive: true });
      mkdirSync(path.join(root, 'serial/by-id'), { recursive: true });
      writeFileSync(path.join(root, 'fuse'), '');
      symlinkSync('../fuse', path.join(root, 'char/10:229'));
    });
    expect(await changed(() => plugIn('ttyUSB0'))).toMatchObject({ come: [expect.anything()] });
    expect(open.size).toBe(before);
  });

  it('are looked at once at a time: each watch is given back', async () => {
    await Promise.all([keeper.start(), keeper.start()]);
    stopping.abort();
    await new Promise((resolve) => setImmediate(resolve));
    expect(open.size).toBe(0);
  });

  it('are followed by the links that udev makes where it does', async () => {
    mkdirSync(path.join(root, 'char'));
    await keeper.start();
    const act = (): void => {
      writeFileSync(path.join(root, 'fuse'), '');
      symlinkSync('../fuse', path.join(root, 'char/10:229'));
    };
    expect((await changed(act)).come).toEqual(['devices.flotilla.dev/fuse']);
  });
});
