// A machine with a real SSH server, sudo and Docker becomes a node: looked at, planned, cut off on the way, begun anew. systemd
// is a stand-in, and Node on it is the one that the tests run on, in a package as small as a shell script.
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Enrolment, EnrolmentSpec, EnrolmentStatus } from '#kube/api/fleet.ts';
import { machines } from '#kube/client/resources.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { plantRuntime } from '../lab/planted-runtime.ts';
import { eventually } from '../setup/cluster.ts';
import { root } from '../setup/machine.ts';

const home = new LabCluster();
const name = 'shelf';
/** Of the user pi, who may use sudo with it. */
const password = 'correct-horse';
let pi: LabMachine;
let key: string;
let hostKey: string;

beforeAll(async () => {
  await home.start();
  pi = await home.lab.addMachine('pi', '10.77.0', 11);
  await prepareSystem();
  await plantRuntime(home.cluster.dataDirectory);
  const client = await home.client();
  await client.create(machines, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Machine',
    metadata: { name },
    spec: { address: pi.address },
  });
});
afterAll(() => home.destroy());

/** As a card from Raspberry Pi Imager has it, and a second user who comes with a key. */
async function prepareSystem(): Promise<void> {
  const file = path.join(home.lab.folder, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'open sesame', '-f', file]);
  key = readFileSync(file, 'utf8');
  copyFileSync(path.join(root, 'test/lab/systemctl.sh'), pi.file('/usr/local/bin/systemctl'));
  writeFileSync(pi.file('/root/keys'), readFileSync(`${file}.pub`));
  const script = `chmod 755 /usr/local/bin/systemctl
    mkdir -p /etc/systemd/system /run/systemd/system /run/sshd
    useradd -m -s /bin/bash -G sudo pi && echo "pi:$1" | chpasswd
    useradd -m -s /bin/sh keeper && mkdir /home/keeper/.ssh
    mv /root/keys /home/keeper/.ssh/authorized_keys && chown -R keeper /home/keeper/.ssh
    echo 'keeper ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/keeper
    ssh-keygen -A`;
  await pi.run('sh', '-ec', script, 'sh', password);
  pi.start('sshd', ['/usr/sbin/sshd', '-D', '-e']);
  await eventually(() => pi.run('sh', '-c', 'test -s /run/sshd.pid'), 'its SSH server runs');
  const shown = await pi.run('ssh-keygen', '-lf', '/etc/ssh/ssh_host_ed25519_key.pub');
  hostKey = shown.split(' ')[1] ?? '';
}

async function ask(spec: Partial<EnrolmentSpec>): Promise<EnrolmentStatus> {
  const client = await home.client();
  const full = { phase: 'Inspect', user: 'pi', password, hostKey, ...spec };
  const answer = await client.createSubresource(machines, { name }, 'enrolment', { spec: full });
  return (answer as Enrolment).status!;
}

async function told(): Promise<EnrolmentStatus> {
  const client = await home.client();
  return (await client.get(machines, { name })).status?.enrolment ?? { phase: 'Planned' };
}

async function untilTold(is: (status: EnrolmentStatus) => boolean): Promise<EnrolmentStatus> {
  let last: EnrolmentStatus | undefined;
  const seen = async (): Promise<boolean> => {
    last = await told();
    if (!is(last)) throw new Error(JSON.stringify(last));
    return true;
  };
  await eventually(seen, 'the machine tells what it should');
  return last!;
}

const isOver = ({ phase }: EnrolmentStatus): boolean => !['Running', 'Rebooting'].includes(phase);

/** Its processes that serve this user. */
async function cutConnections(): Promise<void> {
  const script = `for one in /proc/[0-9]*; do
      case $(tr '\\0' ' ' < $one/cmdline) in 'sshd: pi'*) kill -KILL \${one#/proc/} ;; esac
    done`;
  await pi.run('sh', '-c', script);
}

it('shows its host key first, as the machine itself tells it, and sends nothing before', async () => {
  const { hostKey: _seen, ...unseen } = { hostKey, user: 'pi', password };
  const client = await home.client();
  const body = { spec: { phase: 'Inspect', ...unseen } };
  const answer = await client.createSubresource(machines, { name }, 'enrolment', body);
  const { status } = answer as Enrolment;
  expect(status).toMatchObject({
    phase: 'HostKeyUnknown',
    hostKey: { type: 'ssh-ed25519', fingerprint: hostKey, isPinned: false },
  });
  expect(readFileSync(pi.file('/var/log/sshd.log'), 'utf8')).not.toMatch(/for pi/);
});

it('refuses in words what does not fit, and changes nothing', async () => {
  const words = async (spec: Partial<EnrolmentSpec>) => {
    const { phase, message, obstacles } = await ask(spec);
    return [phase, message ?? obstacles?.join()];
  };
  expect(await words({ password: 'wrong' })).toEqual([
    'LoginRefused',
    'The machine does not accept this password for pi',
  ]);
  expect(await words({ sudoPassword: 'wrong' })).toEqual([
    'Obstructed',
    'sudo does not accept this password',
  ]);
  const withKey = { user: 'keeper', password: undefined, privateKey: key };
  expect(await words(withKey)).toEqual(['LoginRefused', 'The private key needs its passphrase']);
  expect(await words({ hostKey: `SHA256:${'x'.repeat(43)}` })).toEqual([
    'HostKeyUnknown',
    expect.stringContaining(`shows the host key ${hostKey} now`),
  ]);
  expect(await pi.run('sh', '-c', 'ls /var/lib | grep flotilla || true')).toBe('');
});

it('plans by what it finds', async () => {
  const status = await ask({});
  expect(status).toMatchObject({
    phase: 'Planned',
    nodeName: 'pi',
    machine: { system: expect.stringContaining('Debian'), hostName: 'pi' },
  });
  expect(status.steps?.map((step) => step.name)).toEqual(['runtime', 'agent', 'join', 'ready']);
});

it('cut off on the way it says so, and once more it becomes a ready node', async () => {
  // What unpacks the runtime waits here until the connection is gone.
  const waiting =
    '#!/bin/sh\nuntil [ -e /tmp/go ]; do sleep 0.05; done\nexec /usr/bin/dpkg-deb "$@"\n';
  writeFileSync(pi.file('/usr/local/bin/dpkg-deb'), waiting, { mode: 0o755 });
  const accepted = { phase: 'Apply', acceptWarnings: true } as const;
  expect((await ask(accepted)).phase).toBe('Running');
  await untilTold(({ steps = [] }) => steps[0]?.state === 'Running');
  await cutConnections();
  const cut = await untilTold(isOver);
  expect([cut.phase, cut.message]).toEqual([
    'Failed',
    expect.stringMatching(
      /Copy what the agent runs on .*: the connection was cut\. .* add it again/,
    ),
  ]);
  await pi.run('touch', '/tmp/go');
  await ask(accepted);
  const done = await untilTold(isOver);
  expect([done.message, done.phase]).toEqual(['It is the node pi', 'Done']);
  await home.untilReady(pi);
  const client = await home.client();
  const { spec, status } = await client.get(machines, { name });
  expect([spec?.hostKey, status?.nodeName]).toEqual([hostKey, 'pi']);
});

it('with a key, a second time, it finds all done', async () => {
  const withKey = {
    user: 'keeper',
    password: undefined,
    privateKey: key,
    passphrase: 'open sesame',
  };
  await ask({ ...withKey, phase: 'Apply', acceptWarnings: true });
  const status = await untilTold(isOver);
  expect(status.steps?.map((step) => `${step.name} ${step.state}`)).toEqual([
    'runtime Skipped',
    'agent Skipped',
    'join Skipped',
    'ready Skipped',
  ]);
});

it('with another host key it is refused by name', async () => {
  await pi.stop('sshd');
  await pi.run('sh', '-c', 'rm /etc/ssh/ssh_host_* && ssh-keygen -A');
  pi.start('sshd', ['/usr/sbin/sshd', '-D', '-e']);
  let status: EnrolmentStatus | undefined;
  await eventually(async () => {
    status = await ask({});
    return status.phase !== 'Failed';
  }, 'its SSH server runs again');
  expect(status).toMatchObject({
    phase: 'LoginRefused',
    message: expect.stringContaining(`and ${hostKey} was accepted before`),
  });
});

it('no secret is in any log or object', async () => {
  const client = await home.client();
  const logs = path.join(home.cluster.dataDirectory, 'logs');
  const texts = readdirSync(logs).map((file) => readFileSync(path.join(logs, file), 'utf8'));
  const all = [...texts, JSON.stringify(await client.get(machines, { name }))].join('\n');
  expect(all).toContain('machines/shelf/enrolment');
  for (const secret of [password, 'open sesame', 'OPENSSH PRIVATE KEY'])
    expect(all).not.toContain(secret);
});
