// Who tells the home of names: this process on several links, or an avahi in memory that behaves as the real one does.
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { Node } from '#kube/api/core.ts';
import { seededRandom } from '#kube/base/random.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { BusError, type BusCall, type BusOptions } from '../dbus/bus.ts';
import type { Value } from '../dbus/message.ts';
import { LanNames } from './lan-names.ts';
import { addressRecord, mdnsPort, response, type Message } from './messages.ts';
import type { LinkOptions } from './link.ts';

/** As it tells of itself. */
const node = (networks: readonly string[]): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: 'a',
    annotations: {
      [ingressNode.portsAnnotation]: 'http 80',
      [ingressNode.networksAnnotation]: networks.join(','),
    },
  },
  spec: {},
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});
const entry = (address: string, cidr: string) => ({
  address,
  cidr,
  family: 'IPv4' as const,
  internal: false,
  netmask: '',
  mac: '',
});

/** avahi on a bus: what it was told, and what it says of it. */
class AvahiInMemory {
  isRunning = true;
  /** Names that another device has. */
  taken = new Set<string>();
  /** Names that another program here has. */
  local = new Set<string>();
  /** Its own word for everything. */
  refusal = '';
  readonly groups = new Map<string, { entries: (readonly Value[])[]; isCommitted: boolean }>();
  connections = 0;
  #made = 0;
  #owner = ':1.5';
  #on: Pick<BusOptions, 'onSignal' | 'onEnd'> | undefined;

  readonly connect = async (on: Pick<BusOptions, 'onSignal' | 'onEnd'>) => {
    this.#on = on;
    this.connections++;
    return {
      call: async (call: BusCall) => this.#call(call),
      close: () => {
        this.groups.clear();
        this.#on = undefined;
      },
    };
  };

  get names(): unknown[] {
    return [...this.groups.values()].filter((one) => one.isCommitted).map((one) => one.entries);
  }

  restart(isRunning = true): void {
    this.groups.clear();
    this.isRunning = false;
    this.#ownerChanged('');
    if (!isRunning) return;
    this.isRunning = true;
    this.#owner = ':1.9';
    this.#ownerChanged(this.#owner);
  }

  /** Another device takes the name. */
  collide(name: string): void {
    this.taken.add(name);
    for (const [path, { entries }] of this.groups)
      if (entries.some((one) => one[3] === name)) this.#state(path, 3);
  }

  endBus(): void {
    this.groups.clear();
    this.#on?.onEnd('hung up');
  }

  #call({ member, path, body = [] }: BusCall): readonly Value[] {
    if (member === 'AddMatch') return [];
    if (!this.isRunning) throw new BusError('org.freedesktop.DBus.Error.NameHasNoOwner', '');
    if (member === 'GetNameOwner') return [this.#owner];
    if (this.refusal !== '') throw new BusError('org.freedesktop.Avahi.NotPermittedError', 'no');
    if (member === 'EntryGroupNew') {
      const made = `/Client0/EntryGroup${++this.#made}`;
      this.groups.set(made, { entries: [], isCommitted: false });
      return [made];
    }
    const group = this.groups.get(path);
    if (group === undefined) throw new BusError('org.freedesktop.DBus.Error.UnknownObject', path);
    if (member === 'Free') this.groups.delete(path);
    if (member === 'Reset') Object.assign(group, { entries: [], isCommitted: false });
    if (member === 'AddAddress') {
      if (this.local.has(String(body[3])))
        throw new BusError('org.freedesktop.Avahi.CollisionError', 'Local name collision');
      group.entries.push(body);
    }
    if (member === 'Commit') {
      group.isCommitted = true;
      const isTaken = group.entries.some((one) => this.taken.has(String(one[3])));
      queueMicrotask(() => this.#state(path, isTaken ? 3 : 2));
    }
    return [];
  }

  #state(path: string, state: number): void {
    const about = { member: 'StateChanged', path, body: [state, ''] };
    this.#on?.onSignal({ type: 'signal', serial: 1, sender: this.#owner, ...about });
  }

  #ownerChanged(owner: string): void {
    const body = ['org.freedesktop.Avahi', '', owner];
    const about = { sender: 'org.freedesktop.DBus', member: 'NameOwnerChanged', body };
    this.#on?.onSignal({ type: 'signal', serial: 1, ...about });
  }
}

let clock: ManualClock;
let avahi: AvahiInMemory;
let links: Record<string, ReturnType<typeof entry>[]>;
let sockets: Map<string, LinkOptions>;
let said: { from: string; message: Message }[];
let held: ReadonlyMap<string, string>;
let networks: readonly string[];
let reports: number;
let over: AbortController;

beforeEach(() => {
  clock = new ManualClock();
  avahi = new AvahiInMemory();
  links = {
    eth0: [entry('192.168.1.1', '192.168.1.1/24')],
    wlan0: [entry('10.0.0.1', '10.0.0.1/24')],
  };
  sockets = new Map();
  said = [];
  held = new Map();
  networks = [];
  reports = 0;
  over = new AbortController();
});

function names(): LanNames {
  let changed = (): void => {};
  const onChange = (handler: () => void) => {
    changed = handler;
    return () => {};
  };
  return new LanNames({
    nodes: { list: () => [node(networks)], onChange },
    nodeName: 'a',
    interfaces: ['eth0', 'wlan0'],
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    onTold(told) {
      reports++;
      const isMoved = told.networks.join() !== networks.join();
      ({ held, networks } = told);
      if (isMoved) changed();
    },
    signal: over.signal,
    system: {
      networkInterfaces: () => links,
      connect: (on) => avahi.connect(on),
      interfaceIndex: async (name) => ({ eth0: 2, wlan0: 3 })[name],
      openLink: async (options) => {
        sockets.set(options.address, options);
        return {
          send: (message) => said.push({ from: options.address, message }),
          close: async () => void sockets.delete(options.address),
        };
      },
    },
  });
}

/** Time, and what follows of it. */
async function pass(ms: number): Promise<void> {
  for (let past = 0; past <= ms; past += 50) {
    for (let i = 0; i < 40; i++) await Promise.resolve();
    clock.advance(50);
  }
  for (let i = 0; i < 40; i++) await Promise.resolve();
}

const films = [{ host: 'films.local', runsOn: new Set(['a']) }];
const groupOf = (name: string) => [
  [2, 0, 16, name, '192.168.1.1'],
  [3, 0, 16, name, '10.0.0.1'],
];

describe('where avahi runs', () => {
  it('it tells the name on all links, and this process none', async () => {
    names().serve(films);
    await pass(100);
    expect([avahi.names, sockets.size, [...held]]).toEqual([
      [groupOf('films.local')],
      0,
      [['films.local', 'films.local']],
    ]);
  });

  it('a name that another device has gets a number, at once and later', async () => {
    avahi.taken.add('films.local');
    names().serve(films);
    await pass(100);
    expect([avahi.names, held.get('films.local')]).toEqual([
      [groupOf('films-2.local')],
      'films-2.local',
    ]);
    avahi.collide('films-2.local');
    expect(held.size).toBe(0);
    await pass(100);
    expect([avahi.names, held.get('films.local')]).toEqual([
      [groupOf('films-3.local')],
      'films-3.local',
    ]);
  });

  it('a name that another program of this machine has gets a number, too', async () => {
    avahi.local.add('films.local');
    names().serve(films);
    await pass(100);
    expect(held.get('films.local')).toBe('films-2.local');
  });

  it('with no free number at all it is not asked for ever', async () => {
    names().serve(films);
    for (let i = 1; i < 100; i++) avahi.taken.add(i === 1 ? 'films.local' : `films-${i}.local`);
    avahi.collide('films.local');
    await pass(1_000);
    expect(avahi.names).toEqual([groupOf('films-16.local')]);
    await pass(5_000);
    expect(avahi.names).toEqual([groupOf('films-17.local')]);
  });

  it('a name that is not served any more is withdrawn, and without names nobody listens', async () => {
    const told = names();
    told.serve([...films, { host: 'music.local', runsOn: new Set(['a']) }]);
    await pass(100);
    expect(avahi.groups.size).toBe(2);
    told.serve(films);
    await pass(100);
    expect([avahi.names, [...held.keys()]]).toEqual([[groupOf('films.local')], ['films.local']]);
    told.serve([]);
    await pass(100);
    expect([avahi.groups.size, held.size, clock.nextTimerMs()]).toEqual([0, 0, undefined]);
  });

  it('another address of this machine is told', async () => {
    names().serve(films);
    await pass(100);
    links = { eth0: [entry('192.168.1.7', '192.168.1.7/24')] };
    await pass(15_000);
    expect(avahi.names).toEqual([[[2, 0, 16, 'films.local', '192.168.1.7']]]);
  });

  it('is said once, not each time that this machine is looked at', async () => {
    names().serve(films);
    await pass(100);
    const before = reports;
    await pass(60_000);
    expect([reports, networks]).toEqual([before, ['10.0.0.1/24', '192.168.1.1/24']]);
  });

  it('all is told again when it starts anew', async () => {
    names().serve(films);
    await pass(100);
    avahi.restart();
    expect(avahi.names).toEqual([]);
    await pass(100);
    expect([avahi.names, sockets.size, held.size]).toEqual([[groupOf('films.local')], 0, 1]);
  });

  it('and ends, this process tells; when it is back, it tells again', async () => {
    names().serve(films);
    await pass(100);
    avahi.restart(false);
    await pass(3_000);
    expect([[...sockets.keys()], [...held]]).toEqual([
      ['192.168.1.1', '10.0.0.1'],
      [['films.local', 'films.local']],
    ]);
    avahi.restart();
    await pass(100);
    expect([sockets.size, said.at(-1)?.message.answers[0]?.ttl, avahi.names]).toEqual([
      0,
      0,
      [groupOf('films.local')],
    ]);
  });

  it('and the bus ends, it is looked for again', async () => {
    names().serve(films);
    await pass(100);
    avahi.endBus();
    await pass(100);
    expect([avahi.connections, avahi.names]).toEqual([2, [groupOf('films.local')]]);
  });

  it('and takes no names, this process tells them', async () => {
    avahi.refusal = 'no';
    names().serve(films);
    await pass(3_000);
    expect([sockets.size, [...held]]).toEqual([2, [['films.local', 'films.local']]]);
  });

  it('names are let go when the agent stops', async () => {
    names().serve(films);
    await pass(100);
    over.abort();
    await pass(100);
    expect([avahi.groups.size, clock.nextTimerMs()]).toEqual([0, undefined]);
  });
});

describe('on several links without avahi', () => {
  beforeEach(() => {
    avahi.isRunning = false;
  });

  const hear = (own: string, name: string, theirs: string): void =>
    sockets.get(own)?.onMessage(response([addressRecord(name, theirs)]), {
      address: theirs,
      port: mdnsPort,
    });
  /** What each link was last told, and not taken back. */
  const toldOn = (own: string): string[] => {
    const told = new Map<string, number>();
    for (const { from, message } of said)
      if (from === own && message.type === 'response')
        for (const { name, type, ttl } of message.answers) if (type === 'A') told.set(name, ttl);
    return [...told].filter(([, ttl]) => ttl > 0).map(([name]) => name);
  };

  it('a name that is taken on one of them has the same number on all', async () => {
    names().serve(films);
    await pass(50);
    hear('10.0.0.1', 'films.local', '10.0.0.50');
    await pass(4_000);
    expect([toldOn('192.168.1.1'), toldOn('10.0.0.1'), [...held]]).toEqual([
      ['films-2.local'],
      ['films-2.local'],
      [['films.local', 'films-2.local']],
    ]);
  });

  it('also when another link has it already, where goodbye is said to it', async () => {
    names().serve(films);
    await pass(4_000);
    for (let i = 0; i < 2; i++) {
      hear('10.0.0.1', 'films.local', '10.0.0.50');
      await pass(50);
    }
    await pass(4_000);
    expect([toldOn('192.168.1.1'), toldOn('10.0.0.1').at(-1), [...held.values()]]).toEqual([
      ['films-2.local'],
      'films-2.local',
      ['films-2.local'],
    ]);
  });

  it('a link that comes later begins with the number', async () => {
    const { wlan0, ...first } = links;
    links = first;
    names().serve(films);
    await pass(50);
    hear('192.168.1.1', 'films.local', '192.168.1.50');
    await pass(4_000);
    links = { ...first, wlan0: wlan0 ?? [] };
    await pass(18_000);
    expect([toldOn('192.168.1.1'), toldOn('10.0.0.1')]).toEqual([
      ['films-2.local'],
      ['films-2.local'],
    ]);
  });
});
