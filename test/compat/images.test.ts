// Images on real Docker: what keeps a pod waiting, files that a person hands over, and machines that
// have an image from each other while its registry is gone.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ContainerState } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { events as eventResource, nodes, pods } from '#kube/client/resources.ts';
import { writeKubeconfig } from '#platform/kubeconfig.ts';
import { ClusterPki } from '#platform/pki.ts';
import { Cluster, eventually, tool } from '../setup/cluster.ts';
import { ensureTestImages, savedTestImage, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';
import { ImageRegistry } from '../setup/registry.ts';
import { SecondEngine } from '../setup/second-engine.ts';

let cluster: Cluster;
beforeAll(async () => {
  ensureTestImages();
  cluster = await new Cluster(['--node-name', 'pi1']).start();
});
afterAll(() => cluster?.destroy());

interface Given {
  readonly image: string;
  readonly policy?: string;
  readonly node?: string;
  readonly command?: readonly string[];
}

async function run(
  name: string,
  { image, policy = 'IfNotPresent', node = 'pi1', command = ['sleep', '600'] }: Given,
): Promise<void> {
  const spec = {
    nodeName: node,
    hostNetwork: true,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image, imagePullPolicy: policy, command }],
  };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec };
  await cluster.apply(JSON.stringify(pod));
}

async function stateOf(name: string): Promise<ContainerState> {
  const pod = await (await cluster.client()).get(pods, { namespace: 'default', name });
  return pod.status?.containerStatuses?.[0]?.state ?? {};
}

async function eventsOf(name: string): Promise<string[]> {
  const options = { namespace: 'default', fieldSelector: `involvedObject.name=${name}` };
  const { items } = await (await cluster.client()).list(eventResource, options);
  return items.map(({ reason, message }) => `${reason}: ${message}`);
}

async function runs(name: string): Promise<void> {
  await eventually(async () => {
    const state = await stateOf(name);
    if (state.running === undefined) throw new Error(JSON.stringify(state));
    return true;
  }, `${name} runs`);
}

/** What it waits for, once that is what is expected. */
async function waits(name: string, reason: string): Promise<string> {
  return eventually(async () => {
    const { waiting } = await stateOf(name);
    if (waiting?.reason !== reason) throw new Error(JSON.stringify(waiting));
    return waiting.message ?? '';
  }, `${name} waits: ${reason}`);
}

describe('a pod waits, and says why', () => {
  it('for a build for its processor', async () => {
    const other = process.arch === 'arm64' ? 'amd64' : 'arm64';
    const registry = await new ImageRegistry({ isOpen: true, architecture: other }).start();
    const { image } = registry;
    try {
      await run('foreign', { image });
      expect(await waits('foreign', 'ImagePullBackOff')).toMatch(
        new RegExp(`: ErrImagePull: no \\w+ build of "${image}": it is for ${other}$`),
      );
    } finally {
      await cluster.kubectlOk('delete', 'pod', 'foreign');
      await registry.stop();
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });

  it('for a registry that knows it, and its image', async () => {
    const registry = await new ImageRegistry().start();
    const { host, username, image } = registry;
    const secret = ['create', 'secret', 'docker-registry', 'wrong', `--docker-server=${host}`];
    await cluster.kubectlOk(...secret, `--docker-username=${username}`, '--docker-password=no');
    const open = await new ImageRegistry({ isOpen: true }).start();
    try {
      await run('locked-out', { image });
      await run('unknown', { image: `${open.host}/nobody/has:this` });
      await cluster.kubectlOk(
        'patch',
        'sa',
        'default',
        '-p',
        '{"imagePullSecrets":[{"name":"wrong"}]}',
      );
      await run('wrong-key', { image });
      await run('misspelt', { image: 'Web:1' });
      for (const name of ['locked-out', 'wrong-key'])
        expect(await waits(name, 'ImagePullBackOff')).toMatch(/no basic auth|unauthorized/);
      expect(await waits('unknown', 'ImagePullBackOff')).toMatch(/manifest.*(unknown|not found)/);
      expect(await waits('misspelt', 'InvalidImageName')).toMatch(/must be lowercase$/);
      // The account's secret was sent along.
      const sent = (
        await (await cluster.client()).get(pods, { namespace: 'default', name: 'wrong-key' })
      ).spec;
      expect(sent.imagePullSecrets).toEqual([{ name: 'wrong' }]);
    } finally {
      await cluster.kubectlOk('patch', 'sa', 'default', '-p', '{"imagePullSecrets":null}');
      await cluster.kubectlOk('delete', 'pod', 'locked-out', 'unknown', 'wrong-key', 'misspelt');
      await Promise.all([registry.stop(), open.stop()]);
    }
  });

  it('for a program that its image has', async () => {
    await run('no-program', { image: webImage, policy: 'Never', command: ['/bin/nope'] });
    const told = await eventually(async () => {
      const all = (await eventsOf('no-program')).join('\n');
      if (!all.includes('Failed: Error: ')) throw new Error(all);
      return all;
    }, 'the reason of the failure');
    expect(told).toMatch(/"\/bin\/nope": stat \/bin\/nope: no such file or directory/);
    // The status is written a moment after the event.
    await eventually(async () => {
      const { waiting, terminated } = await stateOf('no-program');
      expect(waiting?.reason ?? terminated?.reason).toMatch(
        /^(RunContainerError|CrashLoopBackOff|StartError|ContainerCannotRun)$/,
      );
      return true;
    }, 'it says so');
    await cluster.kubectlOk('delete', 'pod', 'no-program');
  });
});

describe('a file that a person hands over', () => {
  const loadPath = '/api/v1/nodes/pi1/proxy/images/load';

  function file(bytes: Uint8Array): string {
    const name = path.join(cluster.dataDirectory, 'handed-over.tar');
    writeFileSync(name, bytes);
    return name;
  }

  it('by kubectl is an image that runs', async () => {
    const name = 'flotilla-test/handed-over:1';
    execFileSync('docker', ['tag', webImage, name]);
    const tar = execFileSync('docker', ['save', name], { maxBuffer: 64 * 1024 * 1024 });
    execFileSync('docker', ['rmi', name]);
    try {
      const said = await cluster.kubectlOk('create', '--raw', loadPath, '-f', file(tar));
      expect(JSON.parse(said.trim().split('\n').at(-1) ?? '')).toEqual({
        status: 'loaded',
        images: [{ name, id: expect.stringMatching(/^sha256:/), sizeBytes: expect.any(Number) }],
      });
      await run('handed-over', { image: name, policy: 'Never' });
      await runs('handed-over');
    } finally {
      await cluster.kubectl('delete', 'pod', 'handed-over');
      execFileSync('docker', ['rmi', '-f', name], { stdio: 'ignore' });
    }
  });

  it('and is none, or cut off, changes nothing', async () => {
    const all = () =>
      execFileSync('docker', ['images', '-aq'], { encoding: 'utf8' }).split('\n').toSorted();
    const before = all();
    const load = (bytes: Uint8Array) =>
      cluster.kubectl('create', '--raw', loadPath, '-f', file(bytes));
    const tar = savedTestImage();
    expect((await load(Buffer.from('hello'))).stderr).toMatch(/this is no image archive; make one/);
    expect((await load(tar.subarray(0, tar.length / 2))).stderr).toMatch(/cut off/);
    expect(all()).toEqual(before);
  });

  it('of a quarter of a gigabyte goes through both servers without their memory', async () => {
    const name = path.join(cluster.dataDirectory, 'sparse.tar');
    const descriptor = openSync(name, 'w');
    writeFileSync(descriptor, savedTestImage().subarray(0, 512));
    ftruncateSync(descriptor, 2 ** 28);
    closeSync(descriptor);
    const rssKib = (bundle: string): number => {
      const [pid = 0] = cluster.childPids(bundle);
      return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }));
    };
    const before = { controlplane: rssKib('controlplane'), agent: rssKib('agent') };
    const { stderr } = await tool('kubectl', [
      '--kubeconfig',
      cluster.kubeconfig,
      'create',
      '--raw',
      loadPath,
      '-f',
      name,
    ]);
    expect(stderr).toMatch(/archive/);
    for (const bundle of ['controlplane', 'agent'] as const)
      expect(rssKib(bundle) - before[bundle]).toBeLessThan(128 * 1024);
  });

  it('is no affair of who may only look', async () => {
    const { stderr } = await cluster.kubectl(
      'create',
      '--raw',
      loadPath,
      '-f',
      file(Buffer.from('x')),
      '--as=somebody',
    );
    expect(stderr).toMatch(/cannot create resource "nodes\/proxy"/);
  });
});

describe('two machines', () => {
  const engine = new SecondEngine();
  let agent: ChildProcess | undefined;

  beforeAll(async () => {
    await engine.start();
    const folder = path.join(cluster.dataDirectory, 'pi2/agent');
    mkdirSync(folder, { recursive: true });
    const directory = path.join(cluster.dataDirectory, 'pki');
    const pki = await ClusterPki.open({ directory, clock: systemClock, random: systemRandom });
    const client = await pki.nodeClient(path.join(folder, 'client'), 'pi2');
    await pki.nodeServing(path.join(folder, 'serving'), 'pi2');
    writeFileSync(path.join(folder, 'ca.crt'), pki.caPem);
    const names = { cluster: 'flotilla', user: 'system:node:pi2' };
    const access = { server: cluster.apiUrl, caPem: pki.caPem, ...client };
    await writeKubeconfig(path.join(folder, 'kubeconfig'), access, names);
    const flags = ['--data', folder, '--node-name', 'pi2', '--bind', '0.0.0.0', '--no-install'];
    agent = spawn(process.execPath, [path.join(root, 'out/agent/main.js'), ...flags], {
      env: { ...process.env, DOCKER_HOST: engine.host },
      stdio: 'ignore',
    });
    await eventually(async () => {
      const { status } = await (await cluster.client()).get(nodes, { name: 'pi2' });
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True' }),
      );
      return true;
    }, 'pi2 is ready');
  });
  afterAll(async () => {
    if (agent !== undefined) {
      const ended = new Promise((resolve) => agent?.once('exit', resolve));
      agent.kill('SIGKILL');
      await ended;
    }
    await engine.destroy();
  });

  it('have an image from each other when its registry is gone', async () => {
    const registry = await new ImageRegistry({ isOpen: true, label: `${process.pid}` }).start();
    const { image } = registry;
    try {
      await run('first', { image, node: 'pi2' });
      await runs('first');
      expect(await eventsOf('first')).toContainEqual(
        expect.stringMatching(
          /^Pulled: Successfully pulled image "\S+" in \S+ \(\S+ including waiting\)\. Image size: \d+ bytes\.$/,
        ),
      );
      await registry.stop();
      await run('second', { image, node: 'pi1' });
      await runs('second');
      expect(await eventsOf('second')).toContainEqual(
        expect.stringMatching(/^Pulled: Successfully pulled image "\S+" from machine pi2 in /),
      );
      const id = (docker: (...args: string[]) => string) =>
        docker('image', 'inspect', '-f', '{{.Id}}', image);
      const here = (...args: string[]) => execFileSync('docker', args, { encoding: 'utf8' });
      expect(id(here)).toBe(id((...args) => engine.docker(...args)));
    } finally {
      await cluster.kubectl('delete', 'pod', 'first', 'second');
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });

  it('wait for the one that pulls it, and have it from there', async () => {
    // Some two seconds for the layer.
    const slow = { isOpen: true, label: `at once ${process.pid}`, bytesPerSecond: 400_000 };
    const registry = await new ImageRegistry(slow).start();
    const { image } = registry;
    try {
      await run('first', { image, node: 'pi2' });
      await eventually(async () => {
        if (registry.layerRequests === 0) throw new Error('nothing was asked for');
        return true;
      }, 'pi2 pulls');
      await run('second', { image, node: 'pi1' });
      await Promise.all([runs('first'), runs('second')]);
      expect(await eventsOf('second')).toContainEqual(
        expect.stringMatching(/^Pulled: Successfully pulled image "\S+" from machine pi2 in /),
      );
      expect(registry.layerRequests).toBe(1);
    } finally {
      await cluster.kubectl('delete', 'pod', 'first', 'second');
      await registry.stop();
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });

  it('ask the registry all the same what has to be newest, and have the layers from each other', async () => {
    const registry = await new ImageRegistry({
      isOpen: true,
      label: `always ${process.pid}`,
    }).start();
    const { image } = registry;
    try {
      await run('first', { image, node: 'pi2' });
      await runs('first');
      const { manifestRequests, layerRequests } = registry;
      await run('second', { image, node: 'pi1', policy: 'Always' });
      await runs('second');
      expect(await eventsOf('second')).toContainEqual(
        expect.stringMatching(/^Pulled: Successfully pulled image "\S+" from machine pi2 in /),
      );
      expect(registry.manifestRequests).toBeGreaterThan(manifestRequests);
      expect(registry.layerRequests).toBe(layerRequests);
      const digests = ['image', 'inspect', '-f', '{{.RepoDigests}}', image];
      expect(execFileSync('docker', digests, { encoding: 'utf8' })).toContain('@sha256:');
    } finally {
      await cluster.kubectl('delete', 'pod', 'first', 'second');
      await registry.stop();
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });
});
