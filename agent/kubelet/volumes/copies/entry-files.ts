// Entries in files: read in order, written beside and renamed. They may be millions: nothing here holds them all.
import { createReadStream } from 'node:fs';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { changesOf, comparePaths, formatEntry, parseEntry, type Entry } from './entry.ts';
import type { Change, Compared } from './entry.ts';

/** The last line of a list that came whole. */
export const endLine = '{"end":true}\n';

/** Nothing, if there is no such file. Throws when the list is not whole. */
export async function* readEntries(file: string): AsyncGenerator<Entry> {
  const handle = await open(file).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  if (handle !== undefined) yield* entriesOf(createReadStream('', { fd: handle }));
}

/** Throws when the list breaks off. Empty lines only say that somebody is still there. */
export async function* entriesOf(stream: NodeJS.ReadableStream): AsyncGenerator<Entry> {
  let isWhole = false;
  for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
    if (line === '') continue;
    isWhole = `${line}\n` === endLine;
    if (!isWhole) yield parseEntry(line);
  }
  if (!isWhole) throw new Error('the list of files broke off');
}

const bufferMax = 256 * 1024;

export class EntryWriter {
  readonly #file: FileHandle;
  readonly #path: string;
  #buffered = '';

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  static async create(path: string): Promise<EntryWriter> {
    return new EntryWriter(await open(`${path}.new`, 'w', 0o600), path);
  }

  async add(entry: Entry): Promise<void> {
    this.#buffered += formatEntry(entry);
    if (this.#buffered.length > bufferMax) await this.#flush();
  }

  /** From here on it is in the old one's place, also after a power cut. */
  async finish(): Promise<void> {
    this.#buffered += endLine;
    await this.#flush();
    await this.#file.sync();
    await this.#file.close();
    await rename(`${this.#path}.new`, this.#path);
  }

  async abandon(): Promise<void> {
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const text = this.#buffered;
    this.#buffered = '';
    await this.#file.writeFile(text);
  }
}

/** Reads along a list in the order of its paths. */
export class EntryCursor {
  readonly #entries: AsyncIterator<Entry>;
  #next: Entry | undefined;
  #isStarted = false;

  constructor(entries: AsyncIterable<Entry>) {
    this.#entries = entries[Symbol.asyncIterator]();
  }

  async peek(): Promise<Entry | undefined> {
    if (!this.#isStarted) await this.advance();
    return this.#next;
  }

  async advance(): Promise<void> {
    this.#isStarted = true;
    const { value, done } = await this.#entries.next();
    this.#next = done === true ? undefined : value;
  }

  /** What it has of the path; what comes before is passed over. */
  async at(path: string): Promise<Entry | undefined> {
    for (;;) {
      const entry = await this.peek();
      const order = entry === undefined ? 1 : comparePaths(entry.path, path);
      if (order >= 0) return order === 0 ? entry : undefined;
      await this.advance();
    }
  }

  async close(): Promise<void> {
    await this.#entries.return?.();
  }
}

export interface Lists {
  readonly original: AsyncIterable<Entry>;
  readonly known: AsyncIterable<Entry>;
  readonly copy: AsyncIterable<Entry>;
}

export interface PathChange {
  readonly compared: Compared;
  readonly changes: readonly Change[];
}

/** What has to be done to the copy, path by path. `copy` is walked as it is asked for: what is removed is not entered. */
export async function* compareLists(lists: Lists): AsyncGenerator<PathChange> {
  const cursors = [lists.original, lists.known, lists.copy].map((list) => new EntryCursor(list));
  try {
    for (;;) {
      const heads = await Promise.all(cursors.map((cursor) => cursor.peek()));
      const paths = heads.flatMap((entry) => (entry === undefined ? [] : [entry.path]));
      const [path] = paths.toSorted(comparePaths);
      if (path === undefined) return;
      const [original, known, copy] = heads.map((entry) =>
        entry?.path === path ? entry : undefined,
      );
      const compared = { original, known, copy };
      yield { compared, changes: changesOf(compared) };
      for (const [index, cursor] of cursors.entries())
        if (heads[index]?.path === path) await cursor.advance();
    }
  } finally {
    for (const cursor of cursors) await cursor.close();
  }
}
