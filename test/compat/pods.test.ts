// What a pod's definition promises its containers, on real Docker and told by `kubectl`: what they
// share, their order, limits, user, volumes, hooks, probes, ports, ends. Each test has its own pod.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import type { IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container, ContainerStatus, Pod, PodSpec } from '#kube/api/core.ts';
import { events as eventResource, nodes as nodeResource, pods } from '#kube/client/resources.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { parsePrometheusText } from '../setup/prometheus-text.ts';
import { freePort } from '../setup/free-port.ts';
import { ImageRegistry } from '../setup/registry.ts';

const cluster = new Cluster();
const hostDirectory = mkdtempSync(path.join(tmpdir(), 'flotilla-pods-'));

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(async () => {
  await cluster.destroy();
  rmSync(hostDirectory, { recursive: true });
});

type Given = Partial<Container>;

function shell(script: string, more: Given = {}): Container {
  const command = ['sh', '-c', script];
  return { name: 'main', image: webImage, imagePullPolicy: 'Never', command, ...more };
}

/** The test image's own web server, on port 8080. */
function web(more: Given = {}): Container {
  return { name: 'main', image: webImage, imagePullPolicy: 'Never', ...more };
}

async function run(name: string, container: Container, spec: Partial<PodSpec> = {}): Promise<void> {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { terminationGracePeriodSeconds: 1, containers: [container], ...spec },
  };
  await (await cluster.client()).create(pods, pod);
}

async function podNamed(name: string): Promise<Pod> {
  return (await cluster.client()).get(pods, { namespace: 'default', name });
}

async function isReady(name: string): Promise<void> {
  await eventually(async () => {
    const { conditions } = (await podNamed(name)).status ?? {};
    return conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  }, `${name} is ready`);
}

async function ends(name: string, phase: 'Succeeded' | 'Failed'): Promise<Pod> {
  return eventually(async () => {
    const pod = await podNamed(name);
    if (pod.status?.phase !== phase) throw new Error(JSON.stringify(pod.status));
    return pod;
  }, `${name} ends`);
}

/** A script that ends, in a pod that is not started again: what it printed. */
async function printed(
  name: string,
  container: Container,
  spec: Partial<PodSpec> = {},
): Promise<string> {
  await run(name, container, { restartPolicy: 'Never', ...spec });
  await ends(name, 'Succeeded');
  return cluster.kubectlOk('logs', name);
}

function statusOf(pod: Pod): ContainerStatus {
  const [status] = pod.status?.containerStatuses ?? [];
  if (status === undefined) throw new Error(`${pod.metadata.name} has no container status`);
  return status;
}

function inspect(pod: Pod, format: string): unknown {
  const id = (statusOf(pod).containerID ?? '').replace('docker://', '');
  const args = ['inspect', '--format', `{{json ${format}}}`, id];
  return JSON.parse(execFileSync('docker', args, { encoding: 'utf8' }));
}

/** `reason: message` of each event about a pod. */
async function events(name: string): Promise<string> {
  const options = { namespace: 'default', fieldSelector: `involvedObject.name=${name}` };
  const { items } = await (await cluster.client()).list(eventResource, options);
  return items.map(({ reason, message }) => `${reason}: ${message}\n`).join('');
}

describe('the containers of a pod', () => {
  it('share localhost and an emptyDir', async () => {
    const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
    const serving = shell('echo from-the-other > /shared/f; exec httpd -f -p 8081 -h /shared', {
      name: 'server',
      volumeMounts,
    });
    const asking = shell(
      'until wget -q -O /shared/got http://127.0.0.1:8081/f; do sleep 0.1; done; cat /shared/got; exec sleep 600',
      { volumeMounts },
    );
    await run('pair', serving, {
      containers: [serving, asking],
      volumes: [{ name: 'shared', emptyDir: {} }],
    });
    await isReady('pair');
    await eventually(
      async () => (await cluster.kubectlOk('logs', 'pair', '-c', 'main')) === 'from-the-other\n',
      'one container reads what the other serves',
    );
  });

  it('start after the init containers, which run one after the other', async () => {
    const volumeMounts = [{ name: 'notes', mountPath: '/notes' }];
    const init = (name: string) =>
      shell(`echo ${name} begins >> /notes/f; sleep 0.3; echo ${name} ends >> /notes/f`, {
        name,
        volumeMounts,
      });
    const log = await printed('ordered', shell('cat /notes/f', { volumeMounts }), {
      initContainers: [init('one'), init('two'), init('three')],
      volumes: [{ name: 'notes', emptyDir: {} }],
    });
    expect(log).toBe('one begins\none ends\ntwo begins\ntwo ends\nthree begins\nthree ends\n');
  });

  it('get variables out of a file that an init container left', async () => {
    const file = 'app.env';
    const from = (key: string, optional = false) => ({
      name: key,
      valueFrom: { fileKeyRef: { volumeName: 'shared', path: file, key, optional } },
    });
    const mount = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };
    const script = `printf "# made here\\nHOST='db.lan'\\n" > /shared/${file}`;
    const env = [from('HOST'), from('PORT', true)];
    const log = await printed('env-file', shell('echo "$HOST:${PORT-none}"', { env }), {
      initContainers: [{ ...shell(script, mount), name: 'first' }],
      volumes: [{ name: 'shared', emptyDir: {} }],
    });
    expect(log).toBe('db.lan:none\n');
  });

  it('get the CPU and memory that the pod says, and no more', async () => {
    const limits = { cpu: '250m', memory: '32Mi' };
    const requests = { cpu: '100m', memory: '16Mi' };
    await run('limited', web({ resources: { limits, requests } }));
    await isReady('limited');
    const pod = await podNamed('limited');
    expect(pod.status?.qosClass).toBe('Burstable');
    expect(inspect(pod, '.HostConfig')).toMatchObject({
      CpuPeriod: 100_000,
      CpuQuota: 25_000,
      CpuShares: 102,
      Memory: 32 * 1024 * 1024,
      MemorySwap: 32 * 1024 * 1024,
    });
  });

  it('run as the user, with the rights and the file system that the pod says', async () => {
    const script =
      'busybox id -u; busybox id -g; busybox id -G; echo x 2>/dev/null > /no || echo read-only; ' +
      'busybox grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status';
    const container = shell(script, {
      securityContext: {
        runAsUser: 1234,
        runAsGroup: 2345,
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
      },
    });
    const securityContext = { runAsNonRoot: true, fsGroup: 3456, supplementalGroups: [4567] };
    const log = await printed('confined', container, { securityContext });
    expect(log.split('\n')).toEqual([
      '1234',
      '2345',
      '2345 3456 4567',
      'read-only',
      'CapEff:\t0000000000000000',
      'CapBnd:\t0000000000000000',
      'NoNewPrivs:\t1',
      '',
    ]);
  });

  it('do not run as root where they must not', async () => {
    await run('rootless', web(), { securityContext: { runAsNonRoot: true } });
    const waiting = await eventually(
      async () => statusOf(await podNamed('rootless')).state?.waiting?.message && 'told',
      'a reason why it waits',
    );
    expect(waiting).toBe('told');
    const { state } = statusOf(await podNamed('rootless'));
    expect(state?.waiting?.reason).toBe('CreateContainerConfigError');
    expect(state?.waiting?.message).toMatch(
      /^container has runAsNonRoot and image will run as root \(pod: "rootless_default\(/,
    );
  });
});

describe('a volume', () => {
  it('shows a part of itself where a mount has a subPath', async () => {
    await cluster.kubectlOk('create', 'configmap', 'conf', '--from-literal=a.conf=one');
    const volumeMounts = [
      { name: 'conf', mountPath: '/etc/a.conf', subPath: 'a.conf' },
      { name: 'data', mountPath: '/data', subPath: 'deep/er' },
    ];
    const script = 'cat /etc/a.conf; echo; ls /etc; echo kept > /data/f';
    const log = await printed('part', shell(script, { volumeMounts }), {
      volumes: [
        { name: 'conf', configMap: { name: 'conf' } },
        { name: 'data', hostPath: { path: hostDirectory } },
      ],
    });
    expect(log).toMatch(/^one\n[^]*a\.conf\n/);
    expect(readFileSync(path.join(hostDirectory, 'deep/er/f'), 'utf8')).toBe('kept\n');
  });

  it('of the host is made or refused as its type says', async () => {
    const file = path.join(hostDirectory, 'made/new.txt');
    mkdirSync(path.dirname(file));
    const mount = { name: 'host', mountPath: '/host' };
    await printed('host-file', shell('echo hi > /host', { volumeMounts: [mount] }), {
      volumes: [{ name: 'host', hostPath: { path: file, type: 'FileOrCreate' } }],
    });
    expect(readFileSync(file, 'utf8')).toBe('hi\n');
    await run('host-none', web({ volumeMounts: [mount] }), {
      volumes: [{ name: 'host', hostPath: { path: file, type: 'Directory' } }],
    });
    const wanted = `FailedMount: MountVolume.SetUp failed for volume "host" : hostPath type check failed: ${file} is not a directory`;
    await eventually(async () => (await events('host-none')).includes(wanted), wanted);
    // As soon as the machine is as it should be, the pod goes on.
    rmSync(file);
    mkdirSync(file);
    await isReady('host-none');
  });
});

describe('a pod that ends', () => {
  it('is Succeeded or Failed by its exit codes, with its last words', async () => {
    await run('well', shell('echo all done > /dev/termination-log'), { restartPolicy: 'Never' });
    const fallback = { terminationMessagePolicy: 'FallbackToLogsOnError' };
    await run('badly', shell('echo it broke; exit 3', fallback), { restartPolicy: 'Never' });
    const well = statusOf(await ends('well', 'Succeeded')).state?.terminated;
    expect(well).toMatchObject({ exitCode: 0, reason: 'Completed', message: 'all done\n' });
    const badly = statusOf(await ends('badly', 'Failed')).state?.terminated;
    expect(badly).toMatchObject({ exitCode: 3, reason: 'Error', message: 'it broke\n' });
    expect(await cluster.kubectlOk('get', 'pod', 'well', '--no-headers')).toMatch(
      /0\/1 +Completed +0/,
    );
  });

  it('with OnFailure is tried until it succeeds', async () => {
    const volumeMounts = [{ name: 'notes', mountPath: '/notes' }];
    const script = 'cat /notes/f && exit 0; echo tried > /notes/f; exit 1';
    await run('again', shell(script, { volumeMounts }), {
      restartPolicy: 'OnFailure',
      volumes: [{ name: 'notes', emptyDir: {} }],
    });
    const status = statusOf(await ends('again', 'Succeeded'));
    expect(status.restartCount).toBe(1);
    expect(status.lastState?.terminated).toMatchObject({ exitCode: 1 });
  });

  it('fails when its time is over, whatever it does', async () => {
    await run('slow', shell('exec sleep 600'), { activeDeadlineSeconds: 2 });
    const pod = await ends('slow', 'Failed');
    expect(pod.status).toMatchObject({
      reason: 'DeadlineExceeded',
      message: 'Pod was active on the node longer than the specified deadline',
    });
    await eventually(
      async () => statusOf(await podNamed('slow')).state?.terminated?.exitCode === 137,
      'its container is stopped',
    );
  });
});

describe('a hook', () => {
  it('runs in the container after its start and before its end', async () => {
    const mount = { name: 'host', mountPath: '/host' };
    const say = (text: string) => ({
      exec: { command: ['sh', '-c', `echo ${text} >> /host/hooks`] },
    });
    const lifecycle = { postStart: say('started'), preStop: say('stopping') };
    await run('hooked', web({ lifecycle, volumeMounts: [mount] }), {
      terminationGracePeriodSeconds: 5,
      volumes: [{ name: 'host', hostPath: { path: hostDirectory } }],
    });
    await isReady('hooked');
    const notes = path.join(hostDirectory, 'hooks');
    expect(readFileSync(notes, 'utf8')).toBe('started\n');
    await cluster.kubectlOk('delete', 'pod', 'hooked');
    expect(readFileSync(notes, 'utf8')).toBe('started\nstopping\n');
  });

  it('may be a request to the container', async () => {
    const preStop = { httpGet: { path: '/cgi-bin/whoami?bye', port: 8080 } };
    const postStart = { sleep: { seconds: 1 } };
    await run('asked', web({ lifecycle: { postStart, preStop } }));
    await isReady('asked');
    const logs = cluster.follow('logs', '-f', 'asked');
    try {
      await cluster.kubectlOk('delete', 'pod', 'asked');
      await logs.exited();
      expect(logs.stdout).toContain('url:/cgi-bin/whoami');
    } finally {
      await logs.stop();
    }
  });

  it('that fails after the start stops the container and says so', async () => {
    const lifecycle = { postStart: { exec: { command: ['sh', '-c', 'echo no luck; exit 7'] } } };
    await run('unlucky', web({ lifecycle }));
    await eventually(
      async () => (await events('unlucky')).includes('FailedPostStartHook: '),
      'an event about the hook',
    );
    await eventually(
      async () => statusOf(await podNamed('unlucky')).restartCount > 0,
      'the container is started again',
    );
  });
});

describe('a probe', () => {
  it('opens a TCP port: a closed one restarts the container', async () => {
    const probe = (port: number) => ({
      tcpSocket: { port },
      periodSeconds: 1,
      failureThreshold: 1,
    });
    await run('open', web({ readinessProbe: probe(8080) }));
    await run('closed', web({ livenessProbe: probe(81) }));
    await isReady('open');
    await eventually(
      async () => statusOf(await podNamed('closed')).restartCount > 0,
      'the container is started again',
    );
    const told = await events('closed');
    expect(told).toMatch(
      /Unhealthy: Liveness probe failed: dial tcp [\d.]+:81: connect: connection refused/,
    );
    expect(told).toContain('Killing: Container main failed liveness probe, will be restarted');
  });

  it('runs a command: the pod is ready as long as it succeeds', async () => {
    const file = path.join(hostDirectory, 'healthy');
    const readinessProbe = {
      exec: { command: ['cat', '/host/healthy'] },
      periodSeconds: 1,
      failureThreshold: 1,
    };
    const volumeMounts = [{ name: 'host', mountPath: '/host' }];
    await run('moody', web({ readinessProbe, volumeMounts }), {
      volumes: [{ name: 'host', hostPath: { path: hostDirectory } }],
    });
    const wanted = "Unhealthy: Readiness probe failed: cat: can't open '/host/healthy'";
    await eventually(async () => (await events('moody')).includes(wanted), wanted);
    writeFileSync(file, '');
    await isReady('moody');
    rmSync(file);
    const args = ['wait', '--for=condition=Ready=false', 'pod/moody', '--timeout=60s'];
    await cluster.kubectlOk(...args);
  });

  it('asks a gRPC server for its health', async () => {
    const form = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}';
    const nodeIp = await cluster.kubectlOk('get', 'nodes', '-o', form);
    let status = '2';
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      const headers = { ':status': 200, 'content-type': 'application/grpc' };
      stream.respond(headers, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from(`0000000002080${status}`, 'hex'));
    });
    await new Promise<void>((resolve) => void server.listen(0, nodeIp, resolve));
    try {
      // With the host's network, this test's server stands where the container's would.
      const grpc = { port: (server.address() as AddressInfo).port };
      const readinessProbe = { grpc, periodSeconds: 1 };
      await run('healthy', shell('exec sleep 600', { readinessProbe }), { hostNetwork: true });
      const wanted =
        'Unhealthy: Readiness probe failed: service unhealthy (responded with "NOT_SERVING")';
      await eventually(async () => (await events('healthy')).includes(wanted), wanted);
      status = '1';
      await isReady('healthy');
    } finally {
      server.close();
    }
  });
});

describe('a pod and the outside', () => {
  it('answers on its hostPort', async () => {
    const hostPort = await freePort();
    await run('at-home', web({ ports: [{ containerPort: 8080, hostPort }] }));
    await isReady('at-home');
    const text = await eventually(
      async () => (await fetch(`http://127.0.0.1:${hostPort}/cgi-bin/whoami`)).text(),
      'an answer on the host port',
    );
    expect(text).toBe('hello from at-home\n');
  });

  it('gets a private image with its pull secret, and none without', async () => {
    const registry = await new ImageRegistry().start();
    const { host, username, password, image } = registry;
    const secret = ['create', 'secret', 'docker-registry', 'key', `--docker-server=${host}`];
    try {
      await cluster.kubectlOk(
        ...secret,
        `--docker-username=${username}`,
        `--docker-password=${password}`,
      );
      const container = shell('echo I run', { image, imagePullPolicy: 'Always' });
      await run('locked-out', container, { restartPolicy: 'Never' });
      const wanted = `Failed: Failed to pull image "${image}": `;
      await eventually(async () => (await events('locked-out')).includes(wanted), wanted);
      expect(await events('locked-out')).toMatch(/no basic auth credentials|unauthorized/);
      const log = await printed('let-in', container, { imagePullSecrets: [{ name: 'key' }] });
      expect(log).toBe('I run\n');
    } finally {
      await cluster.kubectl('delete', 'pod', 'locked-out', 'let-in');
      await registry.stop();
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });

  it('tells in MB how far its image is while it is fetched', async () => {
    const registry = await new ImageRegistry({ bytesPerSecond: 500_000 }).start();
    const { host, username, password, image } = registry;
    const secret = ['create', 'secret', 'docker-registry', 'fetched', `--docker-server=${host}`];
    const seen = new Set<string>();
    try {
      await cluster.kubectlOk(
        ...secret,
        `--docker-username=${username}`,
        `--docker-password=${password}`,
      );
      const container = shell('echo I run', { image, imagePullPolicy: 'IfNotPresent' });
      await run('fetched', container, { imagePullSecrets: [{ name: 'fetched' }] });
      await eventually(async () => {
        seen.add(statusOf(await podNamed('fetched')).state?.waiting?.message ?? '');
        expect(await events('fetched')).toContain('Started: ');
        return true;
      }, 'the slow image');
      const words = [...seen].filter((text) => text !== '');
      expect(words.length).toBeGreaterThan(1);
      for (const text of words)
        expect(text).toMatch(/^(Pulling|Unpacking) image "127.*": \d\.\d of \d\.\d MB$/);
    } finally {
      await cluster.kubectl('delete', 'pod', 'fetched');
      await registry.stop();
      execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    }
  });

  it('is measured for a Prometheus that may read metrics, by the node’s own port', async () => {
    await run('measured', web());
    await isReady('measured');
    const [stranger, token] = [await account('stranger'), await account('prometheus')];
    const role = ['--verb=get', '--resource=nodes/metrics,nodes/stats'];
    await cluster.kubectlOk('create', 'clusterrole', 'scrape', ...role);
    const who = ['--clusterrole=scrape', '--serviceaccount=default:prometheus'];
    await cluster.kubectlOk('create', 'clusterrolebinding', 'scrape', ...who);
    const { text } = await eventually(async () => {
      const answer = await scrape('/metrics/cadvisor', token);
      return answer.status === 200 && answer;
    }, 'it may scrape');
    expect((await scrape('/metrics/cadvisor', '')).status).toBe(401);
    const user = 'system:serviceaccount:default:stranger';
    expect(await scrape('/metrics/cadvisor', stranger)).toEqual({
      status: 403,
      text: `Forbidden (user=${user}, verb=get, resource=nodes, subresource(s)=[metrics])`,
    });
    const used = (parsePrometheusText(text).get('container_memory_working_set_bytes') ?? []).find(
      ({ labels: { container, namespace, pod } }) =>
        container === 'main' && namespace === 'default' && pod === 'measured',
    );
    expect(used?.value).toBeGreaterThan(0);
    for (const page of ['/metrics', '/metrics/resource', '/metrics/probes'])
      parsePrometheusText((await scrape(page, token)).text);
    const summary = await scrape('/stats/summary', token);
    expect(JSON.parse(summary.text)).toMatchObject({ node: { cpu: {} } });
    const history = await scrape('/stats/history?range=1h&of=node', token);
    expect(JSON.parse(history.text)).toMatchObject({ stepMs: 10_000, series: { node: {} } });
    expect((await scrape('/pods', token)).status).toBe(403);
  });
});

/** A new service account's token. */
async function account(name: string): Promise<string> {
  await cluster.kubectlOk('create', 'serviceaccount', name);
  return (await cluster.kubectlOk('create', 'token', name)).trim();
}

/** From the node's own port, with a bearer token. */
async function scrape(
  pathname: string,
  token: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const { items } = await (await cluster.client()).list(nodeResource);
  const port = items[0]?.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
  const headers = token === '' ? {} : { authorization: `Bearer ${token}` };
  const ca = readFileSync(path.join(cluster.dataDirectory, 'pki/ca.crt'));
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: pathname, headers, ca };
    httpsGet(options, resolve).once('error', reject);
  });
  const text = Buffer.concat(await response.toArray()).toString();
  return { status: response.statusCode ?? 0, text };
}

describe('controllers on a real node', () => {
  const template = (app: string) => ({
    metadata: { labels: { app } },
    spec: { terminationGracePeriodSeconds: 1, containers: [web()] },
  });

  it('a DaemonSet runs one pod here, and a new one when that is deleted', async () => {
    const selector = { matchLabels: { app: 'daemon' } };
    const spec = { selector, template: template('daemon') };
    const metadata = { name: 'daemon' };
    await cluster.apply(
      JSON.stringify({ apiVersion: 'apps/v1', kind: 'DaemonSet', metadata, spec }),
    );
    await cluster.kubectlOk('rollout', 'status', 'ds/daemon', '--timeout=60s');
    const name = () => cluster.kubectlOk('get', 'pods', '-l', 'app=daemon', '-o', 'name');
    const before = await name();
    expect(before).toMatch(/^pod\/daemon-\w+\n$/);
    await cluster.kubectlOk('delete', '-l', 'app=daemon', 'pods');
    await eventually(async () => ![before, ''].includes(await name()), 'another pod');
    await cluster.kubectlOk('rollout', 'status', 'ds/daemon', '--timeout=60s');
  });

  it('a ReplicationController keeps as many pods as it says', async () => {
    const spec = { replicas: 2, selector: { app: 'copies' }, template: template('copies') };
    const metadata = { name: 'copies' };
    await cluster.apply(
      JSON.stringify({ apiVersion: 'v1', kind: 'ReplicationController', metadata, spec }),
    );
    const ready = (count: number) =>
      cluster.kubectlOk(
        'wait',
        `--for=jsonpath={.status.readyReplicas}=${count}`,
        'rc/copies',
        '--timeout=60s',
      );
    await ready(2);
    await cluster.kubectlOk('scale', 'rc/copies', '--replicas=1');
    await ready(1);
    await cluster.kubectlOk('delete', 'rc/copies');
    await eventually(
      async () => (await cluster.kubectlOk('get', 'pods', '-l', 'app=copies', '-o', 'name')) === '',
      'its pods are gone',
    );
  });
});

it('kubectl top shows what is used, measured when it asks', async () => {
  await run('busy', shell('while :; do :; done', { resources: { limits: { cpu: '100m' } } }));
  await isReady('busy');
  const nodes = await cluster.kubectlOk('top', 'nodes', '--no-headers');
  expect(nodes).toMatch(/^\S+\s+[1-9]\d*m\s+\d+%\s+[1-9]\d*Mi\s+\d+%\s*$/);
  // Its node was asked a moment ago, perhaps before there was this container.
  const used = await eventually(async () => {
    const { stdout } = await cluster.kubectl('top', 'pod', 'busy', '--containers', '--no-headers');
    return /^busy\s+main\s+[1-9]\d*m\s+\d+Mi\s*$/.exec(stdout)?.[0];
  }, 'the use of a container');
  expect(used).toBeDefined();
  expect(await cluster.kubectlOk('top', 'pods', '-A', '--no-headers')).toContain('busy');
  const table = await cluster.kubectlOk('get', 'pods.metrics.k8s.io', 'busy');
  expect(table).toMatch(/^NAME\s+CPU\s+MEMORY\s+WINDOW\nbusy\s/);
  await cluster.kubectlOk('delete', 'pod', 'busy', '--now');
});
