// Reads the buckets of a bbolt file, in the order of their keys, a page at a time.
import { readSync } from 'node:fs';
import {
  BoltError,
  branchElementBytes,
  bucketFlag,
  bucketHeaderBytes,
  leafElementBytes,
  pageBytes as usualPageBytes,
  pageFlags,
  pageHeaderBytes,
  readMeta,
  readPageHeader,
  readUint64,
  type Meta,
} from './bolt-format.ts';
import type { BoltEntry } from './bolt-writer.ts';

interface Element extends BoltEntry {
  readonly isBucket: boolean;
}

/** Deeper is no tree but a circle. */
const depthMax = 64;

export class BoltReader {
  readonly #file: number;
  readonly #meta: Meta;

  /** `file`: descriptor. Throws BoltError when it is not a whole bbolt file. */
  constructor(file: number) {
    this.#file = file;
    this.#meta = this.#newestMeta();
  }

  /** Nothing when there is no such bucket. Throws BoltError for a damaged page. */
  *bucket(name: string): Generator<BoltEntry> {
    const key = Buffer.from(name);
    for (const element of this.#walk(this.#meta.root, 0)) {
      if (!element.isBucket || Buffer.compare(element.key, key) !== 0) continue;
      const value = Buffer.from(element.value);
      const root = readUint64(value, 0);
      // A small bucket is a page inside of its parent.
      if (root === 0) yield* leafElements(value.subarray(bucketHeaderBytes));
      else yield* this.#walk(root, 0);
    }
  }

  #newestMeta(): Meta {
    const first = this.#bytes(0, usualPageBytes);
    const metas = [readMeta(first)];
    // The second meta page is where the first one ends, whose size only it tells.
    for (const size of [usualPageBytes, 8192, 16_384, 65_536])
      metas.push(readMeta(this.#bytes(size, usualPageBytes)));
    const found = metas.filter((meta) => meta !== undefined);
    const [newest] = found.toSorted((a, b) => b.transaction - a.transaction);
    if (newest === undefined) throw new BoltError('this is not a bbolt file');
    return newest;
  }

  *#walk(id: number, depth: number): Generator<Element> {
    if (depth > depthMax) throw new BoltError('the tree goes round in a circle');
    const page = this.#page(id);
    const { flags, count } = readPageHeader(page);
    if (flags === pageFlags.leaf) return yield* leafElements(page);
    if (flags !== pageFlags.branch) throw new BoltError(`page ${id} is neither branch nor leaf`);
    for (let i = 0; i < count; i++) {
      const at = pageHeaderBytes + i * branchElementBytes;
      yield* this.#walk(readUint64(page, at + 8), depth + 1);
    }
  }

  #page(id: number): Buffer {
    const { pageBytes, pages } = this.#meta;
    if (id >= pages) throw new BoltError(`page ${id} is behind the end`);
    const first = this.#bytes(id * pageBytes, pageBytes);
    if (first.length < pageBytes) throw new BoltError('the file is cut off');
    const header = readPageHeader(first);
    if (header.id !== id) throw new BoltError(`page ${id} calls itself ${header.id}`);
    if (header.overflow === 0) return first;
    const size = (header.overflow + 1) * pageBytes;
    const whole = this.#bytes(id * pageBytes, size);
    if (whole.length < size) throw new BoltError('the file is cut off');
    return whole;
  }

  /** Fewer at the end of the file. */
  #bytes(position: number, size: number): Buffer {
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, readSync(this.#file, bytes, 0, size, position));
  }
}

function* leafElements(page: Buffer): Generator<Element> {
  const { count } = readPageHeader(page);
  for (let i = 0; i < count; i++) {
    const at = pageHeaderBytes + i * leafElementBytes;
    const key = at + page.readUInt32LE(at + 4);
    const value = key + page.readUInt32LE(at + 8);
    const end = value + page.readUInt32LE(at + 12);
    if (end > page.length) throw new BoltError('an element is longer than its page');
    yield {
      isBucket: page.readUInt32LE(at) === bucketFlag,
      key: page.subarray(key, value),
      value: page.subarray(value, end),
    };
  }
}
