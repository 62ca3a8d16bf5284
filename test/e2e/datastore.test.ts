// The whole app on an etcd of the person's own, over mutual TLS: what it refuses, what it survives,
// and what it leaves alone. No containers run.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import {
  etcdctl,
  etcdctlOk,
  startEtcd,
  writeCertificates,
  type CertificateFiles,
  type RealEtcd,
} from '../setup/etcd.ts';
import { freePort } from '../setup/free-port.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-datastore-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function certificatesIn(name: string): CertificateFiles {
  mkdirSync(path.join(folder, name));
  return writeCertificates(path.join(folder, name));
}

interface Flags {
  readonly url: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

function flags({ url, ...files }: Flags): string[] {
  const given = Object.entries(files).flatMap(([name, file]) => [`--datastore-${name}`, file]);
  return ['--no-agent', '--datastore', url.replace(/^https?/, 'etcd'), ...given];
}

describe('an etcd that speaks TLS', () => {
  const ours = certificatesIn('ours');
  const theirs = certificatesIn('theirs');
  const foreign = ['/other/a', '/flotilla2/a', '/registry/pods/default/a'];
  let etcd: RealEtcd;
  let cluster: Cluster;
  const dataDirectory = path.join(folder, 'data');
  const start = (): Promise<Cluster> =>
    new Cluster(flags({ url: etcd.url, ...ours.files }), dataDirectory).start();
  const foreignRows = async (): Promise<string[]> =>
    await Promise.all(foreign.map((key) => etcdctlOk(etcd, ['get', key, '-w', 'fields'])));
  let untouched: string[];

  beforeAll(async () => {
    etcd = await startEtcd([], { certificates: ours });
    for (const key of foreign) await etcdctlOk(etcd, ['put', key, 'theirs']);
    untouched = (await foreignRows()).map(withoutHeader);
    cluster = await start();
  });
  afterAll(async () => {
    await cluster.destroy();
    await etcd.stop();
  });

  const { ca, cert, key } = ours.files;
  const refusals: { name: string; given: Omit<Flags, 'url'>; want: string }[] = [
    { name: 'without a certificate of ours', given: { ca }, want: '--datastore-cert' },
    {
      name: "with another authority's certificate",
      given: { ca, cert: theirs.files.cert, key: theirs.files.key },
      want: '--datastore-cert',
    },
    {
      name: 'when the authority is not the one of the etcd',
      given: { ca: theirs.files.ca, cert, key },
      want: 'check --datastore-ca',
    },
    { name: 'in plain text', given: {}, want: 'if it speaks TLS, give --datastore-ca' },
  ];
  for (const { name, given, want } of refusals)
    it(`is not used ${name}, and says which flag to look at`, async () => {
      const other = new Cluster(flags({ url: etcd.url, ...given }));
      await expect(other.start()).rejects.toThrow(want);
      await other.destroy();
    });

  it('is said not to be there when the address is wrong', async () => {
    const url = `etcd://127.0.0.1:${await freePort()}`;
    const other = new Cluster(flags({ url, ...ours.files }));
    await expect(other.start()).rejects.toThrow("can't be reached");
    await other.destroy();
  });

  it('keeps one cluster: another data directory is refused, and changes nothing', async () => {
    const before = await etcdctlOk(etcd, ['get', '/flotilla/', '--prefix', '--keys-only']);
    const other = new Cluster(flags({ url: etcd.url, ...ours.files }));
    await expect(other.start()).rejects.toThrow('keeps the cluster of another data directory');
    await other.destroy();
    expect(await etcdctlOk(etcd, ['get', '/flotilla/', '--prefix', '--keys-only'])).toBe(before);
  });

  it('has the pods of a Deployment made', async () => {
    await cluster.kubectlOk('create', 'deployment', 'web', '--image=web', '--replicas=2');
    await eventually(
      async () => (await names(cluster, 'pods', '-l', 'app=web')).length === 2,
      'two pods',
    );
  });

  it('may be restarted: watches go on, and so does everything else', async () => {
    const watch = cluster.follow(
      'get',
      'configmaps',
      '--watch',
      '--output-watch-events',
      '-o',
      'name',
    );
    try {
      await cluster.kubectlOk('create', 'configmap', 'before');
      await eventually(() => watch.stdout.includes('configmap/before'), 'it is watched');
      await etcd.restart();
      await eventually(
        async () => (await cluster.kubectl('create', 'configmap', 'behind')).code === 0,
        'writes go on',
      );
      await eventually(() => watch.stdout.includes('configmap/behind'), 'the watch goes on');
      await cluster.kubectlOk('scale', 'deployment', 'web', '--replicas=3');
      await eventually(
        async () => (await names(cluster, 'pods', '-l', 'app=web')).length === 3,
        'controllers go on',
      );
    } finally {
      await watch.stop();
    }
  });

  it('may be compacted by others: lists and watches begin anew', async () => {
    const { items, metadata } = JSON.parse(
      await cluster.kubectlOk('get', '--raw', '/api/v1/configmaps?limit=1'),
    );
    expect(items).toHaveLength(1);
    await cluster.kubectlOk('create', 'configmap', 'later');
    const header = JSON.parse(await etcdctlOk(etcd, ['get', 'x', '-w', 'json'])).header;
    await etcdctlOk(etcd, ['compaction', String(header.revision)]);
    const next = `/api/v1/configmaps?limit=1&continue=${metadata.continue}`;
    const refused = await cluster.kubectl('get', '--raw', next);
    expect(refused.stderr).toContain('The provided continue parameter is too old');
    expect(await names(cluster, 'configmaps')).toContain('configmap/later');
    await cluster.kubectlOk('create', 'configmap', 'last');
  });

  it('loses nothing when the control plane is killed', async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) {
      await cluster.kubectlOk('create', 'configmap', `made-${i}`);
      made.push(`configmap/made-${i}`);
    }
    cluster.killChild('controlplane');
    await eventually(
      async () => (await cluster.kubectl('create', 'configmap', 'after')).code === 0,
      'it is started again',
    );
    expect(await names(cluster, 'configmaps')).toEqual(
      expect.arrayContaining([...made, 'configmap/after']),
    );
    const pods = await names(cluster, 'pods', '-l', 'app=web');
    expect(pods).toHaveLength(3);
  });

  it('keeps what others have in it as it is', async () => {
    expect((await foreignRows()).map(withoutHeader)).toEqual(untouched);
  });
});

describe('an etcd without space', () => {
  it('is told as such; reads go on, and writes when there is space again', async () => {
    const etcd = await startEtcd([`--quota-backend-bytes=${8 * 1024 * 1024}`]);
    const cluster = await new Cluster(flags({ url: etcd.url })).start();
    try {
      await cluster.kubectlOk('create', 'configmap', 'kept');
      const filler = 'x'.repeat(1024 * 1024);
      await eventually(
        async () => (await etcdctl(etcd, ['put', '/other/filler'], filler)).code !== 0,
        'the quota is used up',
      );
      const refused = await cluster.kubectl('create', 'configmap', 'more');
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('no space')]);
      expect(await names(cluster, 'configmaps')).toContain('configmap/kept');

      await etcdctlOk(etcd, ['del', '/other/filler']);
      const header = JSON.parse(await etcdctlOk(etcd, ['get', 'x', '-w', 'json'])).header;
      await etcdctlOk(etcd, ['compaction', String(header.revision), '--physical']);
      await etcdctlOk(etcd, ['defrag']);
      await etcdctlOk(etcd, ['alarm', 'disarm']);
      await eventually(
        async () => (await cluster.kubectl('create', 'configmap', 'more')).code === 0,
        'writes go on',
      );
    } finally {
      await cluster.destroy();
      await etcd.stop();
    }
  });
});

async function names(cluster: Cluster, ...what: string[]): Promise<string[]> {
  const text = await cluster.kubectlOk('get', ...what, '-o', 'name');
  return text.split('\n').filter((name) => name !== '');
}

/** Revisions of the whole etcd move on. */
function withoutHeader(fields: string): string {
  return fields.slice(fields.indexOf('"Key"'));
}
