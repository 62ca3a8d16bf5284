// Names on a link in memory, on a clock that the test moves: several machines with their responders.
import { beforeEach, describe, expect, it } from 'vitest';
import { isLanName } from '#kube/machinery/app-names.ts';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { homePageAnnotation, homePageName } from '#kube/machinery/home-page.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { decodeMessage, encodeMessage } from './codec.ts';
import {
  addressRecord,
  isUnicastQuestion,
  mdnsPort,
  response,
  type Message,
  type ResourceRecord,
  type Sender,
} from './messages.ts';
import { namesOf, pageNames } from './owners.ts';
import { Responder } from './responder.ts';

const wanted = new Set(['films.local']);
let clock: ManualClock;
let machines: { readonly responder: Responder; readonly address: string }[];
/** All that was sent: by whom, to whom, what. */
let sent: { from: string; to: string; message: Message }[];
beforeEach(() => {
  clock = new ManualClock();
  machines = [];
  sent = [];
});

function machine(last: number, own: readonly string[] = []): Responder {
  const address = `192.168.1.${last}`;
  const from: Sender = { address, port: mdnsPort };
  const addresses = new Set([address, ...own]);
  const responder: Responder = new Responder({
    address,
    ownAddresses: () => addresses,
    clock,
    random: seededRandom(last),
    send(message, to) {
      // As on the wire, and everybody hears it, the sender too.
      const read = decodeMessage(encodeMessage(message));
      if (read === undefined) throw new Error('unreadable');
      sent.push({ from: address, to: to?.address ?? 'all', message: read });
      for (const other of machines)
        if (to === undefined || to.address === other.address) other.responder.receive(read, from);
    },
    onChange: () => undefined,
    onTaken: (name, number) => responder.want(wanted, new Map([[name, number + 1]])),
  });
  machines.push({ responder, address });
  return responder;
}

async function pass(ms: number): Promise<void> {
  for (let past = 0; past < ms; past += 50) clock.advance(50);
}

function ask(type: string, more: Partial<Message> = {}, from: Partial<Sender> = {}): Message[] {
  const before = sent.length;
  const questions = [{ name: 'Films.local', type, class: 'IN' }];
  const empty = { answers: [], authorities: [], additionals: [] };
  const message: Message = { type: 'query', id: 7, questions, ...empty, ...more };
  for (const { responder } of machines)
    responder.receive(message, { address: '192.168.1.99', port: mdnsPort, ...from });
  return sent.slice(before).map((one) => one.message);
}

describe('a name', () => {
  it('is asked for three times, then told twice, and answers', async () => {
    const responder = machine(1);
    responder.want(wanted);
    await pass(800);
    expect(responder.held.size).toBe(0);
    await pass(3000);
    expect(sent.map(({ message }) => message.type)).toEqual([
      'query',
      'query',
      'query',
      'response',
      'response',
    ]);
    expect(sent[0]?.message.authorities).toMatchObject([
      { name: 'films.local', data: '192.168.1.1' },
    ]);
    expect(sent[3]?.message.answers).toMatchObject([
      { type: 'A', data: '192.168.1.1', ttl: 120, flush: true },
      { type: 'NSEC' },
    ]);
    expect([...responder.held]).toEqual([['films.local', 'films.local']]);
  });

  it('that another machine has gets a number', async () => {
    machine(2).want(wanted);
    await pass(3000);
    const late = machine(1);
    late.want(wanted);
    await pass(3000);
    expect([...late.held]).toEqual([['films.local', 'films-2.local']]);
    const third = machine(3);
    third.want(wanted);
    await pass(3000);
    expect(third.held.get('films.local')).toBe('films-3.local');
  });

  it('that two ask for at the same moment goes to one of them, and the other gets a number', async () => {
    const [lower, greater] = [machine(1), machine(2)];
    for (const one of [lower, greater]) one.want(wanted);
    await pass(8000);
    // The greater address has it, as every device reckons.
    expect([lower, greater].map((one) => one.held.get('films.local'))).toEqual([
      'films-2.local',
      'films.local',
    ]);
  });

  it('is given up when another machine says it is its own, and stays so', async () => {
    const responder = machine(1);
    responder.want(wanted);
    await pass(3000);
    const stubborn = response([addressRecord('films.local', '192.168.1.50')]);
    const hear = (): void =>
      responder.receive(stubborn, { address: '192.168.1.50', port: mdnsPort });
    hear();
    expect(responder.held.size).toBe(0);
    await pass(100);
    hear();
    await pass(3000);
    expect(responder.held.get('films.local')).toBe('films-2.local');
  });

  it('is kept when the other machine does not say it again', async () => {
    const responder = machine(1);
    responder.want(wanted);
    await pass(3000);
    responder.receive(response([addressRecord('films.local', '192.168.1.50')]), {
      address: '192.168.1.50',
      port: mdnsPort,
    });
    await pass(3000);
    expect(responder.held.get('films.local')).toBe('films.local');
  });

  it('is no conflict with what this machine says on another of its links', async () => {
    const responder = machine(1, ['10.0.0.1']);
    responder.want(wanted);
    await pass(3000);
    responder.receive(response([addressRecord('films.local', '10.0.0.1')]), {
      address: '192.168.1.1',
      port: mdnsPort,
    });
    expect(responder.held.size).toBe(1);
  });

  it('that is not wanted any more is said goodbye to, and free', async () => {
    const responder = machine(1);
    responder.want(wanted);
    await pass(3000);
    responder.want(new Set());
    expect(sent.at(-1)?.message.answers).toMatchObject([{ name: 'films.local', ttl: 0 }]);
    const next = machine(2);
    next.want(wanted);
    await pass(3000);
    expect(next.held.get('films.local')).toBe('films.local');
  });
});

describe('a question', () => {
  beforeEach(async () => {
    machine(1).want(wanted);
    await pass(5000);
  });

  it('for the address is answered to all, with word that there is no other', () => {
    const [answer, ...more] = ask('A');
    expect([answer?.answers, answer?.additionals, more]).toMatchObject([
      [{ name: 'films.local', type: 'A', data: '192.168.1.1' }],
      [{ type: 'NSEC', data: { rrtypes: ['A'] } }],
      [],
    ]);
    expect(sent.at(-1)?.to).toBe('all');
  });

  it('for another type is told at once that there is none', () => {
    expect(ask('AAAA')[0]?.answers).toMatchObject([{ type: 'NSEC', data: { rrtypes: ['A'] } }]);
  });

  it('is answered to all once a second at most', async () => {
    expect([ask('A').length, ask('A').length]).toEqual([1, 0]);
    await pass(1000);
    expect(ask('A').length).toBe(1);
  });

  it('whose asker knows the answer for long enough is not answered', () => {
    const known: ResourceRecord = addressRecord('films.local', '192.168.1.1');
    expect(ask('A', { answers: [{ ...known, ttl: 61 }] })).toEqual([]);
    expect(ask('A', { answers: [{ ...known, ttl: 10 }] }).length).toBe(1);
  });

  it('that wants the answer alone gets it alone', () => {
    const questions = [{ name: 'films.local', type: 'A', class: 'UNKNOWN_32769' }];
    expect(ask('A', { questions }).length).toBe(1);
    expect(sent.at(-1)?.to).toBe('192.168.1.99');
    // The bit as it stands in bytes.
    const bytes = encodeMessage({
      ...ask('A', { questions })[0],
      type: 'query',
      questions: [],
    } as never);
    expect(decodeMessage(bytes)?.questions).toEqual([]);
    const raw = Buffer.from('0000000000010000000000000566696c6d73056c6f63616c0000018001', 'hex');
    expect(decodeMessage(raw)?.questions.map(isUnicastQuestion)).toEqual([true]);
  });

  it('of a plain resolver is answered as one: its id, its question, a short life', () => {
    const [answer] = ask('A', {}, { port: 40_000 });
    expect(answer).toMatchObject({
      id: 7,
      questions: [{ name: 'Films.local', type: 'A' }],
      answers: [{ ttl: 10, flush: false, data: '192.168.1.1' }],
    });
    expect(sent.at(-1)?.to).toBe('192.168.1.99');
  });

  it('for another name is not answered, nor are bytes that are no message', () => {
    expect(ask('A', { questions: [{ name: 'other.local', type: 'A', class: 'IN' }] })).toEqual([]);
    expect(decodeMessage(Buffer.from('00000000ffffffffffffffff', 'hex'))).toBeUndefined();
    expect(decodeMessage(Buffer.alloc(9001))).toBeUndefined();
  });
});

describe('which node tells of a name', () => {
  const serving = { ports: 'http 80; https 443', ready: 'True', networks: '192.168.1.9/24' };
  const node = (name: string, more: Partial<typeof serving> = {}): Node => {
    const { ports, ready, networks } = { ...serving, ...more };
    const annotations = {
      [ingressNode.portsAnnotation]: ports,
      [ingressNode.networksAnnotation]: networks,
    };
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, annotations },
      spec: {},
      status: { conditions: [{ type: 'Ready', status: ready }] },
    };
  };
  const served = (runsOn: readonly string[]) => [{ host: 'x.local', runsOn: new Set(runsOn) }];
  const owners = (runsOn: readonly string[], nodes: readonly Node[]): string[] =>
    nodes
      .map(({ metadata }) => metadata.name)
      .filter((name) =>
        [...namesOf(name, served(runsOn), nodes).values()].some(({ size }) => size > 0),
      );

  it('is the one where the app runs', () => {
    expect(owners(['b'], [node('a'), node('b'), node('c')])).toEqual(['b']);
  });

  it('is one and only one, whoever looks, when it runs on none that serves, or on several', () => {
    const nodes = [node('a'), node('b'), node('c')];
    expect([owners([], nodes).length, owners(['a', 'b', 'c'], nodes).length]).toEqual([1, 1]);
    expect(owners(['gone'], nodes)).toEqual(owners([], nodes.toReversed()));
  });

  it('is none that serves no plain HTTP, or is not ready', () => {
    const nodes = [node('a', { ports: 'https 443' }), node('b', { ready: 'Unknown' }), node('c')];
    expect([owners(['a'], nodes), owners(['b'], nodes)]).toEqual([['c'], ['c']]);
    expect(owners(['a'], [...nodes.slice(0, 2), node('d', { ports: '' })])).toEqual([]);
  });

  it('is one in each network of the home, and the app draws it within its own', () => {
    const nodes = [
      node('a', { networks: '10.77.0.11/24' }),
      node('b', { networks: '10.77.0.12/24,192.168.1.2/24' }),
      node('c', { networks: '10.78.0.13/24' }),
    ];
    expect(owners(['b'], nodes)).toEqual(['b', 'c']);
    expect(owners(['a', 'c'], nodes)).toEqual(['a', 'b', 'c']);
    expect([...namesOf('b', served(['a']), nodes)]).toEqual([
      ['10.77.0.12/24', new Set()],
      ['192.168.1.2/24', new Set(['x.local'])],
    ]);
  });

  it('is one also where machines of a network disagree on how large it is, or say nonsense', () => {
    const nodes = [
      node('a', { networks: '10.77.1.11/24' }),
      node('b', { networks: '10.77.0.12/16' }),
      node('c', { networks: '10.77.2.13/24,' }),
      node('d', { networks: 'eth0' }),
    ];
    for (const name of ['a', 'b', 'c']) expect(owners([name], nodes)).toEqual([name]);
    expect(owners(['d'], nodes).length).toBe(1);
  });

  it('is, of Flotilla’s own page, only the one that has it, whatever else it serves', () => {
    const page = (one: Node, port = '7481'): Node => {
      const annotations = { ...one.metadata.annotations, [homePageAnnotation]: port };
      return { ...one, metadata: { ...one.metadata, annotations } };
    };
    const tellers = (nodes: readonly Node[]): string[] =>
      nodes
        .map(({ metadata }) => metadata.name)
        .filter((name) =>
          [...namesOf(name, pageNames(nodes), nodes).values()].some((names) =>
            names.has(homePageName),
          ),
        );
    expect(tellers([node('a'), page(node('b', { ports: '' })), node('c')])).toEqual(['b']);
    expect(tellers([node('a'), page(node('b', { ready: 'Unknown' }))])).toEqual([]);
    expect(tellers([node('a'), page(node('b'), '0'), page(node('c'), 'x')])).toEqual([]);
  });

  it('has one label that a host name may have', () => {
    const names = [
      'films.local',
      'a.b.local',
      'films.home',
      '-x.local',
      'x_.local',
      '.local',
      '*.local',
    ];
    expect(names.filter(isLanName)).toEqual(['films.local']);
  });
});
