// The server on real sockets of this machine's loopback, with a name server of the test's own behind it.
import { packet } from '../../test/setup/dns-packet.ts';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { Resolver } from './resolver.ts';
import { DnsServer } from './server.ts';
import { ask, service, slice, told, zoneOf } from '../../test/setup/dns-messages.ts';
import { systemExchange } from './upstream/exchange.ts';
import { Forwarder } from './upstream/forwarder.ts';

const host = '127.0.0.1';
let upstream: UdpSocket;
let upstreamAsked: string[];
let clients: UdpSocket[];
let server: DnsServer;
let mayAsk: (address: string) => boolean;

beforeEach(async () => {
  upstreamAsked = [];
  clients = [];
  mayAsk = () => true;
  upstream = createSocket('udp4');
  await new Promise<void>((resolve) => upstream.bind(0, host, resolve));
  upstream.on('message', (message, from) => {
    const { id, questions } = packet.decode(message);
    const name = questions[0]?.name ?? '';
    upstreamAsked.push(name);
    if (name.startsWith('silent')) return;
    const answers = [{ name, type: 'A', ttl: 60, data: '192.0.2.7' }];
    const forged = packet.encode({
      type: 'response',
      id: (id + 1) % 65_536,
      questions,
      answers: [],
    });
    upstream.send(forged, from.port, from.address);
    const reply = packet.encode({ type: 'response', id, questions, answers });
    upstream.send(reply, from.port, from.address);
  });
  const endpoints = Array.from({ length: 60 }, (_, i) => ({ addresses: [`10.244.0.${i}`] }));
  const zone = zoneOf(
    [
      service('default/web', { clusterIPs: ['10.96.0.7'], ports: [] }),
      service('default/many', { clusterIP: 'None', ports: [] }),
      service('default/far', { type: 'ExternalName', externalName: 'far.example' }),
    ],
    [slice('default/many', 'IPv4', { endpoints, ports: [] })],
  );
  const { port } = upstream.address();
  const clock = systemClock;
  const forwarder = new Forwarder({
    exchange: systemExchange(clock),
    servers: () => [{ address: host, port }],
    clock,
    logger: silentLogger,
  });
  const state = { zone, ownRanges: ['10.96.0.0/16'], serverAddress: '10.96.0.10' };
  const resolver = new Resolver({ state: () => state, forwarder, logger: silentLogger });
  server = new DnsServer({
    resolver,
    mayAsk: (address) => mayAsk(address),
    clock,
    logger: silentLogger,
  });
  await server.listen(host, [0]);
});
afterEach(() => {
  server.close();
  upstream.close();
  for (const client of clients) client.close();
});

function byUdp(message: Buffer): Promise<Buffer> {
  const client = createSocket('udp4');
  clients.push(client);
  return new Promise((resolve) => {
    client.on('message', (answer) => resolve(answer));
    client.send(message, server.port, host);
  });
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** As many answers as there are questions, or what came before the connection ended. */
function byTcp(bytes: Buffer, count: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, host);
    let received = Buffer.alloc(0);
    const answers: Buffer[] = [];
    socket.on('error', reject);
    socket.on('close', () => resolve(answers));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length > 2 && received.length >= received.readUInt16BE(0) + 2) {
        const end = received.readUInt16BE(0) + 2;
        answers.push(received.subarray(2, end));
        received = received.subarray(end);
      }
      if (answers.length === count) socket.destroy();
    });
    // In pieces that end within lengths and messages.
    socket.setNoDelay(true);
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
  });
}

const web = 'web.default.svc.cluster.local';
const many = 'many.default.svc.cluster.local';

it("answers the cluster's names itself, and what is not one never leaves", async () => {
  expect(told(await byUdp(ask(web, 'A')))).toMatchObject({
    answers: [`${web} 5 A 10.96.0.7`],
    isAuthoritative: true,
  });
  const noise = told(await byUdp(ask('example.com.default.svc.cluster.local', 'A')));
  expect(noise.rcode).toBe('NXDOMAIN');
  expect(upstreamAsked).toEqual([]);
});

it('asks others for all other names, and believes only their answer to this question', async () => {
  const { answers, isAuthoritative } = told(await byUdp(ask('example.com', 'A')));
  expect([answers, isAuthoritative]).toEqual([['example.com 60 A 192.0.2.7'], false]);
  await byUdp(ask('example.com', 'A'));
  expect(upstreamAsked).toEqual(['example.com']);
});

it('follows a Service to the name that it stands for', async () => {
  const { answers, rcode } = told(await byUdp(ask('far.default.svc.cluster.local', 'A')));
  expect(rcode).toBe('NOERROR');
  expect(answers).toEqual([
    'far.default.svc.cluster.local 5 CNAME far.example',
    'far.example 60 A 192.0.2.7',
  ]);
});

it('gives by UDP what fits, and by TCP all of it', async () => {
  const cut = told(await byUdp(ask(many, 'A')));
  expect(cut.isTruncated).toBe(true);
  const more = told(await byUdp(ask(many, 'A', { ednsBytes: 4096 })));
  expect(more.answers.length).toBeGreaterThan(cut.answers.length);
  const [whole = Buffer.alloc(0)] = await byTcp(framed(ask(many, 'A')), 1);
  expect(told(whole)).toMatchObject({ isTruncated: false, answers: { length: 60 } });
});

it('answers many questions on one connection, in pieces as they come, each when it is ready', async () => {
  const names = Array.from({ length: 150 }, (_, i) => (i % 3 === 0 ? web : `n${i}.example`));
  const bytes = Buffer.concat(names.map((name, id) => framed(ask(name, 'A', { id }))));
  const answers = await byTcp(bytes, names.length);
  const ids = answers.map((answer) => answer.readUInt16BE(0)).toSorted((a, b) => a - b);
  expect(ids).toEqual(names.map((_name, id) => id));
  expect(answers.every((answer) => told(answer).answers.length === 1)).toBe(true);
});

it('says what is the matter with questions it does not take', async () => {
  const cases: readonly [Buffer, string][] = [
    [ask(web, 'AXFR'), 'REFUSED'],
    [ask('version.bind', 'TXT', { class: 'CH' }), 'REFUSED'],
    [ask(web, 'A', { flags: 0x2800 }), 'NOTIMP'],
    [ask(web, 'A').subarray(0, 20), 'FORMERR'],
  ];
  for (const [message, rcode] of cases) expect(told(await byUdp(message)).rcode).toBe(rcode);
});

it('has no word for strangers', async () => {
  mayAsk = () => false;
  expect(await byTcp(framed(ask(web, 'A')), 1).catch(() => [])).toEqual([]);
  const client = createSocket('udp4');
  clients.push(client);
  const heard: Buffer[] = [];
  client.on('message', (answer) => heard.push(answer));
  let messages = 0;
  mayAsk = () => ++messages > 1;
  await new Promise<void>((resolve) => {
    client.send(ask(web, 'A'), server.port, host, () => resolve());
  });
  // What comes after it is answered: it was not only late.
  await byUdp(ask(web, 'A'));
  expect([heard, messages]).toEqual([[], 2]);
});

it('refuses more than a client may have under way, and goes on with others', async () => {
  const client = createSocket('udp4');
  clients.push(client);
  const refused = new Promise<string>((resolve) =>
    client.on('message', (answer) => resolve(told(answer).rcode)),
  );
  for (let i = 0; i < 230; i++) client.send(ask(`silent${i}.example`, 'A'), server.port, host);
  expect(await refused).toBe('SERVFAIL');
  // At once: nothing has been asked for a second time, as it would be by the time all have failed.
  expect(upstreamAsked.length).toBeLessThanOrEqual(200);
});

it('takes a free port where the first is taken, and says so where all are', async () => {
  const { port } = server;
  const deps = { resolver: {} as Resolver, mayAsk, clock: systemClock, logger: silentLogger };
  const second = new DnsServer(deps);
  await expect(second.listen(host, [port])).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await second.listen(host, [port, 0]);
  expect(second.port).not.toBe(port);
  second.close();
  expect(second.port).toBe(0);
});
