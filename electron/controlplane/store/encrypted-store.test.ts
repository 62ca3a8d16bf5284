import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SealedValueError, SealingKeys, SealingKeysError } from '#platform/sealing-keys.ts';
import { bytes, storeConformance, take, text } from '../../../test/conformance/store.ts';
import { openStoreIn } from '../../../test/setup/store.ts';
import { EncryptedStore } from './encrypted-store.ts';
import { openMemoryStore } from './memory-store.ts';
import type { Store } from './store.ts';

const newKey = (): string => randomBytes(32).toString('base64');
const keysOf = (...lines: readonly string[]): SealingKeys => new SealingKeys(lines.join('\n'), 'F');
const anyKey = newKey();

function encrypted(inner: Store, keys = keysOf(anyKey), prefixes = ['s/']) {
  const unreadable: string[] = [];
  const store = new EncryptedStore({
    inner,
    prefixes,
    keys,
    onUnreadable: ({ message }) => unreadable.push(message),
  });
  return { store, unreadable };
}

storeConformance('encrypted store', (options) => ({
  store: encrypted(openMemoryStore(options), keysOf(anyKey), ['']).store,
  dispose: () => Promise.resolve(),
}));

describe('an encrypted store', () => {
  let inner: Store;
  beforeEach(() => {
    inner = openMemoryStore();
  });
  const raw = async (key: string): Promise<string | undefined> =>
    text((await inner.get(key)).kv?.value);

  it('hides the values below its prefixes, and no others', async () => {
    const { store } = encrypted(inner);
    await store.put('s/a', bytes('hunter2'), 0);
    await store.put('c/a', bytes('plain'), 0);
    await store.txn([{ key: 's/b', value: bytes('hunter2'), expectedRevision: 0 }]);
    expect(await raw('s/a')).toMatch(/^flotilla:enc:aesgcm:v1:[0-9a-f]{8}:/);
    for (const key of ['s/a', 's/b']) expect(await raw(key)).not.toContain('hunter2');
    expect(await raw('c/a')).toBe('plain');
    expect((await store.list('s/')).items.map(({ value }) => text(value))).toEqual([
      'hunter2',
      'hunter2',
    ]);
  });

  it('gives watches what was written and what it took the place of', async () => {
    const { store } = encrypted(inner);
    const watch = store.watch('', 0);
    await store.put('s/a', bytes('one'), 0);
    await store.put('s/a', bytes('two'), 1);
    const { events } = await take(watch[Symbol.asyncIterator](), 2);
    watch.close();
    const shown = events.map(({ kv, previous }) => [text(kv.value), text(previous?.value)]);
    expect(shown).toEqual([
      ['one', undefined],
      ['two', 'one'],
    ]);
  });

  it("refuses a value that was put in another one's place, or changed", async () => {
    const { store } = encrypted(inner);
    await store.put('s/a', bytes('for a'), 0);
    const { kv } = await inner.get('s/a');
    await inner.put('s/b', kv?.value ?? bytes(''), 0);
    const reader = encrypted(inner);
    await expect(reader.store.get('s/b')).rejects.toThrow("s/b can't be decrypted");
    const torn = Uint8Array.from(kv?.value ?? []);
    torn[torn.length - 1] = (torn.at(-1) ?? 0) ^ 1;
    await inner.put('s/a', torn, 1);
    await expect(reader.store.list('s/a')).rejects.toThrow(SealedValueError);
    for (const length of [24, 32, 33, 50])
      expect(() => keysOf(anyKey).open(torn.subarray(0, length), 's/a')).toThrow(SealedValueError);
    expect(reader.unreadable).toHaveLength(2);
  });

  it('names the key that is missing, to the reader and to whoever ends the process', async () => {
    const lost = newKey();
    await encrypted(inner, keysOf(lost)).store.put('s/a', bytes('x'), 0);
    const id = createHash('sha256').update(Buffer.from(lost, 'base64')).digest('hex').slice(0, 8);
    const sentence = `s/a is encrypted with the key ${id}, which is not in F: put that file back from a backup, or copy it from another member.`;
    const { store, unreadable } = encrypted(inner);
    await expect(store.list('')).rejects.toThrow(sentence);
    expect(unreadable).toEqual([sentence]);
  });

  it('reads what lies in the clear or under older keys, and renews only that', async () => {
    const [old, present] = [newKey(), newKey()];
    await inner.put('s/clear', bytes('1'), 0);
    await encrypted(inner, keysOf(old)).store.put('s/old', bytes('2'), 0);
    const keys = keysOf('# since spring', present, '', old);
    const { store } = encrypted(inner, keys);
    await store.put('s/new', bytes('3'), 0);
    expect(await store.renew(new AbortController().signal)).toBe(2);
    expect(await store.renew(new AbortController().signal)).toBe(0);
    const { items } = await encrypted(inner, keysOf(present)).store.list('s/');
    expect(items.map(({ key, value }) => `${key}=${text(value)}`)).toEqual([
      's/clear=1',
      's/new=3',
      's/old=2',
    ]);
  });
});

describe('a file of keys', () => {
  const cases = [
    { name: 'is empty', given: '\n', want: 'F holds no key' },
    { name: 'has a short key', given: 'c2hvcnQ=', want: 'line 1 of the keys in F is no key' },
    { name: 'has a torn line', given: `${anyKey}\n${anyKey.slice(4)}`, want: 'line 2 of the keys' },
  ];
  for (const { name, given, want } of cases)
    it(`that ${name} is refused by a sentence`, () => {
      expect(() => new SealingKeys(given, 'F')).toThrow(want);
      expect(() => new SealingKeys(given, 'F')).toThrow(SealingKeysError);
    });
});

describe('the files of a store', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-store-'));
  afterEach(() => rmSync(directory, { recursive: true }));

  it('hold no secret: database, log and backup', async () => {
    const opened = await openStoreIn(directory);
    const { store } = encrypted(opened.store);
    const secret = 'correct horse battery staple';
    await store.put('s/a', bytes(secret), 0);
    await store.put('c/a', bytes('to be found'), 0);
    const snapshot = await opened.state.snapshot();
    const parts: Uint8Array[] = [];
    for await (const part of snapshot.chunks()) parts.push(part);
    snapshot.close();
    await store.close();
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(path.join(entry.parentPath, entry.name)));
    const all = [...files, Buffer.concat(parts)];
    const holding = (word: string): number => all.filter((one) => one.includes(word)).length;
    expect(holding(secret)).toBe(0);
    // The same look finds what is not encrypted: in the log, the database and the snapshot.
    expect(holding('to be found')).toBeGreaterThanOrEqual(2);
  });
});
