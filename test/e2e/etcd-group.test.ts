// etcd's own client against the whole app on three members, over mutual TLS: on the one that leads, on
// one that follows, while the leader is killed; and backups taken from any of them. No containers run.
import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { etcdctl, etcdctlOk, RunningEtcdctl, startEtcd, type EtcdEndpoint } from '../setup/etcd.ts';
import { freePort } from '../setup/free-port.ts';
import { clusterCommand, MemberGroup } from '../setup/members.ts';

const group = new MemberGroup();
const names = ['one', 'two', 'three'];
const ports = new Map<string, number>();
let leading: EtcdEndpoint;
let following: EtcdEndpoint;
let all: EtcdEndpoint;
let leader: string;
let follower: string;

/** As the administrator; `of` several: etcdctl goes to the next when one does not answer. */
function endpoint(...of: readonly string[]): EtcdEndpoint {
  const pki = path.join(group.directory(of[0] ?? ''), 'pki');
  const file = (name: string): string => path.join(pki, name);
  const files = { ca: file('ca.crt'), cert: file('admin.crt'), key: file('admin.key') };
  const url = of.map((name) => `https://127.0.0.1:${ports.get(name)}`).join(',');
  return { url, folder: pki, files, stop: async () => {} };
}

beforeAll(async () => {
  for (const name of names) ports.set(name, await freePort());
  await group.three((name) => ['--etcd-port', String(ports.get(name))]);
  leader = await group.leader('one');
  follower = names.find((name) => name !== leader) ?? '';
  leading = endpoint(leader);
  following = endpoint(follower);
  all = endpoint(follower, ...names.filter((name) => name !== follower));
});
afterAll(() => group.destroy());

async function json(of: EtcdEndpoint, ...args: string[]): Promise<ReturnType<typeof JSON.parse>> {
  return JSON.parse(await etcdctlOk(of, [...args, '-w', 'json']));
}

describe('etcdctl on three members', () => {
  it('elects as its very first command, wherever it asks', async () => {
    // An election looks for keys made before its own: of a new etcd and of a new cluster there are some.
    const first = new RunningEtcdctl(following, ['elect', 'boss', 'one']);
    const [key = ''] = await first.lines(2);
    expect(key).toMatch(/^boss\//);
    const second = new RunningEtcdctl(leading, ['elect', 'boss', 'two']);
    await first.stop();
    expect((await second.lines(2))[1]).toBe('two');
    await second.stop();
  });

  it('reads on one what another has written, at once', async () => {
    for (const [writer, reader] of [
      [leading, following],
      [following, leading],
    ] as const) {
      await etcdctlOk(writer, ['put', 'a', writer.url]);
      expect(await etcdctlOk(reader, ['get', 'a', '--print-value-only'])).toBe(`${writer.url}\n`);
    }
    const text = 'mod("b") = "0"\n\nput b 1\nput c 2\n\nget b\n\n';
    expect(await etcdctlOk(following, ['txn'], text)).toBe('SUCCESS\n\nOK\n\nOK\n');
    expect(await etcdctlOk(leading, ['txn'], text)).toBe('FAILURE\n\nb\n1\n');
  });

  it('sees the same members, leader and state on each', async () => {
    const { members } = await json(following, 'member', 'list');
    expect(members.map(({ name }: { name: string }) => name).toSorted()).toEqual(names.toSorted());
    const status = await json(all, 'endpoint', 'status');
    const leaders = status.map(({ Status }: { Status: { leader: number } }) => Status.leader);
    const id = members.find(({ name }: { name: string }) => name === leader).ID;
    expect(leaders).toEqual([id, id, id]);
    const { header } = await json(leading, 'get', 'a');
    const hashes = await json(all, 'endpoint', 'hashkv', `--rev=${header.revision}`);
    expect(hashes).toHaveLength(3);
    expect(
      new Set(hashes.map(({ HashKV }: { HashKV: { hash: number } }) => HashKV.hash)).size,
    ).toBe(1);
  });

  it('compacts for all of them', async () => {
    const { header } = await json(following, 'get', 'a');
    await etcdctlOk(leading, ['put', 'a', 'newer']);
    await etcdctlOk(following, ['compaction', String(header.revision)]);
    for (const of of [leading, following]) {
      const { stderr } = await etcdctl(of, ['get', 'a', `--rev=${header.revision - 1}`]);
      expect(stderr).toContain('required revision has been compacted');
    }
  });

  it('saves a snapshot of one that follows, which restores into a real etcd', async () => {
    const file = path.join(group.folder, 'snapshot.db');
    await etcdctlOk(following, ['snapshot', 'save', file]);
    const folder = path.join(group.folder, 'restored');
    await etcdctlOk(following, ['snapshot', 'restore', file, `--data-dir=${folder}`]);
    const etcd = await startEtcd([`--data-dir=${folder}`]);
    try {
      const keys = (of: EtcdEndpoint): Promise<string> =>
        etcdctlOk(of, ['get', '/registry/namespaces', '--prefix']);
      expect(await keys(etcd)).toBe(await keys(leading));
    } finally {
      await etcd.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('lets in nobody but the administrator', async () => {
    const pki = path.join(group.directory(follower), 'pki');
    const files = {
      ca: path.join(pki, 'ca.crt'),
      cert: path.join(pki, 'peer.crt'),
      key: path.join(pki, 'peer.key'),
    };
    expect((await etcdctl({ ...following, files }, ['get', 'a'])).stderr).toContain(
      'permission denied',
    );
  });
});

describe('a backup', () => {
  it('of one that follows holds what was just written on the one that leads', async () => {
    const file = path.join(group.folder, 'copy');
    await group.member(leader).kubectlOk('create', 'configmap', 'kept');
    expect(await group.command(follower, 'backup', file)).toMatchObject({ code: 0, stderr: '' });
    const restored = new Cluster(['--no-agent']);
    const result = await clusterCommand('restore', file, '--data', restored.dataDirectory);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    await restored.start();
    try {
      const before = await group.member(leader).kubectlOk('get', 'configmap', 'kept', '-o', 'json');
      const after = await restored.kubectlOk('get', 'configmap', 'kept', '-o', 'json');
      expect(JSON.parse(after)).toEqual(JSON.parse(before));
      const seen = JSON.parse(before).metadata.resourceVersion;
      const old = `/api/v1/configmaps?watch=true&resourceVersion=${seen}`;
      const watched = await restored.kubectl('get', '--raw', `${old}&timeoutSeconds=5`);
      expect(`${watched.stdout}${watched.stderr}`).toContain('too old resource version');
    } finally {
      await restored.destroy();
    }
  });

  it('is for administrators only', async () => {
    const raw = ['get', '--raw', '/flotilla/backup'];
    for (const user of ['jane', 'system:node:one', 'system:anonymous'])
      expect((await group.member(leader).kubectl(...raw, '--as', user)).stderr).toContain(
        'forbidden',
      );
  });
});

describe('etcdctl when the leader is killed', () => {
  it('goes on: watches, leases and elections of the others, and what was acknowledged', async () => {
    const { ID } = await json(following, 'lease', 'grant', '60');
    await etcdctlOk(following, ['put', 'leased', '1', `--lease=${Number(ID).toString(16)}`]);
    const boss = new RunningEtcdctl(following, ['elect', 'chief', 'held']);
    await boss.lines(2);
    const { header } = await json(following, 'get', 'leased');
    const rev = `--rev=${header.revision + 1}`;
    const watch = new RunningEtcdctl(following, ['watch', 'w', '--prefix', rev]);
    for (const key of ['w1', 'w2']) await etcdctlOk(leading, ['put', key, 'x']);
    expect(await watch.lines(6)).toEqual(['PUT', 'w1', 'x', 'PUT', 'w2', 'x']);

    await group.kill(leader);
    await eventually(
      async () => (await etcdctl(all, ['put', 'w3', 'x'])).code === 0,
      'a put succeeds without the old leader',
    );
    await etcdctlOk(all, ['put', 'w4', 'x']);
    // A put whose outcome was not known was made again.
    const told = new Set<string | undefined>();
    while (!told.has('w4')) told.add((await watch.lines(3))[1]);
    expect(Array.from(told)).toEqual(['w3', 'w4']);
    const { kvs } = await json(following, 'get', '', '--from-key', '--keys-only');
    const keys = kvs.map(({ key }: { key: string }) => Buffer.from(key, 'base64').toString());
    expect(keys).toEqual(expect.arrayContaining(['leased', 'w1', 'w2', 'w3', 'w4']));
    expect(await etcdctlOk(following, ['get', 'chief', '--prefix', '--print-value-only'])).toBe(
      'held\n',
    );
    await Promise.all([watch.stop(), boss.stop()]);
    expect(await etcdctlOk(following, ['get', 'chief', '--prefix'])).toBe('');
  });
});
