import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readNetworkCards } from './network-cards.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'cards-'));
});
afterEach(() => rm(root, { recursive: true }));

async function device(name: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [file, text] of Object.entries(files)) {
    const at = path.join(root, name, file);
    await mkdir(path.dirname(at), { recursive: true });
    await writeFile(at, `${text}\n`);
  }
}

const at = (address: string, length = 24) => ({
  family: 'IPv4' as const,
  internal: false,
  address,
  cidr: `${address}/${length}`,
  netmask: '',
  mac: '',
});

it('cards are what has a device, and what others know the machine by', async () => {
  await device('eth0', { address: 'B8:27:EB:12:34:56', 'device/power/wakeup': 'enabled' });
  await device('wlan0', { address: 'b8:27:eb:00:00:01', 'device/vendor': 'x', 'wireless/x': '' });
  await device('docker0', { address: '02:42:00:00:00:01' });
  await device('br0', { address: '02:42:00:00:00:02' });
  await device('lo', { address: '00:00:00:00:00:00' });
  const present = {
    eth0: [at('192.168.1.240', 32), at('192.168.1.20')],
    docker0: [at('172.17.0.1', 16)],
    br0: [at('192.168.2.7')],
  };
  expect(await readNetworkCards(present, '192.168.2.7', root)).toEqual([
    { name: 'br0', address: '02:42:00:00:00:02', network: '192.168.2.7/24' },
    { name: 'eth0', address: 'b8:27:eb:12:34:56', network: '192.168.1.20/24', wakes: true },
    { name: 'wlan0', address: 'b8:27:eb:00:00:01', isWireless: true },
  ]);
});

it('where the kernel shows none there are none', async () => {
  expect(await readNetworkCards({}, undefined, path.join(root, 'no'))).toEqual([]);
});
