// An unmodified kubectl 1.35 against a real cluster with real containers. Each test has an app of
// its own, so they stand alone; they share the cluster to save its start.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pods } from '#kube/client/resources.ts';
import { Cluster, eventually, tool } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { webApp } from './manifests.ts';

const cluster = new Cluster();

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(() => cluster.destroy());

async function ready(name: string): Promise<void> {
  await cluster.kubectlOk('rollout', 'status', `deployment/${name}`, '--timeout=60s');
}

async function jsonPath(...args: string[]): Promise<string> {
  const expression = args.pop() ?? '';
  return await cluster.kubectlOk('get', ...args, '-o', `jsonpath=${expression}`);
}

/** Names of the pods of an app, as they are asked for again and again. */
async function podsOf(app: string): Promise<string[]> {
  const options = { namespace: 'default', labelSelector: `app=${app}` };
  const { items } = await (await cluster.client()).list(pods, options);
  return items.map(({ metadata }) => metadata.name);
}

/** The answers of `count` fresh connections. */
async function answers(url: string, count: number): Promise<string[]> {
  const texts: string[] = [];
  for (let n = 0; n < count; n++) {
    const response = await fetch(`${url}/cgi-bin/whoami`, { headers: { connection: 'close' } });
    texts.push((await response.text()).trim());
  }
  return texts;
}

/** How often each distinct answer came, fewest first. */
function tally(texts: readonly string[]): number[] {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts.values()].toSorted((a, b) => a - b);
}

describe('kubectl', () => {
  it('finds one node, Ready, with its facts', async () => {
    await cluster.kubectlOk('wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s');
    const wide = await cluster.kubectlOk('get', 'nodes', '-o', 'wide');
    const [head = '', row = ''] = wide.split('\n');
    expect(head.split(/\s{2,}/).map((cell) => cell.trim())).toEqual([
      'NAME',
      'STATUS',
      'ROLES',
      'AGE',
      'VERSION',
      'INTERNAL-IP',
      'EXTERNAL-IP',
      'OS-IMAGE',
      'KERNEL-VERSION',
      'CONTAINER-RUNTIME',
    ]);
    expect(row).toMatch(/ Ready .* v1\.35\.\S+ .*docker:\/\/\d/);
  });

  it('applies a Deployment of three and a Service; all three answer behind both addresses, evenly', async () => {
    const applied = await cluster.apply(webApp('even'));
    expect(applied).toBe('deployment.apps/even created\nservice/even created\n');
    await ready('even');
    const clusterIp = await jsonPath('service', 'even', '{.spec.clusterIP}');
    const nodePort = await jsonPath('service', 'even', '{.spec.ports[0].nodePort}');
    const nodeIp = await jsonPath(
      'nodes',
      '{.items[0].status.addresses[?(@.type=="InternalIP")].address}',
    );
    for (const url of [
      `http://${clusterIp}`,
      `http://127.0.0.1:${nodePort}`,
      `http://${nodeIp}:${nodePort}`,
    ]) {
      await eventually(
        async () => tally(await answers(url, 12)).length === 3,
        `three answer at ${url}`,
      );
      const counts = tally(await answers(url, 90));
      expect(counts, url).toHaveLength(3);
      // 90 draws of 3: chance gives fewer than 8 to one of them once in ten million.
      expect(counts[0], url).toBeGreaterThanOrEqual(8);
    }
    expect(await cluster.apply(webApp('even'))).toBe(
      'deployment.apps/even unchanged\nservice/even unchanged\n',
    );
  });

  it('scales up and down', async () => {
    await cluster.apply(webApp('scaled', { replicas: 1 }));
    await ready('scaled');
    for (const replicas of [3, 1]) {
      const said = await cluster.kubectlOk('scale', 'deployment/scaled', `--replicas=${replicas}`);
      expect(said).toBe('deployment.apps/scaled scaled\n');
      await ready('scaled');
      await eventually(
        async () => (await podsOf('scaled')).length === replicas,
        `${replicas} pods`,
      );
    }
  });

  it('restarts a rollout, shows its history and undoes it', async () => {
    await cluster.apply(webApp('rolled', { replicas: 2 }));
    await ready('rolled');
    const before = await podsOf('rolled');
    expect(await cluster.kubectlOk('rollout', 'restart', 'deployment/rolled')).toBe(
      'deployment.apps/rolled restarted\n',
    );
    const status = await cluster.kubectlOk(
      'rollout',
      'status',
      'deployment/rolled',
      '--timeout=60s',
    );
    expect(status).toContain('deployment "rolled" successfully rolled out');
    await eventually(async () => {
      const now = await podsOf('rolled');
      return now.length === 2 && !now.some((name) => before.includes(name));
    }, 'the old pods are gone');
    const history = await cluster.kubectlOk('rollout', 'history', 'deployment/rolled');
    expect(history).toMatch(/REVISION +CHANGE-CAUSE\n1 +<none>\n2 +<none>/);
    await cluster.kubectlOk('rollout', 'undo', 'deployment/rolled');
    await ready('rolled');
    expect(await cluster.kubectlOk('rollout', 'history', 'deployment/rolled')).toMatch(
      /2 +<none>\n3 +<none>/,
    );
  });

  it('prints logs, and follows them until told to stop', async () => {
    await cluster.apply(webApp('logged', { replicas: 1 }));
    await ready('logged');
    await eventually(
      async () =>
        (await cluster.kubectlOk('logs', 'deployment/logged', '--tail=2')).includes('url:/'),
      'the probe is in the log',
    );
    const seen = (text: string): number => text.split('url:/').length - 1;
    const followed = cluster.follow('logs', '-f', 'deployment/logged', '--tail=1');
    try {
      await eventually(() => seen(followed.stdout) >= 3, 'new lines arrive by themselves');
    } finally {
      await followed.stop();
    }
    const pod = await jsonPath('pods', '-l', 'app=logged', '{.items[0].metadata.name}');
    const wrong = await cluster.kubectl('logs', pod, '-c', 'nobody');
    expect(wrong.stderr).toContain(`container nobody is not valid for pod ${pod}`);
  });

  it('describes a pod with its events', async () => {
    await cluster.apply(webApp('described', { replicas: 1 }));
    await ready('described');
    const text = await cluster.kubectlOk('describe', 'pod', '-l', 'app=described');
    for (const part of [
      'Status:           Running',
      'QoS Class:',
      'Successfully assigned default/described-',
      'Started container web',
    ])
      expect(text).toContain(part);
    expect(await cluster.kubectlOk('describe', 'deployment', 'described')).toContain(
      'Scaled up replica set described-',
    );
    expect(await cluster.kubectlOk('describe', 'service', 'described')).toMatch(
      /Endpoints: +\d+\.\d+\.\d+\.\d+:8080/,
    );
    const node = await jsonPath('nodes', '{.items[0].metadata.name}');
    expect(await cluster.kubectlOk('describe', 'node', node)).toContain('described-');
  });

  it('deletes a Deployment with all it owns', async () => {
    await cluster.apply(webApp('deleted', { replicas: 2 }));
    await ready('deleted');
    expect(await cluster.kubectlOk('delete', 'deployment', 'deleted')).toBe(
      'deployment.apps "deleted" deleted from default namespace\n',
    );
    await eventually(async () => (await podsOf('deleted')).length === 0, 'its pods are gone');
    const left = ['get', 'pods,replicasets', '-l', 'app=deleted', '-o', 'name'];
    expect(await cluster.kubectlOk(...left)).toBe('');
  });

  it("brings the API server's own Service back when all are deleted", async () => {
    await cluster.kubectlOk('delete', 'service', 'kubernetes', '-n', 'default');
    await eventually(
      async () => (await jsonPath('service', 'kubernetes', '{.spec.clusterIP}')) === '10.96.0.1',
      'the Service is there again',
    );
  });

  it('deletes a namespace with all that is in it', async () => {
    await cluster.kubectlOk('create', 'namespace', 'doomed');
    await cluster.apply(
      webApp('inside', { replicas: 1 }).replaceAll(
        'metadata: { name: inside',
        'metadata: { namespace: doomed, name: inside',
      ),
    );
    await cluster.kubectlOk(
      '-n',
      'doomed',
      'rollout',
      'status',
      'deployment/inside',
      '--timeout=60s',
    );
    await cluster.kubectlOk('delete', 'namespace', 'doomed', '--timeout=60s');
    const gone = await cluster.kubectl('get', 'namespace', 'doomed');
    expect(gone.stderr).toBe('Error from server (NotFound): namespaces "doomed" not found\n');
  });

  it("shows Docker's own reason when an image is missing", async () => {
    await cluster.apply(webApp('missing', { replicas: 1, image: 'localhost:1/nobody/has-this:1' }));
    const reason = await eventually(async () => {
      const waiting = await jsonPath(
        'pods',
        '-l',
        'app=missing',
        '{.items[0].status.containerStatuses[0].state.waiting}',
      );
      return waiting.includes('ImagePull') ? waiting : undefined;
    }, 'the pod says why');
    const state = JSON.parse(reason) as { reason: string; message: string };
    expect(['ErrImagePull', 'ImagePullBackOff']).toContain(state.reason);
    expect(state.message).toContain('localhost:1');
    expect(await cluster.kubectlOk('get', 'pods', '-l', 'app=missing')).toMatch(
      /ErrImagePull|ImagePullBackOff/,
    );
    await cluster.kubectlOk('delete', 'deployment', 'missing');
  });

  it("says in Kubernetes' words why a pod cannot be placed", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: huge }
spec:
  containers: [{ name: web, image: x, resources: { requests: { memory: 900Ti } } }]
`);
    const message = await eventually(async () => {
      const events = await jsonPath(
        'events',
        '--field-selector=involvedObject.name=huge,reason=FailedScheduling',
        '{.items[0].message}',
      );
      return events === '' ? undefined : events;
    }, 'an event');
    expect(message).toContain('0/1 nodes are available: 1 Insufficient memory.');
    await cluster.kubectlOk('delete', 'pod', 'huge');
  });

  it('lets helm 4 install, upgrade, roll back and remove a chart', async () => {
    const chart = mkdtempSync(path.join(tmpdir(), 'flotilla-chart-'));
    const helm = (...args: string[]) =>
      tool('helm', ['--kubeconfig', cluster.kubeconfig, ...args]).then((result) => {
        expect(result.code, `helm ${args.join(' ')}: ${result.stderr}`).toBe(0);
        return result.stdout;
      });
    try {
      mkdirSync(path.join(chart, 'templates'));
      writeFileSync(path.join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: web\nversion: 0.1.0\n');
      const template = webApp('charted').replace('replicas: 3', 'replicas: {{ .Values.replicas }}');
      writeFileSync(path.join(chart, 'templates/web.yaml'), template);
      const wait = ['--wait', '--timeout', '60s'];
      await helm('install', 'rel', chart, '--set', 'replicas=1', ...wait);
      await helm('upgrade', 'rel', chart, '--set', 'replicas=2', ...wait);
      expect(await jsonPath('deployment', 'charted', '{.status.readyReplicas}')).toBe('2');
      // Its default is server-side apply: what it says is what it owns.
      const owners = '{.metadata.managedFields[?(@.operation=="Apply")].manager}';
      expect(await jsonPath('deployment', 'charted', owners)).toBe('helm');
      await helm('rollback', 'rel', '1', ...wait);
      expect(await jsonPath('deployment', 'charted', '{.spec.replicas}')).toBe('1');
      expect(await helm('history', 'rel')).toMatch(/Rollback to 1/);
      await helm('uninstall', 'rel', '--wait', '--timeout', '60s');
      expect((await cluster.kubectl('get', 'deployment', 'charted')).code).not.toBe(0);
    } finally {
      rmSync(chart, { recursive: true });
    }
  });

  it('says that a kind is unknown in the words kubectl users know', async () => {
    const unknown = `apiVersion: apps/v1
kind: PetSet
metadata: { name: unknown }
`;
    await expect(cluster.apply(unknown)).rejects.toThrow(
      'no matches for kind "PetSet" in version "apps/v1"',
    );
  });

  it('creates without a manifest: kubectl sends these in protobuf', async () => {
    const image = `--image=${webImage}`;
    await cluster.kubectlOk('create', 'deployment', 'short', image, '--replicas=2', '--port=8080');
    await cluster.kubectlOk('create', 'configmap', 'short', '--from-literal=a=b');
    await cluster.kubectlOk('create', 'secret', 'generic', 'short', '--from-literal=a=b');
    await cluster.kubectlOk('expose', 'deployment', 'short', '--port=80', '--target-port=8080');
    expect(await jsonPath('deployment', 'short', '{.spec.replicas}')).toBe('2');
    expect(await jsonPath('configmap', 'short', '{.data}')).toBe('{"a":"b"}');
    expect(await jsonPath('secret', 'short', '{.data.a}')).toBe('Yg==');
    expect(await jsonPath('service', 'short', '{.spec.ports[0].targetPort}')).toBe('8080');
    await cluster.kubectlOk('delete', 'deployment,service', 'short');
  });
});
