// Names and ways of the cluster's network. A list only: each part is a file in `network/`.
import type { Benchmark, BenchmarkOptions, Row } from './harness.ts';
import { dns } from './network/dns.ts';
import { forwarder } from './network/forwarder.ts';
import { ingress } from './network/ingress.ts';
import { moved } from './network/moved.ts';
import { rules } from './network/rules.ts';
import { traffic } from './network/traffic.ts';

type Part = (options: BenchmarkOptions) => Promise<readonly Row[]>;

const parts: Readonly<Record<string, Part>> = { rules, moved, traffic, forwarder, dns, ingress };

export const network: Benchmark = {
  name: 'network',
  about: "the cluster's network: Services' rules and what goes through them, names",
  parts: Object.keys(parts),
  async run(options) {
    const { say, only } = options;
    const rows: Row[] = [];
    for (const [name, part] of Object.entries(parts))
      if (only.length === 0 || only.includes(name)) {
        say(name);
        rows.push(...(await part(options)));
      }
    return rows;
  },
};
