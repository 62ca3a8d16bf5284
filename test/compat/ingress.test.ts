// Apps by their names through the agent's ingress: real pods, real kubectl, curl's part is Node's own client.
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { request } from 'node:http';
import { connect as connectTls } from 'node:tls';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemRandom } from '#kube/base/random.ts';
import { issueCertificate, type KeyPairPem } from '#platform/certificate.ts';
import { TestAvahi } from '../setup/avahi.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { HomeDevice } from '../setup/home-device.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

const app = (name: string, replicas = 1) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: ${webImage}
          imagePullPolicy: Never
          command: [sh, -c, 'mkdir -p /w && echo ${name} > /w/index.html && exec httpd -f -p 8080 -h /w']
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${name} }, ports: [{ name: web, port: 80, targetPort: 8080 }] }
---
`;

const ingress = (tls = '') => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: home }
spec:
  ${tls}
  rules:
    - host: films.local
      http:
        paths:
          - { path: /, pathType: Prefix, backend: { service: { name: films, port: { name: web } } } }
          - { path: /music, pathType: Prefix, backend: { service: { name: music, port: { number: 80 } } } }
`;

let cluster: Cluster;
let pair: KeyPairPem;
let device: HomeDevice;
let avahi: TestAvahi;
const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-ingress-'));
beforeAll(async () => {
  ensureTestImages();
  device = new HomeDevice();
  const flags = ['--ingress-ports', '0,0', '--discovery', device.interface];
  avahi = await TestAvahi.open(device.interface);
  const options = { usesDocker: true, env: avahi.variables };
  cluster = await new Cluster(flags, undefined, options).start();
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
  const spec = {
    commonName: 'films.local',
    dnsNames: ['films.local'],
    usages: ['server'],
  } as const;
  pair = issueCertificate({ ...spec, ...validity }, undefined, systemRandom);
});
afterAll(async () => {
  await cluster.destroy();
  await avahi.destroy();
  device.destroy();
  rmSync(folder, { recursive: true });
});

async function annotation(name: string): Promise<string> {
  const jsonPath = `jsonpath={.items[0].metadata.annotations.flotilla\\.dev/${name}}`;
  return (await cluster.kubectl('get', 'nodes', '-o', jsonPath)).stdout;
}

async function ports(): Promise<number[]> {
  // `http 80; https 443`
  return ((await annotation('ingress-ports')).match(/\d+/g) ?? []).map(Number);
}

/** Who told the home of names, in turn. */
function tellers(): string[] {
  const log = readFileSync(path.join(cluster.dataDirectory, 'logs/agent.log'), 'utf8');
  return Array.from(log.matchAll(/"toldBy":"([^"]*)"/g), ([, who = '']) => who);
}

interface Reply {
  readonly status: number | undefined;
  readonly location: string | undefined;
  readonly text: string;
}

async function get(where: string, host = 'films.local'): Promise<Reply> {
  const [port] = await ports();
  return getAt(port, where, host);
}

function getAt(port: number | undefined, where: string, host = 'films.local'): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', path: where, headers: { host }, agent: false };
    const asked = request(options, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      const { statusCode: status, headers } = incoming;
      incoming.on('end', () => resolve({ status, location: headers.location, text: text.trim() }));
    });
    asked.on('error', reject).end();
  });
}

it('nothing listens before there is an Ingress', async () => {
  expect(await ports()).toEqual([]);
});

it('apps answer at the host and path of their Ingress, which says where', async () => {
  await cluster.apply(app('films', 2) + app('music') + ingress());
  await cluster.kubectlOk('rollout', 'status', 'deployment/films', '--timeout=60s');
  await cluster.kubectlOk('rollout', 'status', 'deployment/music', '--timeout=60s');
  await eventually(async () => (await ports()).length > 0, 'the port is open');
  await eventually(async () => (await get('/')).status === 200, 'the app answers');
  const replies = [await get('/'), await get('/index.html'), await get('/', 'other.local')];
  expect(replies.map(({ status, text }) => [status, text])).toEqual([
    [200, 'films'],
    [200, 'films'],
    [404, 'No app of this home answers at other.local.'],
  ]);
  // httpd has no such folder: the pod of the other app says so itself.
  expect((await get('/music/x')).status).toBe(404);
  const addresses = ['get', 'ingress', 'home', '-o', 'jsonpath={.spec.ingressClassName} {.status}'];
  await eventually(
    async () => /^flotilla .*"ip":/.test((await cluster.kubectl(...addresses)).stdout),
    'the Ingress says where it is served',
  );
});

/** What a client of TLS sees that trusts `ca` and no other. */
async function getByTls(ca: string, servername = 'films.local'): Promise<[boolean, string]> {
  const [, https = 0] = await ports();
  const socket = connectTls({ port: https, host: '127.0.0.1', servername, ca });
  socket.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return [socket.authorized, answer.trim().split('\n').at(-1) ?? ''];
}

it('without being asked over HTTPS too, with a certificate of the home’s own authority', async () => {
  await eventually(async () => (await ports()).length === 2, 'both ports are open');
  const [page, pem] = await Promise.all([
    get('/.well-known/flotilla/trust'),
    get('/.well-known/flotilla/trust/flotilla-apps.pem', '127.0.0.1'),
  ]);
  expect([page.status, pem.status, (await get('/')).status]).toEqual([200, 200, 200]);
  expect(await getByTls(pem.text)).toEqual([true, 'films']);
  // Curl takes HTTP/2 and checks the bounds.
  const [, https] = await ports();
  const root = path.join(folder, 'root.pem');
  writeFileSync(root, `${pem.text}\n`);
  const curl = spawnSync(
    'curl',
    [
      '-sS',
      '--cacert',
      root,
      '-w',
      ' %{http_version} %{ssl_verify_result}',
      '--resolve',
      `films.local:${https}:127.0.0.1`,
      `https://films.local:${https}/`,
    ],
    { encoding: 'utf8' },
  );
  expect([curl.stdout, curl.stderr]).toEqual(['films\n 2 0', '']);
  const published = await cluster.kubectlOk(
    'get',
    'configmap',
    '-n',
    'kube-public',
    'flotilla-apps-ca',
    '-o',
    'yaml',
  );
  const print = new X509Certificate(pem.text).fingerprint256;
  expect([
    published.includes(print),
    page.text.includes(print.slice(0, 5).replace(':', '')),
  ]).toEqual([true, true]);
});

it('with a certificate from a Secret instead, and HTTP is sent there where an annotation says so', async () => {
  for (const [name, text] of [
    ['tls.crt', pair.certPem],
    ['tls.key', pair.keyPem],
  ] as const)
    writeFileSync(path.join(folder, name), text);
  const files = [`--cert=${folder}/tls.crt`, `--key=${folder}/tls.key`];
  await cluster.apply(ingress('tls: [{ hosts: [films.local], secretName: films-tls }]'));
  const events = [
    'get',
    'events',
    '-o',
    'jsonpath={.items[?(@.reason=="IngressProblem")].message}',
  ];
  await eventually(
    async () => (await cluster.kubectl(...events)).stdout.includes('films-tls does not exist'),
    'the missing Secret is told',
  );
  await cluster.kubectlOk('create', 'secret', 'tls', 'films-tls', ...files);
  const key = 'ingress.flotilla.dev/ssl-redirect';
  await cluster.kubectlOk('annotate', 'ingress', 'home', `${key}=true`);
  await eventually(async () => (await get('/a')).status === 308, 'HTTP is sent to HTTPS');
  const [, https = 0] = await ports();
  expect((await get('/a?b')).location).toBe(`https://films.local:${https}/a?b`);
  expect(await getByTls(pair.certPem)).toEqual([true, 'films']);
  expect(await annotation('ingress-reason')).toBe('');
  await cluster.kubectlOk('annotate', 'ingress', 'home', `${key}-`);
  await cluster.apply(ingress());
  await eventually(async () => (await get('/')).status === 200, 'it is HTTP again');
});

it('a device that knows mDNS and nothing else opens the app by its name', async () => {
  const [port = 0] = await ports();
  await eventually(async () => (await annotation('lan-names')) === 'films.local', 'it is told');
  expect(await device.visit('films.local', port)).toEqual({
    address: device.address,
    status: 200,
    text: 'films',
  });
});

it('where avahi runs it tells the name, with a number if another device has it', async () => {
  const [port = 0] = await ports();
  const visit = async (name: string) => {
    const told = async () => (await annotation('lan-names')) === name;
    await eventually(told, `${name} is told`);
    return device.visit(name, port);
  };
  const reached = { address: device.address, status: 200, text: 'films' };
  const letGo = await device.claim('films.local');
  avahi.start();
  expect(await visit('films-2.local')).toEqual(reached);
  const event = ['get', 'events', '-o', 'jsonpath={.items[?(@.reason=="NameTaken")].message}'];
  expect((await cluster.kubectl(...event)).stdout).toBe(
    'Another device of this home is called films.local: the app answers to films-2.local.',
  );
  letGo();
  await avahi.kill();
  avahi.start();
  await eventually(() => tellers().at(-1) === 'avahi', 'avahi tells again');
  expect(await visit('films.local')).toEqual(reached);
  await avahi.kill();
  await eventually(() => tellers().at(-1) === 'this agent', 'the agent tells');
  expect(await visit('films.local')).toEqual(reached);
});

it('a rollout under load costs no request', async () => {
  const [port] = await ports();
  const over = new AbortController();
  const failures: unknown[] = [];
  let answered = 0;
  const load = Array.from({ length: 4 }, async () => {
    while (!over.signal.aborted) {
      const reply = await getAt(port, '/').catch((error: unknown) => ({ status: String(error) }));
      if (reply.status === 200) answered++;
      else failures.push(reply);
    }
  });
  await cluster.kubectlOk('rollout', 'restart', 'deployment/films');
  await cluster.kubectlOk('rollout', 'status', 'deployment/films', '--timeout=60s');
  over.abort();
  await Promise.all(load);
  expect([failures, answered > 50]).toEqual([[], true]);
});

it('without a pod it says so, and without an Ingress nothing listens', async () => {
  const [port] = await ports();
  await cluster.kubectlOk('scale', 'deployment/films', '--replicas=0');
  await eventually(async () => (await get('/')).status === 503, 'no pod is left');
  await cluster.kubectlOk('delete', 'ingress', 'home');
  await eventually(async () => (await ports()).length === 0, 'the port is closed');
  await expect(getAt(port, '/')).rejects.toThrow('ECONNREFUSED');
  expect([await annotation('lan-names'), await device.visit('films.local', 1, 1_000)]).toEqual([
    '',
    {},
  ]);
});
