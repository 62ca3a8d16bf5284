// Several machines of a home with several networks: who tells of a name where. Each has its LanNames; what one says
// on a network, all there hear; Nodes are a list that all see.
import { beforeEach, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { LanNames } from './lan-names.ts';
import type { LinkOptions } from './link.ts';
import { addressRecord, mdnsPort, query, response, type Message } from './messages.ts';
import type { ServedName } from './owners.ts';

interface Heard {
  readonly network: string;
  readonly from: string;
  readonly message: Message;
}

const networkOf = (address: string): string => address.replace(/\.\d+$/, '');

class Home {
  readonly clock = new ManualClock();
  readonly heard: Heard[] = [];
  readonly #nodes = new Map<string, Node>();
  readonly #handlers = new Set<() => void>();
  readonly #sockets = new Map<string, LinkOptions>();
  readonly #names = new Map<string, LanNames>();
  readonly held = new Map<string, ReadonlyMap<string, string>>();
  /** What all networks hear that one of them hears, as a router that hands on mDNS does. */
  isReflected = false;
  /** Machines that see nothing of what is new in the cluster. */
  readonly blind = new Set<string>();

  /** `addresses`: `192.168.1.2/24`, one for each interface. */
  add(name: string, addresses: readonly string[], interfaces = ['e0', 'e1']): void {
    this.#node(name, { [ingressNode.portsAnnotation]: 'http 80' });
    const links = addresses.map((cidr, index) => {
      const [address = ''] = cidr.split('/');
      const about = { family: 'IPv4' as const, internal: false, netmask: '', mac: '' };
      return [`e${index}`, [{ address, cidr, ...about }]];
    });
    const told = new LanNames({
      nodes: {
        list: () => this.#seenBy(name),
        onChange: (handler) => {
          this.#handlers.add(handler);
          return () => void this.#handlers.delete(handler);
        },
      },
      nodeName: name,
      interfaces,
      clock: this.clock,
      random: seededRandom(name.charCodeAt(0)),
      logger: silentLogger,
      onTold: ({ held, networks }) => {
        this.held.set(name, held);
        const { annotations } = this.#nodes.get(name)?.metadata ?? {};
        if (annotations?.[ingressNode.networksAnnotation] === networks.join(',')) return;
        this.#node(name, { [ingressNode.networksAnnotation]: networks.join(',') });
      },
      signal: new AbortController().signal,
      system: {
        networkInterfaces: () => Object.fromEntries(links) as never,
        connect: () => Promise.reject(new Error('no bus')),
        openLink: async (options) => {
          this.#sockets.set(options.address, options);
          return {
            send: (message) => this.say(options.address, message),
            close: async () => void this.#sockets.delete(options.address),
          };
        },
      },
    });
    this.#names.set(name, told);
  }

  readonly #lost = new Set<string>();
  readonly #frozen = new Map<string, Node[]>();
  #seenBy(name: string): Node[] {
    if (!this.blind.has(name)) this.#frozen.set(name, [...this.#nodes.values()]);
    return this.#frozen.get(name) ?? [];
  }

  #node(name: string, more: Readonly<Record<string, string>>): void {
    const annotations = { ...this.#nodes.get(name)?.metadata.annotations, ...more };
    this.#nodes.set(name, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, annotations },
      spec: {},
      status: {
        conditions: [{ type: 'Ready', status: this.#lost.has(name) ? 'Unknown' : 'True' }],
      },
    });
    for (const changed of this.#handlers) changed();
  }

  lose(name: string): void {
    this.#lost.add(name);
    this.#node(name, {});
  }

  /** Other devices may, too. */
  say(from: string, message: Message): void {
    this.heard.push({ network: networkOf(from), from, message });
    for (const [address, { onMessage }] of this.#sockets)
      if (this.isReflected || networkOf(address) === networkOf(from))
        onMessage(message, { address: from, port: mdnsPort });
  }

  async serve(...names: readonly ServedName[]): Promise<void> {
    for (const one of this.#names.values()) one.serve(names);
    await this.pass(4_000);
  }

  async pass(ms: number): Promise<void> {
    for (let past = 0; past <= ms; past += 50) {
      for (let i = 0; i < 40; i++) await Promise.resolve();
      this.clock.advance(50);
    }
  }

  /** What a device of a network gets when it asks for a name. */
  ask(network: string, name: string): string[] {
    const before = this.heard.length;
    this.clock.advance(1_000);
    const question = query(name, addressRecord(name, `${network}.99`));
    this.say(`${network}.99`, { ...question, authorities: [] });
    return this.heard
      .slice(before)
      .filter((one) => one.network === network && one.message.type === 'response')
      .flatMap(({ message }) => message.answers)
      .filter(({ type, name: of }) => type === 'A' && of === name)
      .map(({ data }) => String(data));
  }
}

let home: Home;
beforeEach(() => {
  home = new Home();
});

const films = (...runsOn: string[]): ServedName => ({
  host: 'films.local',
  runsOn: new Set(runsOn),
});

describe('a name', () => {
  beforeEach(() => {
    home.add('pi1', ['10.77.0.11/24']);
    home.add('pi2', ['10.77.0.12/24']);
    home.add('pi3', ['10.78.0.13/24']);
  });

  it('is told in each network of the home, by one machine of it, with its address there', async () => {
    await home.serve(films('pi3'));
    const [near] = home.ask('10.77.0', 'films.local');
    expect(['10.77.0.11', '10.77.0.12']).toContain(near);
    expect(home.ask('10.77.0', 'films.local')).toEqual([near]);
    expect(home.ask('10.78.0', 'films.local')).toEqual(['10.78.0.13']);
  });

  it('moves with the app within its network, and keeps its name', async () => {
    await home.serve(films('pi1'));
    expect(home.ask('10.77.0', 'films.local')).toEqual(['10.77.0.11']);
    await home.serve(films('pi2'));
    expect(home.ask('10.77.0', 'films.local')).toEqual(['10.77.0.12']);
    home.lose('pi2');
    await home.pass(4_000);
    expect(home.ask('10.77.0', 'films.local')).toEqual(['10.77.0.11']);
  });

  it('keeps its name also where the machine that had it has not let go of it yet', async () => {
    await home.serve(films('pi1'));
    home.blind.add('pi1');
    await home.pass(1_000);
    home.lose('pi1');
    await home.pass(4_000);
    expect(home.held.get('pi2')?.get('films.local')).toBe('films.local');
  });

  it('and where a router hands on what is said in one network to the other', async () => {
    home.isReflected = true;
    await home.serve(films());
    const names = [...home.held.values()].flatMap((held) => [...held.values()]);
    expect(names).toEqual(['films.local', 'films.local']);
  });

  it('that a device of one network has gets its number there', async () => {
    await home.serve(films('pi3'));
    for (let i = 0; i < 2; i++) {
      home.say('10.78.0.50', response([addressRecord('films.local', '10.78.0.50')]));
      await home.pass(100);
    }
    await home.pass(4_000);
    expect(home.held.get('pi3')?.get('films.local')).toBe('films-2.local');
  });
});

describe('a machine', () => {
  it('in two networks tells it in both, each with its own address', async () => {
    home.add('router', ['10.77.0.1/24', '10.78.0.1/24']);
    await home.serve(films());
    expect([home.ask('10.77.0', 'films.local'), home.ask('10.78.0', 'films.local')]).toEqual([
      ['10.77.0.1'],
      ['10.78.0.1'],
    ]);
  });

  it('that tells no names on its network owns none there: another does', async () => {
    home.add('quiet', ['10.77.0.11/24'], []);
    home.add('pi2', ['10.77.0.12/24']);
    await home.serve(films('quiet'));
    expect(home.ask('10.77.0', 'films.local')).toEqual(['10.77.0.12']);
  });
});
