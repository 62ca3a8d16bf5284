import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import type { SnapshotMark } from '../raft/types.ts';
import { ByteWriter } from './peer-bytes.ts';
import { frameTypes, writeMark } from './peer-codec.ts';
import { encodeHello } from './peer-handshake.ts';
import {
  clusterId,
  ended,
  greetByHand,
  identify,
  memberAt,
  startPeer,
  testMark,
  type TestPeer,
  type TestPeerOptions,
} from './peer-testing.ts';
import type { SnapshotSource } from './types.ts';

const open: TestPeer[] = [];
afterEach(() => {
  for (const { transport } of open.splice(0)) transport.close();
});

async function startTwo(options: TestPeerOptions = {}): Promise<readonly [TestPeer, TestPeer]> {
  const [a, b] = [await startPeer(options), await startPeer()];
  open.push(a, b);
  for (const { transport } of [a, b]) transport.setMembership({ members: [a.member, b.member] });
  return [a, b];
}

function sourceOf(chunks: () => AsyncIterable<Uint8Array>): SnapshotSource {
  return { mark: testMark, sizeBytes: 0, chunks, close: () => undefined };
}

async function* chunksOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

interface Taken {
  mark: SnapshotMark | undefined;
  readonly bytes: Uint8Array[];
}

/** Lets the peer read all that comes. */
function takeAll(peer: TestPeer): Taken {
  const taken: Taken = { mark: undefined, bytes: [] };
  peer.recorder.takeSnapshot = async (_, mark, chunks) => {
    taken.mark = mark;
    for await (const chunk of chunks) taken.bytes.push(chunk);
  };
  return taken;
}

/** Resolves when `count` moves no more. */
async function stillness(count: () => number): Promise<void> {
  for (let before = -1; before !== count();) {
    before = count();
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
  }
}

describe('a snapshot', () => {
  it('arrives whole, with its mark, whatever the size of its chunks', async () => {
    const [a, b] = await startTwo();
    const taken = takeAll(b);
    const parts = [new Uint8Array(0), Buffer.from('a'), Buffer.alloc(1_000_000, 'xyz')];
    await a.transport.sendSnapshot(
      b.id,
      sourceOf(() => chunksOf(...parts)),
    );
    expect(taken.mark).toEqual(testMark);
    expect(Buffer.concat(taken.bytes).equals(Buffer.concat(parts))).toBe(true);
  });

  it('is sent only when the receiver says that it is durable', async () => {
    const [a, b] = await startTwo();
    const order: string[] = [];
    b.recorder.takeSnapshot = async (_, __, chunks) => {
      await readAll(chunks);
      order.push('whole');
      await new Promise(setImmediate);
      order.push('durable');
    };
    await a.transport.sendSnapshot(
      b.id,
      sourceOf(() => chunksOf(Buffer.from('a'))),
    );
    order.push('sent');
    expect(order).toEqual(['whole', 'durable', 'sent']);
  });

  it('is read from its source no faster than the receiver takes it', async () => {
    const [a, b] = await startTwo();
    let made = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (; made < 1000; made += 1) yield Buffer.alloc(1024 * 1024);
    }
    b.recorder.takeSnapshot = async (_, __, chunks) => {
      const taking = chunks[Symbol.asyncIterator]();
      for (let i = 0; i < 3; i += 1) await taking.next();
      // Until the sender moves no more.
      for (let before = -1; before !== made;) {
        before = made;
        for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
      }
      throw new Error('enough');
    };
    await expect(a.transport.sendSnapshot(b.id, sourceOf(endless))).rejects.toThrow(/enough/);
    // Sockets buffer some megabytes; a gigabyte would have been read otherwise.
    expect(made).toBeLessThan(100);
  });

  it('goes no faster than it may', async () => {
    const [a, b] = await startTwo({ snapshotBytesPerSecond: 1_000_000 });
    const { bytes } = takeAll(b);
    const parts = Array.from({ length: 5 }, () => Buffer.alloc(200_000));
    let isSent = false;
    const sent = a.transport
      .sendSnapshot(
        b.id,
        sourceOf(() => chunksOf(...parts)),
      )
      .then(() => {
        isSent = true;
      });
    for (let seconds = 0; seconds < 0.9; seconds += 0.2) {
      await stillness(() => bytes.length);
      expect(isSent).toBe(false);
      expect(bytes.length * 200_000).toBeLessThanOrEqual((seconds + 0.2001) * 1_000_000);
      a.clock.advance(200);
    }
    await sent;
  });

  it('that the receiver refuses is told with its reason', async () => {
    const [a, b] = await startTwo();
    b.recorder.takeSnapshot = () => Promise.reject(new Error('the disk is full'));
    const sent = a.transport.sendSnapshot(
      b.id,
      sourceOf(() => chunksOf(Buffer.from('a'))),
    );
    await expect(sent).rejects.toThrow('the peer says: the disk is full');
  });

  it('whose source fails fails on both sides', async () => {
    const [a, b] = await startTwo();
    let outcome: Promise<unknown> = Promise.resolve();
    b.recorder.takeSnapshot = (_, __, chunks) => {
      const reading = readAll(chunks);
      outcome = reading.catch((error: unknown) => error);
      return reading.then(() => undefined);
    };
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(600_000);
      throw new Error('the disk is damaged');
    }
    await expect(a.transport.sendSnapshot(b.id, sourceOf(broken))).rejects.toThrow('damaged');
    expect(await outcome).toBeInstanceOf(Error);
  });

  it('to a peer that goes away fails', async () => {
    const [a, b] = await startTwo();
    b.recorder.takeSnapshot = async () => {
      b.transport.close();
      await new Promise(() => undefined);
    };
    const sent = a.transport.sendSnapshot(
      b.id,
      sourceOf(() => chunksOf(Buffer.from('a'))),
    );
    await expect(sent).rejects.toThrow();
  });

  it('to nobody fails', async () => {
    const [a] = await startTwo();
    const source = sourceOf(() => chunksOf());
    await expect(a.transport.sendSnapshot(99, source)).rejects.toThrow('99 is not known');
    a.transport.setMembership({ members: [memberAt(98, 1)] });
    await expect(a.transport.sendSnapshot(98, source)).rejects.toThrow();
  });

  it('is given up when the receiver does not move', async () => {
    const [a, b] = await startTwo();
    let isBegun: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      isBegun = resolve;
    });
    b.recorder.takeSnapshot = async (_, __, chunks) => {
      await readAll(chunks);
      isBegun();
      await new Promise(() => undefined);
    };
    const sent = a.transport.sendSnapshot(
      b.id,
      sourceOf(() => chunksOf(Buffer.from('a'))),
    );
    const failed = expect(sent).rejects.toThrow('no progress within 300 s');
    await begun;
    a.clock.advance(300_000);
    await failed;
  });
});

function frame(type: number, write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter(type, 64);
  write(writer);
  return writer.finish();
}

const content = Buffer.from('content');
const begin = frame(frameTypes.snapshotBegin, (writer) => writeMark(writer, testMark));
const chunk = frame(frameTypes.snapshotChunk, (writer) => {
  writer.count(crc32(content));
  writer.bytes(content);
});
const end = frame(frameTypes.snapshotEnd, (writer) => {
  writer.bytes(createHash('sha256').update(content).digest());
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
  return copy;
}

describe('a damaged stream never ends well for the receiver', () => {
  const streams = [
    { name: 'a flipped bit in a chunk', frames: [begin, flipped(chunk)] },
    { name: 'a chunk that is missing', frames: [begin, end] },
    { name: 'a chunk that came twice', frames: [begin, chunk, chunk, end] },
    { name: 'another hash', frames: [begin, chunk, flipped(end)] },
    { name: 'no end', frames: [begin, chunk] },
    { name: 'a second beginning', frames: [begin, begin, chunk, end] },
  ];
  for (const { name, frames } of [...streams, { name: 'nothing', frames: [begin, chunk, end] }])
    it(`with ${name} wrong`, async () => {
      const b = await startPeer();
      open.push(b);
      let settle: (outcome: string) => void = () => undefined;
      const outcome = new Promise<string>((resolve) => {
        settle = resolve;
      });
      b.recorder.takeSnapshot = async (_, __, chunks) => {
        try {
          await readAll(chunks);
          settle('whole');
        } catch (error) {
          settle('broken');
          throw error;
        }
      };
      const identity = identify();
      const to = { clusterId, from: identity.id, to: b.id, lane: 'snapshot' as const };
      const hello = encodeHello({ ...to, addresses: [], isAlwaysOn: true });
      const { socket } = await greetByHand(b, identity.credentials, hello);
      if (name === 'no end') socket.end(Buffer.concat(frames));
      else socket.write(Buffer.concat(frames));
      await ended(socket);
      expect(await outcome).toBe(name === 'nothing' ? 'whole' : 'broken');
    });

  it('nor when the sender falls silent', async () => {
    const b = await startPeer();
    open.push(b);
    let onBegin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      onBegin = resolve;
    });
    let outcome: Promise<unknown> = Promise.resolve();
    b.recorder.takeSnapshot = (_, __, chunks) => {
      const reading = readAll(chunks);
      outcome = reading.catch((error: unknown) => error);
      onBegin();
      return reading.then(() => undefined);
    };
    const identity = identify();
    const to = { clusterId, from: identity.id, to: b.id, lane: 'snapshot' as const };
    const hello = encodeHello({ ...to, addresses: [], isAlwaysOn: true });
    const { socket } = await greetByHand(b, identity.credentials, hello);
    socket.write(Buffer.concat([begin, chunk]));
    await begun;
    b.clock.advance(30_000);
    await ended(socket);
    expect(String(await outcome)).toMatch(/nothing of the snapshot came within 30 s/);
  });
});
