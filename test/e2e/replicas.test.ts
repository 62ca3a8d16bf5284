// Three control planes on loopback that keep one state: each answers for all, any one may be lost.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../setup/cluster.ts';
import type { RecoveryReport } from '#kube/api/flotilla.ts';
import { MemberGroup } from '../setup/members.ts';

const others = ['one', 'two', 'three'];
const recoveryPath = '/flotilla/recovery';

describe('three members', () => {
  const group = new MemberGroup();

  beforeAll(() => group.three());
  afterAll(() => group.destroy());

  it('answer for each other, at once', async () => {
    for (const [i, name] of others.entries()) {
      await group.member(name).kubectlOk('create', 'configmap', `by-${name}`);
      const reader = others[(i + 1) % 3] ?? '';
      expect(
        await group.member(reader).kubectlOk('get', 'configmap', `by-${name}`, '-o', 'name'),
      ).toBe(`configmap/by-${name}\n`);
    }
    const report = await group.report('one');
    expect(report.members.map(({ name, role, health }) => ({ name, role, health }))).toEqual(
      expect.arrayContaining(others.map((name) => ({ name, role: 'voter', health: 'running' }))),
    );
  });

  it('lose the leader by kill -9 and go on within seconds, with all that was acknowledged', async () => {
    const leader = await group.leader('one');
    const [next = '', last = ''] = others.filter((name) => name !== leader);
    const writer = group.member(next);
    const acknowledged: string[] = [];
    for (let i = 0; i < 5; i++) {
      await writer.kubectlOk('create', 'configmap', `before-${i}`);
      acknowledged.push(`before-${i}`);
    }
    await group.kill(leader);
    const killedMs = Date.now();
    await eventually(
      async () => (await writer.kubectl('create', 'configmap', 'after')).code === 0,
      'a write succeeds without the old leader',
    );
    expect(Date.now() - killedMs).toBeLessThan(8_000);
    const names = await group.member(last).kubectlOk('get', 'configmap', '-o', 'name');
    for (const name of [...acknowledged, 'after']) expect(names).toContain(`configmap/${name}\n`);

    await group.start(leader);
    expect(await group.member(leader).kubectlOk('get', 'configmap', 'after', '-o', 'name')).toBe(
      'configmap/after\n',
    );
  });

  it('hand leadership over when the leader is quit', async () => {
    const leader = await group.leader('one');
    const [next = ''] = others.filter((name) => name !== leader);
    const stopped = group.member(leader).stop();
    const startedMs = Date.now();
    await eventually(async () => (await group.leader(next)) !== leader, 'another leads');
    expect(await stopped).toBe(0);
    expect(Date.now() - startedMs).toBeLessThan(5_000);
    expect(group.log(leader)).not.toContain('Could not hand leadership over');
    await group.start(leader);
  });

  it('make pods of a Deployment once, whoever leads', async () => {
    const leader = await group.leader('one');
    const [asked = ''] = others.filter((name) => name !== leader);
    await group
      .member(asked)
      .kubectlOk('create', 'deployment', 'web', '--image=web', '--replicas=3');
    const pods = await eventually(async () => {
      const names = await group
        .member(asked)
        .kubectlOk('get', 'pods', '-l', 'app=web', '-o', 'name');
      const list = names.split('\n').filter((name) => name !== '');
      return list.length >= 3 ? list : undefined;
    }, 'three pods');
    expect(pods).toHaveLength(3);
  });

  it('without a majority answer errors in bounded time, nothing stale, and come back', async () => {
    const [up = '', ...down] = others;
    for (const name of down) await group.kill(name);
    const left = group.member(up);
    await eventually(
      async () => (await left.kubectl('get', '--raw', '/readyz')).code !== 0,
      'it notices',
    );
    const startedMs = Date.now();
    const read = await left.kubectl('get', 'configmap', 'after');
    expect(read.code).not.toBe(0);
    expect(read.stderr).toContain('No majority of the voters confirmed in time');
    const write = await left.kubectl('create', 'configmap', 'lonely');
    expect(write.code).not.toBe(0);
    expect(Date.now() - startedMs).toBeLessThan(20_000);
    const ready = await left.kubectl('get', '--raw', '/readyz/etcd-readiness');
    expect(ready.stderr).toContain('No member leads');
    expect((await left.kubectl('get', '--raw', '/livez')).code).toBe(0);

    const [back = ''] = down;
    await group.start(back);
    await eventually(
      async () => (await left.kubectl('create', 'configmap', 'again')).code === 0,
      'two of three write again',
    );
    expect((await left.kubectl('get', 'configmap', 'lonely')).stderr).toContain('NotFound');
  });

  it('all killed at once lose nothing', async () => {
    const alive = others.filter((name) => name !== 'three');
    for (const name of alive) await group.kill(name);
    await Promise.all(others.map((name) => group.start(name)));
    const names = await group.member('three').kubectlOk('get', 'configmap', '-o', 'name');
    for (const name of ['by-one', 'by-two', 'by-three', 'before-4', 'after', 'again'])
      expect(names).toContain(`configmap/${name}\n`);
  });

  it('go on from one alone when a person says that the others are gone, and not before', async () => {
    const alone = group.member('one');
    const ask = async () =>
      JSON.parse(await alone.kubectlOk('get', '--raw', '/flotilla/recovery')) as RecoveryReport;
    const recover = (clusterId: string) =>
      alone.pipe(
        JSON.stringify({ confirm: clusterId }),
        'create',
        '--raw',
        recoveryPath,
        '-f',
        '-',
      );
    const { clusterId } = await ask();
    expect((await recover(clusterId)).stderr).toContain('nothing has to be recovered');
    for (const name of ['two', 'three']) await group.kill(name);
    await eventually(async () => (await ask()).refusal === null, 'a majority is missed');
    expect((await recover('another')).stderr).toContain('nothing was changed');
    const { code, stderr } = await recover(clusterId);
    expect([code, stderr]).toEqual([0, '']);
    await eventually(
      async () => (await alone.kubectl('create', 'configmap', 'alone')).code === 0,
      'it writes alone',
    );
    expect(await alone.kubectlOk('get', 'configmap', 'again', '-o', 'name')).toContain('again');
    expect((await group.report('one')).members.map(({ name }) => name)).toEqual(['one']);
  });
});
