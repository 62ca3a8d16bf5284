// The whole cluster in one encrypted file, and computers that go on with it: real processes on loopback, no
// containers.
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
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { HttpsTransport } from '#platform/https-transport.ts';
import { readKubeconfig } from '#platform/kubeconfig.ts';
import {
  clusterBackupPath,
  passphraseHeader,
  successionPath,
} from '../../electron/controlplane/backup/paths.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { clusterCommand } from '../setup/members.ts';

const clusters: Cluster[] = [];
let folder: string;
let file: string;
let passphrase: string;
let old: Cluster;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-backup-'));
  file = path.join(folder, 'home.age');
  old = await started(new Cluster(['--no-agent']));
  await old.kubectlOk('create', 'configmap', 'kept', '--from-literal=word=here');
  await old.kubectlOk('create', 'secret', 'generic', 'door', '--from-literal=code=4711');
  const made = await clusterCommand('passphrase', '--data', old.dataDirectory);
  passphrase = made.stdout.trim();
});
afterAll(async () => {
  await Promise.all(clusters.map((cluster) => cluster.destroy()));
  rmSync(folder, { recursive: true, force: true });
});

async function started(cluster: Cluster): Promise<Cluster> {
  clusters.push(cluster);
  return await cluster.start();
}

function adopting(by: string, dataDirectory?: string): Cluster {
  const cluster = new Cluster(['--no-agent', '--adopt', file], dataDirectory, {
    env: { FLOTILLA_PASSPHRASE: by },
  });
  clusters.push(cluster);
  return cluster;
}

const revisionOf = async (cluster: Cluster): Promise<number> =>
  Number(
    (
      await cluster.kubectlOk(
        'get',
        'configmap',
        'kept',
        '-o',
        'jsonpath={.metadata.resourceVersion}',
      )
    ).trim(),
  );

describe('a backup of the cluster', () => {
  it('is one file that only its passphrase opens, written once', async () => {
    expect(passphrase).toMatch(/^(\w{4}-){4}\w{4}$/);
    const saved = await clusterCommand('backup', '--out', file, '--data', old.dataDirectory);
    expect(saved).toMatchObject({ code: 0, stderr: '' });
    expect(statSync(file).mode & 0o077).toBe(0);
    const bytes = readFileSync(file);
    expect(bytes.subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    const again = await clusterCommand('backup', '--out', file, '--data', old.dataDirectory);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('exists already') });
    for (const log of readdirSync(path.join(old.dataDirectory, 'logs')))
      expect(readFileSync(path.join(old.dataDirectory, 'logs', log), 'utf8')).not.toContain(
        passphrase,
      );
  });

  it('is made by the cluster itself, into a folder, and shown by kubectl', async () => {
    const target = { spec: { target: { folder: { path: folder } } } };
    await old.kubectlOk(
      'patch',
      'clusterbackup',
      'home',
      '--type=merge',
      '-p',
      JSON.stringify(target),
    );
    const row = await eventually(async () => {
      const out = await old.kubectlOk('get', 'clusterbackups', '--no-headers');
      return out.includes('BackedUp') ? out : undefined;
    }, 'the cluster is backed up');
    expect(row).toMatch(/^home\s+True\s+BackedUp\s+\S+Z\s+\S+Z\s+/);
  });

  it('is not adopted by a wrong passphrase, nor when it is damaged: nothing has changed', async () => {
    const cluster = adopting('not the passphrase');
    await expect(cluster.start()).rejects.toThrow('home.age does not open with this passphrase');
    expect(readdirSync(cluster.dataDirectory).filter((name) => !name.startsWith('lock'))).toEqual(
      [],
    );
    const whole = readFileSync(file);
    writeFileSync(file, whole.with(whole.length - 30_000, 255 - (whole.at(-30_000) ?? 0)));
    await expect(adopting(passphrase, cluster.dataDirectory).start()).rejects.toThrow(
      'home.age is damaged',
    );
    writeFileSync(file, whole);
    expect(readdirSync(cluster.dataDirectory).filter((name) => !name.startsWith('lock'))).toEqual(
      [],
    );
  });
});

describe('a computer that adopts it', () => {
  it('is the same cluster: its objects, secrets and authority, on a later revision', async () => {
    const before = await revisionOf(old);
    const kubeconfig = readFileSync(old.kubeconfig, 'utf8');
    const cluster = await adopting(passphrase.toUpperCase().replaceAll('-', ' ')).start();
    expect(cluster.stderr).toContain('there would be two of one cluster');
    const code = await cluster.kubectlOk('get', 'secret', 'door', '-o', 'jsonpath={.data.code}');
    expect(Buffer.from(code, 'base64').toString()).toBe('4711');
    await cluster.kubectlOk('create', 'configmap', 'new');
    const made = await cluster.kubectlOk(
      'get',
      'configmap',
      'new',
      '-o',
      'jsonpath={.metadata.resourceVersion}',
    );
    expect(Number(made)).toBeGreaterThan(before);
    // Whoever was let in before is let in here.
    const asBefore = path.join(folder, 'kubeconfig');
    writeFileSync(asBefore, kubeconfig.replace(old.apiUrl, cluster.apiUrl));
    const seen = await cluster.kubectlOk(
      '--kubeconfig',
      asBefore,
      'get',
      'configmap',
      '-o',
      'name',
    );
    expect(seen).toContain('configmap/kept\n');
    // A used directory is left alone.
    await cluster.stop();
    await expect(adopting(passphrase, cluster.dataDirectory).start()).rejects.toThrow(
      'holds a cluster already',
    );
    await new Cluster(['--no-agent'], cluster.dataDirectory).start().then((one) => one.stop());
  });

  it('may have just begun a cluster, which gives way while it runs, but none that has apps', async () => {
    const cluster = await started(new Cluster(['--no-agent']));
    await cluster.kubectlOk('create', 'deployment', 'mine', '--image=x', '--replicas=0');
    expect((await adoptWhileItRuns(cluster)).body).toContain('has apps already (mine)');
    await cluster.kubectlOk('delete', 'deployment', 'mine');
    const wrong = await adoptWhileItRuns(cluster, 'not the passphrase');
    expect([wrong.status, wrong.body]).toEqual([
      400,
      expect.stringContaining('does not open with this passphrase'),
    ]);
    expect(await adoptWhileItRuns(cluster)).toMatchObject({ status: 202 });
    const listed = await eventually(async () => {
      const { code, stdout } = await cluster.kubectl('get', 'configmap', '-o', 'name');
      return code === 0 && stdout.includes('kept') ? stdout : undefined;
    }, 'it goes on as the cluster of the backup');
    expect(listed).toContain('configmap/kept\n');
    expect(readFileSync(path.join(cluster.dataDirectory, 'pki/ca.crt'), 'utf8')).toBe(
      readFileSync(path.join(old.dataDirectory, 'pki/ca.crt'), 'utf8'),
    );
    expect(existsSync(path.join(cluster.dataDirectory, 'adoption'))).toBe(false);
  });
});

describe('the computer of before', () => {
  it('stops for good with a sentence, once who adopted its backup has told it', async () => {
    const [id] = (await lineageOf(old)) as [string];
    const succession = {
      lineage: ['another', id],
      nodeName: 'new-laptop',
      since: '2026-11-29T10:00:00Z',
    };
    const stranger = await post(old, successionPath, {
      ...succession,
      lineage: ['another', 'stranger'],
    });
    expect(stranger).toEqual({ status: 200, body: '{"givesWay":false}' });
    await old.kubectlOk('get', 'configmap', 'kept');
    expect(await post(old, successionPath, succession)).toEqual({
      status: 200,
      body: '{"givesWay":true}',
    });
    expect(await old.exited()).toBe(78);
    expect(old.stderr).toContain(
      'goes on on new-laptop, which adopted its backup on 2026-11-29T10:00:00Z',
    );
    await expect(old.start()).rejects.toThrow('this computer has stopped');
  });
});

async function lineageOf(cluster: Cluster): Promise<readonly string[]> {
  const { clusterId } = JSON.parse(
    await cluster.kubectlOk('get', '--raw', '/flotilla/members'),
  ) as {
    readonly clusterId: string;
  };
  return [clusterId];
}

async function post(cluster: Cluster, to: string, body: object) {
  const transport = new HttpsTransport(await readKubeconfig(cluster.kubeconfig), systemClock);
  const headers = { 'content-type': 'application/json' };
  const answer = await transport.request({
    method: 'POST',
    path: to,
    headers,
    body: JSON.stringify(body),
  });
  transport.close();
  return { status: answer.status, body: Buffer.from(answer.body).toString().trim() };
}

/** As the page does it. */
async function adoptWhileItRuns(cluster: Cluster, by = passphrase) {
  const transport = new HttpsTransport(await readKubeconfig(cluster.kubeconfig), systemClock);
  const answer = await transport.request({
    method: 'POST',
    path: clusterBackupPath,
    headers: {
      'content-type': 'application/octet-stream',
      [passphraseHeader]: Buffer.from(by).toString('base64'),
    },
    body: readFileSync(file),
  });
  transport.close();
  return { status: answer.status, body: Buffer.from(answer.body).toString() };
}
