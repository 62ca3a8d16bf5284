// Data: which files below /dev are devices that somebody gives to an app, what people call them, and
// how many containers may use one at a time.

export interface DeviceClass {
  /** Begins the resource's name. */
  readonly kind: string;
  readonly label: string;
  /** Of a path below the device directory. */
  readonly pattern: RegExp;
  /** Where links are that tell this very thing from another of its kind; the first that has one counts. */
  readonly links: readonly string[];
  /** What of a link's name is not the thing's own: several files with the rest in common are one. */
  readonly linkEnd: RegExp;
  /** Whether several may use it at once; a pattern: those whose identity matches. */
  readonly isShared: boolean | RegExp;
  /** All files of the class are one thing. */
  readonly isOne: boolean;
  /** As others call it that apps are written for; left out: a name of ours. */
  readonly resource?: string;
  /** `nvidia`: not by its files, but by the engine, which has to know how; each file is one of them. */
  readonly grant?: 'nvidia';
}

/** Things on USB without a driver, and so without a file, of their own. */
export interface UsbClass {
  readonly kind: string;
  readonly label: string;
  /** Of all states it can be in. */
  readonly ids: readonly string[];
}

const none = /$^/;

function deviceClass(
  kind: string,
  label: string,
  pattern: RegExp,
  more: Partial<DeviceClass> = {},
): DeviceClass {
  return {
    kind,
    label,
    pattern,
    links: [],
    linkEnd: none,
    isShared: false,
    isOne: false,
    ...more,
  };
}

const shared = { isShared: true };
const sharedOne = { isShared: true, isOne: true };

export const deviceClasses: readonly DeviceClass[] = [
  deviceClass('serial', 'serial port', /^tty(USB|ACM)\d+$/, {
    links: ['serial/by-id', 'serial/by-path'],
  }),
  // A Raspberry Pi's pins; the link leads to whichever port is there.
  deviceClass('serial', 'serial port on the pins', /^serial0$/),
  deviceClass('video', 'video', /^video\d+$/, {
    links: ['v4l/by-id', 'v4l/by-path'],
    linkEnd: /-video-index\d+$/,
    // Decoders and image processors of a board, unlike cameras, serve several at once.
    isShared: /codec|isp|hevc|decoder|encoder/,
  }),
  deviceClass('gpu', 'graphics', /^dri\/(card|renderD)\d+$/, {
    links: ['dri/by-path'],
    linkEnd: /-(card|render)$/,
    ...shared,
  }),
  deviceClass('dvb', 'TV tuner', /^dvb\/adapter\d+\/\w+$/, {
    linkEnd: /(?<=^dvb\/adapter\d+)\/\w+$/,
  }),
  deviceClass('nvidia', 'NVIDIA graphics', /^nvidia\d+$/, {
    isOne: true,
    resource: 'nvidia.com/gpu',
    grant: 'nvidia',
  }),
  deviceClass('coral', 'Coral accelerator', /^apex_\d+$/),
  deviceClass('hailo', 'Hailo accelerator', /^hailo\d+$/),
  deviceClass('npu', 'neural accelerator', /^accel\/accel\d+$/),
  deviceClass('kvm', 'virtual machines', /^kvm$/, sharedOne),
  deviceClass('sound', 'sound', /^snd\/[^/]+$/, sharedOne),
  deviceClass('tun', 'network tunnels (VPN)', /^net\/tun$/, sharedOne),
  deviceClass('fuse', 'file systems of programs (FUSE)', /^fuse$/, sharedOne),
  deviceClass('gpio', 'pins (GPIO)', /^(gpiochip\d+|gpiomem\d*)$/, sharedOne),
  deviceClass('i2c', 'I²C bus', /^i2c-\d+$/, shared),
  deviceClass('spi', 'SPI device', /^spidev\d+\.\d+$/),
  deviceClass('cec', 'HDMI remote control (CEC)', /^cec\d+$/),
];

export const usbClasses: readonly UsbClass[] = [
  // Before and after its first use, which gives it its program.
  { kind: 'coral-usb', label: 'Coral accelerator (USB)', ids: ['1a6e:089a', '18d1:9302'] },
];

/** Of files, without those of the root. */
export const deviceDirectories: readonly string[] = ['dri', 'snd', 'net', 'accel', 'dvb'];
/** Of directories of files. */
export const nestedDirectories: readonly string[] = ['dvb'];
export const linkDirectories: readonly string[] = [
  ...new Set(deviceClasses.flatMap(({ links }) => links)),
];
