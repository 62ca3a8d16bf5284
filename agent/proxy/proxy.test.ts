import { describe, expect, it } from 'vitest';
import type { Node, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { startProxy, type ProxySource, type ProxyStatus } from './proxy.ts';
import type { CommandResult, ProxySystem } from './system.ts';

const ok: CommandResult = { exitCode: 0, stdout: '', stderr: '' };
const route_localnet = '/proc/sys/net/ipv4/conf/flt-1/route_localnet';

/** A machine that notes what it is told; `hold` makes nft wait, `refuse` makes it fail. */
class FakeSystem implements ProxySystem {
  isRoot = true;
  hasNft = true;
  hasDockerUser = false;
  refuse: string | undefined;
  refuseOnce: string | undefined;
  readonly files = new Map<string, string>([[route_localnet, '0\n']]);
  readonly applied: string[] = [];
  /** How open the bridge was each time rules were loaded or taken away. */
  readonly loopbackAtLoad: (string | undefined)[] = [];
  isReadOnly = false;
  readonly iptables: string[] = [];
  udpEntries = '';
  readonly conntrack: string[] = [];
  readonly #waiters: (() => void)[] = [];
  #isHeld = false;

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  async run(command: string, args: readonly string[], input = ''): Promise<CommandResult> {
    if (command === 'iptables') return this.#runIptables(args);
    if (command === 'conntrack') {
      if (args.includes('--dump')) return { ...ok, stdout: this.udpEntries };
      this.conntrack.push(args.join(' '));
      return ok;
    }
    if (!this.hasNft) return { ...ok, exitCode: undefined, stderr: 'spawn nft ENOENT' };
    if (args.includes('--check') || args.includes('list')) return ok;
    this.applied.push(input);
    this.loopbackAtLoad.push(this.files.get(route_localnet)?.trim());
    if (this.#isHeld) await new Promise<void>((resolve) => void this.#waiters.push(resolve));
    const once = this.refuseOnce;
    this.refuseOnce = undefined;
    if (once !== undefined) return { ...ok, exitCode: 1, stderr: once };
    return this.refuse === undefined ? ok : { ...ok, exitCode: 1, stderr: this.refuse };
  }

  #runIptables(args: readonly string[]): CommandResult {
    const verb = args[1] ?? '';
    if (!this.hasDockerUser)
      return { ...ok, exitCode: 1, stderr: 'No chain/target/match by that name.' };
    const rule = args.slice(2).join(' ');
    if (verb === '--check') return { ...ok, exitCode: this.iptables.includes(rule) ? 0 : 1 };
    if (verb === '--insert') this.iptables.push(rule);
    return ok;
  }

  /** Lines of a command that goes on; as if the kernel told of it. */
  tell: (line: string) => void = () => {};

  follow(
    _command: string,
    _args: readonly string[],
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    this.tell = onLine;
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve());
    });
  }

  bridgeAddresses(): readonly string[] {
    return [];
  }

  addresses(): readonly string[] {
    return ['192.168.1.5'];
  }

  listFolder(): Promise<string[]> {
    return Promise.resolve([]);
  }

  readText(path: string): Promise<string | undefined> {
    return Promise.resolve(this.files.get(path));
  }

  writeText(path: string, text: string): Promise<boolean> {
    if (this.isReadOnly) return Promise.resolve(false);
    this.files.set(path, text);
    return Promise.resolve(true);
  }
}

class FakeSource<T> implements ProxySource<T> {
  readonly items: T[] = [];
  readonly #handlers = new Set<{ onAdd(): void }>();
  readonly #synced = Promise.withResolvers<void>();
  readonly lister = { list: (): T[] => this.items };

  addHandler(handler: { onAdd(): void }): () => void {
    this.#handlers.add(handler);
    return () => void this.#handlers.delete(handler);
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  sync(): void {
    this.#synced.resolve();
  }

  add(item: T): void {
    this.items.push(item);
    for (const handler of this.#handlers) handler.onAdd();
  }

  get handlerCount(): number {
    return this.#handlers.size;
  }
}

function service(name: string, clusterIP: string): Service {
  const ports = [{ port: 80, nodePort: 30_000 + Number(clusterIP.split('.')[3]) }];
  const metadata = { namespace: 'default', name };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP, ports } };
}

interface World {
  readonly system: FakeSystem;
  readonly services: FakeSource<Service>;
  readonly endpointSlices: FakeSource<EndpointSlice>;
  readonly node: FakeSource<Node>;
  readonly clock: ManualClock;
  readonly statuses: ProxyStatus[];
  readonly abort: AbortController;
}

function makeWorld(): World {
  return {
    system: new FakeSystem(),
    services: new FakeSource(),
    endpointSlices: new FakeSource(),
    node: new FakeSource(),
    clock: new ManualClock(),
    statuses: [],
    abort: new AbortController(),
  };
}

function start(world: World): ReturnType<typeof startProxy> {
  const { system, services, endpointSlices, node, clock, statuses, abort } = world;
  const names = { nodeName: 'here', table: 'flt', bridge: 'flt-1', serviceCidr: '10.96.0.0/16' };
  const onStatus = (status: ProxyStatus): void => void statuses.push(status);
  const deps = { system, services, endpointSlices, node, clock, logger: silentLogger, onStatus };
  return startProxy({ ...deps, ...names, listenAddress: '127.0.0.1' }, abort.signal);
}

/** Lets everything that is ready to run do so. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

describe('startProxy', () => {
  it('writes no rules before both lists are known, so that a restart breaks nothing', async () => {
    const world = makeWorld();
    await start(world);
    world.services.sync();
    await settle();
    expect(world.system.applied).toEqual([]);
    world.endpointSlices.sync();
    await settle();
    expect(world.system.applied).toHaveLength(1);
  });

  it('makes one sync of all changes that come while another runs', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.system.hold();
    await start(world);
    await settle();
    for (const n of [11, 12, 13]) world.services.add(service(`s${n}`, `10.96.0.${n}`));
    await settle();
    expect(world.system.applied).toHaveLength(1);
    world.system.release();
    await settle();
    expect(world.system.applied).toHaveLength(2);
    expect(world.system.applied[1]).toContain('10.96.0.13');
  });

  it('tells of a failure, tries again with growing pauses, and tells of the recovery', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.system.refuse = 'Error: no space left';
    const proxy = await start(world);
    await settle();
    const pauses: (number | undefined)[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      pauses.push(world.clock.nextTimerMs());
      world.clock.advance(world.clock.nextTimerMs() ?? 0);
      await settle();
    }
    expect(pauses).toEqual([1000, 2000, 4000]);
    expect(proxy.status().problems).toEqual([
      'Service rules are out of date: nft refused the rules: Error: no space left.',
    ]);
    world.system.refuse = undefined;
    world.clock.advance(8000);
    await settle();
    expect(proxy.status()).toEqual({ mode: 'nftables', problems: [] });
    expect(world.statuses).toHaveLength(2);
  });

  it('writes the rules again after five minutes, in case somebody flushed them', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    world.clock.advance(300_000);
    await settle();
    expect(world.system.applied).toHaveLength(2);
    expect(world.system.applied[1]).toBe(world.system.applied[0]);
  });

  it('writes only what changed, and all of it again when the kernel does not take that', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    world.services.add(service('a', '10.96.0.11'));
    await settle();
    expect(world.system.applied.at(-1)).toBe(
      'add element ip flt unserved-ips { 10.96.0.11 . 6 . 80 : goto refuse }\nadd element ip flt unserved-node-ports { 6 . 30011 : goto refuse }\n',
    );
    world.system.refuseOnce = 'Error: No such file or directory';
    world.services.add(service('b', '10.96.0.12'));
    await settle();
    expect(world.system.applied).toHaveLength(4);
    expect(world.system.applied.at(-1)).toContain('delete table ip flt\ntable ip flt {');
  });

  it('writes all rules anew as soon as somebody else deletes them', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    // Its own first.
    for (const line of ['delete table ip flt', 'delete table ip other']) world.system.tell(line);
    await settle();
    expect(world.system.applied).toHaveLength(1);
    world.system.tell('delete table ip flt');
    await settle();
    expect(world.system.applied).toHaveLength(2);
    expect(world.system.applied[1]).toBe(world.system.applied[0]);
  });

  it('writes all rules anew when they were deleted while a change was on its way', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    world.system.tell('delete table ip flt');
    await settle();
    world.system.hold();
    world.services.add(service('a', '10.96.0.11'));
    await settle();
    world.clock.advance(10_000);
    world.system.tell('delete table ip flt');
    world.system.release();
    await settle();
    expect(world.system.applied.at(-1)).toContain('delete table ip flt\ntable ip flt {');
    expect(world.system.applied.at(-1)).toContain('10.96.0.11');
  });

  it('knows a deletion of others from one of its own that it never heard of', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    world.clock.advance(10_000);
    world.system.tell('delete table ip flt');
    await settle();
    expect(world.system.applied).toHaveLength(2);
  });

  it('moves the rules with the zone of its node, and for nothing else of it', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.services.items.push(service('a', '10.96.0.11'));
    world.endpointSlices.items.push({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      addressType: 'IPv4',
      metadata: { namespace: 'default', name: 'a', labels: { 'kubernetes.io/service-name': 'a' } },
      endpoints: ['attic', 'cellar'].map((name, i) => ({
        addresses: [`10.244.0.${i + 2}`],
        hints: { forZones: [{ name }] },
      })),
      ports: [{ port: 8080 }],
    });
    await start(world);
    await settle();
    const node = (zone: string): Node => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'here', labels: { 'topology.kubernetes.io/zone': zone } },
      spec: {},
    });
    world.node.add(node('cellar'));
    await settle();
    expect(world.system.applied.at(-1)).toContain('goto pick-1');
    world.node.add(node('cellar'));
    await settle();
    expect(world.system.applied).toHaveLength(2);
  });

  it('opens the bridge to 127.0.0.1; a machine without pods has none, and no problem', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.system.files.delete(route_localnet);
    world.services.add(service('a', '10.96.0.11'));
    const proxy = await start(world);
    await settle();
    expect(proxy.status().problems).toEqual([]);
    world.system.files.set(route_localnet, '0\n');
    world.services.add(service('b', '10.96.0.12'));
    await settle();
    expect(world.system.files.get(route_localnet)).toBe('1\n');
    expect(proxy.status().problems).toEqual([]);
  });

  it('has the bridge open to 127.0.0.1 only while its rules guard it', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.system.refuse = 'Error: no space left';
    const proxy = await start(world);
    await settle();
    expect(world.system.files.get(route_localnet)).toBe('0\n');
    world.system.refuse = undefined;
    world.clock.advance(1000);
    await settle();
    expect(world.system.files.get(route_localnet)).toBe('1\n');
    await proxy.remove();
    expect(world.system.loopbackAtLoad).toEqual(['0', '0', '0']);
  });

  it('serves no NodePort on 127.0.0.1 where the bridge can not be opened', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    world.system.isReadOnly = true;
    await start(world);
    await settle();
    expect(world.system.applied.at(-1)).toContain(
      'ip daddr != 127.0.0.0/8 ip daddr != @no-node-ports fib daddr type local',
    );
  });

  it('asks Docker for leave once, and not at all where Docker has no such chain', async () => {
    for (const hasDockerUser of [true, false]) {
      const world = makeWorld();
      world.system.hasDockerUser = hasDockerUser;
      world.services.sync();
      world.endpointSlices.sync();
      await start(world);
      await settle();
      world.services.add(service('a', '10.96.0.11'));
      await settle();
      expect(world.system.applied).toHaveLength(2);
      expect(world.system.iptables).toHaveLength(hasDockerUser ? 3 : 0);
    }
  });

  it('makes the kernel forget UDP clients of an endpoint that is gone', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    const metadata = { namespace: 'default', name: 'dns' };
    const ports = [{ port: 53, protocol: 'UDP', nodePort: 30_053 }];
    world.services.items.push({
      ...service('dns', '10.96.0.53'),
      spec: { clusterIP: '10.96.0.53', ports },
    });
    const slice = (...addresses: string[]): EndpointSlice => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      addressType: 'IPv4',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'dns' } },
      endpoints: [{ addresses }],
      ports: [{ port: 5353, protocol: 'UDP' }],
    });
    world.endpointSlices.items.push(slice('10.244.0.2', '10.244.0.3'));
    await start(world);
    await settle();
    const entry = (dst: string, dport: number, answer: string): string =>
      `udp 17 29 src=10.244.0.9 dst=${dst} sport=5 dport=${dport} src=${answer} dst=10.244.0.9 sport=5353 dport=5 use=1`;
    world.system.udpEntries = [
      entry('10.96.0.53', 53, '10.244.0.2'),
      entry('10.96.0.53', 53, '10.244.0.3'),
      entry('192.168.1.5', 30_053, '192.168.1.5'),
      entry('8.8.8.8', 53, '8.8.8.8'),
      entry('192.168.1.99', 30_053, '192.168.1.99'),
    ].join('\n');
    world.endpointSlices.items.length = 0;
    world.endpointSlices.add(slice('10.244.0.3', '10.244.0.4'));
    await settle();
    expect(world.system.conntrack).toEqual([
      '--delete --proto udp --orig-dst 10.96.0.53 --orig-port-dst 53 --reply-src 10.244.0.2',
      '--delete --proto udp --orig-dst 192.168.1.5 --orig-port-dst 30053 --reply-src 192.168.1.5',
    ]);
  });

  it('keeps the rules when it stops, and listens to nothing more', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    await start(world);
    await settle();
    world.abort.abort();
    await settle();
    expect(world.services.handlerCount).toBe(0);
    expect(world.clock.nextTimerMs()).toBeUndefined();
    expect(world.system.applied).toHaveLength(1);
  });

  it('removes its table when asked to', async () => {
    const world = makeWorld();
    world.services.sync();
    world.endpointSlices.sync();
    const proxy = await start(world);
    await settle();
    await proxy.remove();
    expect(world.system.applied.at(-1)).toBe('add table ip flt\ndelete table ip flt\n');
    world.services.add(service('a', '10.96.0.11'));
    await settle();
    expect(world.system.applied).toHaveLength(2);
  });

  it('forwards in user space without root, and says what that lacks', async () => {
    const world = makeWorld();
    world.system.isRoot = false;
    const proxy = await start(world);
    expect(proxy.status()).toEqual({
      mode: 'userspace',
      reason:
        "Proxying in the kernel needs root. Only NodePorts and balancers' addresses of this machine are served; ClusterIPs are not reachable.",
      problems: [],
    });
  });

  it('moves into the kernel once nft is installed', async () => {
    const world = makeWorld();
    world.system.hasNft = false;
    world.services.sync();
    world.endpointSlices.sync();
    const proxy = await start(world);
    await settle();
    expect(proxy.status()).toMatchObject({
      mode: 'userspace',
      reason: expect.stringContaining('The nft command is missing'),
    });
    world.system.hasNft = true;
    world.clock.advance(300_000);
    await settle();
    expect(proxy.status()).toEqual({ mode: 'nftables', problems: [] });
    expect(world.system.applied).toHaveLength(1);
  });
});
