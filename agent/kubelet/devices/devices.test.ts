import { describe, expect, it } from 'vitest';
import type { Runtime } from '../../runtime/runtime.ts';
import { isQualifiedName } from '#kube/machinery/names.ts';
import {
  askedDevices,
  devicesText,
  discoverDevices,
  grantDevices,
  usableDevices,
  type DeviceFile,
} from './devices.ts';
import { Gpus } from './gpus.ts';

/** `name` or `link -> name`, with the group of what it leads to. */
function files(...lines: readonly string[]): DeviceFile[] {
  return lines.map((line) => {
    const [path = '', target = path] = line.split(' -> ');
    return { path, target, groupId: target.startsWith('tty') ? 20 : 0 };
  });
}

const brief = (lines: readonly string[]) =>
  discoverDevices(files(...lines), '/dev').map(
    ({ resource, label, path, count }) =>
      `${resource.replace('devices.flotilla.dev/', '')} ×${count} ${path} "${label}"`,
  );

describe('devices of a machine', () => {
  const stick = 'serial/by-id/usb-ITead_Sonoff_Zigbee_3.0_USB_Dongle_Plus_0001-if00-port0';
  const cases: { name: string; given: string[]; want: string[] }[] = [
    { name: 'what no app is given', given: ['null', 'sda', 'ttyS0', 'tty1'], want: [] },
    {
      name: 'a stick, by its serial number',
      given: ['ttyUSB0', `${stick} -> ttyUSB0`, 'serial/by-path/pci-1-usb-0:1 -> ttyUSB0'],
      want: [
        `serial-usb-itead_sonoff_zigbee_3.0_usb_dongle_plus_000-5a95169f ×1 /dev/${stick} "ITead Sonoff Zigbee 3.0 USB Dongle Plus 0001 (serial port)"`,
      ],
    },
    {
      name: 'a stick without a number, by where it is plugged in',
      given: ['ttyACM0', 'serial/by-path/platform-usb-0:1.2:1.0 -> ttyACM0'],
      want: [
        'serial-platform-usb-0-1.2-1.0 ×1 /dev/serial/by-path/platform-usb-0:1.2:1.0 "Serial port platform-usb-0:1.2:1.0"',
      ],
    },
    {
      name: 'one that nothing is known of, by the kernel’s number',
      given: ['ttyUSB3'],
      want: ['serial-ttyusb3 ×1 /dev/ttyUSB3 "Serial port ttyUSB3"'],
    },
    {
      name: 'the pins of a Raspberry Pi',
      given: ['ttyAMA0', 'serial0 -> ttyAMA0', 'gpiochip0', 'gpiomem', 'i2c-1'],
      want: [
        'gpio ×32 /dev/gpiochip0 "Pins (GPIO)"',
        'i2c-i2c-1 ×32 /dev/i2c-1 "I²C bus i2c-1"',
        'serial-serial0 ×1 /dev/serial0 "Serial port on the pins serial0"',
      ],
    },
    {
      name: 'a graphics card is both its files',
      given: [
        'dri/card1',
        'dri/renderD128',
        'dri/by-path/pci-0000:00:02.0-card -> dri/card1',
        'dri/by-path/pci-0000:00:02.0-render -> dri/renderD128',
      ],
      want: [
        'gpu-pci-0000-00-02.0 ×32 /dev/dri/by-path/pci-0000:00:02.0-card "Graphics pci-0000:00:02.0"',
      ],
    },
    {
      name: 'a camera is one thing, a decoder serves several',
      given: [
        'video0',
        'video1',
        'video10',
        'v4l/by-id/usb-046d_C920_AB12-video-index0 -> video0',
        'v4l/by-id/usb-046d_C920_AB12-video-index1 -> video1',
        'v4l/by-path/platform-bcm2835-codec-video-index0 -> video10',
      ],
      want: [
        'video-platform-bcm2835-codec ×32 /dev/v4l/by-path/platform-bcm2835-codec-video-index0 "Video platform-bcm2835-codec"',
        'video-usb-046d_c920_ab12 ×1 /dev/v4l/by-id/usb-046d_C920_AB12-video-index0 "046d C920 AB12 (video)"',
      ],
    },
    {
      name: 'what there is once in a machine',
      given: ['kvm', 'fuse', 'net/tun', 'snd/timer', 'snd/controlC0', 'apex_0', 'hailo0'],
      want: [
        'coral-apex_0 ×1 /dev/apex_0 "Coral accelerator apex_0"',
        'fuse ×32 /dev/fuse "File systems of programs (FUSE)"',
        'hailo-hailo0 ×1 /dev/hailo0 "Hailo accelerator hailo0"',
        'kvm ×32 /dev/kvm "Virtual machines"',
        'sound ×32 /dev/snd/timer "Sound"',
        'tun ×32 /dev/net/tun "Network tunnels (VPN)"',
      ],
    },
  ];
  it.each(cases)('$name', ({ given, want }) => {
    expect(brief(given)).toEqual(want);
    expect(brief(given.toReversed()).map((line) => line.split(' ')[0])).toEqual(
      want.map((line) => line.split(' ')[0]),
    );
  });

  it('have names that Kubernetes takes, whatever a maker wrote', () => {
    const odd = ['usb-Ünï_/cödé', '_.-', 'x'.repeat(200), `${'x'.repeat(200)}y`, 'a'.repeat(56)];
    const given = odd.flatMap((name, index) => [
      `ttyUSB${index}`,
      `serial/by-id/${name.replaceAll('/', '')} -> ttyUSB${index}`,
    ]);
    const names = discoverDevices(files(...given), '/dev').map(({ resource }) => resource);
    expect(new Set(names).size).toBe(odd.length);
    for (const name of names) expect(isQualifiedName(name)).toEqual([]);
  });

  it('tell people what they are', () => {
    expect(JSON.parse(devicesText(discoverDevices(files('fuse', 'ttyUSB0'), '/dev')))).toEqual({
      'devices.flotilla.dev/fuse': {
        label: 'File systems of programs (FUSE)',
        path: '/dev/fuse',
        shared: true,
      },
      'devices.flotilla.dev/serial-ttyusb0': { label: 'Serial port ttyUSB0', path: '/dev/ttyUSB0' },
    });
  });
});

describe('a container that asks for devices', () => {
  const devices = discoverDevices(
    files('ttyUSB0', 'serial/by-id/usb-Stick_7 -> ttyUSB0', 'fuse', 'kvm'),
    '/dev',
  );
  const asking = (...names: string[]) => ({
    name: 'a',
    resources: {
      limits: Object.fromEntries(names.map((name) => [`devices.flotilla.dev/${name}`, '1'])),
    },
  });

  it('gets those, by all their names, with their groups, and no others', () => {
    expect(grantDevices(asking('serial-usb-stick_7', 'fuse'), devices)).toEqual({
      mappings: ['/dev/serial/by-id/usb-Stick_7', '/dev/ttyUSB0', '/dev/fuse'].map((path) => ({
        hostPath: path,
        containerPath: path,
      })),
      groups: [20],
      usbBus: false,
      gpuCount: 0,
    });
    expect(grantDevices({ name: 'a' }, devices)).toEqual({
      mappings: [],
      groups: [],
      usbBus: false,
      gpuCount: 0,
    });
  });

  it('is told of one that is not there', () => {
    expect(() => grantDevices(asking('coral-apex_0'), devices)).toThrow(
      'the device devices.flotilla.dev/coral-apex_0 is not plugged in to this machine',
    );
  });

  it('asks for none by a quantity of 0', () => {
    const limits = { 'devices.flotilla.dev/kvm': '0', cpu: '1' };
    expect(askedDevices({ name: 'a', resources: { limits } }).size).toBe(0);
  });
});

describe('graphics of NVIDIA', () => {
  const devices = discoverDevices(files('nvidia0', 'nvidia1', 'nvidiactl', 'nvidia-uvm'), '/dev');
  const asking = (gpus: number) => ({
    name: 'a',
    resources: { limits: { 'nvidia.com/gpu': String(gpus) } },
  });

  it('are counted under the name that apps know, where the engine can hand them over', () => {
    const counted = devices.map(({ resource, count }) => [resource, count]);
    expect(counted).toEqual([['nvidia.com/gpu', 2]]);
    expect(usableDevices(devices, ['runc', 'nvidia'])).toEqual(devices);
    expect(usableDevices(devices, ['runc'])).toEqual([]);
    expect(() => grantDevices(asking(1), [])).toThrow('nvidia.com/gpu is not plugged in');
  });

  it('are handed over by the engine, not as files', () => {
    expect(grantDevices(asking(2), devices)).toEqual({
      mappings: [],
      groups: [],
      usbBus: false,
      gpuCount: 2,
    });
  });

  it('go to one container at a time', async () => {
    const given: (readonly string[] | undefined)[] = [];
    const states = ['running', 'exited'] as const;
    const pods = () => [
      { containers: given.map((gpus, index) => ({ gpus, state: states[index] ?? 'created' })) },
    ];
    const gpus = new Gpus({ listPods: async () => pods() } as unknown as Pick<Runtime, 'listPods'>);
    const use = (count: number) =>
      gpus.use(count, devices, async (got) => {
        await Promise.resolve();
        given.push(got);
      });
    await Promise.all([use(1), use(1)]);
    expect(given).toEqual([['0'], ['1']]);
    // The second of them is over.
    await use(1);
    await expect(use(1)).rejects.toThrow('1 NVIDIA graphics asked for, 0 of 2 free');
    await use(0);
    expect(given).toEqual([['0'], ['1'], ['1'], undefined]);
  });
});

describe('a Coral stick', () => {
  it('comes with all of the USB bus', () => {
    const devices = discoverDevices([], '/dev', [{ id: '18d1:9302', place: '2-1' }]);
    const limits = { 'devices.flotilla.dev/coral-usb': '1' };
    expect(grantDevices({ name: 'a', resources: { limits } }, devices)).toEqual({
      mappings: [],
      groups: [],
      usbBus: true,
      gpuCount: 0,
    });
  });
});
