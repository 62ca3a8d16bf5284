// What one node writes to its disk, and how often it has it flushed: on a disk of its own each,
// since what a process is said to have written leaves out what it overwrites.
import path from 'node:path';
import { defaultLogLimits } from '../../../electron/controlplane/replica/log-keeper.ts';
import { startEtcdGroup } from '../etcd-group.ts';
import type { EtcdClient } from '../etcd-client.ts';
import { row, type Row } from '../harness.ts';
import { valueBytes, type PaceOptions } from '../load.ts';
import { LoopDisk } from '../loop-disk.ts';
import { startMemberGroup } from '../member-group.ts';
import { peerName, type Plan } from './plan.ts';

const slowPutsPerSecond = 10;
const nodeCount = 5;
const heartbeatMs = 10_000;
/** Of a node's Lease as JSON. */
const leaseBytes = 420;
const hourMs = 3_600_000;
const mb = 1_000_000;
const diskMebibytes = 512;
/** A disk that is written less in so much time rests. */
const restMs = 2000;
const restBytes = 128 * 1024;

/** Four disks at a time: at these rates none gets in another's way. */
export async function disk(client: EtcdClient, plan: Plan): Promise<Row[]> {
  plan.say(`bytes to disk, ${plan.pacedMs / 1000} s`);
  const puts = (slowPutsPerSecond * plan.pacedMs) / 1000;
  const slow = { putsPerSecond: slowPutsPerSecond, puts, keyCount: 1000, valueBytes };
  const beatsPerSecond = (nodeCount * 1000) / heartbeatMs;
  const idle = {
    putsPerSecond: beatsPerSecond,
    puts: (beatsPerSecond * plan.pacedMs) / 1000,
    keyCount: nodeCount,
    valueBytes: leaseBytes,
  };
  const [own, peer, ownIdle, peerIdle] = await Promise.all([
    countedOurs(slow),
    countedEtcd(client, slow),
    countedOurs(idle),
    countedEtcd(client, idle),
  ]);
  const inAnHour = hourMs / plan.pacedMs;
  const rewrites = hourMs / defaultLogLimits.flushMs;
  const ownHour = ownIdle.live.bytesWritten * inAnHour + ownIdle.end.bytesWritten * rewrites;
  return [
    row(
      `bytes to disk per put at ${slowPutsPerSecond} puts/s, one node`,
      [(own.live.bytesWritten + own.end.bytesWritten) / puts],
      {
        unit: 'B',
        goal: { of: 'ratio', atMost: 0.5 },
        peer: { name: peerName, samples: [peer.bytesWritten / puts] },
      },
    ),
    row(
      `flushes per put at ${slowPutsPerSecond} puts/s, one node`,
      [(own.live.flushes + own.end.flushes) / puts],
      {
        unit: '',
        goal: { of: 'value', atMost: 1.2 },
        peer: { name: peerName, samples: [peer.flushes / puts] },
      },
    ),
    row(`written in an idle hour with ${nodeCount} nodes`, [ownHour / mb], {
      unit: 'MB',
      goal: { of: 'value', atMost: 2 },
      peer: { name: peerName, samples: [(peerIdle.bytesWritten * inAnHour) / mb] },
    }),
  ];
}

type Counted = ReturnType<LoopDisk['count']>;

/** While it was written to, and what was put off and is written at the end. */
async function countedOurs(
  task: PaceOptions,
): Promise<{ readonly live: Counted; readonly end: Counted }> {
  const place = new LoopDisk(diskMebibytes);
  try {
    const group = await startMemberGroup(path.join(place.directory, 'ours'), 1);
    try {
      const member = await group.leader();
      const before = await atRest(place);
      await member.paced(task);
      const after = place.count();
      await member.stop();
      return { live: difference(before, after), end: difference(after, place.count()) };
    } finally {
      await group.stop();
    }
  } finally {
    place.destroy();
  }
}

async function countedEtcd(client: EtcdClient, task: PaceOptions): Promise<Counted> {
  const place = new LoopDisk(diskMebibytes);
  try {
    const group = await startEtcdGroup(path.join(place.directory, 'etcd'), 1);
    try {
      const { endpoint } = await group.leader();
      const before = await atRest(place);
      await client.paced({ ...task, endpoint });
      return difference(before, place.count());
    } finally {
      await group.stop();
    }
  } finally {
    place.destroy();
  }
}

/** What is prepared once, such as the log's next file, is done. */
async function atRest(place: LoopDisk): Promise<Counted> {
  for (let last = place.count(); ;) {
    await new Promise((resolve) => setTimeout(resolve, restMs));
    const now = place.count();
    if (now.bytesWritten - last.bytesWritten < restBytes) return now;
    last = now;
  }
}

function difference(before: Counted, after: Counted): Counted {
  return {
    bytesWritten: after.bytesWritten - before.bytesWritten,
    flushes: after.flushes - before.flushes,
  };
}
