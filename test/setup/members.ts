// Several control planes that keep one state, as real processes on loopback, joined by invitations
// as a person would: no containers run on them.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { MembersReport } from '#kube/api/flotilla.ts';
import { Cluster, eventually, type ToolResult } from './cluster.ts';
import { freePort } from './free-port.ts';
import { root } from './machine.ts';

/** Votes are given after this, not after minutes. */
const env = { FLOTILLA_VOTER_STABLE_MS: '300' };

export class MemberGroup {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'flotilla-members-'));
  /** By name: what runs, or ran last, on each data directory. */
  readonly running = new Map<string, Cluster>();
  readonly #addresses = new Map<string, string>();

  /** The first one, alone, ready for others. */
  async found(name: string, flags: readonly string[] = []): Promise<Cluster> {
    const address = await this.#address(name);
    return await this.start(name, ['--member-address', address, '--node-name', name, ...flags]);
  }

  /** Invites on `leader` and starts the invited one. */
  async join(name: string, leader: string, flags: readonly string[] = []): Promise<Cluster> {
    const file = await this.invite(name, leader);
    return await this.start(name, ['--join', file, ...flags]);
  }

  async invite(name: string, leader: string): Promise<string> {
    const file = path.join(this.folder, `${name}.invitation`);
    rmSync(file, { force: true });
    const address = await this.#address(name);
    const args = ['invite', name, address, '--out', file];
    const result = await this.command(leader, ...args);
    if (result.code !== 0) throw new Error(`invite ${name}: ${result.stderr}`);
    return file;
  }

  async start(name: string, flags: readonly string[] = []): Promise<Cluster> {
    const cluster = new Cluster(['--no-agent', ...flags], this.directory(name), { env });
    this.running.set(name, cluster);
    return await cluster.start();
  }

  member(name: string): Cluster {
    const cluster = this.running.get(name);
    if (cluster === undefined) throw new Error(`${name} does not run`);
    return cluster;
  }

  directory(name: string): string {
    return path.join(this.folder, name);
  }

  /** `kill -9` of all that runs on the data directory at once; nobody starts it again. */
  async kill(name: string): Promise<void> {
    const cluster = this.member(name);
    const pids = [cluster.pid, ...cluster.childPids('controlplane')];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await cluster.exited();
  }

  async command(name: string, ...args: readonly string[]): Promise<ToolResult> {
    return await clusterCommand(...args, '--data', this.directory(name));
  }

  async report(name: string): Promise<MembersReport> {
    const text = await this.member(name).kubectlOk('get', '--raw', '/flotilla/members');
    return JSON.parse(text) as MembersReport;
  }

  /** Whoever leads, as `name` knows. */
  async leader(name: string): Promise<string> {
    return await eventually(
      async () => (await this.report(name)).members.find(({ isLeader }) => isLeader)?.name,
      'somebody leads',
    );
  }

  /** Three voters, with all that the first one has. */
  async three(flagsOf: (name: string) => readonly string[] = () => []): Promise<void> {
    await this.found('one', flagsOf('one'));
    for (const name of ['two', 'three']) await this.join(name, 'one', flagsOf(name));
    await this.allVote('one', 3);
  }

  async allVote(name: string, count: number): Promise<void> {
    await eventually(
      async () =>
        (await this.report(name)).members.filter(({ role }) => role === 'voter').length === count,
      `${count} voters`,
    );
  }

  log(name: string): string {
    return readFileSync(path.join(this.directory(name), 'logs/controlplane.log'), 'utf8');
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.running.values()].map((cluster) => cluster.destroy()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #address(name: string): Promise<string> {
    const found = this.#addresses.get(name) ?? `127.0.0.1:${await freePort()}`;
    this.#addresses.set(name, found);
    return found;
  }
}

/** `npm run cluster -- …`, by its file. */
export function clusterCommand(...args: readonly string[]): Promise<ToolResult> {
  const file = path.join(root, 'electron/cluster-command.ts');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [file, ...args],
      { cwd: root, timeout: 30_000 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}
