import { describe, expect, it } from 'vitest';
import { diskOf, diskProblem, parseDisk, type Disk, type Machine } from './disk.ts';
import { mountOf, parseFstab, parseMountInfo } from './mount-table.ts';
import { mountPointsWithin } from './mounter.ts';

const text = `22 1 179:2 / / rw,noatime - ext4 /dev/mmcblk0p2 rw
30 22 8:1 / /mnt/usb rw,relatime shared:5 - ext4 /dev/sda1 rw
31 30 0:44 / /mnt/usb/in rw - tmpfs tmpfs rw
32 22 0:45 / /mnt/with\\040space rw - nfs4 nas:/x rw
33 22 0:50 /@ /mnt/btrfs rw - btrfs /dev/sdb1 rw
`;
const usb: Disk = { mountPoint: '/mnt/usb', fsType: 'ext4', uuid: 'aaaa' };

function machine(more: Partial<Machine> = {}): Machine {
  return {
    nodeName: 'pi-1',
    mounts: parseMountInfo(text),
    expectedMountPoints: [],
    uuids: new Map([
      ['8:1', 'aaaa'],
      ['/dev/sdb1', 'bbbb'],
    ]),
    ...more,
  };
}

const unplugged = parseMountInfo(text).filter(({ mountPoint }) => !mountPoint.includes('usb'));

describe('the table of mounts', () => {
  it('tells where a path lies, and what lies within', () => {
    const entries = parseMountInfo(text);
    const at = (path: string) => mountOf(entries, path)?.mountPoint;
    expect([at('/mnt/usb/a'), at('/mnt/usbx'), at('/mnt/usb/in'), at('/mnt/with space/x')]).toEqual(
      ['/mnt/usb', '/', '/mnt/usb/in', '/mnt/with space'],
    );
    expect(mountPointsWithin(entries, '/mnt')[0]).toBe('/mnt/usb/in');
  });

  it('knows from fstab what should be mounted', () => {
    const fstab =
      'proc /proc proc defaults 0 0\n# UUID=x /old ext4\nUUID=y  /mnt/my\\040disk ext4\nnone none swap\nUUID=z / ext4\nUUID=w /mnt/ssd/ ext4';
    expect(parseFstab(fstab)).toEqual(['/proc', '/mnt/my disk', '/mnt/ssd']);
  });
});

describe('the disk of a path', () => {
  it('is known by the UUID of its file system, and the system’s own is none', () => {
    expect([
      diskOf('/mnt/usb/a', machine()),
      diskOf('/mnt/btrfs/a', machine()),
      diskOf('/srv', machine()),
    ]).toEqual([usb, { mountPoint: '/mnt/btrfs', fsType: 'btrfs', uuid: 'bbbb' }, undefined]);
  });

  it('is read back as it was written, or not at all', () => {
    const texts = [JSON.stringify(usb), '', '{', '{"mountPoint":1,"fsType":"x"}'];
    expect(texts.map(parseDisk)).toEqual([usb, undefined, undefined, undefined]);
  });
});

describe('an app starts on its disk', () => {
  const path = '/mnt/usb/photos';
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['that is connected', diskProblem(path, usb, machine())],
    ['and on the system’s own', diskProblem('/srv/data', undefined, machine())],
  ];
  it.each(cases)('%s', (_name, problem) => {
    expect(problem).toBeUndefined();
  });
});

describe('an app does not start', () => {
  const path = '/mnt/usb/photos';
  const fstab = { expectedMountPoints: ['/mnt/usb'] };
  const cases: readonly (readonly [string, string | undefined, string])[] = [
    [
      'on the folder where its disk was',
      diskProblem(path, usb, machine({ mounts: unplugged })),
      'the disk aaaa (ext4) of /mnt/usb is not connected to pi-1, or not mounted there',
    ],
    [
      'on another disk in its place',
      diskProblem(path, usb, machine({ uuids: new Map([['8:1', 'cccc']]) })),
      'the disk aaaa (ext4) of /mnt/usb is not connected to pi-1: another one (cccc (ext4)) is mounted there',
    ],
    [
      'where fstab has a disk that is not there',
      diskProblem(path, undefined, machine({ mounts: unplugged, ...fstab })),
      'the disk of /mnt/usb (named in /etc/fstab) is not connected to pi-1, or not mounted there',
    ],
    [
      'where a desktop would mount a stick',
      diskProblem('/media/ada/stick/x', undefined, machine()),
      'no disk is mounted at /media/ada/stick of pi-1',
    ],
  ];
  it.each(cases)('%s', (_name, problem, want) => {
    expect(problem).toBe(want);
  });
});
