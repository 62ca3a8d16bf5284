// Members that must not go on as what they were, on the way back that their own sentences name: a key
// on another disk, a damaged disk, a removed machine that was away.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { MemberGroup } from '../setup/members.ts';

describe('a member', () => {
  const group = new MemberGroup();
  beforeAll(() => group.three());
  afterAll(() => group.destroy());

  /** Somebody who is not `name` leads, and says so. */
  async function leaderBeside(name: string): Promise<string> {
    const [asked = ''] = ['one', 'two', 'three'].filter((one) => one !== name);
    return await eventually(async () => {
      const leader = await group.leader(asked).catch(() => name);
      return leader === name ? undefined : leader;
    }, 'another leads');
  }

  async function comesBackAnew(name: string): Promise<void> {
    const leader = await leaderBeside(name);
    expect(await group.command(leader, 'remove', name)).toMatchObject({ code: 0 });
    rmSync(group.directory(name), { recursive: true });
    await group.join(name, leader);
    await group.allVote(leader, 3);
    const names = await group.member(name).kubectlOk('get', 'configmap', '-o', 'name');
    expect(names).toContain('configmap/kept\n');
  }

  it('on another disk is refused by name, and comes back by a new invitation', async () => {
    await group.member('one').kubectlOk('create', 'configmap', 'kept');
    await group.kill('two');
    rmSync(group.directory('two'), { recursive: true });
    const invitation = path.join(group.folder, 'two.invitation');
    await expect(group.start('two', ['--join', invitation])).rejects.toThrow(
      /Member two came back with its key on another disk.*npm run cluster -- remove two/,
    );
    await comesBackAnew('two');
  });

  it('whose database is damaged says so, and comes back by a new invitation', async () => {
    await group.kill('three');
    const log = path.join(group.directory('three'), 'store', 'log');
    const [first = ''] = readdirSync(log).toSorted();
    const content = readFileSync(path.join(log, first));
    writeFileSync(path.join(log, first), content.fill(0x5a, 200, 4_000));
    await expect(group.start('three')).rejects.toThrow(/damaged.*remove.*invite/s);
    await comesBackAnew('three');
  });

  it('that was removed while it was away is told by those that did not see it', async () => {
    expect(await group.member('two').stop()).toBe(0);
    const leader = await leaderBeside('two');
    expect(await group.command(leader, 'remove', 'two')).toMatchObject({ code: 0 });
    await Promise.all(['one', 'three'].map((name) => group.kill(name)));
    await Promise.all(['one', 'three'].map((name) => group.start(name)));
    const away = new Cluster(['--no-agent'], group.directory('two'));
    group.running.set('two', away);
    const started = away.start().then(
      () => 'ready',
      (error: unknown) => String(error),
    );
    await eventually(
      async () => away.stderr.includes('This machine was removed from the cluster'),
      'it is told',
    );
    expect(away.stderr).toContain('invited anew');
    await away.stop();
    expect(await started).toMatch(/^Error: exit/);
  });

  it('of several takes no backup in the place of its state, and says what to do', async () => {
    const file = path.join(group.folder, 'copy.flotilla');
    expect(await group.command('one', 'backup', file)).toMatchObject({ code: 0 });
    const refused = await group.command('one', 'restore', file);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('The state is kept by several machines (');
    expect(refused.stderr).toContain('npm run cluster -- remove');
  });
});
