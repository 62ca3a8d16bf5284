// What a person does about the members by `npm run cluster`, and the flags that say where the state
// is kept: real processes on loopback, no containers.
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { etcdctlOk, startEtcd } from '../setup/etcd.ts';
import { freePort } from '../setup/free-port.ts';
import { clusterCommand, MemberGroup } from '../setup/members.ts';

describe('backup and restore', () => {
  const clusters: Cluster[] = [];
  afterEach(async () => {
    await Promise.all(clusters.splice(0).map((cluster) => cluster.destroy()));
  });

  it('carry the whole state into an empty directory, and into no other', async () => {
    const first = await new Cluster(['--no-agent']).start();
    clusters.push(first);
    await first.kubectlOk('create', 'configmap', 'kept', '--from-literal=word=here');
    const file = path.join(first.dataDirectory, 'copy.flotilla');
    const saved = await clusterCommand('backup', file, '--data', first.dataDirectory);
    expect(saved).toMatchObject({ code: 0, stderr: '' });
    expect(statSync(file).mode & 0o077).toBe(0);
    await first.kubectlOk('create', 'configmap', 'later');

    const second = new Cluster(['--no-agent']);
    clusters.push(second);
    const restored = await clusterCommand('restore', file, '--data', second.dataDirectory);
    expect(restored).toMatchObject({ code: 0, stderr: '' });
    await second.start();
    const names = await second.kubectlOk('get', 'configmap', '-o', 'name');
    expect(names).toContain('configmap/kept\n');
    expect(names).not.toContain('configmap/later\n');

    // While it runs: it starts again with what the backup holds, and keeps what was before.
    const again = await clusterCommand('restore', file, '--data', first.dataDirectory);
    expect(again).toMatchObject({ code: 0, stderr: '' });
    const listed = await eventually(async () => {
      const { code, stdout } = await first.kubectl('get', 'configmap', '-o', 'name');
      return code === 0 && !stdout.includes('later') ? stdout : undefined;
    }, 'it serves the backup');
    expect(listed).toContain('configmap/kept\n');
    await first.kubectlOk('create', 'configmap', 'after');
    const kept = readdirSync(first.dataDirectory).filter((name) => name.startsWith('superseded-'));
    expect(kept).toHaveLength(1);
  });

  it('take no damaged backup in the place of what is served', async () => {
    const cluster = await new Cluster(['--no-agent']).start();
    clusters.push(cluster);
    const file = path.join(cluster.dataDirectory, 'copy.flotilla');
    await clusterCommand('backup', file, '--data', cluster.dataDirectory);
    const whole = readFileSync(file);
    writeFileSync(file, whole.with(9_000, 255 - (whole[9_000] ?? 0)));
    const refused = await clusterCommand('restore', file, '--data', cluster.dataDirectory);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('is damaged') });
    const asked = await cluster.kubectl('create', '--raw', '/flotilla/backup', '-f', file);
    expect(asked.stderr).toContain('is damaged');
    await cluster.kubectlOk('create', 'configmap', 'goes-on');
  });
});

describe('members', () => {
  const group = new MemberGroup();
  beforeAll(async () => {
    await group.found('one');
    await group.join('two', 'one');
  });
  afterAll(() => group.destroy());

  it('are one voter and one learner when there are two, and are listed', async () => {
    const { stdout } = await group.command('one', 'members');
    expect(stdout).toMatch(/^one \(asked\)\s+voter \(leads\)\s+running/m);
    expect(stdout).toMatch(/^two\s+learner\s+running/m);
  });

  it('are invited by the leader only, once by a name, and into an unused directory only', async () => {
    const twice = await group.command('one', 'invite', 'two', '127.0.0.1:1', '--out', 'x');
    expect(twice.stderr).toContain('There is a member two already');
    const elsewhere = await group.command('two', 'invite', 'x', '127.0.0.1:1', '--out', 'x');
    expect(elsewhere.stderr).toContain('which is one: run the command there');
    const file = await group.invite('three', 'one');
    expect(statSync(file).mode & 0o077).toBe(0);
    await group.member('two').stop();
    const used = new Cluster(['--no-agent', '--join', file], group.directory('two'));
    await expect(used.start()).rejects.toThrow('needs one that is unused');
    await group.start('two');
    expect((await group.command('one', 'remove', 'three')).code).toBe(0);
  });

  it('are told when they were removed', async () => {
    expect((await group.command('one', 'remove', 'two')).code).toBe(0);
    await eventually(
      async () => group.member('two').stderr.includes('was removed from the cluster'),
      'it is told',
    );
  });
});

describe('a laptop and a machine that stays', () => {
  const group = new MemberGroup();
  afterAll(() => group.destroy());

  it('vote so that closing the laptop stops nothing', async () => {
    await group.found('laptop', ['--always-on', 'no']);
    await group.join('pi', 'laptop', ['--always-on', 'yes']);
    const roles = async () =>
      (await group.report('pi')).members.map(({ name, role }) => `${name}: ${role}`).toSorted();
    await eventually(
      async () => (await roles()).join() === 'laptop: learner,pi: voter',
      'the one that stays has the vote',
    );
    await group.member('laptop').kubectlOk('create', 'configmap', 'from-the-laptop');
    await group.kill('laptop');
    await group.member('pi').kubectlOk('create', 'configmap', 'without-the-laptop');
    const names = await group.member('pi').kubectlOk('get', 'configmap', '-o', 'name');
    expect(names).toContain('configmap/from-the-laptop\n');
  });
});

describe('recovery', () => {
  const group = new MemberGroup();
  beforeAll(() => group.three());
  afterAll(() => group.destroy());

  it('goes on from one machine as a new cluster, which refuses the others', async () => {
    await group.member('one').kubectlOk('create', 'configmap', 'kept');
    const before = (await group.report('one')).clusterId;
    for (const name of ['one', 'two', 'three']) await group.kill(name);
    const looked = await group.command('three', 'recover');
    expect(looked.stdout).toContain('Nothing was changed yet');
    expect(await group.command('three', 'recover', '--yes')).toMatchObject({ code: 0 });
    const alone = await group.start('three');
    expect(await alone.kubectlOk('get', 'configmap', '-o', 'name')).toContain('configmap/kept\n');
    await alone.kubectlOk('create', 'configmap', 'after');
    const { clusterId, members } = await group.report('three');
    expect(clusterId).not.toBe(before);
    expect(members.map(({ name, role }) => ({ name, role }))).toEqual([
      { name: 'three', role: 'voter' },
    ]);
  });
});

describe("etcd's API", () => {
  it('serves the state to the administrator by etcdctl', async () => {
    const port = await freePort();
    const cluster = await new Cluster(['--no-agent', '--etcd-port', String(port)]).start();
    try {
      await cluster.kubectlOk('create', 'configmap', 'seen');
      const pki = path.join(cluster.dataDirectory, 'pki');
      const files = {
        ca: path.join(pki, 'ca.crt'),
        cert: path.join(pki, 'admin.crt'),
        key: path.join(pki, 'admin.key'),
      };
      const front = { url: `https://127.0.0.1:${port}`, folder: pki, files, stop: async () => {} };
      const keys = await etcdctlOk(front, ['get', '/registry/', '--prefix', '--keys-only']);
      expect(keys).toContain('/registry/core/configmaps/default/seen\n');
      const snapshot = path.join(cluster.dataDirectory, 'snapshot.db');
      await etcdctlOk(front, ['snapshot', 'save', snapshot]);
      expect(existsSync(snapshot)).toBe(true);
    } finally {
      await cluster.destroy();
    }
  });
});

describe('--datastore', () => {
  it('keeps the state in an etcd, also over a restart, and says when it is not there', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-datastore-'));
    const etcd = await startEtcd();
    const flags = ['--no-agent', '--datastore', etcd.url.replace(/^https?/, 'etcd')];
    try {
      const first = await new Cluster(flags, folder).start();
      await first.kubectlOk('create', 'configmap', 'kept');
      expect(await first.stop()).toBe(0);
      const second = await new Cluster(flags, folder).start();
      expect(await second.kubectlOk('get', 'configmap', 'kept', '-o', 'name')).toBe(
        'configmap/kept\n',
      );
      expect(await second.stop()).toBe(0);
      expect(existsSync(path.join(folder, 'store'))).toBe(false);
      await etcd.stop();
      await expect(new Cluster(flags, folder).start()).rejects.toThrow('etcd');
    } finally {
      await etcd.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
