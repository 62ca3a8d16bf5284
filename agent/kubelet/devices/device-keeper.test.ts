// Hot plug in a directory made up: the kernel's own news of it, a manual clock.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { DeviceKeeper, type DeviceChange } from './device-keeper.ts';

let root = '';
let system = '';
let stopping: AbortController;
let clock: ManualClock;
let keeper: DeviceKeeper;
let isScarce: boolean;
/** Watches. */
let open: Set<object>;
let onChange: (change: DeviceChange) => void;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-dev-'));
  system = mkdtempSync(path.join(tmpdir(), 'flotilla-sys-'));
  stopping = new AbortController();
  clock = new ManualClock();
  onChange = () => {};
  isScarce = false;
  const mine = (open = new Set());
  keeper = new DeviceKeeper({
    root,
    system,
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
  rmSync(system, { recursive: true });
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

describe('what /sys tells of a thing', () => {
  /** As the kernel shows it: folders of attributes, and links into them. */
  function onUsb(place: string, attributes: Record<string, string>): string {
    const folder = path.join(system, 'devices/pci0000:00/0000:00:14.0/usb1', place);
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(attributes))
      writeFileSync(path.join(folder, name), `${text}\n`);
    mkdirSync(path.join(system, 'bus/usb/devices'), { recursive: true });
    symlinkSync(folder, path.join(system, 'bus/usb/devices', place));
    return folder;
  }

  function tuner(adapter: number, folder: string): void {
    const directory = path.join(root, `dvb/adapter${adapter}`);
    mkdirSync(directory, { recursive: true });
    mkdirSync(path.join(system, 'class/dvb'), { recursive: true });
    for (const file of ['demux0', 'dvr0', 'frontend0']) {
      writeFileSync(path.join(directory, file), '');
      const real = path.join(folder, `dvb/dvb${adapter}.${file}`);
      mkdirSync(real, { recursive: true });
      symlinkSync(real, path.join(system, `class/dvb/dvb${adapter}.${file}`));
    }
  }

  const found = () =>
    keeper.devices.map(({ resource, label, count, paths }) => ({
      resource: resource.replace('devices.flotilla.dev/', ''),
      label,
      count,
      paths: paths.map((file) => path.relative(root, file)),
    }));

  it('names a TV tuner by its serial number, with all its files', async () => {
    const about = {
      idVendor: '2040',
      manufacturer: 'HCW',
      product: 'WinTV dualHD',
      serial: '0011',
    };
    const folder = onUsb('1-2', about);
    tuner(0, path.join(folder, '1-2:1.0'));
    tuner(1, path.join(folder, '1-2:1.0'));
    await keeper.start();
    const files = ['demux0', 'dvr0', 'frontend0'];
    expect(found()).toEqual([
      {
        resource: 'dvb-usb-hcw_wintv-dualhd_0011',
        label: 'HCW WinTV dualHD (TV tuner)',
        count: 1,
        paths: ['dvb/adapter0', 'dvb/adapter1'].flatMap((at) =>
          files.map((name) => `${at}/${name}`),
        ),
      },
    ]);
  });

  it('or by where it is plugged in, on USB and in a slot', async () => {
    const stick = onUsb('1-1.4', { idVendor: '0bda', idProduct: '2838', product: 'RTL2838' });
    tuner(0, path.join(stick, '1-1.4:1.0'));
    tuner(1, path.join(system, 'devices/pci0000:00/0000:03:00.0'));
    await keeper.start();
    expect(found().map(({ resource, label }) => [resource, label])).toEqual([
      ['dvb-pci-0000-03-00.0', 'TV tuner pci-0000:03:00.0'],
      ['dvb-usb-1-1.4', 'RTL2838 (TV tuner)'],
    ]);
  });

  it('or by its number, when nothing is known', async () => {
    mkdirSync(path.join(root, 'dvb/adapter0'), { recursive: true });
    writeFileSync(path.join(root, 'dvb/adapter0/frontend0'), '');
    await keeper.start();
    expect(found()[0]).toMatchObject({ resource: 'dvb-adapter0', label: 'TV tuner adapter0' });
  });

  it('finds Coral sticks, which change their name when they are first used', async () => {
    mkdirSync(path.join(root, 'char'));
    const other = { idVendor: '1d6b', idProduct: '0002' };
    const fresh = { idVendor: '1a6e', idProduct: '089a' };
    onUsb('usb1', other);
    const first = onUsb('1-3', fresh);
    onUsb('2-1', { idVendor: '18d1', idProduct: '9302', product: 'Edge TPU' });
    await keeper.start();
    expect(found()).toEqual([
      { resource: 'coral-usb', label: 'Coral accelerator (USB)', count: 2, paths: ['bus/usb'] },
    ]);
    let changes = 0;
    onChange = () => changes++;
    const looked = async (number: number): Promise<void> => {
      writeFileSync(path.join(root, `char/189:${number}`), '');
      clock.advance(300);
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    };
    // Gone for a moment, and back as what it is by now.
    rmSync(path.join(system, 'bus/usb/devices'), { recursive: true });
    rmSync(first, { recursive: true });
    await looked(1);
    onUsb('2-2', { idVendor: '18d1', idProduct: '9302' });
    onUsb('2-3', { idVendor: '18d1', idProduct: '9302' });
    await looked(2);
    clock.advance(10_000);
    await looked(3);
    expect([changes, found()[0]?.count]).toEqual([0, 2]);
  });
});
