// The devices this machine has spoken to lately, with their network cards: what the kernel keeps anyway. Asks nobody.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { parseIpv4 } from '#kube/machinery/ipv4.ts';

const execute = promisify(execFile);

export interface Neighbour {
  readonly address: string;
  readonly hardwareAddress: string;
  /** Name; on Windows the address of this machine on it. */
  readonly interface: string;
}

/** Throws when the system can't tell. */
export async function readNeighbours(platform: NodeJS.Platform): Promise<readonly Neighbour[]> {
  if (platform === 'linux') return parseLinux(await readFile('/proc/net/arp', 'utf8'));
  const { stdout } = await execute('arp', [platform === 'win32' ? '-a' : '-an']);
  return platform === 'win32' ? parseWindows(stdout) : parseMac(stdout);
}

const complete = 0x2;

/** `/proc/net/arp`: entries without an answer are left out. */
export function parseLinux(text: string): readonly Neighbour[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', , flags = '', hardware = '', , device = ''] = line.trim().split(/\s+/);
    if ((Number(flags) & complete) === 0) return [];
    return neighbour(address, hardware, device);
  });
}

/** `? (192.168.1.20) at b8:27:eb:1:2:3 on en0 ifscope [ethernet]`. */
export function parseMac(text: string): readonly Neighbour[] {
  return text.split('\n').flatMap((line) => {
    const match = /\(([\d.]+)\) at ([\da-f:]+) on (\S+)/.exec(line);
    return match === null ? [] : neighbour(match[1] ?? '', match[2] ?? '', match[3] ?? '');
  });
}

/** Sections `Interface: 192.168.1.5 --- 0x4`, rows `192.168.1.20  b8-27-eb-01-02-03  dynamic`. */
export function parseWindows(text: string): readonly Neighbour[] {
  let device = '';
  return text.split('\n').flatMap((line) => {
    // The words are translated, the signs are not.
    device = /([\d.]+) --- 0x/.exec(line)?.[1] ?? device;
    const row = /^\s*([\d.]+)\s+((?:[\da-f]{2}-){5}[\da-f]{2})/i.exec(line);
    return row === null ? [] : neighbour(row[1] ?? '', (row[2] ?? '').replaceAll('-', ':'), device);
  });
}

/** Groups and broadcasts are no devices. */
function neighbour(address: string, hardware: string, device: string): readonly Neighbour[] {
  const bytes = hardware.toLowerCase().split(':');
  const isWhole = bytes.length === 6 && bytes.every((byte) => /^[\da-f]{1,2}$/.test(byte));
  if (parseIpv4(address) === undefined || !isWhole) return [];
  const hardwareAddress = bytes.map((byte) => byte.padStart(2, '0')).join(':');
  const isGroup = (Number.parseInt(bytes[0] ?? '', 16) & 1) === 1;
  if (isGroup || hardwareAddress === '00:00:00:00:00:00') return [];
  return [{ address, hardwareAddress, interface: device }];
}
