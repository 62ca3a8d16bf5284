// Names in pods, on real Docker: what a pod's own libc and busybox' nslookup make of them, with the control
// plane there, without it, and with an agent that starts without it. Only names of the cluster are asked for:
// no question leaves the machine.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

let cluster: Cluster;
let agent: AgentProcess;
/** Of containers, by pod. */
const ids = new Map<string, string>();
const addresses = new Map<string, string>();

const pod = (name: string, spec: object, labels = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels, namespace: name === 'stranger' ? 'other' : 'default' },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image: webImage, imagePullPolicy: 'Never' }],
    ...spec,
  },
});
const service = (name: string, spec: object) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec,
});
const ports = [{ name: 'http', port: 8080 }];
const objects = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other' } },
  service('web', {
    selector: { app: 'web' },
    ports: [{ ...ports[0], port: 80, targetPort: 8080 }],
  }),
  service('db', { clusterIP: 'None', selector: { app: 'db' }, ports }),
  service('alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }),
  pod('web', {}, { app: 'web' }),
  pod('db-0', { hostname: 'db-0', subdomain: 'db' }, { app: 'db' }),
  pod('client', {}),
  pod('stranger', {}),
  pod('onhost', {
    hostNetwork: true,
    dnsPolicy: 'ClusterFirstWithHostNet',
    containers: [
      { name: 'main', image: webImage, imagePullPolicy: 'Never', command: ['sleep', '600'] },
    ],
  }),
];
const names = ['web', 'db-0', 'client', 'stranger', 'onhost'];

beforeAll(async () => {
  ensureTestImages();
  cluster = await clusterWithoutAgent();
  agent = new AgentProcess(cluster).start();
  await eventually(async () => {
    const { stdout } = await cluster.kubectl('get', 'serviceaccount', 'default', '-o', 'name');
    return stdout !== '';
  }, 'pods can be made');
  await cluster.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  for (const name of names)
    await eventually(async () => {
      const namespace = name === 'stranger' ? 'other' : 'default';
      const path = 'jsonpath={.status.podIP} {.status.containerStatuses[0].containerID}';
      const out = await cluster.kubectlOk('get', 'pod', name, '-n', namespace, '-o', path);
      const [, address = '', id] = /^(\S+) docker:\/\/(\w+)$/.exec(out) ?? [];
      if (id === undefined) return false;
      ids.set(name, id);
      addresses.set(name, address);
      return true;
    }, `${name} runs`);
});
afterAll(async () => {
  await agent.stop();
  await cluster.destroy();
});

async function inPod(name: string, ...command: string[]): Promise<string> {
  const args = ['exec', ids.get(name) ?? '', 'busybox', ...command];
  const run = promisify(execFile)('docker', args, { timeout: 20_000 });
  return run.then(
    ({ stdout }) => stdout,
    (error: { stdout: string; stderr: string }) => `${error.stdout}${error.stderr}`,
  );
}

const ip = (name: string): string => addresses.get(name) ?? '';
const serviceIp = (name: string) =>
  cluster.kubectlOk('get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}');

/** Addresses that a name leads to, as nslookup tells them. */
async function lookUp(from: string, name: string): Promise<string[]> {
  const said = await inPod(from, 'nslookup', name);
  const [, answer = ''] = said.split(/\n\n/);
  return [...answer.matchAll(/^Address(?: \d+)?: (\S+)$/gm)].map(([, address = '']) => address);
}

it('shows people the Service that they know, and pods its address', async () => {
  expect(await cluster.kubectlOk('get', 'service', '-n', 'kube-system')).toMatch(
    /^kube-dns +ClusterIP +10\.96\.0\.10 +<none> +53\/UDP,53\/TCP/m,
  );
  const text = await inPod('client', 'cat', '/etc/resolv.conf');
  expect(text).toMatch(/^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
  expect(text).toContain('\nnameserver 10.96.0.10\noptions ndots:5\n');
});

it('leads from every form of a name to the Service', async () => {
  const web = [await serviceIp('web')];
  const forms: readonly [from: string, name: string][] = [
    ['client', 'web'],
    ['client', 'web.default'],
    ['client', 'web.default.svc'],
    ['client', 'WEB.default.svc.cluster.local'],
    ['stranger', 'web.default'],
    ['onhost', 'web.default.svc.cluster.local'],
    ['client', 'alias'],
  ];
  for (const [from, name] of forms)
    expect([from, name, await lookUp(from, name)]).toEqual([from, name, web]);
  // From another namespace the short name is nobody's.
  expect(await lookUp('stranger', 'web.other.svc.cluster.local')).toEqual([]);
});

it('leads to what serves, also from a pod to itself', async () => {
  for (const from of ['client', 'web'])
    expect(await inPod(from, 'wget', '-q', '-O', '-', 'http://web/cgi-bin/whoami')).toBe(
      'hello from web\n',
    );
});

it('knows the pods of a headless Service, and both by their addresses', async () => {
  expect(await lookUp('client', 'db')).toEqual([ip('db-0')]);
  expect(await lookUp('client', 'db-0.db')).toEqual([ip('db-0')]);
  expect(await inPod('client', 'nslookup', ip('db-0'))).toContain(
    'name = db-0.db.default.svc.cluster.local',
  );
  expect(await inPod('client', 'nslookup', await serviceIp('web'))).toContain(
    'name = web.default.svc.cluster.local',
  );
  expect(
    await inPod('client', 'nslookup', '-type=srv', '_http._tcp.db.default.svc.cluster.local'),
  ).toMatch(/service = 0 100 8080 db-0\.db\.default\.svc\.cluster\.local/);
  const dashed = ip('client').replaceAll('.', '-');
  expect(await lookUp('client', `${dashed}.default.pod.cluster.local`)).toEqual([ip('client')]);
});

it('goes on without the control plane, and with an agent that starts without it', async () => {
  const web = [await serviceIp('web')];
  // By which they are found to be removed at the end.
  expect((await cluster.containers()).length).toBeGreaterThan(names.length);
  await cluster.stop();
  expect(await lookUp('client', 'web')).toEqual(web);
  expect(await lookUp('client', 'db-0.db')).toEqual([ip('db-0')]);
  await agent.stop();
  agent.start();
  await eventually(
    async () => (await lookUp('client', 'web')).join() === web.join(),
    'names are known again',
  );
  expect(await lookUp('client', 'db-0.db')).toEqual([ip('db-0')]);
});
