// Twenty machines that are added at once, by real SSH. What they run pods on is in memory only: their containers are not what
// is measured, and twenty engines would be.
import { machines, nodes } from '#kube/client/resources.ts';
import { LabCluster } from '../../lab/lab-cluster.ts';
import { plantRuntime } from '../../lab/planted-runtime.ts';
import { addPi } from '../../lab/stock-pi.ts';
import { quantile, row, type Row } from '../harness.ts';
import type { Part } from '../fleet.ts';
import { add, inspect, isReady } from './adding.ts';

const count = 20;

export async function crowd({ say }: Part): Promise<Row[]> {
  const home = new LabCluster();
  try {
    await home.start();
    await plantRuntime(home.cluster.dataDirectory, true);
    const client = await home.client();
    const names = Array.from({ length: count }, (_, i) => `shelf-${i}`);
    say(`crowd: ${count} machines boot`);
    const known = [];
    for (const [i, name] of names.entries()) {
      const { address } = await addPi(home.lab, name, 20 + i, { hasEngine: false });
      await client.create(machines, {
        apiVersion: 'flotilla.dev/v1alpha1',
        kind: 'Machine',
        metadata: { name },
        spec: { address },
      });
      known.push({ name, spec: await inspect(client, name) });
    }
    say('crowd: all are added');
    const took = await Promise.all(known.map(({ name, spec }) => add(client, name, spec)));
    const ready = (await client.list(nodes)).items.filter(isReady).length;
    return [
      row('added at once: nodes that are ready', [ready], {
        unit: '',
        goal: { of: 'value', atLeast: count },
      }),
      row(`${count} at once: click → Ready, each`, took, { unit: 's' }),
      row(`${count} at once: click → Ready, the last`, [quantile(took, 1)], { unit: 's' }),
    ];
  } finally {
    await home.destroy();
  }
}
