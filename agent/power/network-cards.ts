// The network cards of this machine, as far as they can wake it: read from the kernel's /sys. Whether a card listens is what
// its driver says of its device (`power/wakeup`), which `ethtool -s NAME wol g` switches on as well.
import { readdir, readFile, realpath } from 'node:fs/promises';
import type { networkInterfaces } from 'node:os';
import path from 'node:path';
import { isHardwareAddress, type NetworkCard } from '#kube/machinery/node-operations.ts';

/** `primary`: the address that others know it by, whose interface counts though it may be no card. */
export async function readNetworkCards(
  present: ReturnType<typeof networkInterfaces>,
  primary: string | undefined,
  root = '/sys/class/net',
): Promise<readonly NetworkCard[]> {
  const names = await readdir(root).catch(() => []);
  const cards = await Promise.all(
    names
      .toSorted((a, b) => a.localeCompare(b, 'en'))
      .map((name) => cardAt(root, name, present, primary)),
  );
  return cards.filter((card) => card !== undefined);
}

async function cardAt(
  root: string,
  name: string,
  present: ReturnType<typeof networkInterfaces>,
  primary: string | undefined,
): Promise<NetworkCard | undefined> {
  const folder = path.join(root, name);
  const own = (present[name] ?? []).filter(
    ({ family, cidr }) => family === 'IPv4' && cidr?.endsWith('/32') !== true,
  );
  const isCard = await realpath(path.join(folder, 'device')).then(
    () => true,
    () => false,
  );
  if (!isCard && !own.some(({ address }) => address === primary)) return undefined;
  const address = (await text(path.join(folder, 'address'))).toLowerCase();
  if (!isHardwareAddress(address) || address === '00:00:00:00:00:00') return undefined;
  const wakeup = await text(path.join(folder, 'device/power/wakeup'));
  const isWireless = await realpath(path.join(folder, 'wireless')).then(
    () => true,
    () => false,
  );
  const network = own[0]?.cidr ?? undefined;
  return {
    name,
    address,
    ...(network !== undefined && { network }),
    ...(wakeup !== '' && { wakes: wakeup === 'enabled' }),
    ...(isWireless && { isWireless }),
  };
}

async function text(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch {
    return '';
  }
}
