// What adding a machine costs, and what a home with several of them goes through: found, added, unplugged, at another address.
// In the lab, where a machine has its own network, disk and engine and a real SSH server; root only, but for `package`.
import { build, isStale } from '../../electron/build.ts';
import { arrivals } from './fleet/arrivals.ts';
import { crowd } from './fleet/crowd.ts';
import { address, vanish } from './fleet/machines-away.ts';
import { leader } from './fleet/leader.ts';
import { packages } from './fleet/packages.ts';
import type { Benchmark, Row } from './harness.ts';

export interface Part {
  readonly say: (text: string) => void;
  /** How often it is measured. */
  readonly rounds: (otherwise: number) => number;
}

const parts: Readonly<Record<string, (part: Part) => Promise<Row[]>>> = {
  package: ({ say }) => packages(say),
  arrivals,
  vanish,
  address,
  leader,
  crowd,
};

export const fleet: Benchmark = {
  name: 'fleet',
  about: 'machines that are found, added, unplugged and moved; what is copied to them',
  parts: Object.keys(parts),
  async run({ say, only, pairs }) {
    if (isStale()) await build();
    const rows: Row[] = [];
    for (const [name, measure] of Object.entries(parts))
      if (only.length === 0 || only.includes(name))
        rows.push(...(await measure({ say, rounds: (otherwise) => pairs ?? otherwise })));
    return rows;
  },
};
