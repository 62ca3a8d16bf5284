// How many questions the agent's DNS answers on loopback, and how long the slowest of a hundred takes, beside
// dnsmasq with the same names in the same run. Both are asked by the same client, with so many questions
// under way at any time.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../../setup/free-port.ts';
import { ask } from '../../setup/dns-messages.ts';
import { quantile, row, type BenchmarkOptions, type Row } from '../harness.ts';
import { foreignName, headlessName, serviceCount, serviceName } from './dns-plan.ts';

const underWay = 8;
const warmUpMs = 1_000;
const runMs = 2_000;
const dnsmasq = '/usr/sbin/dnsmasq';

interface Measured {
  readonly perSecond: number;
  readonly p99Ms: number;
}

interface Ours {
  readonly child: ChildProcess;
  readonly port: number;
  readonly zoneBytes: number;
}

export async function dns({ say, pairs = 5 }: BenchmarkOptions): Promise<Row[]> {
  const ours = await startOurs();
  const peer = await startPeer();
  if (peer === undefined) say(`no ${dnsmasq}: without a peer (apt-get install dnsmasq-base)`);
  try {
    const clusterIp = await inTurn(pairs, [ours.port, peer?.port], serviceName);
    const headless = await inTurn(pairs, [ours.port, peer?.port], () => headlessName);
    const cached = await inTurn(pairs, [ours.port, undefined], foreignName);
    return [
      ...rowsOf('A of a ClusterIP', clusterIp),
      ...rowsOf('A of a headless Service, 10 addresses', headless),
      ...rowsOf("another server's answer from the cache", cached),
      row(`index of ${serviceCount} Services × 3 endpoints`, [ours.zoneBytes / 2 ** 20], {
        unit: 'MB',
      }),
    ];
  } finally {
    ours.child.kill();
    peer?.stop();
  }
}

function rowsOf(what: string, [ours, peers]: readonly [Measured[], Measured[]]): Row[] {
  const samples = (all: readonly Measured[], key: keyof Measured) => all.map((each) => each[key]);
  const peer = (key: keyof Measured) =>
    peers.length === 0 ? {} : { peer: { name: 'dnsmasq', samples: samples(peers, key) } };
  return [
    row(`DNS, ${what}, ${underWay} at a time`, samples(ours, 'perSecond'), {
      unit: '/s',
      goal: { of: 'value', atLeast: 10_000 },
      ...peer('perSecond'),
    }),
    row(`DNS p99, ${what}`, samples(ours, 'p99Ms'), {
      unit: 'ms',
      goal: { of: 'value', atMost: 2 },
      ...peer('p99Ms'),
    }),
  ];
}

async function inTurn(
  pairs: number,
  [ours = 0, peer]: readonly [number | undefined, number | undefined],
  nameOf: (index: number) => string,
): Promise<readonly [Measured[], Measured[]]> {
  const samples: readonly [Measured[], Measured[]] = [[], []];
  await measure(ours, nameOf, warmUpMs);
  for (let round = 0; round < pairs; round++) {
    samples[0].push(await measure(ours, nameOf, runMs));
    if (peer !== undefined) samples[1].push(await measure(peer, nameOf, runMs));
  }
  return samples;
}

/** Throws when an answer is not one: a refusal is fast, too. */
async function measure(
  port: number,
  nameOf: (index: number) => string,
  forMs: number,
): Promise<Measured> {
  const socket = createSocket('udp4');
  const questions = Array.from({ length: serviceCount }, (_, index) => ask(nameOf(index), 'A'));
  const sentMs = new Map<number, number>();
  const tookMs: number[] = [];
  let next = 0;
  const send = (): void => {
    const id = next++ & 0xffff;
    const message = Buffer.from(questions[id % serviceCount] ?? []);
    message.writeUInt16BE(id, 0);
    sentMs.set(id, performance.now());
    socket.send(message);
  };
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const startMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    // One that is lost would be missing from those under way for good.
    const watchdog = setTimeout(() => reject(new Error('answers were lost')), forMs + 5_000);
    socket.on('message', (answer) => {
      const nowMs = performance.now();
      const id = answer.readUInt16BE(0);
      tookMs.push(nowMs - (sentMs.get(id) ?? nowMs));
      if ((answer.readUInt16BE(2) & 0xf) !== 0 || answer.readUInt16BE(6) === 0)
        return reject(new Error(`no answer to ${nameOf(id)}`));
      if (nowMs - startMs < forMs) return send();
      clearTimeout(watchdog);
      resolve();
    });
    for (let i = 0; i < underWay; i++) send();
  });
  const seconds = (performance.now() - startMs) / 1000;
  socket.close();
  return { perSecond: tookMs.length / seconds, p99Ms: quantile(tookMs, 0.99) };
}

async function startOurs(): Promise<Ours> {
  const file = path.join(import.meta.dirname, 'dns-server.ts');
  const child = fork(file, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    execArgv: ['--expose-gc'],
  });
  if (child.stdout === null) throw new Error('the server has no output');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, ...(JSON.parse(line) as { port: number; zoneBytes: number }) };
}

/** The same names from a hosts file, on the same loopback; asks nobody. */
async function startPeer(): Promise<{ port: number; stop: () => void } | undefined> {
  if (!existsSync(dnsmasq)) return undefined;
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-dnsmasq-'));
  const hosts = path.join(folder, 'hosts');
  const lines = Array.from(
    { length: serviceCount },
    (_, i) => `10.96.${i >> 8}.${i & 0xff} ${serviceName(i)}`,
  );
  const ten = Array.from({ length: 10 }, (_, i) => `10.245.0.${i} ${headlessName}`);
  writeFileSync(hosts, `${[...lines, ...ten].join('\n')}\n`);
  const port = await freePort();
  const flags = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts'];
  const own = [`--port=${port}`, '--listen-address=127.0.0.1', '--bind-interfaces'];
  const names = [`--addn-hosts=${hosts}`, '--local-ttl=5', '--user=root', '--pid-file='];
  const child = spawn(dnsmasq, [...flags, ...own, ...names], { stdio: 'inherit' });
  const stop = (): void => {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await untilAnswering(port);
  } catch (error) {
    stop();
    throw error;
  }
  return { port, stop };
}

async function untilAnswering(port: number): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const socket = createSocket('udp4');
    const heard = new Promise<boolean>((resolve) => {
      socket.on('message', () => resolve(true));
      socket.on('error', () => {});
      setTimeout(() => resolve(false), 100);
    });
    socket.send(ask(headlessName, 'A'), port, '127.0.0.1');
    const isThere = await heard;
    socket.close();
    if (isThere) return;
  }
  throw new Error('dnsmasq does not answer');
}
