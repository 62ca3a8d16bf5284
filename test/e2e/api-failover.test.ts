// An agent and three control planes on loopback: whichever it speaks with dies, freezes or loses its majority, what happens
// on its machine is told by way of another. Its containers are in memory only.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { nodes, pods, secrets } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { formatKubeconfig, readKubeconfig } from '#platform/kubeconfig.ts';
import { eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { root } from '../setup/machine.ts';
import { MemberGroup } from '../setup/members.ts';

const names = ['one', 'two', 'three'];
const group = new MemberGroup();
const ports = new Map<string, number>();
const folder = path.join(group.folder, 'agent');
let agent: ChildProcess;

beforeAll(async () => {
  for (const name of names) ports.set(name, await freePort());
  await group.three(portOf);
  await placeAgent();
  startAgent();
  await untilReady('two');
});
afterAll(async () => {
  agent?.kill('SIGTERM');
  await group.destroy();
});

function portOf(name: string): string[] {
  return ['--port', String(ports.get(name))];
}

function urlOf(name: string): string {
  return `https://127.0.0.1:${ports.get(name)}`;
}

/** With a token, as a machine is added, by the first of them; of the others it knows as it will of their endpoints. */
async function placeAgent(): Promise<void> {
  const client = await group.member('one').client();
  const [id, secret] = ['abcdef', '0123456789abcdef'];
  await client.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'kube-system', name: `bootstrap-token-${id}` },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id,
      'token-secret': secret,
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': 'system:bootstrappers:flotilla:machines',
    },
  });
  const { caPem } = await readKubeconfig(group.member('one').kubeconfig);
  mkdirSync(folder, { recursive: true });
  const config = {
    server: urlOf('one'),
    caPem,
    token: `${id}.${secret}`,
    serverName: 'kubernetes',
  };
  writeFileSync(
    path.join(folder, 'bootstrap'),
    formatKubeconfig(config, { cluster: 'flotilla', user: 'joining' }),
  );
  const known = { version: 1, present: names.map(urlOf), former: [] };
  writeFileSync(path.join(folder, 'api-servers.json'), JSON.stringify(known));
}

function startAgent(): void {
  const main = path.join(root, 'out/agent/main.js');
  const bootstrap = path.join(folder, 'bootstrap');
  const flags = ['--data', folder, '--node-name', 'pi', '--runtime', 'fake', '--no-install'];
  const more = ['--bootstrap-kubeconfig', bootstrap, '--ingress-ports', 'off'];
  agent = spawn(process.execPath, [main, ...flags, ...more], { stdio: 'ignore' });
}

async function untilReady(asked: string): Promise<void> {
  const client = await group.member(asked).client();
  await eventually(async () => {
    const { status } = await client.get(nodes, { name: 'pi' });
    return getCondition(status?.conditions, 'Ready')?.status === 'True';
  }, 'the node is ready');
}

/** The one that the agent has turned to last. */
function spokenWith(): string {
  const text = readFileSync(path.join(group.folder, 'logs/agent.log'), 'utf8');
  const last = [...text.matchAll(/"server":"([^"]+)"[^\n]*Speaks with an API server/g)].at(-1);
  return names.find((name) => urlOf(name) === last?.[1]) ?? '';
}

/** A pod on its machine, made by way of one member: what becomes of it is seen there. */
async function runPod(asked: string, name: string): Promise<void> {
  const client = await group.member(asked).client();
  const container = { name: 'main', image: 'web' };
  await eventually(async () => {
    await client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'default', name },
      spec: { nodeName: 'pi', automountServiceAccountToken: false, containers: [container] },
    });
    return true;
  }, 'a pod can be made');
  await eventually(async () => {
    const { status } = await client.get(pods, { namespace: 'default', name });
    return status?.phase === 'Running';
  }, `${name} runs, and its status arrived`);
}

function others(name: string): [string, string] {
  return names.filter((one) => one !== name) as [string, string];
}

it('the API server that the agent speaks with is killed: pods start and are told of by another', async () => {
  const before = spokenWith();
  const [asked] = others(before);
  await group.kill(before);
  await runPod(asked, 'after-kill');
  expect(spokenWith()).not.toBe(before);
  await group.start(before, portOf(before));
});

it('it is frozen: the same', async () => {
  const before = spokenWith();
  const [asked] = others(before);
  const [pid = 0] = group.member(before).childPids('controlplane');
  process.kill(pid, 'SIGSTOP');
  try {
    await runPod(asked, 'after-freeze');
    expect(spokenWith()).not.toBe(before);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await untilReady(asked);
});

it('all are killed, and two come back: the agent finds one without a start', async () => {
  const before = spokenWith();
  for (const name of names) await group.kill(name);
  const [first, second] = others(before);
  await Promise.all([first, second].map((name) => group.start(name, portOf(name))));
  await runPod(second, 'after-all');
  expect(agent.exitCode).toBeNull();
});
