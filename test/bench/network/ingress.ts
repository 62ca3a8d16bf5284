// Requests through the agent's ingress by connections that are kept, beside the direct way to the same pod and beside
// nginx as one reverse proxy process before it, where there is one. `wrk` asks all of them in turn.
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { childArguments, childEnvironment } from '#platform/supervisor.ts';
import { freePort } from '../../setup/free-port.ts';
import { root } from '../../setup/machine.ts';
import { row, type BenchmarkOptions, type Row } from '../harness.ts';
import { cpuMs } from '../process-usage.ts';
import { ingressHost } from './ingress-plan.ts';

const connectionCount = 32;
const warmUpSeconds = 4;
const seconds = 3;
const nginx = process.env['FLOTILLA_BENCH_NGINX'] ?? '/usr/sbin/nginx';

interface Measured {
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Of the server's processor, for each. */
  readonly cpuUs: number;
}

interface Server {
  readonly port: number;
  readonly pid: number;
  stop(): void;
}

export async function ingress({ say, pairs = 5 }: BenchmarkOptions): Promise<readonly Row[]> {
  if (!hasWrk()) throw new Error('the ingress is asked by wrk: apt-get install wrk');
  const servers: Server[] = [];
  try {
    const pod = await node('ingress-pod.ts', []);
    servers.push(pod);
    const ours = await node('ingress-front.ts', [String(pod.port)], true);
    servers.push(ours);
    const peer = await startNginx(pod.port);
    if (peer === undefined) say(`no ${nginx}: only beside the direct way (apt-get install nginx)`);
    else servers.push(peer);
    const ways = [ours, pod, ...(peer === undefined ? [] : [peer])];
    for (const way of ways) ask(way, warmUpSeconds);
    const samples: Measured[][] = ways.map(() => []);
    for (let round = 0; round < pairs; round++)
      for (const [i, way] of ways.entries()) samples[i]?.push(ask(way, seconds));
    return rowsOf(samples);
  } finally {
    for (const { stop } of servers.toReversed()) stop();
  }
}

const figures = [
  { key: 'perSecond', name: `ingress, ${connectionCount} kept connections`, unit: '/s' },
  { key: 'p99Ms', name: 'ingress p99', unit: 'ms' },
  { key: 'cpuUs', name: 'ingress, processor for a request', unit: 'µs' },
] as const;

function rowsOf([ours = [], ...peers]: readonly Measured[][]): Row[] {
  const names = ['direct', 'nginx'];
  return peers.flatMap((peer, i) =>
    figures.map(({ key, name, unit }) => {
      const isGoal = key === 'perSecond' && i === 0;
      return row(
        i === 0 ? name : `${name}, beside nginx`,
        ours.map((one) => one[key]),
        {
          unit,
          ...(isGoal && { goal: { of: 'value', atLeast: 10_000 } as const }),
          peer: { name: names[i] ?? '', samples: peer.map((one) => one[key]) },
        },
      );
    }),
  );
}

function hasWrk(): boolean {
  try {
    execFileSync('wrk', ['-v'], { stdio: 'ignore' });
  } catch (error) {
    // It says its version with exit code 1.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
  return true;
}

/** Throws when an answer is none: a refusal is fast, too. */
function ask({ port, pid }: Server, forSeconds: number): Measured {
  const load = ['-t1', `-c${connectionCount}`, `-d${forSeconds}s`, '--latency'];
  const url = `http://127.0.0.1:${port}/`;
  const beforeMs = cpuMs(pid);
  const out = execFileSync('wrk', [...load, '-H', `Host: ${ingressHost}`, url], {
    encoding: 'utf8',
  });
  // A time-out of its own is an answer that took two seconds: it counts as such.
  if (/Non-2xx|(?:connect|read|write) [1-9]/.test(out)) throw new Error(out);
  const [, p99 = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)\b/.exec(out) ?? [];
  const inMs = { us: 0.001, ms: 1, s: 1000 }[unit] ?? Number.NaN;
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]);
  const count = Number(/(\d+) requests in/.exec(out)?.[1]);
  return {
    perSecond,
    p99Ms: Number(p99) * inMs,
    cpuUs: ((cpuMs(pid) - beforeMs) * 1000) / count,
  };
}

async function node(name: string, args: readonly string[], asAgent = false): Promise<Server> {
  const file = path.join(import.meta.dirname, name);
  const started = path.join(root, asAgent ? 'out/agent/main.js' : 'out/pod.js');
  const profile = process.env['FLOTILLA_BENCH_PROFILE'];
  const profiling =
    profile === undefined || !asAgent ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const child = fork(file, args, {
    execArgv: [...(asAgent ? childArguments(started) : []), ...profiling],
    env: childEnvironment(started),
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  if (child.stdout === null) throw new Error(`${name} has no output`);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { port: Number(line), pid: child.pid ?? 0, stop: () => child.disconnect() };
}

/** As a reverse proxy that keeps its connections to the pod, with as many processes as we have: one. */
async function startNginx(podPort: number): Promise<Server | undefined> {
  if (!existsSync(nginx)) return undefined;
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-nginx-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = `
    daemon off; master_process off; pid ${folder}/pid; error_log stderr error;
    events { worker_connections 1024; }
    http {
      access_log off; keepalive_requests 1000000000;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
      upstream pod { server 127.0.0.1:${podPort}; keepalive 64; keepalive_requests 1000000000; }
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://pod; proxy_http_version 1.1;
          proxy_set_header Connection ""; proxy_set_header Host $host;
          proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
        }
      }
    }`;
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(file, configuration);
  const child = spawn(nginx, ['-p', folder, '-c', file], { stdio: 'inherit' });
  const stop = (): void => {
    // It is one process, and has nothing to put in order.
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await untilListening(port, child);
  } catch (error) {
    stop();
    throw error;
  }
  return { port, pid: child.pid ?? 0, stop };
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100 && child.exitCode === null; attempt++) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => setTimeout(() => resolve(false), 50));
    });
    if (isThere) return;
  }
  throw new Error('nginx does not listen');
}
