// The search for machines against the real API server, with its own rights, in a home that the test makes up and a
// clock it moves.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Discovery, Machine } from '#kube/api/fleet.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { discoveries, machines, nodes } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { singletonDiscovery } from '#kube/machinery/fleet.ts';
import { parseIpv4Network } from '#kube/machinery/ipv4.ts';
import { Announcer } from '../../agent/names/announcer.ts';
import type { Message } from '../../agent/names/messages.ts';
import type { SshAnswer } from '../../electron/controlplane/fleet/discovery/addable.ts';
import { HomeSearch } from '../../electron/controlplane/fleet/discovery/home-search.ts';
import type { HomeProbes } from '../../electron/controlplane/fleet/discovery/probes/home-probes.ts';
import { readAnswers } from '../../electron/controlplane/fleet/discovery/probes/multicast-answers.ts';
import type { LinkEvents } from '../../electron/controlplane/fleet/discovery/probes/multicast-link.ts';
import type { Neighbour } from '../../electron/controlplane/fleet/discovery/probes/neighbour-table.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

const lan = { name: 'lan', address: '10.77.0.1', cidr: '10.77.0.1/24' };
const [cluster, other] = [
  '6b1c2a3d-0000-4000-8000-000000000001',
  '6b1c2a3d-0000-4000-8000-000000000002',
];
const debian: SshAnswer = {
  type: 'greeting',
  greeting: { software: 'OpenSSH_9.2p1 Debian-2+deb12u3', operatingSystem: 'Debian 12' },
};

/** A home of cables and devices; what nobody put in is not there. */
class Home implements HomeProbes {
  links = [lan];
  table: Neighbour[] = [];
  readonly ssh = new Map<string, SshAnswer>();
  readonly asked: string[] = [];
  /** By address, who answers for its name. */
  readonly answering = new Map<string, string>();
  readonly namesAsked: string[] = [];
  questions = 0;
  closed = 0;
  #events: LinkEvents | undefined;

  readonly addresses = () => this.links;
  readonly neighbours = () => Promise.resolve(this.table);
  readonly resolve = (hostName: string) =>
    hostName === 'nas.lan'
      ? Promise.resolve('192.168.5.9')
      : Promise.reject(new Error('no such name'));
  readonly openLink = (_at: typeof lan, events: LinkEvents) => {
    this.#events = events;
    return {
      ask: () => void this.questions++,
      askName: (address: string) => {
        this.namesAsked.push(address);
        const name = this.answering.get(address);
        if (name !== undefined) this.say(address, name, 1_500_000);
      },
      askAddress: (hostName: string) => void this.namesAsked.push(hostName),
      close: () => Promise.resolve(void this.closed++),
    };
  };
  readonly askSsh = (address: string, port: number) => {
    this.asked.push(`${address}:${port}`);
    return Promise.resolve(this.ssh.get(`${address}:${port}`) ?? { type: 'silent' as const });
  };

  say(address: string, hostName: string, forMs = 120_000): void {
    const sighting = { by: 'MulticastDNS' as const, address, interface: 'lan', hostName };
    this.#events?.onHeard([{ sighting, forMs }]);
  }

  /** An agent's message; texts come as bytes. */
  announce(message: Message, address: string): void {
    const answers = message.answers.map(({ data, ...record }) => ({
      ...record,
      data: Array.isArray(data) ? data.map((text: string) => Buffer.from(text)) : data,
    }));
    const network = parseIpv4Network(lan.cidr)!;
    this.#events?.onHeard(readAnswers(answers, address, { name: lan.name, network }));
  }

  /** It was spoken to. */
  addNeighbour(address: string, hardwareAddress: string): void {
    this.table = [...this.table, { address, hardwareAddress, interface: 'lan' }];
  }
}

let sim: SimulatedControlPlane;
let home: Home;
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  sim = await startControlPlane({ withoutControllers: true });
  home = new Home();
  await sim.client.create(discoveries, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Discovery',
    metadata: { name: singletonDiscovery },
  });
});
afterEach(async () => {
  stop.abort();
  await sim.settle();
  await running;
  await sim.stop();
});

async function start(interfaces: 'off' | readonly string[] = ['lan']): Promise<void> {
  stop = new AbortController();
  const client = sim.clientAs('system:serviceaccount:kube-system:home-search', [
    'system:serviceaccounts',
    'system:serviceaccounts:kube-system',
  ]);
  const { clock } = sim;
  const deps = { client, clock, random: seededRandom(3), logger: silentLogger };
  const informers = new InformerFactory(deps);
  const search = new HomeSearch({
    ...deps,
    machines: informers.informer(machines),
    discoveries: informers.informer(discoveries),
    nodes: informers.informer(nodes),
    interfaces,
    clusterId: () => cluster,
    probes: home,
  });
  informers.start(stop.signal);
  running = search.run(stop.signal);
  await pass(1000);
}

/** In small steps, as time goes. */
async function pass(ms: number): Promise<void> {
  const { clock } = sim;
  for (const end = clock.now() + ms; clock.now() < end;) await sim.settle();
}

async function all(): Promise<readonly Machine[]> {
  return (await sim.client.list(machines)).items;
}

/** `name: Seen Addable/reason`, in order. */
async function told(): Promise<readonly string[]> {
  return (await all())
    .map(({ metadata, status }) => {
      const [seen, addable] = ['Seen', 'Addable'].map((type) =>
        getCondition(status?.conditions, type),
      );
      return `${metadata.name}: ${seen?.status} ${addable?.status}/${addable?.reason}`;
    })
    .toSorted();
}

function theSearch(): Promise<Discovery> {
  return sim.client.get(discoveries, { name: singletonDiscovery });
}

it('a Raspberry Pi that starts is there within five seconds, with what it runs', async () => {
  await start();
  home.ssh.set('10.77.0.11:22', debian);
  home.say('10.77.0.11', 'raspberrypi');
  home.addNeighbour('10.77.0.11', 'b8:27:eb:00:00:11');
  await pass(5000);
  expect(await told()).toEqual(['raspberrypi: True True/SshAnswers']);
  const [machine] = await all();
  expect(machine?.status).toMatchObject({
    addresses: [{ address: '10.77.0.11', interface: 'lan', hardwareAddress: 'b8:27:eb:00:00:11' }],
    operatingSystem: 'Debian 12',
    vendor: 'Raspberry Pi',
    ssh: { port: 22, software: 'OpenSSH_9.2p1 Debian-2+deb12u3' },
    seenBy: ['MulticastDNS', 'Neighbour'],
  });
});

it('devices that are no computers are neither shown nor asked for SSH, only for their names', async () => {
  await start();
  home.addNeighbour('10.77.0.40', 'a4:77:33:00:00:01');
  home.say('10.77.0.41', 'living-room');
  await pass(10_000);
  expect([await told(), home.asked]).toEqual([[], []]);
  expect(home.namesAsked.toSorted()).toEqual(['10.77.0.40', '10.77.0.41']);
});

it('a machine of the cluster is known as its node, and says so when it joins', async () => {
  await start();
  home.ssh.set('10.77.0.11:22', debian);
  home.say('10.77.0.11', 'raspberrypi');
  await pass(5000);
  await sim.addNode('pi', {
    status: { addresses: [{ type: 'InternalIP', address: '10.77.0.11' }] },
  });
  await pass(5000);
  expect(await told()).toEqual(['raspberrypi: True False/InCluster']);
  expect((await all())[0]?.status?.nodeName).toBe('pi');
});

it('a machine of another cluster is not offered, as long as its agent says what it is', async () => {
  await start();
  home.ssh.set('10.77.0.11:22', debian);
  const gone = new AbortController();
  const announcer = new Announcer({
    announcement: { clusterId: other, nodeName: 'attic' },
    hostName: 'attic.lan',
    port: 10250,
    links: () => new Map([['lan', { name: 'lan', address: '10.77.0.11', prefixLength: 24 }]]),
    clock: sim.clock,
    logger: silentLogger,
    signal: gone.signal,
    openLink: async () => ({
      send: (message) => home.announce(message, '10.77.0.11'),
      close: async () => {},
    }),
  });
  home.say('10.77.0.11', 'raspberrypi');
  await pass(5000);
  expect(await told()).toEqual(['raspberrypi: True False/InOtherCluster']);
  await announcer.stop();
  await pass(5000);
  expect(await told()).toEqual(['raspberrypi: True True/SshAnswers']);
});

it('goodbye, another address, and an hour of silence', async () => {
  await start();
  home.addNeighbour('10.77.0.11', 'b8:27:eb:00:00:11');
  home.say('10.77.0.11', 'kitchen');
  await pass(5000);
  const [before] = await all();
  home.say('10.77.0.11', 'kitchen', 0);
  home.table = [];
  home.addNeighbour('10.77.0.23', 'b8:27:eb:00:00:11');
  await pass(10_000);
  const [moved] = await all();
  expect([moved?.metadata.uid, moved?.status?.addresses?.[0]?.address]).toEqual([
    before?.metadata.uid,
    '10.77.0.23',
  ]);
  home.table = [];
  await pass(65_000);
  expect((await told()).map((line) => line.split(' ')[1])).toEqual(['False']);
  await sim.advance(3_610_000);
  await pass(5000);
  expect(await told()).toEqual([]);
});

it('nothing changes, nothing is written; the link is asked ever more seldom', async () => {
  await start();
  home.ssh.set('10.77.0.11:22', debian);
  home.addNeighbour('10.77.0.11', 'b8:27:eb:00:00:11');
  await pass(60_000);
  const [{ metadata: before }] = (await all()) as [Machine];
  const discovery = (await theSearch()).metadata.resourceVersion;
  const { questions } = home;
  await sim.advance(300_000);
  const [{ metadata: after }] = (await all()) as [Machine];
  expect(after.resourceVersion).toBe(before.resourceVersion);
  expect((await theSearch()).metadata.resourceVersion).toBe(discovery);
  expect([questions > 0, home.questions - questions <= 3]).toEqual([true, true]);
});

it('what a person typed is asked, and its silence has words', async () => {
  await start();
  const make = (name: string, spec: Machine['spec']) =>
    sim.client.create(machines, {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'Machine',
      metadata: { name },
      ...(spec !== undefined && { spec }),
    });
  home.ssh.set('192.168.5.9:2222', debian);
  await make('far', { address: '192.168.5.9', sshPort: 2222 });
  await make('off', { address: '192.168.5.10' });
  await make('named', { address: 'nas.lan', sshPort: 2222 });
  await make('nowhere', { address: 'kitchen.local' });
  await pass(10_000);
  expect(await told()).toEqual([
    'far: True True/SshAnswers',
    'named: False undefined/undefined',
    'nowhere: False undefined/undefined',
    'off: False False/SshSilent',
  ]);
  expect(home.namesAsked.filter((name) => name === 'kitchen.local')).toEqual(['kitchen.local']);
  const timesAsked = home.asked.filter((one) => one === '192.168.5.10:22').length;
  expect(timesAsked).toBe(1);
});

it('a sweep only after somebody agreed, once for each time', async () => {
  home.ssh.set('10.77.0.200:22', debian);
  await start();
  await pass(5000);
  expect([await told(), home.asked]).toEqual([[], []]);
  const sweep = async (): Promise<void> => {
    const { spec } = await theSearch();
    const next = spec?.sweep?.[0] === '10.77.0.0/24' ? '10.77.0.128/25' : '10.77.0.0/24';
    const name = { name: singletonDiscovery };
    await sim.client.patch(discoveries, name, { spec: { sweep: [next] } });
    await pass(10_000);
  };
  await sweep();
  expect(await told()).toEqual(['at-10-77-0-200: True True/SshAnswers']);
  expect(new Set(home.asked).size).toBe(254);
  const { metadata, status } = await theSearch();
  expect(status?.sweptGeneration).toBe(metadata.generation);
  const asked = home.asked.length;
  await pass(60_000);
  expect(home.asked.length).toBe(asked);
  await sweep();
  expect(home.asked.length).toBe(asked + 126);
});

it('a sweep asks nobody beyond the networks that are searched, and says so', async () => {
  await start();
  const name = { name: singletonDiscovery };
  await sim.client.patch(discoveries, name, { spec: { sweep: ['192.0.2.0/24'] } });
  await pass(10_000);
  expect(home.asked).toEqual([]);
  expect(getCondition((await theSearch()).status?.conditions, 'Sweeps')).toMatchObject({
    status: 'False',
    message: expect.stringContaining('192.0.2.0/24') as string,
  });
});

it('a machine that goes on answering is there an hour later, and devices that come and go write nothing', async () => {
  await start();
  home.ssh.set('10.77.0.11:22', debian);
  home.answering.set('10.77.0.11', 'raspberrypi');
  home.say('10.77.0.11', 'raspberrypi', 1_500_000);
  await pass(5000);
  const { resourceVersion } = (await theSearch()).metadata;
  for (let minutes = 0; minutes < 60; minutes++) {
    home.table =
      minutes % 2 === 0
        ? []
        : [{ address: '10.77.0.40', hardwareAddress: 'a4:77:33:00:00:01', interface: 'lan' }];
    await sim.advance(60_000);
  }
  expect(await told()).toEqual(['raspberrypi: True True/SshAnswers']);
  expect((await theSearch()).metadata.resourceVersion).toBe(resourceVersion);
});

it('off: what a person typed is asked all the same, and nothing else', async () => {
  home.ssh.set('192.168.5.10:22', debian);
  await sim.client.create(machines, {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Machine',
    metadata: { name: 'shed' },
    spec: { address: '192.168.5.10' },
  });
  await start('off');
  expect(await told()).toEqual(['shed: True True/SshAnswers']);
  expect([home.questions, home.asked]).toEqual([0, ['192.168.5.10:22']]);
});

it('a device that makes up machines without end makes few, and a Raspberry Pi is found all the same', async () => {
  await start();
  for (let number = 0; number < 5_000; number++)
    home.say(`10.77.0.${2 + (number % 200)}`, `ubuntu-${number}`);
  await pass(6_000);
  expect((await all()).length).toBe(32);
  home.addNeighbour('10.77.0.240', 'b8:27:eb:00:00:40');
  home.say('10.77.0.240', 'shelf');
  await pass(6_000);
  const names = (await all()).map(({ metadata }) => metadata.name);
  expect([names.length, names.includes('shelf')]).toEqual([33, true]);
});

it('a device whose name says nothing is known by its network card as soon as that is', async () => {
  await start();
  home.say('10.77.0.11', 'shelf');
  await pass(300);
  expect(await told()).toEqual([]);
  home.addNeighbour('10.77.0.11', 'b8:27:eb:00:00:11');
  await pass(1_200);
  expect((await all()).map(({ metadata }) => metadata.name)).toEqual(['shelf']);
});

it('off: nothing is opened, nobody is asked, and it says so', async () => {
  await start('off');
  await pass(60_000);
  expect([home.questions, home.asked]).toEqual([0, []]);
  expect((await theSearch()).status?.conditions?.[0]).toMatchObject({
    status: 'False',
    reason: 'Off',
  });
});

it('one that was named by its card is called by its name once that is known', async () => {
  home.table = [{ address: '10.77.0.41', hardwareAddress: 'b8:27:eb:00:00:11', interface: 'lan' }];
  await start();
  await pass(6000);
  expect((await all()).map(({ metadata }) => metadata.name)).toEqual(['machine-000011']);
  home.say('10.77.0.41', 'raspberrypi', 1_500_000);
  await pass(6000);
  expect((await all()).map(({ metadata }) => metadata.name)).toEqual(['raspberrypi']);
});

it('an interface that comes later is searched, one that goes is left', async () => {
  home.links = [];
  await start();
  expect((await theSearch()).status?.conditions?.[0]?.reason).toBe('NoInterface');
  home.links = [lan];
  await pass(10_000);
  expect((await theSearch()).status).toMatchObject({
    interfaces: [{ name: 'lan', address: '10.77.0.1/24' }],
    conditions: [{ reason: 'Searching' }, { reason: 'NothingHeard' }, { reason: 'OwnNetworks' }],
  });
  home.links = [];
  await pass(10_000);
  expect([home.closed, (await theSearch()).status?.interfaces]).toEqual([1, []]);
});

it('what makes no sense is refused: networks that are none or too large, bad addresses', async () => {
  await start();
  const patched = (spec: object) =>
    sim.client.patch(discoveries, { name: singletonDiscovery }, { spec });
  await expect(patched({ sweep: ['10.0.0.0/8'] })).rejects.toThrow('must be a /20 or smaller');
  await expect(patched({ sweep: ['home'] })).rejects.toThrow('must be an IPv4 network');
  const machine = {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'Machine',
    metadata: { name: 'x' },
    spec: { address: '10.0.0.256', sshPort: 0 },
  } as const;
  await expect(sim.client.create(machines, machine)).rejects.toThrow(
    /must be an IPv4 address.*must be between 1 and 65535/s,
  );
});
