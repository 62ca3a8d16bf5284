// An app goes with its data from one simulated machine to another, each with its own Docker Engine and disk: what it has
// arrives as it was, what it writes meanwhile as well, and a pulled cable loses nothing.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { VolumeMovePhase } from '#kube/api/volume-move.ts';
import {
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  volumeMoves,
} from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';

const home = new LabCluster();
let [pi, nas]: LabMachine[] = [];
const namespace = 'default';

/** Counts on from what it finds, and never starts anew beside what is there. */
const count =
  'n=$(busybox tail -n 1 /data/log 2>/dev/null || echo 0); while n=$((n+1)); do echo $n >> /data/log; busybox usleep 100000; done';
const manifest = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: counter}
spec:
  selector: {matchLabels: {app: counter}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: counter}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
      containers:
      - name: counter
        image: ${webImage}
        command: [sh, -c, ${JSON.stringify(count)}]
        volumeMounts: [{name: data, mountPath: /data}]
`;

beforeAll(async () => {
  const image = savedTestImage();
  await home.start();
  const join = async (name: string, host: number): Promise<LabMachine> => {
    const machine = await home.lab.addMachine(name, '10.77.0', host);
    machine.loadImage(image);
    await home.join(machine);
    return machine;
  };
  pi = await join('pi', 11);
  await home.cluster.apply(manifest);
  await eventually(async () => (await placeOf()) === 'pi', 'the app runs on pi');
  nas = await join('nas', 12);
});
afterAll(() => home.destroy());

function machineOf(name: string): LabMachine {
  const machine = [pi, nas].find((one) => one?.name === name);
  if (machine === undefined) throw new Error(`no machine ${name}`);
  return machine;
}

/** Where it is ready. */
async function placeOf(): Promise<string | undefined> {
  const { items } = await (await home.client()).list(pods, { namespace });
  return items.find(({ status }) => getCondition(status?.conditions, 'Ready')?.status === 'True')
    ?.spec.nodeName;
}

async function folderOf(): Promise<string> {
  const client = await home.client();
  const claim = await client.get(persistentVolumeClaims, { namespace, name: 'data' });
  const name = claim.spec.volumeName ?? '';
  return (await client.get(persistentVolumes, { name })).spec.local?.path ?? '';
}

async function move(name: string, nodeName: string): Promise<void> {
  await (
    await home.client()
  ).create(volumeMoves, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    metadata: { namespace, name },
    spec: { claims: ['data'], nodeName },
  });
}

async function reaches(name: string, ...phases: readonly VolumeMovePhase[]): Promise<void> {
  const client = await home.client();
  await eventually(
    async () => {
      const { status } = await client.get(volumeMoves, { namespace, name });
      if (status?.phase === 'Failed' || status?.phase === 'Refused')
        throw new Error(`${status.phase}: ${status.message}`);
      return status !== undefined && phases.includes(status.phase);
    },
    `${name} is ${phases.join(' or ')}`,
  );
}

/** All that a file system says of what is in there, but for the log that is being written. */
function listing(machine: LabMachine, folder: string): Promise<string> {
  const what = String.raw`%P %y %m %U %G %s %T@ %l %n\n`;
  const script = `cd "$1" && find . ! -name log ! -name . -printf '${what}' | sort; cat plain`;
  return machine.run('sh', '-c', script, 'sh', folder);
}

async function logOf(machine: LabMachine, folder: string): Promise<number[]> {
  return (await machine.run('cat', `${folder}/log`)).trim().split('\n').map(Number);
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

it('takes everything along, and what is written meanwhile', async () => {
  const from = await folderOf();
  const make = `cd "$1"; mkdir -p a/b; echo hello > plain; chown 999:998 plain; chmod 4640 plain
    ln plain a/b/second; ln -s ../nowhere a/link; truncate -s 20M holes; mkfifo pipe; touch -d 2001-02-03 a/b`;
  await machineOf('pi').run('sh', '-ec', make, 'sh', from);
  const before = await listing(machineOf('pi'), from);
  await move('there', 'nas');
  await reaches('there', 'Done');
  await eventually(async () => (await placeOf()) === 'nas', 'the app runs on nas');
  const to = await folderOf();
  expect(await listing(machineOf('nas'), to)).toBe(before);
  const [old, now] = [await logOf(machineOf('pi'), from), await logOf(machineOf('nas'), to)];
  expect(now.length).toBeGreaterThan(old.length);
  expect(now).toEqual(upTo(now.length));
  // The old copy is as it was left.
  expect(await logOf(machineOf('pi'), from)).toEqual(old);
});

it('goes on after a pulled cable; the app stays where it was until then', async () => {
  const from = await folderOf();
  const fill = 'head -c 300000000 /dev/urandom > "$1/large"';
  await machineOf('nas').run('sh', '-ec', fill, 'sh', from);
  await move('back', 'pi');
  await reaches('back', 'Copying');
  await machineOf('pi').setCable(false);
  await eventually(async () => {
    const { status } = await (await home.client()).get(volumeMoves, { namespace, name: 'back' });
    return status?.phase === 'Copying';
  }, 'it is still under way');
  expect(await placeOf()).toBe('nas');
  await machineOf('pi').setCable(true);
  await home.untilReady(machineOf('pi'));
  await reaches('back', 'Done');
  await eventually(async () => (await placeOf()) === 'pi', 'the app runs on pi');
  const to = await folderOf();
  const now = await logOf(machineOf('pi'), to);
  expect(now).toEqual(upTo(now.length));
  const sum = async (machine: LabMachine, folder: string) =>
    (await machine.run('sha256sum', `${folder}/large`)).split(' ')[0];
  expect(await sum(machineOf('pi'), to)).toBe(await sum(machineOf('nas'), from));
});
