// What one node takes in memory, and how long a put waits while history is compacted.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEtcdGroup } from '../etcd-group.ts';
import type { EtcdClient } from '../etcd-client.ts';
import { row, type Row } from '../harness.ts';
import { startMemberGroup } from '../member-group.ts';
import { residentMb } from '../process-usage.ts';
import { peerName, type Plan, type Sides } from './plan.ts';

/** Before memory is looked at: what is under way comes to its end. */
const settleMs = 2000;
const stallCallers = 4;
/** Etcd's compaction is looked at no longer: on a busy machine it takes minutes. */
const etcdPatienceMs = 30_000;
const patienceMs = 300_000;

export async function memory(client: EtcdClient, plan: Plan): Promise<Row[]> {
  const own: number[] = [];
  const peers: number[] = [];
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`memory of ${plan.keyCount} keys, ${pair + 1} of ${plan.pairs}`);
    const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bench-'));
    const ours = await startMemberGroup(path.join(folder, 'ours'), 1);
    const etcd = await startEtcdGroup(path.join(folder, 'etcd'), 1);
    try {
      for (const { servers } of [ours, etcd])
        await client.writeKeys({ endpoint: servers[0]?.endpoint ?? '', keyCount: plan.keyCount });
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      own.push(residentMb(ours.servers[0]?.pid ?? 0));
      peers.push(residentMb(etcd.servers[0]?.pid ?? 0));
    } finally {
      await Promise.all([ours.stop(), etcd.stop()]);
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return [
    row(`RSS with ${plan.keyCount} keys of 1 KB, one node`, own, {
      unit: 'MB',
      goal: { of: 'ratio', atMost: 0.7 },
      peer: { name: peerName, samples: peers },
    }),
  ];
}

/** Ours as many times as all pairs; etcd, whose figure has no part in the goal, once. */
export async function compaction({ ours, etcd, client }: Sides, plan: Plan): Promise<Row[]> {
  const own: number[] = [];
  const peers: number[] = [];
  const leader = await ours.leader();
  const { endpoint } = await etcd.leader();
  const task = { revisions: plan.compactedRevisions, callers: stallCallers };
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`compaction of ${plan.compactedRevisions} revisions, ${pair + 1} of ${plan.pairs}`);
    own.push(await leader.stall({ ...task, patienceMs }));
    if (pair === 0)
      peers.push(await client.stall({ ...task, endpoint, patienceMs: etcdPatienceMs }));
  }
  return [
    row(`worst put while compacting ${plan.compactedRevisions} revisions, one node`, own, {
      unit: 'ms',
      goal: { of: 'value', atMost: 50 },
      peer: { name: peerName, samples: peers },
    }),
  ];
}
