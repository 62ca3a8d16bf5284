import { afterEach, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { CommandResult } from '../proxy/system.ts';
import { networkNames } from './names.ts';
import { PodNetworkKeeper, type NodeSource } from './pod-network-keeper.ts';

const names = networkNames('a-cluster');
const done: CommandResult = { exitCode: 0, stdout: '', stderr: '' };
const absent: CommandResult = { exitCode: undefined, stdout: '', stderr: 'spawn nft ENOENT' };

const addresses = JSON.stringify([
  { ifname: 'lo', mtu: 65536, addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] },
  {
    ifname: 'eth0',
    mtu: 1500,
    addr_info: [{ family: 'inet', local: '10.77.0.11', prefixlen: 24 }],
  },
  {
    ifname: names.bridge,
    mtu: 1500,
    addr_info: [{ family: 'inet', local: '10.244.1.1', prefixlen: 24 }],
  },
]);

const withoutBridge: CommandResult = {
  ...done,
  stdout: JSON.stringify((JSON.parse(addresses) as unknown[]).slice(0, 2)),
};

function node(name: string, podCIDR: string, address: string): Node {
  const status = { addresses: [{ type: 'InternalIP', address }] };
  const spec = podCIDR === '' ? {} : { podCIDR };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, spec, status };
}

const own = node('pi1', '10.244.1.0/24', '10.77.0.11');
const neighbour = node('pi2', '10.244.2.0/24', '10.77.0.12');
const far = node('pi3', '10.244.3.0/24', '10.78.0.13');

class Nodes implements NodeSource {
  nodes: Node[];
  isSynced = Promise.resolve();
  #handlers: Parameters<NodeSource['addHandler']>[0][] = [];
  readonly lister = {
    list: () => this.nodes,
    get: (_: string, name: string) => this.nodes.find(({ metadata }) => metadata.name === name),
  };

  constructor(...nodes: Node[]) {
    this.nodes = nodes;
  }

  addHandler(handler: Parameters<NodeSource['addHandler']>[0]): () => void {
    this.#handlers.push(handler);
    return () => undefined;
  }

  whenSynced(): Promise<void> {
    return this.isSynced;
  }

  add(added: Node): void {
    this.nodes = [...this.nodes, added];
    for (const { onAdd } of this.#handlers) onAdd(added);
  }

  update(next: Node): void {
    const old = this.lister.get('', next.metadata.name) ?? next;
    this.nodes = this.nodes.map((one) => (one === old ? next : one));
    for (const { onUpdate } of this.#handlers) onUpdate(old, next);
  }
}

interface World {
  readonly isRoot?: boolean;
  readonly forwards?: string;
  readonly engine?: () => Promise<string | undefined>;
  readonly answer?: (command: string) => CommandResult | undefined;
}

const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

function start(source: Nodes, world: World = {}) {
  const { isRoot = true, forwards = '1', answer } = world;
  const { engine = () => Promise.resolve('10.244.1.0/24') } = world;
  const commands: string[] = [];
  const clock = new ManualClock();
  const stop = new AbortController();
  stops.push(stop);
  let changes = 0;
  let addressChanged = (): void => undefined;
  const keeper = new PodNetworkKeeper({
    nodes: source,
    system: {
      isRoot,
      async run(command, args) {
        const line = [command, ...args].join(' ');
        commands.push(line);
        const told = answer?.(line);
        if (told !== undefined) return told;
        if (line === 'ip -json -4 address show') return { ...done, stdout: addresses };
        if (line.includes('link show dev')) return { ...done, exitCode: 1 };
        if (line.includes('--check')) return { ...done, exitCode: 1 };
        return done;
      },
      follow: () => Promise.resolve(),
      addresses: () => [],
      bridgeAddresses: () => [],
      listFolder: () => Promise.resolve([]),
      readText: () => Promise.resolve(forwards),
      writeText: () => Promise.resolve(true),
    },
    names,
    nodeName: 'pi1',
    clock,
    logger: silentLogger,
    engineNetwork: engine,
    watchAddresses: (onChange) => (addressChanged = onChange),
    onChange: () => changes++,
    signal: stop.signal,
  });
  keeper.start();
  return {
    keeper,
    clock,
    changes: () => changes,
    addressChanged: () => addressChanged(),
    /** What changes something, since the last time. */
    async made(): Promise<string[]> {
      await new Promise(setImmediate);
      const all = commands.splice(0);
      return all.filter((line) => / (add|del|replace|set|--insert|--file) /.test(`${line} `));
    },
  };
}

const rulesOf = ['nft --file -'];
const pass = `iptables --wait --insert DOCKER-USER -o ${names.bridge} -m mark --mark 0x02000000/0x02000000 -m comment --comment flotilla ${names.table} -j ACCEPT`;
const route = `ip route replace 10.244.2.0/24 via 10.77.0.12 dev eth0 proto 102 metric ${names.metric}`;

describe('the keeper of the pods network', () => {
  it('tells what the machine is connected to, and what its pods are in', async () => {
    const { keeper, made } = start(new Nodes(own));
    await made();
    expect(keeper.annotations()).toEqual({
      'flotilla.dev/machine-networks': '10.77.0.0/24',
      'flotilla.dev/pod-network': '10.244.1.0/24',
    });
  });

  it('tells nothing while the engine can not be asked: its pods may be in a network', async () => {
    const { keeper, made } = start(new Nodes(own), {
      engine: () => Promise.reject(new Error('x')),
    });
    await made();
    expect(keeper.annotations()).toEqual({});
  });

  it('makes rules, then routes, when another machine comes; nothing twice', async () => {
    const source = new Nodes(own);
    const { keeper, made } = start(source);
    // What an earlier agent may have left.
    expect(await made()).toEqual(rulesOf);
    source.add(neighbour);
    expect(await made()).toEqual([...rulesOf, pass, route]);
    expect(keeper.verdict()).toMatchObject({ status: 'False', reason: 'PodNetworkReady' });
    source.update({ ...neighbour, metadata: { name: 'pi2', labels: { a: 'b' } } });
    expect(await made()).toEqual([]);
  });

  it('needs no nftables on a machine alone', async () => {
    const answer = (line: string) => (line.startsWith('nft') ? absent : undefined);
    const { keeper, made } = start(new Nodes(own), { answer });
    await made();
    expect(keeper.verdict()).toMatchObject({ status: 'False', reason: 'PodNetworkReady' });
  });

  it('changes nothing before it knows all nodes', async () => {
    const source = new Nodes();
    source.isSynced = new Promise(() => undefined);
    const { made } = start(source);
    expect(await made()).toEqual([]);
  });

  it('looks again when an address of the machine changes', async () => {
    const source = new Nodes(own, neighbour);
    const { made, addressChanged, changes } = start(source);
    await made();
    const before = changes();
    addressChanged();
    expect(changes()).toBe(before + 1);
    expect(await made()).toContain(route);
  });

  const obstacles: readonly (readonly [what: string, world: World, says: string])[] = [
    ['without root', { isRoot: false }, 'that needs root'],
    [
      'without nftables',
      { answer: (line) => (line.startsWith('nft') ? absent : undefined) },
      'the program nft is missing on this machine (package nftables)',
    ],
    [
      'with Docker Desktop',
      { answer: (line) => (line.includes('address show') ? withoutBridge : undefined) },
      'the engine keeps them in a virtual machine of its own',
    ],
    ['where no packet is handed on', { forwards: '0\n' }, 'net.ipv4.ip_forward is 0'],
    [
      'where the engine has another network with pods',
      { engine: () => Promise.resolve('10.244.9.0/24') },
      "this machine's pods are in 10.244.9.0/24, and the cluster gave it 10.244.1.0/24",
    ],
  ];
  it.each(obstacles)('says on the node what is the matter %s', async (_, world, says) => {
    const { keeper, made } = start(new Nodes(own, neighbour), world);
    await made();
    const verdict = keeper.verdict();
    expect(verdict).toMatchObject({ type: 'NetworkUnavailable', status: 'True' });
    expect(verdict?.message).toContain(says);
  });

  it('says so where the kernel has no VXLAN, and makes the other routes', async () => {
    const answer = (line: string) =>
      line.startsWith('ip link add')
        ? { ...done, exitCode: 2, stderr: 'Error: Unknown device type.' }
        : undefined;
    const { keeper, made } = start(new Nodes(own, neighbour, far), { answer });
    const lines = await made();
    expect(lines).toContain(route);
    expect(lines.some((line) => line.includes('10.244.3.0'))).toBe(false);
    expect(keeper.verdict()?.message).toBe(
      "pods on machines of other network segments can't be reached: this machine's kernel has no VXLAN (module vxlan)",
    );
  });

  it('hands the network on to a pod that waits for it, and gives up in good time', async () => {
    const source = new Nodes(node('pi1', '', '10.77.0.11'));
    const { keeper, clock, made } = start(source);
    const waiting = keeper.awaitCidr();
    await made();
    source.update(own);
    await made();
    await expect(waiting).resolves.toBe('10.244.1.0/24');
    source.update(node('pi1', '', '10.77.0.11'));
    const inVain = expect(keeper.awaitCidr()).rejects.toThrow('has not given this machine');
    clock.advance(10_000);
    await inVain;
  });
});
