import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { jsonLogger, type Logger } from '#kube/base/logger.ts';
import { systemClock } from '#kube/base/clock.ts';
import type { Member } from '../raft/types.ts';
import { FrameReader } from './peer-bytes.ts';
import { decodeMessage, encodeMessage, frameTypes } from './peer-codec.ts';
import {
  encodeGreeting,
  encodeHello,
  readAnswer,
  type Hello,
  type Lane,
} from './peer-handshake.ts';
import {
  append,
  certify,
  clusterId,
  ended,
  greetByHand,
  heartbeat,
  identify,
  memberAt,
  startFakePeer,
  startPeer,
  testCa,
  type FakePeer,
  type Identity,
  type TestPeer,
  type TestPeerOptions,
} from './peer-testing.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const peer of open.splice(0)) peer.close();
});

async function start(options: TestPeerOptions = {}): Promise<TestPeer> {
  const peer = await startPeer(options);
  open.push(peer.transport);
  return peer;
}

/** Two members that know each other. */
async function startTwo(options: TestPeerOptions = {}): Promise<readonly [TestPeer, TestPeer]> {
  const [a, b] = [await start(options), await start()];
  for (const { transport } of [a, b]) transport.setMembership({ members: [a.member, b.member] });
  return [a, b];
}

async function startFake(
  identity: Identity,
  onConnection: (lane: Lane, socket: TLSSocket, rest: Buffer) => void,
): Promise<FakePeer> {
  const fake = await startFakePeer(identity, onConnection);
  open.push(fake);
  return fake;
}

function helloOf(from: Identity, to: TestPeer, change: Partial<Hello> = {}): Hello {
  return {
    clusterId,
    from: from.id,
    to: to.id,
    lane: 'control',
    addresses: [],
    isAlwaysOn: true,
    ...change,
  };
}

/** Keeps what was logged as text. */
function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const logger = jsonLogger({ clock: systemClock, write: (line) => lines.push(line) });
  return { logger, lines };
}

describe('messages', () => {
  it('reach the peer as they were sent, both ways', async () => {
    const [a, b] = await startTwo();
    const there = [
      heartbeat(a.id, b.id, 7),
      append(a.id, b.id, { index: 1, sizeBytes: 3_000_000 }),
      { type: 'timeout-now' as const, from: a.id, to: b.id, term: 4 },
    ] as const;
    const back = {
      type: 'heartbeat-response' as const,
      from: b.id,
      to: a.id,
      term: 1,
      readRound: 9,
    };
    for (const message of there) a.transport.send(message);
    b.transport.send(back);
    await b.recorder.until(() => b.recorder.messages.length === there.length);
    await a.recorder.until(() => a.recorder.messages.length === 1);
    expect(b.recorder.messages.filter(({ type }) => type !== 'append')).toEqual([
      there[0],
      there[2],
    ]);
    const found = b.recorder.messages.find(({ type }) => type === 'append');
    expect(found !== undefined && encodeMessage(found).equals(encodeMessage(there[1]))).toBe(true);
    expect(a.recorder.messages).toEqual([back]);
  });

  it('keep their order, full and empty appends together', async () => {
    const [a, b] = await startTwo();
    const sent = Array.from({ length: 1000 }, (_, i) => {
      const message = append(a.id, b.id, { index: i + 1, sizeBytes: 100 });
      return i % 3 === 0 ? { ...message, entries: [] } : message;
    });
    for (const message of sent) a.transport.send(message);
    await b.recorder.until(() => b.recorder.messages.length === sent.length);
    expect(b.recorder.messages).toEqual(sent);
  });

  it('go to an address that works when another does not', async () => {
    const [a, b] = [await start(), await start()];
    // Port 1 is nobody's on loopback.
    a.transport.setMembership({ members: [memberAt(b.id, 1, b.transport.port)] });
    a.transport.send(heartbeat(a.id, b.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    a.clock.advance(100);
    a.transport.send(heartbeat(a.id, b.id, 2));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    expect(b.recorder.messages).toEqual([heartbeat(a.id, b.id, 2)]);
    expect(a.transport.peers()).toMatchObject([{ id: b.id, address: b.member.addresses[0] }]);
  });

  it('find a peer by what it said of itself', async () => {
    const [a, b] = [await start(), await start()];
    a.transport.setMembership({ members: [a.member, b.member] });
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    // b was told of no members at all.
    b.transport.send(heartbeat(b.id, a.id));
    await a.recorder.until(() => a.recorder.messages.length === 1);
  });

  it('to an unknown member are lost without harm', async () => {
    const a = await start();
    a.transport.send(heartbeat(a.id, 99));
    expect(a.recorder.events).toEqual([]);
  });
});

describe('a connection', () => {
  it('that broke is told, and made again after a pause', async () => {
    const [a, b] = await startTwo();
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    b.transport.close();
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    const port = b.transport.port;
    const again = await start({ identity: b, port });
    // Within the pause nothing is tried.
    a.transport.send(heartbeat(a.id, b.id, 1));
    a.clock.advance(100);
    a.transport.send(heartbeat(a.id, b.id, 2));
    await again.recorder.until(() => again.recorder.messages.length === 1);
    expect(again.recorder.messages).toEqual([heartbeat(a.id, b.id, 2)]);
  });

  it('is made anew at once when its machine has moved, with nothing to send and no time passed', async () => {
    const [a, b] = await startTwo();
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    a.transport.moved();
    a.transport.send(heartbeat(a.id, b.id, 2));
    await b.recorder.until(() => b.recorder.messages.length === 2);
    expect(a.recorder.count('unreachable')).toBe(1);
  });

  it('is tried at once when the peer is heard of', async () => {
    const b = identify();
    const a = await start();
    const dead = memberAt(b.id, 1);
    a.transport.setMembership({ members: [a.member, dead] });
    a.transport.send(heartbeat(a.id, b.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    const living = await start({ identity: b });
    living.transport.setMembership({ members: [a.member, living.member] });
    living.transport.send(heartbeat(b.id, a.id));
    await a.recorder.until(() => a.recorder.messages.length === 1);
    // The dead address has its turn first; no time passes until the other has.
    a.transport.send(heartbeat(a.id, b.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 2);
    a.clock.advance(50);
    a.transport.send(heartbeat(a.id, b.id));
    await living.recorder.until(() => living.recorder.messages.length === 1);
  });

  it('on which nothing comes back is given up', async () => {
    const a = await start();
    const sockets: TLSSocket[] = [];
    const identity = identify();
    let onConnect: () => void = () => undefined;
    const connected = new Promise<void>((resolve) => {
      onConnect = resolve;
    });
    const fake = await startFake(identity, (_lane, socket) => {
      sockets.push(socket);
      // Reads, but never answers.
      socket.on('data', () => onConnect());
    });
    a.transport.setMembership({ members: [fake.member] });
    a.transport.send(heartbeat(a.id, identity.id));
    await connected;
    a.clock.advance(3999);
    expect(a.recorder.count('unreachable')).toBe(0);
    a.clock.advance(1);
    expect(a.recorder.count('unreachable')).toBe(1);
    await ended(sockets[0] as TLSSocket);
  });

  it('stays while the peer answers, and asks only when there is something to send', async () => {
    const [a, b] = await startTwo();
    for (let i = 1; i <= 5; i += 1) {
      a.transport.send(heartbeat(a.id, b.id, i));
      await b.recorder.until(() => b.recorder.messages.length === i);
      // The pong lies before this answer in time: both went the same way.
      b.transport.send(heartbeat(b.id, a.id, i));
      await a.recorder.until(() => a.recorder.messages.length === i);
      a.clock.advance(3000);
    }
    a.clock.advance(3_600_000);
    expect(a.recorder.count('unreachable')).toBe(0);
    expect(a.clock.nextTimerMs()).toBeUndefined();
  });

  it('gives way to the newest one of the same peer', async () => {
    const [b, identity] = [await start(), identify()];
    const hello = encodeHello(helloOf(identity, b));
    const first = await greetByHand(b, identity.credentials, hello);
    const second = await greetByHand(b, identity.credentials, hello);
    await ended(first.socket);
    second.socket.write(encodeMessage(heartbeat(identity.id, b.id)));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    second.socket.destroy();
  });
});

describe('overload', () => {
  const floods = [
    { name: 'with much', count: 9, sizeBytes: 1_000_000 },
    { name: 'with many', count: 101, sizeBytes: 1 },
  ];
  for (const { name, count, sizeBytes } of floods)
    it(`${name} of a peer that does not read loses messages, and delays nobody`, async () => {
      const limits = {
        control: { messagesMax: 10, bytesMax: 1e6, pongTimeoutMs: 4000 },
        bulk: { messagesMax: 100, bytesMax: 8_000_000, pongTimeoutMs: 4000 },
      };
      const [a, b] = [await start({ limits }), await start()];
      const deaf = identify();
      let onPaused: () => void = () => undefined;
      const paused = new Promise<void>((resolve) => {
        onPaused = resolve;
      });
      const fake = await startFake(deaf, (_lane, socket) => {
        socket.pause();
        onPaused();
      });
      a.transport.setMembership({ members: [a.member, b.member, fake.member] });
      a.transport.send(append(a.id, deaf.id, { index: 1, sizeBytes: 10 }));
      await paused;
      for (let i = 2; i < 2 + count; i += 1)
        a.transport.send(append(a.id, deaf.id, { index: i, sizeBytes }));
      // Said once for all of them, and at once.
      expect(a.recorder.events).toEqual([{ type: 'unreachable', peer: deaf.id }]);
      a.transport.send(heartbeat(a.id, b.id));
      await b.recorder.until(() => b.recorder.messages.length === 1);
    });

  it('by entries does not hold up heartbeats to the same peer', async () => {
    const a = await start();
    const identity = identify();
    let onHeartbeat: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => {
      onHeartbeat = resolve;
    });
    const fake = await startFake(identity, (lane, socket, rest) => {
      if (lane === 'bulk') return void socket.pause();
      const frames = new FrameReader((type, body) => {
        if (type === frameTypes.ping) return;
        const { type: what } = decodeMessage(type, body, { from: a.id, to: identity.id });
        expect(what).toBe('heartbeat');
        onHeartbeat();
      });
      frames.push(rest);
      socket.on('data', (chunk: Buffer) => frames.push(chunk));
    });
    a.transport.setMembership({ members: [fake.member] });
    for (let i = 1; i <= 20; i += 1)
      a.transport.send(append(a.id, identity.id, { index: i, sizeBytes: 1_000_000 }));
    a.transport.send(heartbeat(a.id, identity.id));
    await heard;
  });

  it('lets one message through that is larger than the bound', async () => {
    const limits = {
      control: { messagesMax: 10, bytesMax: 100, pongTimeoutMs: 4000 },
      bulk: { messagesMax: 10, bytesMax: 100, pongTimeoutMs: 4000 },
    };
    const [a, b] = await startTwo({ limits });
    a.transport.send(append(a.id, b.id, { index: 1, sizeBytes: 5_000_000 }));
    await b.recorder.until(() => b.recorder.messages.length === 1);
  });
});

describe('a stranger is turned away', () => {
  it('with a certificate of another authority, on both sides', async () => {
    const other = certify(undefined, { commonName: 'other-ca', usages: ['ca'] });
    const { logger, lines } = recordingLogger();
    const [a, b] = [await start({ identity: identify(other), logger }), await start()];
    a.transport.setMembership({ members: [b.member] });
    a.transport.send(heartbeat(a.id, b.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    expect(lines.join()).toMatch(/Lost peer|certificate/);
    const credentials = { ...a.credentials, caPem: testCa.certPem };
    const { answer } = await greetByHand(b, credentials, encodeHello(helloOf(a, b)));
    expect(answer).toBeUndefined();
    expect(b.recorder.events).toEqual([]);
  });

  const impostors = [
    { name: 'no certificate', credentials: { caPem: testCa.certPem } },
    {
      name: "a node's certificate of the right authority",
      credentials: {
        caPem: testCa.certPem,
        ...certify(testCa, { usages: ['client'], organizations: ['system:nodes'] }),
      },
    },
    {
      name: "a certificate that has the members' organization as its name",
      credentials: {
        caPem: testCa.certPem,
        ...certify(testCa, { usages: ['client'], commonName: 'flotilla:peers' }),
      },
    },
  ];
  for (const { name, credentials } of impostors)
    it(`with ${name}`, async () => {
      const b = await start();
      const hello = encodeHello(helloOf(identify(), b));
      const { answer } = await greetByHand(b, credentials, hello);
      expect(answer).toBeUndefined();
      expect(b.recorder.events).toEqual([]);
    });

  it('when it is a server: nothing is said to it', async () => {
    const a = await start();
    const expected = identify();
    const pair = certify(testCa, { usages: ['server'], organizations: ['system:nodes'] });
    let isSpokenTo = false;
    const fake = await startFake(
      { id: expected.id, credentials: { ...pair, caPem: testCa.certPem } },
      () => {
        isSpokenTo = true;
      },
    );
    a.transport.setMembership({ members: [fake.member] });
    a.transport.send(heartbeat(a.id, expected.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    expect(isSpokenTo).toBe(false);
  });

  it("when another member's address became its own", async () => {
    const { logger, lines } = recordingLogger();
    const [a, b] = [await start({ logger }), await start()];
    const elsewhere = identify();
    a.transport.setMembership({ members: [memberAt(elsewhere.id, b.transport.port)] });
    a.transport.send(heartbeat(a.id, elsewhere.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    expect(lines.join()).toContain(`expected member ${elsewhere.id}, but there is member ${b.id}`);
    expect(b.recorder.events).toEqual([]);
  });

  it('before this member has started', async () => {
    const [b, identity] = [await start({ isStarted: false }), identify()];
    const hello = encodeHello(helloOf(identity, b));
    const { answer } = await greetByHand(b, identity.credentials, hello);
    expect(answer).toBeUndefined();
  });
});

describe('a refusal says why', () => {
  const refusals = [
    { reason: 'wrong-key', change: { from: 17 } },
    { reason: 'not-me', change: { to: 17 } },
    { reason: 'wrong-cluster', change: { clusterId: 'another' } },
  ];
  for (const { reason, change } of refusals)
    it(reason, async () => {
      const [b, identity] = [await start(), identify()];
      const hello = encodeHello(helloOf(identity, b, change));
      const { socket, answer } = await greetByHand(b, identity.credentials, hello);
      expect(answer === undefined ? undefined : readAnswer(answer)).toMatchObject({ reason });
      await ended(socket);
      expect(b.recorder.events).toEqual([]);
    });

  it('to and of a newer protocol', async () => {
    const [b, identity] = [await start(), identify()];
    const greeting = encodeGreeting({ all: 'different' }, 9, 5);
    const { answer } = await greetByHand(b, identity.credentials, greeting);
    const refusal = answer === undefined ? undefined : readAnswer(answer);
    expect(refusal?.reason).toBe('version');
    expect(refusal?.message).toMatch(/from version 5 on.* up to version 1: update/);
    const newer = readAnswer({ newest: 9, oldest: 5, content: {} });
    expect(newer?.reason).toBe('version');
  });

  it('of another cluster, on both sides', async () => {
    const logs = [recordingLogger(), recordingLogger()] as const;
    const [a, b] = [
      await start({ clusterId: 'old', logger: logs[0].logger }),
      await start({ logger: logs[1].logger }),
    ];
    a.transport.setMembership({ members: [b.member] });
    a.transport.send(heartbeat(a.id, b.id));
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    expect(a.transport.peers()).toMatchObject([{ refusal: { reason: 'wrong-cluster' } }]);
    for (const { lines } of logs) expect(lines.join()).toContain('wrong-cluster');
    // It is not tried again soon.
    a.clock.advance(29_000);
    a.transport.send(heartbeat(a.id, b.id));
    expect(a.transport.peers()).toMatchObject([{ isConnected: false }]);
  });

  it('to a removed member, whose open connections end', async () => {
    const [a, b] = await startTwo();
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    b.transport.setMembership({ members: [b.member], removed: [a.id] });
    await a.recorder.until(() => a.recorder.count('unreachable') === 1);
    a.clock.advance(100);
    await a.recorder.until(() => a.recorder.count('removed') === 1);
    expect(a.recorder.events.at(-1)).toEqual({ type: 'removed', peer: b.id });
    expect(b.recorder.messages).toHaveLength(1);
  });

  it('to a removed member that was away, and has nothing to say', async () => {
    const [a, b] = [await start(), await start()];
    // As after a restart: it has not seen the removal, its membership tells it.
    b.transport.setMembership({ members: [b.member], removed: [a.id] });
    a.transport.setMembership({ members: [a.member, b.member] });
    await a.recorder.until(() => a.recorder.count('removed') === 1);
  });

  const disk = { incarnation: 'first', run: 'r1', term: 3, lastIndex: 10 };
  const recorded = (id: number, port: number): Member => ({
    ...memberAt(id, port),
    name: 'pi',
    incarnation: 'first',
  });

  it("to a member's key on another disk, which is told what to do", async () => {
    const [a, b] = [await start({ disk: { ...disk, incarnation: 'second' } }), await start()];
    b.transport.setMembership({ members: [recorded(a.id, a.transport.port), b.member] });
    a.transport.setMembership({ members: [a.member, b.member] });
    await a.recorder.until(() => a.recorder.count('lost-data') === 1);
    expect(a.recorder.sentences[0]).toMatch(/^Member pi came back .*another disk.* remove pi`/);
    expect(b.transport.announced(a.id)).toBeUndefined();
  });

  it('to a member whose log ends before what it acknowledged to this leader', async () => {
    const [a, b] = [await start({ disk }), await start()];
    b.recorder.acknowledgedBy = () => ({ term: 3, index: 11 });
    b.transport.setMembership({ members: [a.member, b.member] });
    a.transport.setMembership({ members: [a.member, b.member] });
    await a.recorder.until(() => a.recorder.count('lost-data') === 1);
    expect(a.recorder.sentences[0]).toContain('acknowledged entry 11, but its log ended at 10');
  });

  it('to nobody for what was acknowledged by the process that greets', async () => {
    const [a, b] = [await start({ disk }), await start()];
    b.transport.setMembership({ members: [a.member, b.member] });
    a.transport.setMembership({ members: [a.member, b.member] });
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    b.recorder.acknowledgedBy = () => ({ term: 3, index: 50 });
    // Its other connection, later.
    a.transport.send(append(a.id, b.id, { index: 1, sizeBytes: 10 }));
    await b.recorder.until(() => b.recorder.messages.length === 2);
    expect(b.transport.announced(a.id)).toEqual({ incarnation: 'first', entryVersion: 1 });
  });

  it('no more when the removal is undone', async () => {
    const [a, b] = await startTwo();
    b.transport.setMembership({ members: [b.member], removed: [a.id] });
    b.transport.setMembership({ members: [a.member, b.member] });
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
  });
});

describe('a peer that breaks the protocol', () => {
  const wrongs = [
    { name: 'an unknown message', frame: Buffer.of(1, 0, 0, 0, 63) },
    { name: 'a frame of four gigabytes', frame: Buffer.of(255, 255, 255, 255, 1) },
    { name: 'half a heartbeat', frame: Buffer.of(3, 0, 0, 0, 5, 1, 2) },
  ];
  for (const { name, frame } of wrongs)
    it(`by ${name} is cut off`, async () => {
      const [b, identity] = [await start(), identify()];
      const hello = encodeHello(helloOf(identity, b));
      const { socket } = await greetByHand(b, identity.credentials, hello);
      socket.write(frame);
      await ended(socket);
      expect(b.recorder.events).toEqual([]);
    });

  it('by silence is cut off', async () => {
    const [b, identity] = [await start(), identify()];
    const half = encodeHello(helloOf(identity, b)).subarray(0, 20);
    const answered = greetByHand(b, identity.credentials, half);
    // Its timer is the only one; it is set when the connection is there.
    while (b.clock.nextTimerMs() === undefined) await new Promise(setImmediate);
    b.clock.advance(5000);
    expect((await answered).answer).toBeUndefined();
  });
});

describe('a renewed certificate', () => {
  it('is shown from then on, and the member is still the same', async () => {
    const [a, b] = await startTwo();
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 1);
    const renewed = identify(testCa, b.credentials.keyPem);
    b.transport.setCredentials(renewed.credentials);
    const identity = identify();
    const hello = encodeHello(helloOf(identity, b));
    const { socket } = await greetByHand(b, identity.credentials, hello);
    const serial = socket.getPeerX509Certificate()?.toString().trim();
    expect(serial).toBe(renewed.credentials.certPem.trim());
    socket.destroy();
    // What was open stays open.
    a.transport.send(heartbeat(a.id, b.id));
    await b.recorder.until(() => b.recorder.messages.length === 2);
    expect(a.recorder.count('unreachable')).toBe(0);
  });

  it('of another key is refused: that would be another member', async () => {
    const a = await start();
    expect(() => a.transport.setCredentials(identify().credentials)).toThrow(/not that of member/);
  });
});
