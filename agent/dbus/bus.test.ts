// Messages as bytes, and the connection against a bus of the test's own. A real one: test/compat/ingress.test.ts.
import { createServer, type Server, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { Bus, bus, systemBusPath } from './bus.ts';
import { decode, encode, type BusMessage } from './message.ts';

const call: BusMessage = {
  type: 'call',
  serial: 7,
  path: '/Client0/EntryGroup1',
  interface: 'org.freedesktop.Avahi.EntryGroup',
  member: 'AddAddress',
  destination: 'org.freedesktop.Avahi',
  signature: 'iiuss',
  body: [-1, 0, 16, 'films.local', '192.168.1.7'],
};

describe('a message', () => {
  it('comes out as it went in, and not before its last byte', () => {
    const bytes = encode(call);
    expect(decode(Buffer.concat([bytes, Buffer.from('more')]))).toEqual({
      message: call,
      length: bytes.length,
    });
    for (let i = 0; i < bytes.length; i++) expect(decode(bytes.subarray(0, i))).toBeUndefined();
  });

  it('has the bytes of the specification', () => {
    const hello = encode({
      type: 'call',
      serial: 1,
      path: '/a',
      member: 'Hello',
      signature: 's',
      body: ['ü'],
    });
    expect(hello.toString('hex')).toBe(
      [
        '6c010201', // little-endian, a call, no auto-start, version 1
        '07000000', // bytes of the body
        '01000000', // serial
        '27000000', // bytes of the fields
        '01016f00020000002f61000000000000', // path
        '030173000500000048656c6c6f000000', // member
        '0801670001730000', // signature, and zeros to the body
        '02000000c3bc00',
      ].join(''),
    );
  });

  it('whose body has types that nobody here needs is read as far as it can be', () => {
    const bytes = encode({ ...call, signature: 'ss', body: ['a', 'b'] });
    // The signature's second letter.
    bytes[bytes.indexOf('\x02ss\0') + 2] = 'v'.charCodeAt(0);
    expect(decode(bytes)?.message.body).toEqual(['a']);
  });

  it('that is nonsense is an error, whatever the bytes', () => {
    const random = seededRandom(5);
    for (let round = 0; round < 2_000; round++) {
      const bytes = encode(call);
      for (let i = 0; i < 3; i++)
        bytes[Math.floor(random.next() * bytes.length)] = Math.floor(random.next() * 256);
      try {
        decode(bytes);
      } catch (error) {
        expect((error as Error).name).toBe('BusProtocolError');
      }
    }
    expect(() => decode(Buffer.alloc(16, 'B'))).toThrow('byte order');
  });
});

describe('the bus', () => {
  let folder: string;
  let server: Server;
  let greeting: string;
  let heard: string;
  let socket: Socket | undefined;
  let clock: ManualClock;
  /** What it answers to a call, in bytes. */
  let answer: (message: BusMessage) => readonly BusMessage[];
  const ended: string[] = [];
  const signals: BusMessage[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'flotilla-bus-'));
    [greeting, heard, clock] = ['OK 1234\r\n', '', new ManualClock()];
    ended.length = 0;
    signals.length = 0;
    answer = ({ serial }) => [
      { type: 'return', serial: 1, replySerial: serial, signature: 's', body: [':1.1'] },
    ];
    server = createServer((accepted) => {
      socket = accepted;
      let received = Buffer.alloc(0);
      accepted.on('data', (bytes: Buffer) => {
        received = Buffer.concat([received, bytes]);
        if (heard === '') {
          heard = received.toString('latin1');
          received = Buffer.alloc(0);
          accepted.write(greeting);
          return;
        }
        if (received.toString('latin1').startsWith('BEGIN\r\n')) received = received.subarray(7);
        for (let read = decode(received); read !== undefined; read = decode(received)) {
          received = received.subarray(read.length);
          for (const one of answer(read.message)) accepted.write(encode(one));
        }
      });
    });
    await new Promise<void>((resolve) => void server.listen(path.join(folder, 'bus'), resolve));
  });
  afterEach(async () => {
    socket?.destroy();
    await new Promise((resolve) => void server.close(resolve));
    rmSync(folder, { recursive: true });
  });

  const open = (): Promise<Bus> =>
    Bus.open({
      path: path.join(folder, 'bus'),
      userId: 1000,
      clock,
      onSignal: (signal) => signals.push(signal),
      onEnd: (why) => ended.push(why),
    });

  it('is told who comes, and gives answers, errors and signals', async () => {
    const opened = await open();
    expect(heard).toBe('\0AUTH EXTERNAL 31303030\r\n');
    expect(await opened.call({ ...bus, member: 'GetId' })).toEqual([':1.1']);
    answer = ({ serial }) => [
      { type: 'signal', serial: 2, member: 'Came', signature: 'b', body: [true] },
      {
        type: 'error',
        serial: 3,
        replySerial: serial,
        errorName: 'org.x.Bad',
        signature: 's',
        body: ['no'],
      },
    ];
    await expect(opened.call({ ...bus, member: 'X' })).rejects.toMatchObject({
      errorName: 'org.x.Bad',
      message: 'no',
    });
    expect(signals).toMatchObject([{ member: 'Came', body: [true] }]);
    opened.close();
    expect(ended).toEqual([]);
  });

  it('that takes nobody is an error with its words', async () => {
    greeting = 'REJECTED EXTERNAL\r\n';
    await expect(open()).rejects.toThrow('the bus said: REJECTED EXTERNAL');
  });

  it('that hangs up ends what is asked, and says so once', async () => {
    const opened = await open();
    answer = () => {
      socket?.destroy();
      return [];
    };
    await expect(opened.call({ ...bus, member: 'X' })).rejects.toThrow();
    expect(ended).toEqual(['the bus hung up']);
    await expect(opened.call({ ...bus, member: 'X' })).rejects.toThrow('hung up');
  });

  it('that gives no answer is not waited for for ever', async () => {
    const opened = await open();
    answer = () => [];
    const asked = opened.call({ ...bus, member: 'X' });
    clock.advance(10_000);
    await expect(asked).rejects.toThrow('no answer within 10 s');
    opened.close();
  });

  it('is where the environment says', () => {
    const cases = [
      [undefined, '/run/dbus/system_bus_socket'],
      ['unix:path=/x/bus,guid=5', '/x/bus'],
      ['tcp:host=a;unix:guid=1,path=/y', '/y'],
      ['tcp:host=a', undefined],
    ] as const;
    for (const [given, want] of cases)
      expect(systemBusPath(given === undefined ? {} : { DBUS_SYSTEM_BUS_ADDRESS: given })).toBe(
        want,
      );
  });
});
