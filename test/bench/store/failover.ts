// From `kill -9` of the leader to the first put that the others commit. Puts are tried on every
// survivor all the while, since one that an old leader never got is answered late or not at all.
import { eventually } from '../../setup/cluster.ts';
import { connect, etcdPut } from '../etcd-client.ts';
import { row, type Row } from '../harness.ts';
import type { Group } from '../server-group.ts';
import { peerName, type Plan, type Sides } from './plan.ts';

const tryEveryMs = 10;
const value = new Uint8Array(1024);

export async function failover({ ours, etcd }: Sides, plan: Plan): Promise<Row[]> {
  const own: number[] = [];
  const peers: number[] = [];
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`kill -9 of the leader, ${pair + 1} of ${plan.pairs}`);
    own.push(await outageMs(ours));
    peers.push(await outageMs(etcd));
  }
  return [
    row('kill -9 of the leader to the first committed put', own, {
      unit: 'ms',
      goal: { of: 'value', atMost: 1300 },
      peer: { name: peerName, samples: peers },
    }),
  ];
}

async function outageMs(group: Group): Promise<number> {
  const leader = await group.leader();
  const clients = group.servers
    .filter((server) => server !== leader)
    .map(({ endpoint }) => connect(endpoint));
  try {
    for (const client of clients) await etcdPut(client)('failover', value);
    const startedMs = performance.now();
    const killed = leader.kill();
    await firstOf(clients.map(etcdPut));
    const tookMs = performance.now() - startedMs;
    await killed;
    return tookMs;
  } finally {
    for (const client of clients) client.close();
    await leader.restart();
    await whole(group);
  }
}

/** Tries all of `puts` again and again until one succeeds. */
function firstOf(tries: readonly ReturnType<typeof etcdPut>[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      for (const put of tries) put('failover', value).then(done, ignore);
    }, tryEveryMs);
    function done(): void {
      clearInterval(timer);
      resolve();
    }
  });
}

function ignore(): void {
  // Only the first that succeeds counts.
}

/** Every server answers again, by its leader. */
async function whole(group: Group): Promise<void> {
  for (const { endpoint } of group.servers)
    await eventually(async () => {
      const client = connect(endpoint);
      try {
        await etcdPut(client)('failover', value);
        return true;
      } finally {
        client.close();
      }
    }, `${endpoint} takes part again`);
}
