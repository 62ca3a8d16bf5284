// The control plane killed in the middle of its work, again and again; a stop while everybody is
// connected; starts that get in each other's way.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { ConfigMap } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { Informer } from '#kube/client/informer.ts';
import { configMaps } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { Cluster, eventually, type ClusterOptions } from '../setup/cluster.ts';
import { ensureTestImages } from '../setup/images.ts';
import { webApp } from './manifests.ts';

const cleanUps: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

function cluster(args: string[], dataDirectory?: string, options?: ClusterOptions): Cluster {
  const made = new Cluster(args, dataDirectory, options);
  cleanUps.push(() => made.destroy());
  return made;
}

interface Acknowledged {
  readonly name: string;
  readonly resourceVersion: number;
}

/** Creates one object after the other until told to stop; notes what was acknowledged. */
class Writer {
  readonly acknowledged: Acknowledged[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(client: RestClient, prefix: string) {
    this.#done = this.#run(client, prefix);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(client: RestClient, prefix: string): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n++) {
      const metadata = { name: `${prefix}-${n}`, namespace: 'default' };
      const object: ConfigMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata };
      try {
        const created = await client.create(configMaps, object);
        const resourceVersion = Number(created.metadata.resourceVersion);
        this.acknowledged.push({ name: metadata.name, resourceVersion });
      } catch {
        // No answer: it may be there or not, and nobody was promised anything.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }
}

describe('a control plane that is killed five times while clients write', () => {
  beforeAll(ensureTestImages);

  it('keeps what it acknowledged, in order; watches and controllers go on', async () => {
    const running = await cluster([]).start();
    const client = await running.client();
    const deps = { client, clock: systemClock, random: systemRandom, logger: silentLogger };
    const informer = new Informer<ConfigMap>(deps, { resource: configMaps, namespace: 'default' });
    const added: string[] = [];
    const watching = new AbortController();
    cleanUps.push(() => watching.abort());
    informer.addHandler({ onAdd: ({ metadata }) => void added.push(metadata.name) });
    informer.start(watching.signal);
    await running.apply(webApp('converges', { replicas: 3 }));

    const writers = ['a', 'b', 'c', 'd'].map((prefix) => new Writer(client, prefix));
    const count = () => writers.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
    for (let round = 0; round < 5; round++) {
      const before = count();
      await eventually(() => count() >= before + 40, 'writes go on');
      const pid = await eventually(() => running.childPids('controlplane')[0], 'it runs');
      process.kill(pid, 'SIGKILL');
    }
    const before = count();
    await eventually(() => count() >= before + 40, 'writes go on after the last kill');
    for (const writer of writers) await writer.stop();

    const { items } = await client.list(configMaps, { namespace: 'default' });
    const versions = new Map(
      items.map(({ metadata }) => [metadata.name, Number(metadata.resourceVersion)]),
    );
    const all = writers.flatMap(({ acknowledged }) => acknowledged);
    expect(all.filter((one) => versions.get(one.name) !== one.resourceVersion)).toEqual([]);
    expect(new Set(all.map((one) => one.resourceVersion)).size).toBe(all.length);
    for (const { acknowledged } of writers) {
      const order = acknowledged.map((one) => one.resourceVersion);
      expect(order).toEqual(order.toSorted((one, other) => one - other));
    }

    const names = items.map(({ metadata }) => metadata.name).toSorted();
    await eventually(() => added.length >= names.length, 'the watch has seen all');
    expect(added.toSorted()).toEqual(names);
    await running.kubectlOk('rollout', 'status', 'deployment/converges', '--timeout=60s');
    const pods = await running.kubectlOk('get', 'pods', '-o', 'name');
    expect(pods.trim().split('\n')).toHaveLength(3);
    await eventually(
      async () => (await running.containers()).length === 6,
      'a sandbox and a container for each pod, and no more',
    );
    expect(running.stderr).not.toMatch(/\n\s+at /);
  });
});

/** A watch as the page opens it: signs in with the printed token, then a WebSocket. */
async function openPageWatch(of: Cluster): Promise<WebSocket> {
  const { origin, hash } = new URL(of.uiUrl);
  const token = new URLSearchParams(hash.slice(1)).get('token');
  const answer = await fetch(`${origin}/session`, {
    method: 'POST',
    headers: { origin, 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';');
  const url = `${origin.replace('http', 'ws')}/api/v1/pods?watch=true`;
  const socket = new WebSocket(url, { headers: { cookie, origin } });
  await new Promise((resolve, reject) => {
    socket.once('message', resolve);
    socket.once('error', reject);
  });
  return socket;
}

describe('SIGTERM while everybody is connected', () => {
  beforeAll(ensureTestImages);

  it('ends all in under 5 s with code 0, and tells those who listen', async () => {
    const running = await cluster([]).start();
    await running.apply(webApp('busy', { replicas: 1 }));
    await running.kubectlOk('rollout', 'status', 'deployment/busy', '--timeout=60s');
    const watch = running.follow('get', 'pods', '-w');
    const logs = running.follow('logs', '-f', 'deployment/busy');
    const socket = await openPageWatch(running);
    const socketClosed = new Promise<number>((resolve) => socket.once('close', resolve));
    cleanUps.push(async () => {
      await watch.stop();
      await logs.stop();
      socket.terminate();
    });
    await eventually(() => watch.stdout.includes('busy-'), 'the watch shows the pod');
    const nodePort = await running.kubectlOk(
      'get',
      'service',
      'busy',
      '-o',
      'jsonpath={.spec.ports[0].nodePort}',
    );
    await eventually(async () => (await fetch(`http://127.0.0.1:${nodePort}/`)).ok, 'it answers');
    await eventually(() => logs.stdout !== '', 'the log is followed');
    const writer = new Writer(await running.client(), 'w');
    await eventually(() => writer.acknowledged.length > 20, 'writes go on');

    const startedMs = performance.now();
    expect(await running.stop()).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    await writer.stop();
    expect(await socketClosed).toBe(1000);
    await Promise.all([watch.exited(), logs.exited()]);
    expect(running.stderr).not.toMatch(/\n\s+at /);
    expect(running.stderr).not.toContain('did not stop in time');

    await running.start();
    const client = await running.client();
    const { items } = await client.list(configMaps, { namespace: 'default' });
    const names = new Set(items.map(({ metadata }) => metadata.name));
    expect(writer.acknowledged.filter((one) => !names.has(one.name))).toEqual([]);
  });
});

describe('starts', () => {
  it('two at once on one directory: one serves, the other says who holds it', async () => {
    const first = cluster(['--no-agent']);
    const second = cluster(['--no-agent'], first.dataDirectory);
    const results = await Promise.allSettled([first.start(), second.start()]);
    const [winner, loser] = results[0].status === 'fulfilled' ? [first, second] : [second, first];
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await loser.exited()).toBe(78);
    expect(loser.stderr).toMatch(/^data directory \S+ is in use by .*\.?\n$/);
    expect((await winner.kubectl('get', 'namespaces')).code).toBe(0);
  });

  it('after everything was killed: the lock of dead processes holds nobody up', async () => {
    const before = await cluster(['--no-agent']).start();
    const pids = [before.pid, ...before.childPids('controlplane')];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await before.exited();
    const holder = { pid: 4_194_300, host: 'elsewhere', since: 'then', command: 'a dead process' };
    writeFileSync(path.join(before.dataDirectory, 'lock.json'), JSON.stringify(holder));
    const after = await cluster(['--no-agent'], before.dataDirectory).start();
    expect((await after.kubectl('get', 'namespaces')).code).toBe(0);
  });

  it('on a machine whose host name changed: the node keeps its name', async () => {
    const named = (name: string): ClusterOptions => ({
      runAs: (command) => [
        'unshare',
        '--uts',
        'sh',
        '-c',
        `hostname ${name}; exec "$@"`,
        name,
        ...command,
      ],
    });
    const home = await cluster(['--no-install'], undefined, named('Desk.home')).start();
    const node = async (of: Cluster) =>
      await eventually(async () => {
        const text = await of.kubectlOk('get', 'nodes', '--no-headers');
        return (
          / Ready /.test(text) &&
          text
            .trim()
            .split('\n')
            .map((line) => line.split(' ')[0])
        );
      }, 'a node');
    expect(await node(home)).toEqual(['desk']);
    await home.stop();
    const away = await cluster(['--no-install'], home.dataDirectory, named('dhcp-17')).start();
    expect(await node(away)).toEqual(['desk']);
  });
});
