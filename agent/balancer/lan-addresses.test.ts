import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { Node, Service } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { lanAddress } from '#kube/machinery/balancers.ts';
import { LanAddresses } from './lan-addresses.ts';
import { removeLanAddresses } from './start.ts';
import { parseLinks, unknownAddress, type LanLink } from './lan-link.ts';

const address = '192.168.1.240';
const mac = '02:00:00:00:00:02';
const settle = () => new Promise(setImmediate);

function service(node: string | undefined, given = address): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace: 'default',
      name: 'web',
      annotations: {
        [lanAddress.address]: given,
        ...(node !== undefined && { [lanAddress.node]: node }),
      },
    },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  };
}

/** A machine on a LAN, as its kernel would tell of it. */
class World {
  readonly clock = new ManualClock();
  readonly stop = new AbortController();
  list: Service[] = [];
  /** What happened, in order. */
  readonly done: string[] = [];
  remembered: Readonly<Record<string, string>> = {};
  others = new Map<string, string>();
  /** Resolves when a question is answered. */
  asking: Promise<void> = Promise.resolve();
  isUp = true;
  readonly extra = new Set<string>();
  changed = (): void => undefined;
  ready = (_node: Partial<Node>, _next: Partial<Node>): void => undefined;
  tell = (_line: string): void => undefined;
  addresses: LanAddresses | undefined;

  start(): this {
    const { clock, stop } = this;
    this.addresses = new LanAddresses({
      services: {
        lister: { list: () => this.list },
        addHandler: ({ onUpdate }) => {
          this.changed = () => onUpdate(service('x'), service('x'));
          return () => undefined;
        },
        whenSynced: async () => undefined,
      },
      nodes: {
        lister: { list: () => [] },
        addHandler: ({ onUpdate }) => {
          this.ready = (old, next) => onUpdate(old as Node, next as Node);
          return () => undefined;
        },
      },
      nodeName: 'here',
      links: {
        list: async () => [this.#link()],
        whoHas: async (asked) => {
          await this.asking;
          return this.others.get(asked);
        },
        take: async (one) => {
          this.done.push(`take ${one}, remembered ${JSON.stringify(this.remembered)}`);
          this.extra.add(one);
        },
        release: async (one) => {
          this.done.push(`release ${one}`);
          this.extra.delete(one);
        },
        announce: async (one) => void this.done.push(`announce ${one}`),
      },
      watchLinks: (onLine) => {
        this.tell = onLine;
      },
      memory: {
        read: async () => this.remembered,
        write: async (devices) => {
          this.remembered = devices;
        },
      },
      clock,
      logger: silentLogger,
      onChange: () => undefined,
      signal: stop.signal,
    });
    return this;
  }

  async set(...list: Service[]): Promise<void> {
    this.list = list;
    this.changed();
    await settle();
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }

  get told(): (string | null | undefined)[] {
    const annotations = this.addresses?.annotations() ?? {};
    return [annotations[lanAddress.held], annotations[lanAddress.taken]];
  }

  #link(): LanLink {
    const networks = ['192.168.1.2/24'];
    return { device: 'eth0', mac, isUp: this.isUp, networks, extra: [...this.extra] };
  }
}

it('an address that this machine is given is taken, told, and given back', async () => {
  const world = new World().start();
  await world.set(service('there'), service(undefined));
  expect([world.done, world.told]).toEqual([[], ['', null]]);
  await world.set(service('here'));
  expect(world.done).toEqual([
    `take ${address}, remembered {"${address}":"eth0"}`,
    `announce ${address}`,
  ]);
  expect(world.told).toEqual([`${address} ${mac}`, null]);
  // Another may have answered for it while it was thought to be gone.
  const status = (ready: string) => ({
    status: { conditions: [{ type: 'Ready', status: ready }] },
  });
  world.done.length = 0;
  world.ready(status('True'), status('True'));
  await settle();
  expect(world.done).toEqual([]);
  world.ready(status('Unknown'), status('True'));
  await settle();
  expect(world.done.splice(0)).toEqual([`announce ${address}`]);
  await world.set(service('there'));
  expect([world.done, world.told, world.remembered]).toEqual([
    [`release ${address}`],
    ['', null],
    {},
  ]);
  world.stop.abort();
});

it('one that somebody answers for is not taken, told the second time, and taken when it is free', async () => {
  const world = new World().start();
  world.others.set(address, 'de:ad:be:ef:00:01');
  await world.set(service('here'));
  expect([world.done, world.told]).toEqual([[], ['', null]]);
  await world.pass(1_000);
  expect([world.done, world.told]).toEqual([[], ['', `${address} de:ad:be:ef:00:01`]]);
  world.others.clear();
  await world.pass(5_000);
  expect(world.told).toEqual([`${address} ${mac}`, null]);
  world.stop.abort();
});

it('one that became another’s while it was asked for is not taken', async () => {
  const world = new World().start();
  let answer = (): void => undefined;
  world.asking = new Promise((resolve) => {
    answer = resolve;
  });
  await world.set(service('here'));
  await world.set(service('there'));
  answer();
  await settle();
  expect([world.done, world.told]).toEqual([[], ['', null]]);
  world.stop.abort();
});

it('one that was taken is told for ten minutes when another is given, and may be tried again then', async () => {
  const world = new World().start();
  world.others.set(address, 'de:ad:be:ef:00:01');
  await world.set(service('here'));
  await world.pass(1_000);
  await world.set(service('here', '192.168.1.241'));
  expect(world.told).toEqual([`192.168.1.241 ${mac}`, `${address} de:ad:be:ef:00:01`]);
  await world.pass(600_000);
  expect(world.told).toEqual([`192.168.1.241 ${mac}`, null]);
  world.stop.abort();
});

it('goes with the cable, and comes back with it', async () => {
  const world = new World().start();
  await world.set(service('here'));
  world.done.length = 0;
  world.isUp = false;
  world.tell('2: eth0@if7: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 state LOWERLAYERDOWN');
  await settle();
  expect([world.done, world.told[0]]).toEqual([[`release ${address}`], '']);
  world.isUp = true;
  world.tell('2: eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP');
  await settle();
  expect(world.told[0]).toBe(`${address} ${mac}`);
  world.stop.abort();
});

it('is taken again when somebody flushes the link', async () => {
  const world = new World().start();
  await world.set(service('here'));
  world.extra.clear();
  world.addresses?.trigger();
  await settle();
  expect([...world.extra]).toEqual([address]);
  world.stop.abort();
});

it('stays when the agent stops; the next one knows it, and gives it back if it is another’s', async () => {
  const first = new World().start();
  await first.set(service('here'), service('here', '192.168.1.241'));
  first.stop.abort();
  await settle();
  expect([...first.extra]).toEqual([address, '192.168.1.241']);
  const next = new World();
  next.remembered = first.remembered;
  for (const one of first.extra) next.extra.add(one);
  // Not asked for: this machine itself would answer.
  next.others.set(address, mac);
  next.start();
  await next.set(service('here'), service('there', '192.168.1.241'));
  expect([next.done, next.told[0]]).toEqual([
    [`announce ${address}`, 'release 192.168.1.241'],
    `${address} ${mac}`,
  ]);
  next.stop.abort();
});

it.each(['eth0', '192.168.1.1; reboot', '192.168.001.240', '::1'])(
  'what is no address is never taken: %s',
  async (given) => {
    const world = new World().start();
    await world.set(service('here', given));
    await world.pass(60_000);
    expect(world.done).toEqual([]);
    world.stop.abort();
  },
);

it('are given back when the node is removed, by what the agent wrote down', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-lan-'));
  const released: string[] = [];
  const links = {
    release: async (one: string, device: string) => void released.push(`${one} ${device}`),
  };
  writeFileSync(path.join(folder, 'lan-addresses.json'), JSON.stringify({ [address]: 'eth0' }));
  expect(await removeLanAddresses(folder, links)).toEqual([address]);
  expect(await removeLanAddresses(folder, links)).toEqual([]);
  expect(released).toEqual([`${address} eth0`]);
  rmSync(folder, { recursive: true });
});

it('links are read as the kernel tells of them; it asks for an address that it knows nobody at', () => {
  const info = (local: string, prefixlen: number, scope: string) => ({
    family: 'inet',
    local,
    prefixlen,
    scope,
  });
  const [link, ...others] = parseLinks(
    JSON.stringify([
      { ifname: 'lo', link_type: 'loopback', addr_info: [info('127.0.0.1', 8, 'host')] },
      {
        ifname: 'eth0',
        link_type: 'ether',
        address: mac,
        flags: ['BROADCAST', 'UP', 'LOWER_UP'],
        addr_info: [info('192.168.1.2', 24, 'global'), info(address, 32, 'host')],
      },
    ]),
  );
  expect(others).toEqual([]);
  expect(link).toEqual({
    device: 'eth0',
    mac,
    isUp: true,
    networks: ['192.168.1.2/24'],
    extra: [address],
  });
  if (link === undefined) throw new Error('it is there');
  const known = [
    { address: '192.168.1.254', mac: 'aa:aa:aa:aa:aa:aa', hasFailed: false },
    { address: '192.168.1.253', mac: undefined, hasFailed: true },
  ];
  expect(unknownAddress(address, link, known)).toBe('192.168.1.253');
  expect(unknownAddress('10.0.0.1', link, known)).toBeUndefined();
});
