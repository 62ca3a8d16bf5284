// Three members on machines and a laptop. The machine whose member leads is unplugged: how long until the API takes writes, and
// what whoever uses an app on another machine notices.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { services } from '#kube/client/resources.ts';
import { LabCluster } from '../../lab/lab-cluster.ts';
import { LabMembers } from '../../lab/lab-members.ts';
import { savedTestImage } from '../../setup/images.ts';
import { root } from '../../setup/machine.ts';
import type { Part } from '../fleet.ts';
import { row, type Row } from '../harness.ts';
import { runWeb } from './machines-away.ts';

const nodePort = 30080;
/** What is looked at before and after. */
const lookMs = 15_000;

interface Seen {
  readonly what: 'write' | 'app';
  readonly isGood: boolean;
  readonly atMs: number;
}

export async function leader({ say, rounds }: Part): Promise<Row[]> {
  const home = new LabCluster();
  const writes: number[] = [];
  const silences: number[] = [];
  try {
    const members = new LabMembers(home);
    await members.start();
    const app = await home.lab.addMachine('cupboard', '10.77.0', 30);
    app.loadImage(savedTestImage());
    await home.join(app);
    const client = await home.client();
    await runWeb(client);
    await client.create(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'default', name: 'web' },
      spec: {
        type: 'NodePort',
        selector: { app: 'web' },
        ports: [{ port: 80, targetPort: 8080, nodePort }],
      },
    });
    for (let round = 0; round < rounds(3); round++) {
      const machine = await members.leader();
      const others = members.addresses().filter((one) => !one.includes(`//${machine.address}:`));
      const user = watch(home, [`http://${app.address}:${nodePort}/`, ...others]);
      await user.until(({ what, isGood }) => what === 'write' && isGood);
      await user.until(({ what, isGood }) => what === 'app' && isGood);
      await wait(2_000);
      say(`leader: ${machine.name}'s power is cut`);
      await machine.cutPower();
      const cutMs = Date.now();
      // One that was answered just before may be told just after: what counts is the first of which both is after.
      await user.until(({ what, isGood, atMs }) => what === 'write' && isGood && atMs > cutMs + 50);
      await wait(lookMs);
      const seen = await user.end();
      const good = seen.filter(({ what, isGood }) => what === 'write' && isGood);
      writes.push(((good.find(({ atMs }) => atMs > cutMs + 50)?.atMs ?? Infinity) - cutMs) / 1000);
      silences.push(longestGap(seen.filter(({ what }) => what === 'app')) / 1000);
      await machine.powerOn();
      await members.startOn(machine);
      await members.allVote();
    }
  } finally {
    await home.destroy();
  }
  return [
    row('the leader unplugged → the API is writable', writes, {
      unit: 's',
      goal: { of: 'value', atMost: 3 },
    }),
    row('meanwhile: longest silence of an app', silences, {
      unit: 's',
      goal: { of: 'value', atMost: 1 },
    }),
  ];
}

function longestGap(seen: readonly Seen[]): number {
  const end = seen.at(-1);
  const good = seen.filter((one) => one.isGood || one === end).map(({ atMs }) => atMs);
  const gaps = good.slice(1).map((atMs, i) => atMs - (good[i] ?? atMs));
  return Math.max(0, ...gaps);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Somebody on the laptop who uses the app and writes to the API, both several times a second. */
function watch(home: LabCluster, urls: readonly string[]) {
  const file = path.join(root, 'test/bench/fleet/user.ts');
  const [program = '', ...args] = home.lab.onLaptop([
    process.execPath,
    file,
    home.cluster.kubeconfig,
    ...urls,
  ]);
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const seen: Seen[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: child.stdout! }).on('line', (line) => {
    seen.push(JSON.parse(line) as Seen);
    for (const look of waiting) look();
  });
  return {
    until: (isIt: (one: Seen) => boolean): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!seen.some(isIt)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    async end(): Promise<readonly Seen[]> {
      const ended = once(child, 'exit');
      child.stdin?.end();
      await ended;
      return seen;
    },
  };
}
