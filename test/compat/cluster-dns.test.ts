// Names in pods (and once a host of an Ingress), on real Docker: what a pod's own libc and busybox' nslookup make of them, with the control
// plane there, without it, and with an agent that starts without it. Only names of the cluster are asked for:
// no question leaves the machine.
import { execFile } from 'node:child_process';
import { get } from 'node:http';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess, clusterWithoutAgent } from '../setup/agent-process.ts';
import { eventually, type Cluster } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

let cluster: Cluster;
let agent: AgentProcess;
let ingressPorts: readonly string[];
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
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'web', namespace: 'default' },
    spec: { defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
  },
  service('db', { clusterIP: 'None', selector: { app: 'db' }, ports }),
  service('alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }),
  pod('server', {}, { app: 'web' }),
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
const names = ['server', 'db-0', 'client', 'stranger', 'onhost'];

beforeAll(async () => {
  ensureTestImages();
  cluster = await clusterWithoutAgent();
  ingressPorts = [String(await freePort()), String(await freePort())];
  agent = new AgentProcess(cluster).start('--ingress-ports', ingressPorts.join(','));
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

/** All that the command says, also when it fails. */
async function inPod(name: string, ...command: string[]): Promise<string> {
  const args = ['exec', ids.get(name) ?? '', 'busybox', ...command];
  const run = promisify(execFile)('docker', args, { timeout: 20_000 });
  return run.then(
    ({ stdout, stderr }) => `${stderr}${stdout}`,
    (error: { stdout: string; stderr: string }) => `${error.stderr}${error.stdout}`,
  );
}

const ip = (name: string): string => addresses.get(name) ?? '';
const serviceIp = (name: string) =>
  cluster.kubectlOk('get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}');

/** As its libc finds it, by the search list: the address, and who answers there. */
async function reach(from: string, host: string, port = 80): Promise<string> {
  const url = `http://${host}:${port}/cgi-bin/whoami`;
  const said = await inPod(from, 'wget', '-O', '-', url);
  const [, address] = /^Connecting to \S+ \((\S+):\d+\)/m.exec(said) ?? [];
  const [, who] = /^hello from (\S+)$/m.exec(said) ?? [];
  return address === undefined ? said : `${address} ${who}`;
}

it('shows people the Service that they know, and pods its address', async () => {
  expect(await cluster.kubectlOk('get', 'service', '-n', 'kube-system')).toMatch(
    /^kube-dns +ClusterIP +10\.96\.0\.10 +<none> +53\/UDP,53\/TCP/m,
  );
  const text = await inPod('client', 'cat', '/etc/resolv.conf');
  expect(text).toMatch(/^search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
  expect(text).toContain('\nnameserver 10.96.0.10\noptions ndots:5\n');
});

it('leads from every form of a name to the Service, and to what serves', async () => {
  const want = `${await serviceIp('web')} server`;
  const forms: readonly [from: string, name: string][] = [
    ['client', 'web'],
    ['client', 'web.default'],
    ['client', 'web.default.svc'],
    ['client', 'WEB.default.svc.cluster.local'],
    ['client', 'web.default.svc.cluster.local.'],
    ['client', 'alias'],
    ['stranger', 'web.default'],
    ['onhost', 'web.default'],
    // Itself, through the Service.
    ['server', 'web'],
  ];
  for (const [from, name] of forms)
    expect([from, name, await reach(from, name)]).toEqual([from, name, want]);
  // From another namespace the short name is nobody's.
  expect(await reach('stranger', 'web')).toContain('bad address');
});

it('knows the pods of a headless Service, and both by their addresses', async () => {
  const db = `${ip('db-0')} db-0`;
  for (const name of ['db', 'db-0.db', 'db-0.db.default.svc.cluster.local'])
    expect(await reach('client', name, 8080)).toBe(db);
  const dashed = ip('db-0').replaceAll('.', '-');
  expect(await reach('client', `${dashed}.default.pod.cluster.local`, 8080)).toBe(db);
  const asked: readonly [string[], string][] = [
    [[ip('db-0')], 'name = db-0.db.default.svc.cluster.local'],
    [[await serviceIp('web')], 'name = web.default.svc.cluster.local'],
    [
      ['-type=srv', '_http._tcp.db.default.svc.cluster.local'],
      'service = 0 100 8080 db-0.db.default.svc.cluster.local',
    ],
  ];
  for (const [args, want] of asked)
    expect(await inPod('client', 'nslookup', ...args)).toContain(want);
});

/** The pod that answers at any host of the Ingress. */
function whoAnswers(): Promise<string> {
  const [port] = ingressPorts;
  return new Promise((resolve) => {
    const where = { host: '127.0.0.1', port, path: '/cgi-bin/whoami', agent: false };
    get(where, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve(text.trim()));
    }).on('error', ({ message }) => resolve(message));
  });
}

it('goes on without the control plane, and with an agent that starts without it, as apps by their hosts do', async () => {
  const web = `${await serviceIp('web')} server`;
  // By which they are found to be removed at the end.
  expect((await cluster.containers()).length).toBeGreaterThan(names.length);
  await eventually(async () => (await whoAnswers()) === 'hello from server', 'the app answers');
  await cluster.stop();
  expect(await reach('client', 'web')).toBe(web);
  expect(await reach('client', 'db-0.db', 8080)).toBe(`${ip('db-0')} db-0`);
  await agent.stop();
  agent.start('--ingress-ports', ingressPorts.join(','));
  await eventually(async () => (await reach('client', 'web')) === web, 'names are known again');
  expect(await reach('client', 'db-0.db', 8080)).toBe(`${ip('db-0')} db-0`);
  await eventually(async () => (await whoAnswers()) === 'hello from server', 'routes are known');
});
