// An unmodified etcdctl against our front over mutual TLS, and snapshots that go both ways between a
// real etcd and ours. Each test begins with an empty state.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSnapshot } from '../../electron/controlplane/etcd/snapshot-file.ts';
import {
  RunningEtcdctl,
  etcdctl,
  etcdctlOk,
  startEtcd,
  startFront,
  type EtcdEndpoint,
} from '../setup/etcd.ts';

type Front = Awaited<ReturnType<typeof startFront>>;
type Json = ReturnType<typeof JSON.parse>;

let front: Front;
beforeEach(async () => {
  front = await startFront();
});
afterEach(() => front.stop());

function ok(args: readonly string[], input = ''): Promise<string> {
  return etcdctlOk(front, args, input);
}

async function json(...args: string[]): Promise<Json> {
  return JSON.parse(await ok([...args, '-w', 'json']));
}

async function put(...pairs: string[]): Promise<void> {
  for (const pair of pairs) await ok(['put', ...pair.split('=')]);
}

/** What etcd's client says of a refusal, without its log lines. */
async function refusal(args: readonly string[]): Promise<string> {
  const { code, stderr } = await etcdctl(front, args);
  expect(code).not.toBe(0);
  return stderr.trim().split('\n').at(-1) ?? '';
}

describe('etcdctl keys', () => {
  it('puts and gets, with what was there before', async () => {
    await put('a=1');
    expect(await ok(['put', 'a', '2', '--prev-kv'])).toBe('OK\na\n1\n');
    expect(await ok(['get', 'a'])).toBe('a\n2\n');
    expect(await ok(['get', 'a', '--print-value-only'])).toBe('2\n');
    expect(await json('get', 'a')).toEqual({
      header: { cluster_id: 0xabcdef012345, member_id: 0x123456789abc, revision: 2, raft_term: 3 },
      kvs: [{ key: 'YQ==', create_revision: 1, mod_revision: 2, version: 2, value: 'Mg==' }],
      count: 1,
    });
    expect(await ok(['get', 'a', '-w', 'fields'])).toContain('"ModRevision" : 2\n"Version" : 2');
  });

  it('gets ranges, sorted, limited and as they were', async () => {
    await put('a=3', 'b=1', 'c=2', 'b=0');
    expect(await ok(['get', '', '--prefix', '--keys-only'])).toBe('a\n\nb\n\nc\n\n');
    expect(await ok(['get', 'a', 'c', '--print-value-only'])).toBe('3\n0\n');
    expect(await ok(['get', 'b', '--from-key', '--print-value-only'])).toBe('0\n2\n');
    const keys = async (...flags: string[]): Promise<string> =>
      (await ok(['get', '', '--prefix', '--keys-only', ...flags])).replaceAll('\n', '');
    expect(await keys('--limit=2')).toBe('ab');
    expect(await keys('--order=DESCEND')).toBe('cba');
    expect(await keys('--sort-by=VALUE')).toBe('bca');
    expect(await keys('--sort-by=MODIFY', '--order=DESCEND')).toBe('bca');
    expect(await keys('--sort-by=VERSION', '--order=DESCEND', '--limit=1')).toBe('b');
    expect(await ok(['get', 'b', '--rev=2', '--print-value-only'])).toBe('1\n');
    expect(await json('get', '', '--prefix', '--limit=1')).toMatchObject({ more: true, count: 3 });
  });

  it('deletes keys and ranges', async () => {
    await put('a=1', 'b1=1', 'b2=2', 'c=1');
    expect(await ok(['del', 'a', '--prev-kv'])).toBe('1\na\n1\n');
    expect(await ok(['del', 'b', '--prefix'])).toBe('2\n');
    expect(await ok(['del', 'a'])).toBe('0\n');
    expect(await json('get', '', '--prefix')).toMatchObject({ header: { revision: 6 }, count: 1 });
  });

  it('keeps value or lease of a key that is there', async () => {
    const { ID } = await json('lease', 'grant', '60');
    const lease = Number(ID).toString(16);
    await ok(['put', 'a', '1', `--lease=${lease}`]);
    await ok(['put', 'a', '2', '--ignore-lease']);
    await ok(['put', 'a', '--ignore-value']);
    expect((await json('get', 'a')).kvs[0]).toMatchObject({ value: 'Mg==', version: 3 });
    expect(await refusal(['put', 'b', '--ignore-value'])).toContain('etcdserver: key not found');
  });

  it('runs transactions by hand', async () => {
    await put('a=1');
    const text = 'value("a") = "1"\nmod("b") = "0"\n\nput b 2\nget a\n\nput c 3\n\n';
    expect(await ok(['txn'], text)).toBe('SUCCESS\n\nOK\n\na\n1\n');
    expect(await ok(['txn'], text)).toBe('FAILURE\n\nOK\n');
  });

  it('refuses as etcd does', async () => {
    await put('a=1', 'a=2', 'a=3');
    expect(await ok(['compaction', '2'])).toBe('compacted revision 2\n');
    const compacted = 'etcdserver: mvcc: required revision has been compacted';
    expect(await refusal(['compaction', '2'])).toBe(`Error: ${compacted}`);
    expect(await refusal(['get', 'a', '--rev=1'])).toBe(`Error: ${compacted}`);
    expect(await refusal(['get', 'a', '--rev=9'])).toContain('is a future revision');
    expect(await refusal(['put', 'a', '1', '--lease=77'])).toContain('requested lease not found');
    const twice = await etcdctl(front, ['txn'], '\nput a 1\nput a 2\n\n\n');
    expect(twice.stderr).toContain('duplicate key given in txn request');
    const big = await etcdctl(front, ['put', 'a'], 'x'.repeat(1.6 * 1024 * 1024));
    expect(big.stderr).toContain('etcdserver: request is too large');
  });
});

describe('etcdctl watch', () => {
  it('tells what happens, with what was there before', async () => {
    await put('a=1');
    const watch = new RunningEtcdctl(front, ['watch', 'a', '--prefix', '--rev=1', '--prev-kv']);
    expect(await watch.lines(3)).toEqual(['PUT', 'a', '1']);
    await put('b=1', 'ab=1', 'a=2');
    await ok(['del', 'a']);
    expect(await watch.lines(10)).toEqual([
      'PUT',
      'ab',
      '1',
      'PUT',
      'a',
      '1',
      'a',
      '2',
      'DELETE',
      'a',
    ]);
    await watch.stop();
  });

  it('runs several watches in one call', async () => {
    const watch = new RunningEtcdctl(front, ['watch', '-i']);
    watch.type('watch --rev=1 a\nwatch --rev=1 b\n');
    await put('a=1');
    expect(await watch.lines(3)).toEqual(['PUT', 'a', '1']);
    await put('b=2', 'c=3');
    expect(await watch.lines(3)).toEqual(['PUT', 'b', '2']);
    await watch.stop();
  });

  it('says when what it is to begin with is compacted', async () => {
    await put('a=1', 'a=2', 'a=3');
    await ok(['compaction', '3']);
    const { stderr } = await etcdctl(front, ['watch', 'a', '--rev=2']);
    expect(stderr).toContain('required revision has been compacted');
  });
});

describe('etcdctl lease', () => {
  it('grants, keeps alive, looks at and revokes', async () => {
    const { ID } = await json('lease', 'grant', '100');
    const lease = Number(ID).toString(16).padStart(16, '0');
    await ok(['put', 'a', '1', `--lease=${lease}`]);
    expect(await ok(['lease', 'list'])).toBe(`found 1 leases\n${lease}\n`);
    expect(await ok(['lease', 'keep-alive', '--once', lease])).toBe(
      `lease ${lease} keepalived with TTL(100)\n`,
    );
    const told = await ok(['lease', 'timetolive', lease, '--keys']);
    expect(told).toMatch(
      /granted with TTL\(100s\), remaining\(9\ds|100s\), attached keys\(\[a\]\)/,
    );
    expect(await ok(['lease', 'revoke', lease])).toBe(`lease ${lease} revoked\n`);
    expect(await ok(['get', 'a'])).toBe('');
    expect(await ok(['lease', 'timetolive', lease])).toBe(`lease ${lease} already expired\n`);
    expect(await refusal(['lease', 'revoke', lease])).toContain('requested lease not found');
  });

  it('deletes the keys of a lease that nobody keeps', async () => {
    const { ID } = await json('lease', 'grant', '2');
    const watch = new RunningEtcdctl(front, ['watch', 'a', '--rev=1']);
    await ok(['put', 'a', '1', `--lease=${Number(ID).toString(16)}`]);
    expect(await watch.lines(5)).toEqual(['PUT', 'a', '1', 'DELETE', 'a']);
    await watch.stop();
  });
});

describe('etcdctl elect and lock', () => {
  it('lets one of two contenders win, and the other one after it', async () => {
    // An election asks for keys made before it by the revision before its own; 0 means any.
    await put('anything=1');
    const first = new RunningEtcdctl(front, ['elect', 'boss', 'one']);
    const [key = '', value] = await first.lines(2);
    expect([key.startsWith('boss/'), value]).toEqual([true, 'one']);
    const second = new RunningEtcdctl(front, ['elect', 'boss', 'two']);
    await first.stop();
    const [next, winner] = await second.lines(2);
    expect([next?.startsWith('boss/'), next === key, winner]).toEqual([true, false, 'two']);
    await second.stop();
  });

  it('gives a lock to one at a time', async () => {
    const first = new RunningEtcdctl(front, ['lock', 'door']);
    const [key] = await first.lines(1);
    const second = new RunningEtcdctl(front, ['lock', 'door']);
    await first.stop();
    const [next] = await second.lines(1);
    expect(next).not.toBe(key);
    await second.stop();
    expect(await ok(['get', 'door', '--prefix', '--keys-only'])).toBe('');
  });
});

describe('etcdctl maintenance', () => {
  it('looks at members, health and state', async () => {
    expect(await ok(['member', 'list'])).toBe(
      '123456789abc, started, node-1, https://10.0.0.1:2380, https://127.0.0.1:2379, false\n',
    );
    expect((await etcdctl(front, ['endpoint', 'health'])).stderr).toContain('is healthy');
    const [{ Status }] = await json('endpoint', 'status');
    expect(Status).toMatchObject({ leader: 0x123456789abc, raftTerm: 3, raftAppliedIndex: 9 });
    expect(await ok(['endpoint', 'hashkv'])).toMatch(/^https:.*, \d+\n$/);
    expect(await ok(['alarm', 'list'])).toBe('');
    expect(await ok(['defrag'])).toContain('Finished');
    expect(await refusal(['member', 'remove', 'abc'])).toContain('is not served here');
  });

  it('lets nobody in but administrators with a certificate of the cluster', async () => {
    await put('a=1');
    const asOther = { ...front, files: front.other };
    expect((await etcdctl(asOther, ['get', 'a'])).stderr).toContain('permission denied');
    const plain: EtcdEndpoint = { url: front.url, folder: front.folder, stop: front.stop };
    const flags = ['--insecure-skip-tls-verify', '--dial-timeout=1s', '--command-timeout=1s'];
    expect((await etcdctl(plain, [...flags, 'get', 'a'])).code).not.toBe(0);
  });
});

describe('snapshots', () => {
  it('of ours restore into a real etcd, which serves the same keys', async () => {
    const big = 'x'.repeat(20_000);
    for (let i = 0; i < 300; i++) await front.kv.write(putCommand(`k${i}`, `${i}`.padEnd(500)));
    await front.kv.write(putCommand('big', big));
    await ok(['txn'], '\nput t1 1\nput t2 2\n\n\n');
    await ok(['del', 'k1']);
    await put('k2=again', 'k2=and again');
    const file = path.join(front.folder, 'ours.db');
    await ok(['snapshot', 'save', file]);
    const status = await json('snapshot', 'status', file);
    expect(status).toMatchObject({ revision: 305 });

    const folder = path.join(front.folder, 'restored');
    await ok(['snapshot', 'restore', file, `--data-dir=${folder}`]);
    const etcd = await startEtcd([`--data-dir=${folder}`]);
    try {
      const ours = await json('get', '', '--prefix');
      const theirs = JSON.parse(await etcdctlOk(etcd, ['get', '', '--prefix', '-w', 'json']));
      expect(theirs.kvs).toEqual(ours.kvs);
      expect(theirs.header.revision).toBe(305);
      expect(await etcdctlOk(etcd, ['put', 'k2', 'later'])).toBe('OK\n');
      const after = JSON.parse(await etcdctlOk(etcd, ['get', 'k2', '-w', 'json']));
      expect(after.kvs[0]).toMatchObject({ mod_revision: 306, version: 4 });
    } finally {
      await etcd.stop();
    }
  });

  it('of a real etcd are read: rows, revision and leases', async () => {
    const etcd = await startEtcd();
    try {
      for (let i = 0; i < 60; i++)
        await etcdctlOk(etcd, ['put', `k${i % 50}`, 'v'.repeat(i * 100)]);
      await etcdctlOk(etcd, ['del', 'k49']);
      const granted = await etcdctlOk(etcd, ['lease', 'grant', '500', '-w', 'json']);
      const lease = BigInt(/"ID":(\d+)/.exec(granted)?.[1] ?? 0).toString(16);
      await etcdctlOk(etcd, ['put', 'leased', '1', `--lease=${lease}`]);
      const file = path.join(etcd.folder, 'theirs.db');
      await etcdctlOk(etcd, ['snapshot', 'save', file]);
      const { kvs } = JSON.parse(await etcdctlOk(etcd, ['get', '', '--prefix', '-w', 'json']));
      const { rows, revision, leases } = readSnapshot(file);
      const shown = rows.map((row) => [
        row.key,
        row.value.byteLength,
        row.modRevision,
        row.version,
      ]);
      expect(shown).toEqual(
        kvs.map((kv: Json) => [
          Buffer.from(kv.key, 'base64').toString(),
          Buffer.from(kv.value ?? '', 'base64').length,
          kv.mod_revision,
          kv.version,
        ]),
      );
      expect([revision, leases]).toEqual([63, [{ id: 1, ttlSeconds: 500 }]]);
      expect(rows.find((row) => row.key === 'leased')?.lease).toBe(1);

      const damaged = readFileSync(file);
      const middle = damaged.length >> 1;
      damaged[middle] = (damaged[middle] ?? 0) ^ 1;
      writeFileSync(file, damaged);
      expect(() => readSnapshot(file)).toThrow('its hash is wrong');
      writeFileSync(file, damaged.subarray(0, damaged.length - 4096));
      expect(() => readSnapshot(file)).toThrow(/wrong|cut off/);
    } finally {
      await etcd.stop();
    }
    expect(existsSync(etcd.folder)).toBe(false);
  });
});

function putCommand(key: string, value: string) {
  const operation = { type: 'put', key, value: Buffer.from(value), lease: 0 } as const;
  return { type: 'txn', compares: [], success: [operation], failure: [] } as const;
}
