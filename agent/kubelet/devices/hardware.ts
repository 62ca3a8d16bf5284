// What sysfs tells of the thing behind a device file, where its name in /dev says nothing that stays: the
// maker's serial number, else where it is plugged in; and which things hang on USB without a file of
// their own. Source: Linux Documentation/ABI/testing/sysfs-bus-usb, udev's usb_id.
import { readdir, readFile, realpath } from 'node:fs/promises';
import path from 'node:path';

export interface Hardware {
  /** Of this very thing, as long as it has a serial number or stays where it is. */
  readonly identity: string;
  /** What its maker calls it, or ''. */
  readonly label: string;
}

export interface UsbThing {
  /** `1a6e:089a`. */
  readonly id: string;
  /** Where it is plugged in: bus and ports, `1-1.4`. */
  readonly place: string;
}

const pciAddress = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$/;

/** `sysPath`: of a class device below `root`. Undefined: nothing is known of it. */
export async function hardwareOf(root: string, sysPath: string): Promise<Hardware | undefined> {
  let folder = await realpath(path.join(root, sysPath)).catch(() => '');
  const top = await realpath(root).catch(() => root);
  for (; folder.startsWith(`${top}/`); folder = path.dirname(folder)) {
    const name = path.basename(folder);
    if (pciAddress.test(name)) return { identity: `pci-${name}`, label: '' };
    const vendorId = await attribute(folder, 'idVendor');
    if (vendorId === '') continue;
    const [vendor, product, serial] = await Promise.all(
      ['manufacturer', 'product', 'serial'].map((file) => attribute(folder, file)),
    );
    const maker = [vendor || vendorId, product || (await attribute(folder, 'idProduct'))];
    const own = serial === '' ? `usb-${name}` : `usb-${[...maker, serial].join('_')}`;
    return { identity: own.replaceAll('/', '_'), label: [vendor, product].join(' ').trim() };
  }
  return undefined;
}

export async function usbThings(root: string): Promise<readonly UsbThing[]> {
  const folder = path.join(root, 'bus/usb/devices');
  // Those with a colon are parts of one.
  const places = (await readdir(folder).catch(() => [])).filter((name) => !name.includes(':'));
  const things = await Promise.all(
    places.map(async (place) => {
      const [vendor, product] = await Promise.all(
        ['idVendor', 'idProduct'].map((file) => attribute(path.join(folder, place), file)),
      );
      return { id: `${vendor}:${product}`, place };
    }),
  );
  return things.toSorted((a, b) => (a.place < b.place ? -1 : 1));
}

/** '' when there is none, or the thing went meanwhile. */
async function attribute(folder: string, name: string): Promise<string> {
  return (await readFile(path.join(folder, name), 'utf8').catch(() => '')).trim();
}
