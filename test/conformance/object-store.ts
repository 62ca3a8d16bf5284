// What any ObjectStore must do: whole objects or none, plain names, and errors that say what they are of.
import { describe, expect, it } from 'vitest';
import type { ObjectStore } from '../../electron/platform/object-store/object-store.ts';

export interface OpenedObjectStore {
  readonly store: ObjectStore;
  readonly dispose: () => Promise<void>;
}

type Using = (use: (store: ObjectStore) => Promise<void>) => Promise<void>;

export async function contentOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of chunks) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** What it throws, as its problem; its message is expected to be a sentence. */
async function problemOf(action: () => Promise<unknown>): Promise<string> {
  const error: unknown = await action().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({
    name: 'ObjectStoreError',
    message: expect.stringMatching(/^["A-Z].*[.?]$/),
  });
  return (error as { problem: string }).problem;
}

export function objectStoreConformance(name: string, open: () => Promise<OpenedObjectStore>): void {
  const using: Using = async (use) => {
    const { store, dispose } = await open();
    try {
      await use(store);
    } finally {
      await dispose();
    }
  };

  describe(`${name} as an object store`, () => {
    contents(using);
    lists(using);
    refusals(using);
  });
}

function contents(using: Using): void {
  it('gives back what was put, of any length', () =>
    using(async (store) => {
      const lengths = [0, 1, 1_000_000];
      for (const length of lengths) {
        const bytes = Buffer.alloc(length, `${length}`);
        const put = await store.put(`sizes/of-${length}`, [
          bytes.subarray(0, 9),
          bytes.subarray(9),
        ]);
        expect(put).toMatchObject({ name: `sizes/of-${length}`, sizeBytes: length });
        expect((await contentOf(store.get(`sizes/of-${length}`))).equals(bytes)).toBe(true);
      }
    }));

  it('puts one in place of another', () =>
    using(async (store) => {
      await store.put('a', [Buffer.from('first, and longer')]);
      await store.put('a', [Buffer.from('second')]);
      expect(String(await contentOf(store.get('a')))).toBe('second');
    }));

  it('changes nothing when what is put fails or is given up', () =>
    using(async (store) => {
      await store.put('a', [Buffer.from('kept')]);
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(100_000);
        throw Object.assign(new Error('the source broke'), { code: 'ENOENT' });
      }
      const stop = new AbortController();
      async function* stopped(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(100_000);
        stop.abort(new Error('given up'));
        yield Buffer.alloc(100_000);
      }
      for (const name of ['a', 'new']) {
        await expect(store.put(name, failing())).rejects.toThrow('the source broke');
        await expect(store.put(name, stopped(), stop.signal)).rejects.toThrow('given up');
      }
      expect((await store.list()).map((one) => one.name)).toEqual(['a']);
      expect(String(await contentOf(store.get('a')))).toBe('kept');
    }));

  it('lists and reads nothing before all of it is there', () =>
    using(async (store) => {
      const during: (readonly string[])[] = [];
      async function* slow(): AsyncGenerator<Uint8Array> {
        yield Buffer.from('half');
        during.push((await store.list()).map((one) => one.name));
        expect(await problemOf(() => contentOf(store.get('a')))).toBe('missing');
        yield Buffer.from('whole');
      }
      await store.put('a', slow());
      expect([during, (await store.list()).length]).toEqual([[[]], 1]);
    }));
}

function lists(using: Using): void {
  it('lists by the beginning of the name, in order, with sizes', () =>
    using(async (store) => {
      const names = ['home/b', 'home/a', 'homes', 'away/home/a', 'home/c/d'];
      for (const name of names) await store.put(name, [Buffer.from(name)]);
      const listed = async (prefix?: string): Promise<readonly string[]> =>
        (await store.list(prefix)).map((one) => `${one.name}:${one.sizeBytes}`);
      expect(await listed()).toEqual([
        'away/home/a:11',
        'home/a:6',
        'home/b:6',
        'home/c/d:8',
        'homes:5',
      ]);
      expect(await listed('home/')).toEqual(['home/a:6', 'home/b:6', 'home/c/d:8']);
      expect(await listed('home/c/d')).toEqual(['home/c/d:8']);
      expect(await listed('ho')).toEqual(['home/a:6', 'home/b:6', 'home/c/d:8', 'homes:5']);
      expect(await listed('nothing')).toEqual([]);
    }));

  it('deletes one, and is content with none', () =>
    using(async (store) => {
      await store.put('home/a', [Buffer.from('a')]);
      await store.put('home/b', [Buffer.from('b')]);
      await store.delete('home/a');
      await store.delete('home/a');
      await store.delete('nowhere/at-all');
      expect((await store.list()).map((one) => one.name)).toEqual(['home/b']);
    }));
}

function refusals(using: Using): void {
  it('says which object is missing', () =>
    using(async (store) => {
      expect(await problemOf(() => contentOf(store.get('home/none')))).toBe('missing');
    }));

  it('takes no name that leads elsewhere, is hidden, or means something to a disk', () =>
    using(async (store) => {
      const names = [
        '',
        '.',
        '..',
        '../a',
        'a/../b',
        '/a',
        'a//b',
        'a/',
        '.a',
        'a\\b',
        'a b',
        'a:b',
      ];
      names.push('a\0', 'ä', 'a.', 'x'.repeat(200), 'a/'.repeat(300));
      for (const name of names) {
        expect(await problemOf(() => store.put(name, []))).toBe('bad-name');
        expect(await problemOf(() => contentOf(store.get(name)))).toBe('bad-name');
        expect(await problemOf(() => store.delete(name))).toBe('bad-name');
      }
      expect(await store.list()).toEqual([]);
    }));
}
