import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { EndpointPicker } from './endpoint-picker.ts';
import type { Endpoint, Protocol, RuleSet, ServicePortRule } from './rules.ts';
import { makeRule, ruleSet } from './testing/services.ts';
import { UserspaceApplier } from './userspace.ts';

const loopback = '127.0.0.1';
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A TCP server that answers its name, then what it got, and ends when the client does. */
async function tcpServer(name: string): Promise<Endpoint> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.write(`${name} `);
    socket.pipe(socket);
  });
  return listen(server);
}

async function listen(server: Server): Promise<Endpoint> {
  server.listen(0, loopback);
  await once(server, 'listening');
  cleanups.push(async () => {
    server.close();
    await Promise.resolve();
  });
  return { address: loopback, port: (server.address() as AddressInfo).port };
}

async function udpServer(name: string): Promise<Endpoint> {
  const socket = createSocket('udp4');
  socket.on('message', (_message, from) => socket.send(name, from.port, from.address));
  socket.bind(0, loopback);
  await once(socket, 'listening');
  cleanups.push(async () => {
    socket.close();
    await Promise.resolve();
  });
  return { address: loopback, port: socket.address().port };
}

/** A port where nothing listens: one that was just given back. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, loopback);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function makeApplier(ownAddresses: readonly string[] = []): UserspaceApplier {
  const clock = new ManualClock();
  const applier = new UserspaceApplier({
    clock,
    address: loopback,
    ownAddresses: () => ownAddresses,
  });
  cleanups.push(() => applier.remove());
  return applier;
}

function rule(
  endpoints: readonly Endpoint[],
  more: Partial<ServicePortRule> = {},
): ServicePortRule {
  const target = { endpoints, whenEmpty: 'reject' } as const;
  return makeRule({ internal: target, external: target, ...more });
}

function nodePort(
  port: number,
  endpoints: readonly Endpoint[],
  protocol: Protocol = 'tcp',
): RuleSet {
  return ruleSet(rule(endpoints, { nodePort: port, protocol }));
}

/** Sends `text`, says it is done, and gives back all that comes; an error code if it breaks. */
async function exchange(port: number, text = ''): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: loopback, port });
    let answer = '';
    socket.on('data', (data) => void (answer += String(data)));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.on('end', () => resolve(answer));
    socket.end(text);
  });
}

async function askUdp(socket: UdpSocket, port: number): Promise<string> {
  const answer = once(socket, 'message');
  socket.send('x', port, loopback);
  const [message] = (await answer) as [Buffer];
  return message.toString();
}

describe('UserspaceApplier', () => {
  it('gives each endpoint its turn and passes on the end of either side', async () => {
    const port = await freePort();
    const endpoints = [await tcpServer('a'), await tcpServer('b'), await tcpServer('c')];
    expect(await makeApplier().apply(nodePort(port, endpoints))).toEqual([]);
    const answers: string[] = [];
    for (let turn = 0; turn < 6; turn++) answers.push(await exchange(port, `hello ${turn}`));
    expect(answers.map((answer) => answer.slice(0, 1))).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
    expect(answers[5]).toBe('c hello 5');
  });

  it('goes to the next endpoint when one refuses', async () => {
    const port = await freePort();
    const dead = { address: loopback, port: await freePort() };
    await makeApplier().apply(nodePort(port, [dead, await tcpServer('b')]));
    expect([await exchange(port), await exchange(port)]).toEqual(['b ', 'b ']);
  });

  it('resets connections that no endpoint serves', async () => {
    const port = await freePort();
    await makeApplier().apply(nodePort(port, []));
    expect(await exchange(port)).toBe('ECONNRESET');
  });

  it('follows changes without closing the port, and closes it when the Service goes', async () => {
    const port = await freePort();
    const applier = makeApplier();
    await applier.apply(nodePort(port, [await tcpServer('a')]));
    expect(await exchange(port)).toBe('a ');
    await applier.apply(nodePort(port, [await tcpServer('b')]));
    expect(await exchange(port)).toBe('b ');
    await applier.apply(ruleSet());
    expect(await exchange(port)).toBe('ECONNREFUSED');
  });

  it('says which port is taken, serves the others, and tries again with the next sync', async () => {
    const blocker = createServer();
    const taken = await listen(blocker);
    const port = await freePort();
    const applier = makeApplier();
    const endpoints = [await tcpServer('a')];
    const rules = ruleSet(
      ...[taken.port, port].map((number) => rule(endpoints, { nodePort: number })),
    );
    const [problem] = await applier.apply(rules);
    expect(problem?.message).toContain(
      `NodePort ${taken.port} of default/web/tcp/80 can't be opened`,
    );
    expect(problem?.message).toContain('EADDRINUSE');
    expect(await exchange(port)).toBe('a ');
    blocker.close();
    await once(blocker, 'close');
    expect(await applier.apply(rules)).toEqual([]);
    expect(await exchange(taken.port)).toBe('a ');
  });

  it('keeps each UDP client at one endpoint, and gives the next client the next one', async () => {
    const port = await freePort();
    const endpoints = [await udpServer('a'), await udpServer('b')];
    await makeApplier().apply(nodePort(port, endpoints, 'udp'));
    const answers: string[] = [];
    for (let client = 0; client < 3; client++) {
      const socket = createSocket('udp4');
      answers.push((await askUdp(socket, port)) + (await askUdp(socket, port)));
      socket.close();
    }
    expect(answers).toEqual(['aa', 'bb', 'aa']);
  });

  it('moves a UDP client whose endpoint is gone', async () => {
    const port = await freePort();
    const applier = makeApplier();
    const socket = createSocket('udp4');
    cleanups.push(async () => void socket.close());
    await applier.apply(nodePort(port, [await udpServer('a')], 'udp'));
    expect(await askUdp(socket, port)).toBe('a');
    await applier.apply(nodePort(port, [await udpServer('b')], 'udp'));
    expect(await askUdp(socket, port)).toBe('b');
  });
});

describe('UserspaceApplier at external addresses', () => {
  it("serves those that are this machine's, and a balancer's to its sources only", async () => {
    const [external, open, closed] = [await freePort(), await freePort(), await freePort()];
    const endpoints = [await tcpServer('a')];
    const ips = [loopback, '203.0.113.9'];
    const problems = await makeApplier([loopback]).apply(
      ruleSet(
        rule(endpoints, { port: external, externalIps: ips }),
        rule(endpoints, { port: open, balancerIps: ips, sources: ['127.0.0.0/8'] }),
        rule(endpoints, { port: closed, balancerIps: ips, sources: ['10.0.0.0/8'] }),
      ),
    );
    expect(problems).toEqual([]);
    const answers = await Promise.all([external, open, closed].map((port) => exchange(port)));
    expect(answers).toEqual(['a ', 'a ', 'ECONNRESET']);
  });

  it('lets this machine past the policy that keeps others to this node', async () => {
    const port = await freePort();
    const shortCut = [await tcpServer('a')];
    await makeApplier().apply(ruleSet(rule([], { nodePort: port, shortCut })));
    expect(await exchange(port)).toBe('a ');
  });

  it('says that SCTP needs nftables', async () => {
    const port = await freePort();
    const problems = await makeApplier().apply(nodePort(port, [], 'sctp'));
    expect(problems).toEqual([{ message: expect.stringContaining('SCTP needs nftables') }]);
  });
});

describe('EndpointPicker', () => {
  const endpoints = [1, 2, 3].map((n) => ({ address: `10.0.0.${n}`, port: 80 }));

  it('keeps a client at its endpoint for as long as the Service says', () => {
    const clock = new ManualClock();
    const picker = new EndpointPicker(rule(endpoints, { affinitySeconds: 60 }), clock);
    const call = (client: string): string => {
      const [first] = picker.candidates(client);
      if (first === undefined) throw new Error('no endpoint');
      picker.took(client, first);
      return first.address;
    };
    expect(['a', 'b', 'a', 'b', 'a'].map(call)).toEqual([
      '10.0.0.1',
      '10.0.0.2',
      '10.0.0.1',
      '10.0.0.2',
      '10.0.0.1',
    ]);
    clock.advance(59_000);
    expect(call('a')).toBe('10.0.0.1');
    clock.advance(59_000);
    expect([call('a'), call('b')]).toEqual(['10.0.0.1', '10.0.0.3']);
    picker.update(rule(endpoints.slice(1), { affinitySeconds: 60 }));
    expect(call('b')).toBe('10.0.0.3');
    expect(call('a')).not.toBe('10.0.0.1');
  });

  it('offers every endpoint once, so that one that is down can be passed over', () => {
    const picker = new EndpointPicker(rule(endpoints), new ManualClock());
    picker.candidates('x');
    expect(picker.candidates('x').map((e) => e.address)).toEqual([
      '10.0.0.2',
      '10.0.0.3',
      '10.0.0.1',
    ]);
  });
});
