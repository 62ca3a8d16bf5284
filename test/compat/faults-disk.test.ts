// Data directories that can't be used, and a disk that fills up while the cluster runs: a sentence
// that says what to do, no stack trace, and nothing lost that was acknowledged.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually, type ToolResult } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { SmallDisk } from '../setup/small-disk.ts';
import { UnprivilegedUser } from '../setup/unprivileged.ts';

const cleanUps: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

/** Starts what can't start: exit code 78 and nothing but one sentence on stderr, which it returns. */
async function refusal(cluster: Cluster): Promise<string> {
  await expect(cluster.start()).rejects.toThrow(/exit/);
  expect([await cluster.exited(), cluster.stderr.trim().split('\n')]).toEqual([
    78,
    [expect.any(String)],
  ]);
  return cluster.stderr.trim();
}

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'flotilla-data-'));
  cleanUps.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function smallDisk(sizeMebibytes: number): SmallDisk {
  const disk = new SmallDisk(sizeMebibytes);
  cleanUps.push(() => disk.destroy());
  return disk;
}

describe('a start refuses, with one sentence and code 78,', () => {
  it('a data directory that is a file', async () => {
    const file = path.join(folder(), 'data');
    writeFileSync(file, 'not a directory');
    expect(await refusal(new Cluster(['--no-agent'], file))).toBe(
      `${file} is not a directory: choose another with --data.`,
    );
  });

  it('a data directory below a file', async () => {
    const file = path.join(folder(), 'file');
    writeFileSync(file, 'not a directory');
    const data = path.join(file, 'data');
    expect(await refusal(new Cluster(['--no-agent'], data))).toBe(
      `${data} is not a directory: choose another with --data.`,
    );
  });

  it('a data directory that belongs to somebody else', async () => {
    const user = new UnprivilegedUser();
    cleanUps.push(() => user.destroy());
    const data = folder();
    const options = { runAs: user.run, env: { HOME: user.home } };
    expect(await refusal(new Cluster(['--no-agent'], data, options))).toBe(
      `The data directory ${data} can't be read and written by this user: give it to this user (chown -R), or choose another with --data.`,
    );
  });

  it('a data directory that this user may not create', async () => {
    const user = new UnprivilegedUser();
    cleanUps.push(() => user.destroy());
    const data = path.join(folder(), 'new');
    const options = { runAs: user.run, env: { HOME: user.home } };
    expect(await refusal(new Cluster(['--no-agent'], data, options))).toContain(data);
  });

  it('a database in it that this user may not read', async () => {
    const user = new UnprivilegedUser();
    cleanUps.push(() => user.destroy());
    const data = folder();
    user.give(data);
    mkdirSync(path.join(data, 'store'), { mode: 0o700 });
    const options = { runAs: user.run, env: { HOME: user.home } };
    expect(await refusal(new Cluster(['--no-agent'], data, options))).toContain(
      path.join(data, 'store'),
    );
  });

  it('a disk that is read-only', async () => {
    const disk = smallDisk(1);
    disk.makeReadOnly();
    const data = path.join(disk.directory, 'data');
    expect(await refusal(new Cluster(['--no-agent'], data))).toMatch(
      new RegExp(`^The data directory ${data} .*: .*--data\\.$`),
    );
  });

  it('a disk that is full', async () => {
    const disk = smallDisk(1);
    disk.fill();
    const data = path.join(disk.directory, 'data');
    expect(await refusal(new Cluster(['--no-agent'], data))).toMatch(
      /^The disk that holds .* is full: free some space, then start again\.$/,
    );
  });

  for (const sizeKibibytes of [40, 60, 100])
    it(`a disk on which a new cluster does not fit: ${sizeKibibytes} KiB`, async () => {
      const data = path.join(smallDisk(sizeKibibytes / 1024).directory, 'data');
      expect(await refusal(new Cluster(['--no-agent'], data))).toMatch(
        /^The disk that holds .* is full: free some space, then start again\.$/m,
      );
    });
});

const configMap = (name: string, sizeBytes = 10) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name} }
data: { text: "${'x'.repeat(sizeBytes)}" }
`;

/** ConfigMaps `full-0` and so on; the last answer is the refusal. */
async function createUntilRefused(cluster: Cluster): Promise<ToolResult[]> {
  const answers: ToolResult[] = [];
  for (let n = 0; n < 200 && (answers.at(-1)?.code ?? 0) === 0; n++)
    answers.push(await cluster.kubectl('create', '-f', manifestFile(`full-${n}`, 100_000)));
  return answers;
}

function manifestFile(name: string, sizeBytes: number): string {
  const file = path.join(tmpdir(), `flotilla-${process.pid}-${name}.yaml`);
  writeFileSync(file, configMap(name, sizeBytes));
  cleanUps.push(() => rmSync(file, { force: true }));
  return file;
}

describe('a disk that fills up while the cluster runs', () => {
  let disk: SmallDisk;
  let cluster: Cluster;
  let controlPlane: number | undefined;

  beforeAll(async () => {
    disk = new SmallDisk(32);
    cluster = new Cluster(['--no-agent'], path.join(disk.directory, 'data'));
    await cluster.start();
    await cluster.apply(configMap('before'));
    await cluster.apply(configMap('to-delete'));
    [controlPlane] = cluster.childPids('controlplane');
  });
  afterAll(async () => {
    await cluster.destroy();
    disk.destroy();
  });

  /** Without the certificate's, which a controller makes when it comes to it. */
  async function names(): Promise<string[]> {
    const out = await cluster.kubectlOk('get', 'configmaps', '-o', 'name');
    const all = out.trim().split('\n').toSorted();
    return all.filter((name) => name !== 'configmap/kube-root-ca.crt');
  }

  it('refuses writes with a sentence, and goes on answering reads', async () => {
    disk.fill();
    const answers = await createUntilRefused(cluster);
    const refused = answers.at(-1);
    expect(refused?.code).toBe(1);
    expect(refused?.stderr).toMatch(/no space left/);
    expect(refused?.stderr).not.toMatch(/\n\s+at /);
    const acknowledged = answers.slice(0, -1).map((_, n) => `configmap/full-${n}`);
    expect(await names()).toEqual(
      [...acknowledged, 'configmap/before', 'configmap/to-delete'].toSorted(),
    );
    expect(cluster.childPids('controlplane')).toEqual([controlPlane]);
  });

  it('still deletes', async () => {
    await cluster.kubectlOk('delete', 'configmap', 'to-delete');
    expect(await names()).not.toContain('configmap/to-delete');
  });

  it('writes again as soon as there is space', async () => {
    disk.free();
    await cluster.apply(configMap('after'));
    expect(await names()).toContain('configmap/after');
    expect(cluster.childPids('controlplane')).toEqual([controlPlane]);
  });

  it('has lost nothing that it acknowledged, nor kept what it refused', async () => {
    const before = await names();
    expect(controlPlane).toBeGreaterThan(0);
    process.kill(Number(controlPlane), 'SIGKILL');
    await eventually(
      async () => (await cluster.kubectl('get', 'namespaces')).code === 0,
      'it serves again',
    );
    expect(await names()).toEqual(before);
  });

  it('stops in order when full, and starts again, for reading, then for writing', async () => {
    const before = await names();
    disk.fill();
    expect(await cluster.stop()).toBe(0);
    // Others write, too.
    disk.fill();
    await cluster.start();
    expect(await names()).toEqual(before);
    disk.free();
    const created = await cluster.kubectl('create', 'configmap', 'after-the-start');
    expect(created.code).toBe(0);
    expect(cluster.stderr).not.toMatch(/\n\s+at /);
  });
});

describe('a pod on a full disk', () => {
  let disk: SmallDisk;
  let cluster: Cluster;

  beforeAll(async () => {
    ensureTestImages();
    disk = new SmallDisk(32);
    cluster = await new Cluster([], path.join(disk.directory, 'data')).start();
  });
  afterAll(async () => {
    await cluster.destroy();
    disk.destroy();
  });

  it('is deleted as gracefully as ever', async () => {
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: graceful }
spec:
  terminationGracePeriodSeconds: 5
  containers: [{ name: main, image: ${webImage}, imagePullPolicy: Never }]
`);
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/graceful', '--timeout=60s');
    disk.fill();
    expect((await createUntilRefused(cluster)).at(-1)?.stderr).toMatch(/no space left/);
    await cluster.kubectlOk('delete', 'pod', 'graceful', '--wait=false');
    const stamp = ['get', 'pod', 'graceful', '-o', 'jsonpath={.metadata.deletionTimestamp}'];
    const marked = await cluster.kubectl(...stamp);
    expect(marked.stdout + marked.stderr).toMatch(/^20\d\d-|NotFound/);
    await eventually(
      async () => (await cluster.kubectl('get', 'pod', 'graceful')).stderr.includes('NotFound'),
      'the pod is gone',
    );
    await eventually(async () => (await cluster.containers()).length === 0, 'so is its container');
  });
});
