// A machine's power is cut: how long until its app runs on another one. A machine gets another address: how long until it is
// ready there.
import { deployments, nodes, pods } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import type { Pod } from '#kube/api/core.ts';
import { isConditionTrue } from '#kube/machinery/conditions.ts';
import { LabCluster } from '../../lab/lab-cluster.ts';
import type { LabMachine } from '../../lab/lab-machine.ts';
import { savedTestImage, webImage } from '../../setup/images.ts';
import type { Part } from '../fleet.ts';
import { row, type Row } from '../harness.ts';
import { isReady, secondsUntil } from './adding.ts';

async function withMachines(
  measure: (home: LabCluster, machines: readonly LabMachine[]) => Promise<Row[]>,
): Promise<Row[]> {
  const home = new LabCluster();
  try {
    await home.start();
    const image = savedTestImage();
    const machines: LabMachine[] = [];
    for (const [i, name] of ['attic', 'kitchen'].entries()) {
      const machine = await home.lab.addMachine(name, '10.77.0', 11 + i);
      machine.loadImage(image);
      await home.join(machine);
      machines.push(machine);
    }
    return await measure(home, machines);
  } finally {
    await home.destroy();
  }
}

async function running(client: RestClient): Promise<Pod | undefined> {
  const { items } = await client.list(pods, { namespace: 'default' });
  return items.find(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined && isConditionTrue(status?.conditions, 'Ready'),
  );
}

export async function runWeb(client: RestClient): Promise<void> {
  const labels = { app: 'web' };
  await client.create(deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'default', name: 'web' },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels } as unknown as Pod['metadata'],
        spec: { containers: [{ name: 'web', image: webImage, imagePullPolicy: 'IfNotPresent' }] },
      },
    },
  });
  await secondsUntil(async () => (await running(client)) !== undefined, 'the app runs');
}

export function vanish({ say, rounds }: Part): Promise<Row[]> {
  return withMachines(async (home, machines) => {
    const client = await home.client();
    await runWeb(client);
    const took: number[] = [];
    for (let round = 0; round < rounds(3); round++) {
      const nodeName = (await running(client))?.spec.nodeName;
      const machine = machines.find(({ name }) => name === nodeName);
      if (machine === undefined) throw new Error('the app is nowhere');
      say(`vanish: ${machine.name}'s power is cut`);
      await machine.cutPower();
      const elsewhere = async (): Promise<boolean> => {
        const to = (await running(client))?.spec.nodeName;
        return to !== undefined && to !== machine.name;
      };
      took.push(await secondsUntil(elsewhere, 'the app runs elsewhere'));
      await machine.powerOn();
      home.startAgent(machine);
      await home.untilReady(machine);
      const left = async (): Promise<boolean> =>
        (await client.list(pods, { namespace: 'default' })).items.length === 1;
      await secondsUntil(left, 'the pod of before is gone');
    }
    const goal = { of: 'value', atMost: 60 } as const;
    return [row('unplugged → its app runs elsewhere', took, { unit: 's', goal })];
  });
}

export function address({ say, rounds }: Part): Promise<Row[]> {
  return withMachines(async (home, [machine]) => {
    if (machine === undefined) throw new Error('no machine');
    const client = await home.client();
    const took: number[] = [];
    for (let round = 0; round < rounds(3); round++) {
      const host = 51 + round;
      say(`address: ${machine.name} gets .${host}`);
      await machine.changeAddress(host);
      took.push(
        await secondsUntil(async () => {
          const node = await client.get(nodes, { name: machine.name });
          const isThere = node.status?.addresses?.some((one) => one.address === machine.address);
          return isThere === true && isReady(node);
        }, `${machine.name} is ready at its new address`),
      );
    }
    const goal = { of: 'value', atMost: 10 } as const;
    return [row('another address → Ready there', took, { unit: 's', goal })];
  });
}
