// One to three members of ours, each a process of its own on loopback, with their data where the
// benchmark says. Started once, killed and stopped by process.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { nodeBundles } from '../../electron/build.ts';
import { eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { root } from '../setup/machine.ts';
import { Child } from './child.ts';
import type { LoadOptions, LoadResult, PaceOptions } from './load.ts';
import type { MemberOptions, MemberStatus, StallOptions } from './member.ts';
import type { Group, Server } from './server-group.ts';

const bundles = path.join(root, 'out/bench');

/** Bundled, as the control plane is: read from its sources it would be larger and begin more slowly. */
export async function buildMember(): Promise<void> {
  await nodeBundles(await import('vite'), 'bench', {
    'member.js': 'test/bench/member.ts',
    'state-worker.js': 'electron/controlplane/store/state-worker.ts',
  });
}

export class MemberServer implements Server {
  endpoint = '';
  readonly #options: MemberOptions;
  #child: Child | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
  }

  get child(): Child {
    if (this.#child === undefined) throw new Error(`${this.#options.name} was never started`);
    return this.#child;
  }

  get pid(): number {
    return this.child.pid;
  }

  async start(): Promise<this> {
    const { directory, name } = this.#options;
    mkdirSync(directory, { recursive: true });
    const task = path.join(directory, 'task.json');
    writeFileSync(task, JSON.stringify(this.#options));
    const profile = process.env['FLOTILLA_BENCH_PROFILE'];
    const execArgv =
      profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.join(profile, name)}`];
    this.#child = new Child(path.join(bundles, 'member.js'), { execArgv, args: [task] });
    this.endpoint = `127.0.0.1:${await this.#child.call<number>('port')}`;
    return this;
  }

  restart(): Promise<unknown> {
    return this.start();
  }

  kill(): Promise<void> {
    return this.child.kill();
  }

  /** In order: what is written lazily is written. */
  async stop(): Promise<void> {
    await this.child.call('stop');
    await this.child.end();
  }

  status(): Promise<MemberStatus> {
    return this.child.call('status');
  }

  /** Callers inside its process, through `Store`, as the API server's. */
  load(task: LoadOptions): Promise<LoadResult> {
    return this.child.call('load', task);
  }

  paced(task: PaceOptions): Promise<void> {
    return this.child.call('paced', task);
  }

  stall(task: StallOptions): Promise<number> {
    return this.child.call('stall', task);
  }
}

export interface MemberGroup extends Group {
  readonly servers: readonly MemberServer[];
  leader(): Promise<MemberServer>;
}

/** Data goes below `directory`, which is emptied again by `stop`. */
export async function startMemberGroup(directory: string, size: number): Promise<MemberGroup> {
  const names = Array.from({ length: size }, (_, i) => `m${i}`);
  const servers: MemberServer[] = [];
  for (const name of names) {
    const address = size === 1 ? undefined : `127.0.0.1:${await freePort()}`;
    const invitation = path.join(directory, `${name}.invitation`);
    const own = path.join(directory, name);
    const [founder] = servers;
    if (founder !== undefined)
      await founder.child.call('invite', { name, address, file: invitation });
    const server = new MemberServer({
      directory: own,
      name,
      ...(address === undefined ? {} : { address }),
      ...(founder === undefined ? {} : { invitation }),
    });
    servers.push(await server.start());
    if (founder !== undefined) await promote(founder, name);
  }
  return {
    servers,
    async leader() {
      for (const server of servers)
        if ((await server.status().catch(() => undefined))?.isLeader === true) return server;
      throw new Error('no member says that it leads');
    },
    async stop() {
      await Promise.all(servers.map((server) => server.child.end()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** As soon as it has what the founder has. */
function promote(founder: MemberServer, name: string): Promise<boolean> {
  return eventually(async () => {
    await founder.child.call('promote', name);
    return true;
  }, `${name} has a vote`);
}
