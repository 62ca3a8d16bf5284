// The file format of bbolt, in which etcd keeps its data and hands out snapshots: pages of a B+ tree
// for each bucket. Numbers are little-endian; a page is known by its place in the file.
// Source: bbolt page.go, meta.go, bucket.go, node.go.

export const pageBytes = 4096;
export const pageHeaderBytes = 16;
export const branchElementBytes = 16;
export const leafElementBytes = 16;
/** In a leaf's value: the bucket's root page and its sequence. */
export const bucketHeaderBytes = 16;
/** What the checksum of a meta page is about. */
const metaBytes = 56;

export const pageFlags = { branch: 1, leaf: 2, meta: 4, freelist: 16 } as const;
/** Of a leaf's element: its value is a bucket. */
export const bucketFlag = 1;

const magic = 0xed0cdaed;
const version = 2;

/** A snapshot is cut off, damaged or something else. */
export class BoltError extends Error {
  override readonly name = 'BoltError';
}

export interface Meta {
  readonly pageBytes: number;
  readonly root: number;
  /** Pages there are. */
  readonly pages: number;
  readonly transaction: number;
}

export interface PageHeader {
  readonly id: number;
  readonly flags: number;
  readonly count: number;
  /** Pages that this one goes on into. */
  readonly overflow: number;
}

export function writePageHeader(page: Buffer, header: PageHeader): void {
  writeUint64(page, header.id, 0);
  page.writeUInt16LE(header.flags, 8);
  page.writeUInt16LE(header.count, 10);
  page.writeUInt32LE(header.overflow, 12);
}

export function readPageHeader(page: Buffer): PageHeader {
  return {
    id: readUint64(page, 0),
    flags: page.readUInt16LE(8),
    count: page.readUInt16LE(10),
    overflow: page.readUInt32LE(12),
  };
}

/** Of the transaction's number depends which of the two meta pages it is. */
export function metaPage(meta: Meta, freelist: number): Buffer {
  const page = Buffer.alloc(meta.pageBytes);
  const id = meta.transaction % 2;
  writePageHeader(page, { id, flags: pageFlags.meta, count: 0, overflow: 0 });
  const body = page.subarray(pageHeaderBytes);
  body.writeUInt32LE(magic, 0);
  body.writeUInt32LE(version, 4);
  body.writeUInt32LE(meta.pageBytes, 8);
  writeUint64(body, meta.root, 16);
  writeUint64(body, freelist, 32);
  writeUint64(body, meta.pages, 40);
  writeUint64(body, meta.transaction, 48);
  body.writeBigUInt64LE(fnv1a(body.subarray(0, metaBytes)), metaBytes);
  return page;
}

/** Undefined when this is not a whole meta page. `page` begins with its header. */
export function readMeta(page: Buffer): Meta | undefined {
  const body = page.subarray(pageHeaderBytes);
  if (body.length < metaBytes + 8 || body.readUInt32LE(0) !== magic) return undefined;
  if (body.readUInt32LE(4) !== version) return undefined;
  if (body.readBigUInt64LE(metaBytes) !== fnv1a(body.subarray(0, metaBytes))) return undefined;
  return {
    pageBytes: body.readUInt32LE(8),
    root: readUint64(body, 16),
    pages: readUint64(body, 40),
    transaction: readUint64(body, 48),
  };
}

export function writeUint64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeBigUInt64LE(BigInt(value), offset);
}

export function readUint64(bytes: Buffer, offset: number): number {
  const value = Number(bytes.readBigUInt64LE(offset));
  if (!Number.isSafeInteger(value)) throw new BoltError('a number is too large to be true');
  return value;
}

/** FNV-1a with 64 bits. */
function fnv1a(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
