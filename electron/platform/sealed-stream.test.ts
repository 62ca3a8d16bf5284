import { Decrypter, Encrypter } from 'age-encryption';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { bech32, bech32Bytes } from './age/bech32.ts';
import {
  generateAgeKey,
  makeSealingKey,
  openStream,
  readSealingKey,
  recipientOf,
  SealedStreamError,
  type SealingKey,
  sealStream,
  unlockIdentity,
  type Unlocking,
} from './sealed-stream.ts';

const passphrase = 'a passphrase of tests';
const chunk = 64 * 1024;
const pair = generateAgeKey();
let key: Required<SealingKey>;

beforeAll(async () => {
  key = await makeSealingKey(passphrase, 4);
});

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of chunks) pieces.push(piece);
  return Buffer.concat(pieces);
}

function pattern(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, place) => (place * 7 + (place >> 8)) & 255));
}

/** What came before it ended, and why it did. */
async function opened(
  file: Uint8Array,
  by: Unlocking,
): Promise<{ readonly bytes: Buffer; readonly problem?: string }> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of openStream([file], by)) pieces.push(piece);
    return { bytes: Buffer.concat(pieces) };
  } catch (error) {
    if (!(error instanceof SealedStreamError)) throw error;
    return { bytes: Buffer.concat(pieces), problem: error.problem };
  }
}

/** The flips of one bit that weren't found, or after which bytes were handed on all the same. */
async function openedAfter(
  file: Buffer,
  flips: readonly number[],
  by: Unlocking,
): Promise<number[]> {
  const missed: number[] = [];
  for (const bit of flips) {
    const bad = Buffer.from(file);
    bad.writeUInt8(bad.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const result = await opened(bad, by);
    if (result.problem === undefined || result.bytes.length > 0) missed.push(bit);
  }
  return missed;
}

describe('a sealed stream', () => {
  it('comes back as it was, of any length and in any pieces', async () => {
    const lengths = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 17];
    for (const length of lengths) {
      const plain = pattern(length);
      const pieces = [
        plain.subarray(0, 5),
        plain.subarray(5, chunk + 3),
        plain.subarray(chunk + 3),
      ];
      const file = await all(sealStream(pieces, key));
      const bytewise = [file.subarray(0, 100), Buffer.alloc(0), file.subarray(100)];
      expect(await all(openStream(bytewise, { passphrase }))).toEqual(plain);
    }
  });

  it('never is the same twice', async () => {
    const [first, second] = [
      await all(sealStream([pattern(9)], pair)),
      await all(sealStream([pattern(9)], pair)),
    ];
    expect(first.equals(second)).toBe(false);
  });

  it('takes the passphrase, or the private half, and nothing else', async () => {
    const file = await all(sealStream([pattern(9)], key));
    const identity = await unlockIdentity(key, passphrase);
    expect(recipientOf(identity)).toBe(key.recipient);
    const by = (one: Unlocking) => opened(file, one);
    expect(await by({ identity })).toEqual({ bytes: pattern(9) });
    expect(await by({ passphrase: 'another' })).toMatchObject({ problem: 'wrong-passphrase' });
    expect(await by({ identity: pair.identity })).toMatchObject({ problem: 'wrong-key' });
    const unlocked = await all(sealStream([pattern(9)], pair));
    expect(await opened(unlocked, { passphrase })).toMatchObject({ problem: 'no-passphrase' });
  });

  it('tells of its locked half without a passphrase', async () => {
    const file = await all(sealStream([pattern(9)], key));
    expect((await readSealingKey([file])).lockedIdentity).toEqual(key.lockedIdentity);
  });

  it('is never opened to other bytes than were sealed, whichever bit is flipped', async () => {
    const file = await all(sealStream([pattern(40)], pair));
    const flips = Array.from({ length: file.length * 8 }, (_, bit) => bit);
    expect(await openedAfter(file, flips, pair)).toEqual([]);
  });

  it('covers its locked half as all of its beginning', async () => {
    const file = await all(sealStream([pattern(40)], key));
    const identity = await unlockIdentity(key, passphrase);
    const flips = Array.from({ length: file.length }, (_, byte) => byte * 8 + (byte % 8));
    expect(await openedAfter(file, flips, { identity })).toEqual([]);
  });

  it('tells damage of its locked half from a wrong passphrase', async () => {
    const file = await all(sealStream([pattern(40)], key));
    const at = file.indexOf('-> flotilla.dev/key') + 100;
    const bad = Buffer.from(file);
    bad[at] = bad[at] === 0x41 ? 0x42 : 0x41;
    expect(await opened(bad, { passphrase })).toMatchObject({ problem: 'damaged' });
  });

  it('is found cut, wherever it was', async () => {
    const file = await all(sealStream([pattern(40)], pair));
    for (let length = 0; length < file.length; length++) {
      const result = await opened(file.subarray(0, length), pair);
      expect(result.problem).toBeDefined();
      expect(result.bytes).toHaveLength(0);
    }
  });

  it('is called cut when whole chunks are missing, and hands on what is verified alone', async () => {
    const file = await all(sealStream([pattern(3 * chunk)], pair));
    const payload = file.length - 3 * (chunk + 16);
    const two = file.subarray(0, payload + 2 * (chunk + 16));
    const result = await opened(two, pair);
    expect([result.problem, result.bytes.equals(pattern(chunk))]).toEqual(['cut', true]);
  });

  it('finds chunks that changed places, were doubled, or come from another stream', async () => {
    const file = await all(sealStream([pattern(3 * chunk)], pair));
    const other = await all(sealStream([pattern(3 * chunk)], pair));
    const start = file.length - 3 * (chunk + 16);
    const part = (of: Buffer, index: number): Buffer =>
      of.subarray(start + index * (chunk + 16), start + (index + 1) * (chunk + 16));
    const head = file.subarray(0, start);
    const cases = [
      [part(file, 1), part(file, 0), part(file, 2)],
      [part(file, 0), part(file, 0), part(file, 2)],
      [part(file, 0), part(other, 1), part(file, 2)],
      [part(file, 0), part(file, 1), part(file, 2), part(file, 2)],
    ];
    for (const parts of cases)
      expect((await opened(Buffer.concat([head, ...parts]), pair)).problem).toBe('damaged');
  });

  it('takes any bytes for what they are: no stream of ours', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        expect((await opened(bytes, pair)).problem).toBe('not-sealed');
        const begun = Buffer.concat([Buffer.from('age-encryption.org/v1\n'), bytes]);
        expect((await opened(begun, pair)).problem).toBeDefined();
      }),
    );
  });

  it('refuses to work for a gigabyte on a passphrase', async () => {
    const costly = Buffer.from(
      key.lockedIdentity.toString().replace(/^(-> scrypt \S+) 4$/m, '$1 30'),
    );
    await expect(unlockIdentity({ lockedIdentity: costly }, passphrase)).rejects.toMatchObject({
      problem: 'too-costly',
    });
  });

  it('stops its source when nobody reads on', async () => {
    let isStopped = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield pattern(chunk);
      } finally {
        isStopped = true;
      }
    }
    let seen = 0;
    for await (const piece of sealStream(source(), pair)) if ((seen += piece.length) > chunk) break;
    expect(isStopped).toBe(true);
  });
});

describe("age's own library", () => {
  it('opens what we seal, by key and through the locked half', async () => {
    const decrypter = new Decrypter();
    const identity = await unlockIdentity(key, passphrase);
    decrypter.addIdentity(identity);
    const plain = pattern(2 * chunk + 5);
    expect(Buffer.from(await decrypter.decrypt(await all(sealStream([plain], key))))).toEqual(
      plain,
    );
    const byPassphrase = new Decrypter();
    byPassphrase.addPassphrase(passphrase);
    expect(await byPassphrase.decrypt(key.lockedIdentity, 'text')).toBe(`${identity}\n`);
  });

  it('seals what we open', async () => {
    const encrypter = new Encrypter();
    encrypter.addRecipient(pair.recipient);
    for (const length of [0, 5, chunk, chunk + 1]) {
      const file = await encrypter.encrypt(pattern(length));
      expect(await opened(file, pair)).toEqual({ bytes: pattern(length) });
    }
  });
});

describe('bech32', () => {
  it('comes back, and finds a letter that changed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(), (bytes, seed) => {
        const text = bech32('age', bytes);
        expect(bech32Bytes('age', text)).toEqual(Buffer.from(bytes));
        expect(bech32Bytes('age', text.toUpperCase())).toEqual(Buffer.from(bytes));
        expect(bech32Bytes('ago', text)).toBeUndefined();
        const at = 4 + (seed % (text.length - 4));
        const changed = `${text.slice(0, at)}${text[at] === 'q' ? 'p' : 'q'}${text.slice(at + 1)}`;
        expect(bech32Bytes('age', changed)).toBeUndefined();
      }),
    );
  });
});
