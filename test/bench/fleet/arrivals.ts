// A machine's cable is plugged in: how long until it is shown, until it can be added, and from the click until it is ready.
import { cpSync } from 'node:fs';
import path from 'node:path';
import type { Machine } from '#kube/api/fleet.ts';
import { machines } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { Architecture } from '../../../electron/controlplane/fleet/package/locked-runtimes.ts';
import { LabCluster } from '../../lab/lab-cluster.ts';
import { becomePi, startSpeaking } from '../../lab/stock-pi.ts';
import type { Part } from '../fleet.ts';
import { row, type Row } from '../harness.ts';
import { add, inspect, secondsUntil } from './adding.ts';
import { makePackage, packageCache } from './packages.ts';

export async function arrivals({ say, rounds }: Part): Promise<Row[]> {
  const home = new LabCluster();
  const appears: number[] = [];
  const addable: number[] = [];
  const ready: number[] = [];
  try {
    await home.start({ searches: true });
    await makePackage(process.arch as Architecture);
    cpSync(packageCache, path.join(home.cluster.dataDirectory, 'packages'), { recursive: true });
    const client = await home.client();
    for (let round = 0; round < rounds(5); round++) {
      const name = `pi-${round}`;
      say(`arrivals: ${name}`);
      const machine = await home.lab.addMachine(name, '10.77.0', 20 + round);
      await becomePi(machine);
      await machine.setCable(false);
      await startSpeaking(machine);
      const find = async (): Promise<Machine | undefined> => {
        const { items } = await client.list(machines);
        return items.find(({ status }) =>
          status?.addresses?.some(({ address }) => address === machine.address),
        );
      };
      const beginMs = performance.now();
      await machine.setCable(true);
      appears.push(await secondsUntil(async () => (await find()) !== undefined, `${name} is seen`));
      await secondsUntil(async () => {
        const { status } = (await find()) ?? {};
        return getCondition(status?.conditions, 'Addable')?.status === 'True';
      }, `${name} can be added`);
      addable.push((performance.now() - beginMs) / 1000);
      const seen = (await find())?.metadata.name ?? name;
      ready.push(await add(client, seen, await inspect(client, seen)));
    }
  } finally {
    await home.destroy();
  }
  return [
    row('plugged in → it is shown', appears, { unit: 's', goal: { of: 'value', atMost: 5 } }),
    row('plugged in → it can be added', addable, { unit: 's' }),
    row('click → Ready, Docker present', ready, { unit: 's', goal: { of: 'value', atMost: 45 } }),
  ];
}
