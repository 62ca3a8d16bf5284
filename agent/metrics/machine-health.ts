// How the machine itself is: load, pressure, heat, and whether a Raspberry Pi holds itself back.
// Where a machine has no such thing, it is absent.
// Source: kernel Documentation/accounting/psi.rst, driver-api/thermal; Raspberry Pi vcgencmd get_throttled.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stallOf, type Stall } from './container-detail.ts';

export const throttleReasons = [
  'under-voltage',
  'frequency-capped',
  'throttled',
  'soft-temperature-limit',
] as const;
export type ThrottleReason = (typeof throttleReasons)[number];

export interface MachineHealth {
  /** Of the last one, five and fifteen minutes. */
  readonly load?: readonly [number, number, number];
  /** By the name the kernel gives a place, such as `cpu-thermal`. */
  readonly celsius?: Readonly<Record<string, number>>;
  /** A Pi's: what holds it back now, and what ever did since it booted. */
  readonly throttled?: {
    readonly now: readonly ThrottleReason[];
    readonly sinceBoot: readonly ThrottleReason[];
  };
  readonly pressure?: { readonly cpu: Stall; readonly memory: Stall; readonly io: Stall };
}

const throttledFile = 'devices/platform/soc/soc:firmware/get_throttled';
const sinceBootShift = 16;

export function readMachineHealth(proc: string, sys: string): MachineHealth {
  const load = loadOf(textOf(path.join(proc, 'loadavg')));
  const celsius = temperatures(path.join(sys, 'class/thermal'));
  const throttled = throttledOf(textOf(path.join(sys, throttledFile)));
  const pressure = (name: string) => textOf(path.join(proc, 'pressure', name));
  const cpu = pressure('cpu');
  return {
    ...(load === undefined ? {} : { load }),
    ...(celsius === undefined ? {} : { celsius }),
    ...(throttled === undefined ? {} : { throttled }),
    ...(cpu === undefined
      ? {}
      : {
          pressure: {
            cpu: stallOf(cpu),
            memory: stallOf(pressure('memory')),
            io: stallOf(pressure('io')),
          },
        }),
  };
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return undefined;
  }
}

function loadOf(text: string | undefined): readonly [number, number, number] | undefined {
  const [one, five, fifteen] = (text ?? '').split(' ').map(Number);
  if (one === undefined || five === undefined || fifteen === undefined) return undefined;
  return [one, five, fifteen];
}

/** Several places of one name: the hottest. */
function temperatures(folder: string): Readonly<Record<string, number>> | undefined {
  const found: Record<string, number> = {};
  for (const zone of zonesIn(folder)) {
    const name = textOf(path.join(folder, zone, 'type'))?.trim() ?? '';
    const celsius = Number(textOf(path.join(folder, zone, 'temp')) ?? 'x') / 1000;
    // Sensors that are switched off say absurd things.
    if (name === '' || !(celsius > -60 && celsius < 200)) continue;
    found[name] = Math.max(celsius, found[name] ?? -Infinity);
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

function zonesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => name.startsWith('thermal_zone'));
  } catch {
    return [];
  }
}

/** Bits, in hexadecimal: the low four are now, those sixteen higher since the boot. */
export function throttledOf(text: string | undefined): MachineHealth['throttled'] {
  const bits = Number.parseInt((text ?? '').trim().replace(/^throttled=/, ''), 16);
  if (!Number.isFinite(bits)) return undefined;
  const reasons = (shift: number) =>
    throttleReasons.filter((_reason, bit) => (bits & (1 << (bit + shift))) !== 0);
  return { now: reasons(0), sinceBoot: reasons(sinceBootShift) };
}
