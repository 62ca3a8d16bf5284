// exec, attach, cp, port-forward, debug and the proxies by unmodified clients on real Docker:
// kubectl 1.35 over WebSockets and over SPDY, and Debian's kubectl, which knows only SPDY.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { cache } from '../setup/machine.ts';

const cluster = new Cluster();
const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-streams-'));
const largeBytes = 50 * 1024 * 1024;
const large = path.join(directory, 'large');
/** By an exec as well: what it adds shows with less. */
const copiedBytes = 5 * 1024 * 1024;
const copied = path.join(directory, 'copied');

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
  const content = randomBytes(largeBytes);
  writeFileSync(large, content);
  writeFileSync(copied, content.subarray(0, copiedBytes));
  await cluster.apply(JSON.stringify(pod));
  await cluster.kubectlOk('expose', 'pod', 'web', '--port=80', '--target-port=8080');
  await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
});
afterAll(async () => {
  await cluster.destroy();
  rmSync(directory, { recursive: true });
});

const container = { image: webImage, imagePullPolicy: 'Never' };
const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', labels: { app: 'web' } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      { name: 'main', ...container },
      {
        name: 'talker',
        ...container,
        stdin: true,
        command: ['sh', '-c', 'while read line; do echo "heard $line"; done; exec sleep 600'],
      },
      // Only the pod itself reaches this one.
      {
        name: 'inner',
        ...container,
        command: ['httpd', '-f', '-p', '127.0.0.1:9000', '-h', '/www'],
      },
    ],
  },
};

interface Client {
  readonly name: string;
  readonly binary: string;
  readonly env: Readonly<Record<string, string>>;
}

const binary = path.join(cache, 'bin/kubectl');
const clients: readonly Client[] = [
  {
    name: 'kubectl 1.35 over WebSockets',
    binary,
    env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'true' },
  },
  {
    name: 'kubectl 1.35 over SPDY',
    binary,
    env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' },
  },
  { name: "Debian's kubectl", binary: 'kubectl', env: {} },
];
const [first = clients[0] as Client] = clients;

interface Result {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

function start(client: Client, args: readonly string[], stdin: 'pipe' | 'ignore'): ChildProcess {
  return spawn(client.binary, ['--kubeconfig', cluster.kubeconfig, ...args], {
    stdio: [stdin, 'pipe', 'pipe'],
    env: { ...process.env, ...client.env },
  });
}

function run(client: Client, args: readonly string[], input?: Buffer | string): Promise<Result> {
  const child = start(client, args, input === undefined ? 'ignore' : 'pipe');
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  return new Promise((resolve) =>
    child.once('close', (code) => resolve({ code, stdout: Buffer.concat(stdout), stderr })),
  );
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** How often `text` is the command line of a process of this machine; kubectl's own apart. */
function processes(text: string): number {
  const out = execFileSync('ps', ['-e', '-o', 'args='], { encoding: 'utf8' });
  return out.split('\n').filter((line) => line === text).length;
}

function openFiles(): number {
  const pids = [...cluster.childPids('agent'), ...cluster.childPids('controlplane')];
  return pids.reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);
}

const inMain = ['exec', 'web', '-c', 'main'];

describe.each(clients)('$name', (client) => {
  it('exec: output apart from errors, and the exit code', async () => {
    const script = 'echo out; echo err >&2; exit 7';
    const { code, stdout, stderr } = await run(client, [...inMain, '--', 'sh', '-c', script]);
    expect([code, stdout.toString()]).toEqual([7, 'out\n']);
    expect(stderr).toContain('err\n');
    expect(stderr).toContain('command terminated with exit code 7');
    expect((await run(client, [...inMain, '--', 'true'])).code).toBe(0);
  });

  it('exec: a command that is not there', async () => {
    const { code, stdout, stderr } = await run(client, [...inMain, '--', 'nope']);
    expect([126, 127]).toContain(code);
    expect(stdout.toString() + stderr).toContain('executable file not found in $PATH');
    expect(stderr).toContain(`command terminated with exit code ${code}`);
  });

  it('exec: 50 MB in and out arrive as they were', async () => {
    const content = readFileSync(large);
    const { stdout } = await run(client, [...inMain, '-i', '--', 'cat'], content);
    expect([stdout.length, sha256(stdout)]).toEqual([largeBytes, sha256(content)]);
  });

  it('exec: a process that takes no more input is no failure', async () => {
    const { code, stdout } = await run(
      client,
      [...inMain, '-i', '--', 'head', '-c', '5'],
      `hello${'x'.repeat(1_000_000)}`,
    );
    expect([code, stdout.toString()]).toEqual([0, 'hello']);
  });

  it('exec: a terminal with the size of the own one', async () => {
    const wait = 'until [ "$(stty size)" = "40 100" ]; do sleep 0.05; done; tty; exit 5';
    const command = [client.binary, '--kubeconfig', cluster.kubeconfig, ...inMain];
    const quoted = [...command, '-it', '--', 'sh', '-c', wait].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qec', `stty rows 40 cols 100; ${quoted}`, '/dev/null'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...client.env },
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect([code, said]).toEqual([5, expect.stringContaining('/dev/')]);
  });

  it('attach: says what the container hears', async () => {
    const name = `talker-${clients.indexOf(client)}`;
    const [, talker] = pod.spec.containers;
    const own = { ...pod, metadata: { name }, spec: { ...pod.spec, containers: [talker] } };
    await cluster.apply(JSON.stringify(own));
    await cluster.kubectlOk('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s');
    const child = start(client, ['attach', '-i', name], 'pipe');
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stdin?.write('one\ntwo\n');
    await eventually(() => said.includes('heard one\nheard two\n'), 'the container answers');
    child.kill('SIGKILL');
    await cluster.kubectlOk('delete', 'pod', name, '--wait=false');
  });

  it('cp: both ways', async () => {
    const there = `/tmp/copied-${clients.indexOf(client)}`;
    const back = `${copied}-${clients.indexOf(client)}`;
    const { code, stderr } = await run(client, ['cp', copied, `web:${there}`, '-c', 'main']);
    expect([code, stderr]).toEqual([0, '']);
    expect((await run(client, ['cp', `web:${there}`, back, '-c', 'main'])).code).toBe(0);
    expect(sha256(readFileSync(back))).toBe(sha256(readFileSync(copied)));
  });

  it('port-forward: many connections, also to where only the pod itself reaches', async () => {
    const [outer, inner] = [await freePort(), await freePort()];
    const child = start(
      client,
      ['port-forward', 'web', `${outer}:8080`, `${inner}:9000`],
      'ignore',
    );
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually(() => said.includes(`127.0.0.1:${inner}`), 'kubectl listens');
    const get = async (port: number, page: string): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${port}${page}`);
      return answer.text();
    };
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => get(outer, '/cgi-bin/whoami')),
    );
    expect(new Set(answers)).toEqual(new Set(['hello from web\n']));
    expect(await get(inner, '/')).toBe('<h1>hello</h1>\n');
    child.kill('SIGKILL');
  });

  it('port-forward: a dead port is told by name', async () => {
    const port = await freePort();
    const child = start(client, ['port-forward', 'web', `${port}:9999`], 'ignore');
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually(() => said.includes(`127.0.0.1:${port}`), 'kubectl listens');
    await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    await eventually(() => said.includes('error forwarding port 9999 to pod'), 'kubectl tells it');
    expect(said).toContain('connect: connection refused');
    child.kill('SIGKILL');
  });
});

/** All at once: sockets that are kept open for the next request take their time to close. */
it('clients that are killed leave no process and no socket behind', async () => {
  const before = openFiles();
  const texts = clients.map((_, index) => `sleep ${70_000 + index}`);
  const killed = clients.flatMap((client, index) => {
    const command = ['--', 'sleep', String(70_000 + index)];
    const quiet = start(client, [...inMain, ...command], 'ignore');
    // Its input waits, so nobody reads from its connection.
    const busy = start(client, [...inMain, '-i', ...command], 'pipe');
    busy.stdin?.on('error', () => undefined);
    busy.stdin?.write(Buffer.alloc(20_000_000));
    return [quiet, busy];
  });
  await eventually(() => texts.every((text) => processes(text) === 2), 'all run');
  for (const child of killed) child.kill('SIGKILL');
  await eventually(() => texts.every((text) => processes(text) === 0), 'all have ended');
  await eventually(() => openFiles() <= before + 2, 'their sockets are closed');
});

describe('what went over the API server', () => {
  it('were WebSockets where they were asked for: nobody fell back', async () => {
    const metrics = await cluster.kubectlOk('get', '--raw', '/metrics');
    const count = (subresource: string, verb: string): string[] =>
      metrics
        .split('\n')
        .filter((line) => line.startsWith('apiserver_request_total{'))
        .filter((line) => line.includes(`"${subresource}"`) && line.includes(`verb="${verb}"`))
        .map((line) => /code="(\d+)"/.exec(line)?.[1] ?? '');
    for (const subresource of ['exec', 'attach', 'portforward']) {
      expect([subresource, count(subresource, 'GET')]).toEqual([subresource, ['101']]);
      expect([subresource, count(subresource, 'CREATE')]).toEqual([subresource, ['101']]);
    }
  });
});

describe('kubectl debug', () => {
  it('starts a container that sees the processes of another one, and talks to it', async () => {
    const { code, stdout } = await run(
      first,
      [
        'debug',
        'web',
        '-i',
        '--profile=general',
        '-c',
        'look',
        '--target=main',
        `--image=${webImage}`,
      ].concat(['--image-pull-policy=Never', '--', 'sh', '-c', 'read line; echo "$line"; ps']),
      'hello\n',
    );
    expect(code).toBe(0);
    expect(stdout.toString()).toContain('hello\n');
    expect(stdout.toString()).toContain('httpd -f -vv -p 8080');
    expect(await cluster.kubectlOk('logs', 'web', '-c', 'look')).toContain('hello\n');
    const exitCode = 'jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}';
    await eventually(
      async () => (await cluster.kubectlOk('get', 'pod', 'web', '-o', exitCode)) === '0',
      'its end is in the status',
    );
  });
});

describe('what can not be', () => {
  const cases = [
    {
      args: ['exec', 'web', '-c', 'no', '--', 'ls'],
      want: 'container no is not valid for pod web',
    },
    { args: ['exec', 'nowhere', '--', 'ls'], want: 'pod nowhere does not have a host assigned' },
    { args: ['exec', 'stuck', '--', 'ls'], want: 'container not found ("main")' },
    { args: ['exec', 'absent', '--', 'ls'], want: 'pods "absent" not found' },
  ];
  beforeAll(async () => {
    const spec = { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', ...container }] };
    const nowhere = { ...spec, nodeSelector: { no: 'where' } };
    const stuck = { ...spec, containers: [{ ...container, name: 'main', image: 'no/such:1' }] };
    for (const [name, own] of Object.entries({ nowhere, stuck }))
      await cluster.apply(JSON.stringify({ ...pod, metadata: { name }, spec: own }));
    await eventually(
      async () =>
        (await cluster.kubectlOk('get', 'pod', 'stuck', '-o', 'jsonpath={.spec.nodeName}')) !== '',
      'the scheduler has placed it',
    );
  });
  for (const client of clients)
    it.each(cases)(`${client.name}: $want`, async ({ args, want }) => {
      const { code, stderr } = await run(client, args);
      expect(code).toBe(1);
      expect(stderr).toContain(want);
    });
});

describe('the proxies', () => {
  const base = '/api/v1/namespaces/default';
  const cases = [
    { url: `${base}/pods/web:8080/proxy/`, want: '<h1>hello</h1>\n' },
    { url: `${base}/pods/web:8080/proxy/cgi-bin/whoami`, want: 'hello from web\n' },
    { url: `${base}/services/web/proxy/`, want: '<h1>hello</h1>\n' },
    { url: `${base}/services/web:80/proxy/cgi-bin/whoami`, want: 'hello from web\n' },
  ];
  it.each(cases)('$url', async ({ url, want }) => {
    const answer = await eventually(
      async () => (await run(first, ['get', '--raw', url])).stdout.toString() || undefined,
      'the endpoints are there',
    );
    expect(answer).toBe(want);
  });

  it('tell why a port does not answer', async () => {
    const { stderr } = await run(first, ['get', '--raw', `${base}/pods/web:9999/proxy/`]);
    expect(stderr).toContain('error trying to reach service: dial tcp');
    expect(stderr).toContain('connect: connection refused');
  });
});
