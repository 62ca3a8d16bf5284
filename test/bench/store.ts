// The store against etcd: Debian's etcd-server with its defaults, on the same file system, in turn
// with ours in one run. What is compared with what: README.md.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureEtcd, startEtcdGroup } from './etcd-group.ts';
import { EtcdClient } from './etcd-client.ts';
import type { Benchmark, Row } from './harness.ts';
import { buildMember, startMemberGroup } from './member-group.ts';
import { disk } from './store/disk.ts';
import { failover } from './store/failover.ts';
import { fullPlan, type Plan, type Sides } from './store/plan.ts';
import { puts } from './store/puts.ts';
import { compaction, memory } from './store/single.ts';

type Part = (client: EtcdClient, plan: Plan) => Promise<readonly Row[]>;

const parts: Readonly<Record<string, Part>> = {
  one: (client, plan) => withGroups(1, client, (sides) => puts(sides, plan)),
  three: (client, plan) => withGroups(3, client, (sides) => puts(sides, plan)),
  kill: (client, plan) => withGroups(3, client, (sides) => failover(sides, plan)),
  compaction: (client, plan) => withGroups(1, client, (sides) => compaction(sides, plan)),
  memory,
  disk,
};

export const store: Benchmark = {
  name: 'store',
  about: 'the replicated store and etcd in turn: puts, CPU, disk, memory, failover, compaction',
  parts: Object.keys(parts),
  async run({ say, only, pairs }) {
    ensureEtcd(say);
    await buildMember();
    const plan = { ...fullPlan, ...(pairs === undefined ? {} : { pairs }), say };
    const client = new EtcdClient();
    const rows: Row[] = [];
    try {
      for (const [name, part] of Object.entries(parts))
        if (only.length === 0 || only.includes(name)) rows.push(...(await part(client, plan)));
    } finally {
      await client.end();
    }
    return rows;
  },
};

async function withGroups(
  size: number,
  client: EtcdClient,
  use: (sides: Sides) => Promise<readonly Row[]>,
): Promise<readonly Row[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bench-'));
  try {
    const ours = await startMemberGroup(path.join(folder, 'ours'), size);
    try {
      const etcd = await startEtcdGroup(path.join(folder, 'etcd'), size);
      try {
        return await use({ ours, etcd, client });
      } finally {
        await etcd.stop();
      }
    } finally {
      await ours.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
