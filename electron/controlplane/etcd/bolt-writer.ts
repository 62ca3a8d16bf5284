// Writes a bbolt file from start to end: buckets whose keys come in order. Memory holds one page and
// the first keys of the pages before it. Nothing is ever changed in place but the first pages,
// which are written last, so that a file that was cut off is no bbolt file.
import type { FileHandle } from 'node:fs/promises';
import {
  branchElementBytes,
  bucketFlag,
  bucketHeaderBytes,
  leafElementBytes,
  metaPage,
  pageBytes,
  pageFlags,
  pageHeaderBytes,
  writePageHeader,
  writeUint64,
} from './bolt-format.ts';

export interface BoltEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

interface Element extends BoltEntry {
  readonly flags: number;
}

interface Child {
  readonly key: Uint8Array;
  readonly page: number;
}

/** Two meta pages and the list of free ones, which is empty. */
const firstPage = 3;
const freelistPage = 2;

export class BoltWriter {
  readonly #file: FileHandle;
  #nextPage = firstPage;
  readonly #buckets: Element[] = [];

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Keys ascend and differ. */
  async bucket(
    name: string,
    entries: Iterable<BoltEntry> | AsyncIterable<BoltEntry>,
  ): Promise<void> {
    const root = await this.#tree(entries, 0);
    const value = Buffer.alloc(bucketHeaderBytes);
    writeUint64(value, root, 0);
    this.#buckets.push({ key: Buffer.from(name), value, flags: bucketFlag });
  }

  /** Bytes of the file. */
  async finish(): Promise<number> {
    const buckets = this.#buckets.toSorted((a, b) => Buffer.compare(a.key, b.key));
    const root = await this.#tree(buckets, bucketFlag);
    const pages = this.#nextPage;
    for (const transaction of [0, 1]) {
      const meta = { pageBytes, root, pages, transaction };
      await this.#write(metaPage(meta, freelistPage), transaction);
    }
    const freelist = Buffer.alloc(pageBytes);
    const flags = pageFlags.freelist;
    writePageHeader(freelist, { id: freelistPage, flags, count: 0, overflow: 0 });
    await this.#write(freelist, freelistPage);
    return pages * pageBytes;
  }

  /** The number of the root page. */
  async #tree(
    entries: Iterable<BoltEntry> | AsyncIterable<BoltEntry>,
    flags: number,
  ): Promise<number> {
    const leaves: Child[] = [];
    let page: Element[] = [];
    let bytes = pageHeaderBytes;
    const flush = async (): Promise<void> => {
      leaves.push({ key: page[0]?.key ?? new Uint8Array(), page: await this.#leaf(page, bytes) });
      page = [];
      bytes = pageHeaderBytes;
    };
    for await (const entry of entries) {
      const size = leafElementBytes + entry.key.byteLength + entry.value.byteLength;
      if (page.length > 0 && bytes + size > pageBytes) await flush();
      page.push({ ...entry, flags });
      bytes += size;
    }
    if (page.length > 0 || leaves.length === 0) await flush();
    return this.#branches(leaves);
  }

  async #branches(children: readonly Child[]): Promise<number> {
    let level = children;
    while (level.length > 1) {
      const above: Child[] = [];
      let group: Child[] = [];
      let bytes = pageHeaderBytes;
      for (const [i, child] of level.entries()) {
        group.push(child);
        bytes += branchElementBytes + child.key.byteLength;
        const next = level[i + 1];
        const more = branchElementBytes + (next?.key.byteLength ?? 0);
        // A branch has two children at least, also when a key is as long as a page.
        const isLastButOne = i === level.length - 2;
        if (next !== undefined && (group.length < 2 || bytes + more <= pageBytes || isLastButOne))
          continue;
        above.push({ key: group[0]?.key ?? child.key, page: await this.#branch(group, bytes) });
        group = [];
        bytes = pageHeaderBytes;
      }
      level = above;
    }
    return level[0]?.page ?? firstPage;
  }

  #leaf(elements: readonly Element[], bytes: number): Promise<number> {
    return this.#page(pageFlags.leaf, elements.length, bytes, (page) => {
      let at = pageHeaderBytes;
      let data = at + elements.length * leafElementBytes;
      for (const { key, value, flags } of elements) {
        page.writeUInt32LE(flags, at);
        page.writeUInt32LE(data - at, at + 4);
        page.writeUInt32LE(key.byteLength, at + 8);
        page.writeUInt32LE(value.byteLength, at + 12);
        page.set(key, data);
        page.set(value, data + key.byteLength);
        at += leafElementBytes;
        data += key.byteLength + value.byteLength;
      }
    });
  }

  #branch(children: readonly Child[], bytes: number): Promise<number> {
    return this.#page(pageFlags.branch, children.length, bytes, (page) => {
      let at = pageHeaderBytes;
      let data = at + children.length * branchElementBytes;
      for (const { key, page: child } of children) {
        page.writeUInt32LE(data - at, at);
        page.writeUInt32LE(key.byteLength, at + 4);
        writeUint64(page, child, at + 8);
        page.set(key, data);
        at += branchElementBytes;
        data += key.byteLength;
      }
    });
  }

  async #page(
    flags: number,
    count: number,
    bytes: number,
    fill: (page: Buffer) => void,
  ): Promise<number> {
    const id = this.#nextPage;
    const pages = Math.ceil(bytes / pageBytes);
    const page = Buffer.alloc(pages * pageBytes);
    writePageHeader(page, { id, flags, count, overflow: pages - 1 });
    fill(page);
    this.#nextPage += pages;
    await this.#write(page, id);
    return id;
  }

  async #write(page: Buffer, id: number): Promise<void> {
    await this.#file.write(page, 0, page.length, id * pageBytes);
  }
}
