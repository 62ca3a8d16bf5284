// The peer: one to three etcd servers on loopback, with their data where the benchmark says, all
// settings as they come. Started once, killed and stopped by process.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import type { Group, Server } from './server-group.ts';

const etcdBinary = '/usr/bin/etcd';

export function ensureEtcd(say: (text: string) => void): void {
  if (existsSync(etcdBinary)) return;
  say('Installing etcd-server, the peer …');
  execFileSync('apt-get', ['install', '-y', '-qq', 'etcd-server'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

interface Place {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
}

/** Data goes below `directory`, which is emptied again by `stop`. */
export async function startEtcdGroup(directory: string, size: number): Promise<Group> {
  const places: Place[] = [];
  for (let i = 0; i < size; i++) {
    const [client, peer] = [await freePort(), await freePort()];
    places.push({ name: `m${i}`, client: `127.0.0.1:${client}`, peer: `127.0.0.1:${peer}` });
  }
  const initial = places.map(({ name, peer }) => `${name}=http://${peer}`).join(',');
  mkdirSync(directory, { recursive: true });
  const servers = places.map((place) => startServer(directory, place, initial));
  // Unlike our own processes they do not end with their parent.
  const killAll = (): void => servers.forEach((server) => void server.kill());
  process.once('exit', killAll);
  const group: Group = {
    servers,
    leader: () => findLeader(servers),
    async stop() {
      process.off('exit', killAll);
      await Promise.all(servers.map((server) => server.kill()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await eventually(async () => {
    await group.leader();
    return true;
  }, `${size} etcd servers have a leader`);
  return group;
}

function startServer(directory: string, place: Place, initial: string): Server {
  const { name, client, peer } = place;
  const flags = {
    name,
    'data-dir': path.join(directory, name),
    'listen-client-urls': `http://${client}`,
    'advertise-client-urls': `http://${client}`,
    'listen-peer-urls': `http://${peer}`,
    'initial-advertise-peer-urls': `http://${peer}`,
    'initial-cluster': initial,
    'log-level': 'error',
    logger: 'zap',
  };
  const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
  let child = spawn(etcdBinary, args, { stdio: 'ignore' });
  return {
    get pid() {
      return child.pid ?? 0;
    },
    endpoint: client,
    kill: () => kill(child),
    async restart() {
      child = spawn(etcdBinary, args, { stdio: 'ignore' });
    },
  };
}

function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

async function findLeader(servers: readonly Server[]): Promise<Server> {
  for (const server of servers) {
    const status = await statusOf(server).catch(() => undefined);
    const header = status?.header;
    if (header !== undefined && status?.leader === header.member_id) return server;
  }
  throw new Error('no etcd server says that it leads');
}

interface EtcdStatus {
  readonly header?: { readonly member_id: string };
  readonly leader?: string;
}

/** By etcd's JSON gateway. */
async function statusOf({ endpoint }: Server): Promise<EtcdStatus> {
  const url = `http://${endpoint}/v3/maintenance/status`;
  const response = await fetch(url, { method: 'POST', body: '{}' });
  return (await response.json()) as EtcdStatus;
}
