import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasBattery } from './battery.ts';

const cases: {
  name: string;
  supplies: Readonly<Record<string, Readonly<Record<string, string>>>>;
  want: boolean;
}[] = [
  { name: 'nothing', supplies: {}, want: false },
  {
    name: 'a laptop',
    supplies: { AC: { type: 'Mains', online: '1' }, BAT0: { type: 'Battery', present: '1' } },
    want: true,
  },
  { name: 'a laptop that says less', supplies: { BAT0: { type: 'Battery' } }, want: true },
  {
    name: 'a laptop without its battery',
    supplies: { BAT0: { type: 'Battery', present: '0' } },
    want: false,
  },
  {
    name: 'a PC with a wireless mouse',
    supplies: { hidpp_battery_0: { type: 'Battery', scope: 'Device', present: '1' } },
    want: false,
  },
  { name: 'a Pi on USB power', supplies: { usb: { type: 'USB', online: '1' } }, want: false },
];

describe('a battery of its own', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'flotilla-power-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each(cases)('has $name: $want', ({ supplies, want }) => {
    for (const [supply, files] of Object.entries(supplies)) {
      mkdirSync(path.join(folder, supply));
      for (const [file, text] of Object.entries(files))
        writeFileSync(path.join(folder, supply, file), `${text}\n`);
    }
    expect(hasBattery(folder)).toBe(want);
  });

  it('has no machine that does not tell', () => {
    expect(hasBattery(path.join(folder, 'absent'))).toBe(false);
  });
});
