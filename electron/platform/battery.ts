// Whether this machine is one that is closed and carried away. Linux tells by its power supplies;
// elsewhere nobody is asked, and a machine counts as one that stays.
// Source: Linux Documentation/ABI/testing/sysfs-class-power.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A mouse's battery or a UPS on a cable does not count. Never throws. */
export function hasBattery(folder = '/sys/class/power_supply'): boolean {
  try {
    return readdirSync(folder).some((name) => isOwnBattery(path.join(folder, name)));
  } catch {
    return false;
  }
}

function isOwnBattery(folder: string): boolean {
  const read = (name: string): string | undefined => {
    try {
      return readFileSync(path.join(folder, name), 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  return read('type') === 'Battery' && read('scope') !== 'Device' && read('present') !== '0';
}
