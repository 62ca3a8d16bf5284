// The search for machines in a home of simulated ones: real multicast DNS by a stock avahi, a real SSH server. The search
// runs on the laptop, whose network is the lab's and has no way out.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Machine } from '#kube/api/fleet.ts';
import { discoveries, machines } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { singletonDiscovery } from '#kube/machinery/fleet.ts';
import { Lab } from '../lab/lab.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { becomePi, startSpeaking } from '../lab/stock-pi.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import { root } from '../setup/machine.ts';

const lab = new Lab();
let cluster: Cluster;
let pi: LabMachine;

beforeAll(async () => {
  await lab.start();
  const port = await freePort();
  const flags = ['--no-agent', '--bind-address', '0.0.0.0', '--port', String(port)];
  const searching = {
    runAs: lab.onLaptop,
    usesDocker: false,
    env: { FLOTILLA_DISCOVERY: 'eth0' },
  };
  cluster = new Cluster(flags, undefined, searching);
  [pi] = await Promise.all([lab.addMachine('raspberrypi', '10.77.0', 11), cluster.start()]);
  await lab.openGate(port);
});
afterAll(async () => {
  await cluster.destroy();
  await lab.destroy();
});

/** Once it is as it should be. */
async function found(isAsWanted: (machine: Machine) => boolean, what: string): Promise<Machine> {
  const client = await cluster.client();
  let last: Machine | undefined;
  await eventually(async () => {
    const { items } = await client.list(machines);
    last = items.find(isAsWanted);
    return last !== undefined;
  }, what);
  if (last === undefined) throw new Error(what);
  return last;
}

function why(machine: Machine): string | undefined {
  return getCondition(machine.status?.conditions, 'Addable')?.reason;
}

it('a stock Raspberry Pi is found when it starts, and it is said what it lacks', async () => {
  await pi.run('ip', 'link', 'set', 'eth0', 'address', 'b8:27:eb:00:00:11');
  await pi.run('sh', '-c', 'mkdir -p /run/dbus && dbus-daemon --system --fork');
  pi.start('avahi', ['avahi-daemon']);
  const machine = await found(
    (one) => why(one) === 'SshClosed' && one.status?.vendor !== undefined,
    'the Raspberry Pi without SSH is found',
  );
  expect(machine.metadata.name).toBe('raspberrypi');
  expect(machine.status).toMatchObject({
    addresses: [{ address: '10.77.0.11', hardwareAddress: 'b8:27:eb:00:00:11', interface: 'eth0' }],
    hostNames: ['raspberrypi'],
    seenBy: ['MulticastDNS', 'Neighbour'],
    vendor: 'Raspberry Pi',
  });
  const table = await cluster.kubectl('get', 'machines');
  expect(table.stdout).toMatch(/raspberrypi +10\.77\.0\.11 +True +False +SshClosed/);
});

it('with SSH and another address it is the same machine, and can be added', async () => {
  const client = await cluster.client();
  const before = await client.get(machines, { name: 'raspberrypi' });
  await pi.run('sh', '-c', 'ssh-keygen -A && mkdir -p /run/sshd');
  pi.start('sshd', ['/usr/sbin/sshd', '-D']);
  await pi.changeAddress(23);
  const machine = await found((one) => why(one) === 'SshAnswers', 'its SSH answers');
  expect(machine.metadata.uid).toBe(before.metadata.uid);
  expect(machine.status?.operatingSystem).toBe('Debian 12');
  expect(machine.status?.addresses?.map(({ address }) => address)).toContain('10.77.0.23');
});

it('with an agent of another cluster it is not offered', async () => {
  const program = `
    const { Announcer } = await import('${root}/agent/names/announcer.ts');
    const { lanLinks } = await import('${root}/agent/names/lan-links.ts');
    const { systemClock } = await import('${root}/electron/kube/base/clock.ts');
    const { silentLogger } = await import('${root}/electron/kube/base/logger.ts');
    const { networkInterfaces } = await import('node:os');
    new Announcer({
      announcement: { clusterId: '3f2a91c4-0000-4000-8000-000000000001', nodeName: 'attic' },
      hostName: 'raspberrypi', port: 10250, clock: systemClock, logger: silentLogger,
      links: () => lanLinks(['eth0'], networkInterfaces()), signal: new AbortController().signal,
    });`;
  pi.start('announcer', [process.execPath, '--input-type=module', '-e', program]);
  const machine = await found((one) => why(one) === 'InOtherCluster', 'it says what it is');
  expect(getCondition(machine.status?.conditions, 'Addable')?.message).toContain('node attic');
});

it('a sweep that somebody agreed to finds whose SSH answers', async () => {
  const client = await cluster.client();
  const name = { name: singletonDiscovery };
  await client.patch(discoveries, name, { spec: { sweep: ['10.77.0.16/28'] } });
  await found(
    ({ status }) => status?.seenBy?.includes('Sweep') === true,
    'the sweep finds the machine',
  );
  const { status } = await client.get(discoveries, name);
  expect(getCondition(status?.conditions, 'Searching')?.message).toBe('On eth0 (10.77.0.1/24)');
});

it('a device that floods the network makes few machines, takes little memory, and a new Raspberry Pi is found all the same', async () => {
  const [controlPlane = 0] = cluster.childPids('controlplane');
  const before = residentBytes(controlPlane);
  await pi.run('sh', '-c', 'kill $(cat /run/announcer.pid)');
  pi.start('flood', [process.execPath, path.join(root, 'test/lab/flood.mjs'), pi.address]);
  await eventually(() => pi.run('grep', '-q', 'floods', '/var/log/flood.log'), 'the flood begins');
  const other = await lab.addMachine('shelf', '10.77.0', 251, { hasEngine: false });
  await becomePi(other);
  await startSpeaking(other);
  const machine = await found(
    (one) => one.status?.addresses?.some(({ address }) => address === other.address) === true,
    'the new Raspberry Pi is found',
  );
  expect(machine.status?.hostNames).toContain('shelf');
  const { items } = await (await cluster.client()).list(machines);
  expect(items.length).toBeLessThan(60);
  expect(residentBytes(controlPlane) - before).toBeLessThan(200e6);
  await pi.stop('flood');
});

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}
