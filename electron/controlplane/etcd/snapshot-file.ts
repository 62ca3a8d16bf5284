// etcd's snapshots: a bbolt file whose bucket `key` has a row for each revision, and a SHA-256 of it
// at the end. Written from a Kv, they restore into etcd; read, they are the rows for a store of ours.
// Only the newest state is carried: history before it counts as compacted.
// Source: etcd server/storage/{schema,mvcc}, server/lease/leasepb/lease.proto.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { ByteKey, Kv, Row } from '../store/commands.ts';
import { BoltError } from './bolt-format.ts';
import { BoltReader } from './bolt-reader.ts';
import { BoltWriter, type BoltEntry } from './bolt-writer.ts';
import { keyValueOf } from './operations.ts';
import { keyValue } from './protocol.ts';
import { MessageType, one } from './wire.ts';

const hashBytes = 32;
const chunkBytes = 1024 * 1024;
/** `revision, '_', number within the revision`; a delete has one more byte. */
const revisionBytes = 17;
/** Keys at a time while a state is read. */
const pageRows = 1000;

const leaseRecord = new MessageType<{ readonly ID: number; readonly TTL: number }>({
  ID: one(1, 'int'),
  TTL: one(2, 'int'),
});

export interface EtcdState {
  readonly revision: number;
  /** By key. */
  readonly rows: readonly Row[];
  readonly leases: readonly { readonly id: number; readonly ttlSeconds: number }[];
}

/** Writes the state at the current revision to an empty file. Returns its size. */
export async function writeSnapshot(
  kv: Kv,
  file: FileHandle,
): Promise<{ readonly sizeBytes: number; readonly revision: number }> {
  const revision = kv.currentRevision();
  const keys = revision === 0 ? [] : await keysByRevision(kv, revision);
  const writer = new BoltWriter(file);
  await writer.bucket('key', rowEntries(kv, revision, keys));
  await writer.bucket('lease', await leaseEntries(kv));
  await writer.bucket('meta', [
    { key: Buffer.from('consistent_index'), value: Buffer.alloc(8) },
    { key: Buffer.from('finishedCompactRev'), value: revisionKey(revision, 0) },
    { key: Buffer.from('scheduledCompactRev'), value: revisionKey(revision, 0) },
  ]);
  const sizeBytes = await writer.finish();
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(chunkBytes);
  for (let at = 0; at < sizeBytes; at += chunkBytes) {
    const { bytesRead } = await file.read(chunk, 0, chunkBytes, at);
    hash.update(chunk.subarray(0, bytesRead));
  }
  await file.write(hash.digest(), 0, hashBytes, sizeBytes);
  return { sizeBytes: sizeBytes + hashBytes, revision };
}

interface KeyAt {
  readonly key: ByteKey;
  readonly revision: number;
}

async function keysByRevision(kv: Kv, revision: number): Promise<KeyAt[]> {
  const keys: KeyAt[] = [];
  for (let start = '\0', hasMore = true; hasMore;) {
    const range = { key: start, end: '\0' };
    const operation = { type: 'range', range, revision, limit: pageRows, keysOnly: true } as const;
    const page = await kv.range(operation, { isSerializable: true });
    for (const { key, modRevision } of page.rows) keys.push({ key, revision: modRevision });
    hasMore = page.hasMore;
    start = `${page.rows.at(-1)?.key ?? ''}\0`;
  }
  return keys.sort((a, b) => a.revision - b.revision || (a.key < b.key ? -1 : 1));
}

async function* rowEntries(
  kv: Kv,
  revision: number,
  keys: readonly KeyAt[],
): AsyncGenerator<BoltEntry> {
  let last = 0;
  let within = 0;
  for (const { key, revision: modRevision } of keys) {
    const operation = { type: 'range', range: { key }, revision, limit: 0 } as const;
    const { rows } = await kv.range(operation, { isSerializable: true });
    const [row] = rows;
    if (row === undefined) throw new BoltError(`the row of ${key} is gone at ${revision}`);
    within = modRevision === last ? within + 1 : 0;
    last = modRevision;
    const value = keyValue.encode(keyValueOf(row));
    yield { key: revisionKey(modRevision, within), value };
  }
}

async function leaseEntries(kv: Kv): Promise<BoltEntry[]> {
  const entries: BoltEntry[] = [];
  for (const id of await kv.leases()) {
    const lease = await kv.lease(id);
    if (lease === undefined) continue;
    const key = Buffer.alloc(8);
    key.writeBigInt64BE(BigInt(id));
    entries.push({ key, value: leaseRecord.encode({ ID: id, TTL: lease.ttlSeconds }) });
  }
  return entries.sort((a, b) => Buffer.compare(a.key, b.key));
}

function revisionKey(main: number, sub: number): Buffer {
  const key = Buffer.alloc(revisionBytes);
  key.writeBigInt64BE(BigInt(main), 0);
  key.write('_', 8);
  key.writeBigInt64BE(BigInt(sub), 9);
  return key;
}

/**
 * The newest state in a snapshot that etcd made. Leases whose ids are beyond 2^53 get new ones, from
 * 1 on. Throws BoltError when the file is damaged or has no hash at its end.
 */
export function readSnapshot(path: string): EtcdState {
  const file = openSync(path, 'r');
  try {
    checkHash(file);
    const reader = new BoltReader(file);
    const ids = leaseIds(reader);
    return { ...rowsOf(reader, ids), leases: Array.from(ids.values()) };
  } finally {
    closeSync(file);
  }
}

function checkHash(file: number): void {
  const { size } = fstatSync(file);
  const length = size - hashBytes;
  if (size % 512 !== hashBytes)
    throw new BoltError('the snapshot has no hash at its end: it is cut off, or a copied database');
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(chunkBytes);
  for (let at = 0; at < length;) {
    const read = readSync(file, chunk, 0, Math.min(chunkBytes, length - at), at);
    if (read === 0) throw new BoltError('the snapshot is cut off');
    hash.update(chunk.subarray(0, read));
    at += read;
  }
  const found = Buffer.alloc(hashBytes);
  readSync(file, found, 0, hashBytes, length);
  if (!found.equals(hash.digest()))
    throw new BoltError('the snapshot is damaged: its hash is wrong');
}

interface KnownLease {
  readonly id: number;
  readonly ttlSeconds: number;
}

/** By the id in etcd, whose last bits may be lost: the same in rows and in leases. */
function leaseIds(reader: BoltReader): Map<number, KnownLease> {
  const found = new Map<number, KnownLease>();
  const foreign = new MessageType<{ readonly ID: number; readonly TTL: number }>({
    ID: one(1, 'id'),
    TTL: one(2, 'int'),
  });
  let next = 1;
  for (const { value } of reader.bucket('lease')) {
    const { ID, TTL } = foreign.decode(value);
    const id = Number.isSafeInteger(ID) ? ID : next++;
    found.set(ID, { id, ttlSeconds: TTL });
  }
  return found;
}

function rowsOf(
  reader: BoltReader,
  leases: ReadonlyMap<number, KnownLease>,
): { readonly revision: number; readonly rows: readonly Row[] } {
  const newest = new Map<ByteKey, Row>();
  let revision = 0;
  for (const { key, value } of reader.bucket('key')) {
    const found = keyValue.decode(value);
    revision = Number(Buffer.from(key).readBigInt64BE(0));
    if (key.byteLength > revisionBytes) newest.delete(found.key);
    else newest.set(found.key, rowOf(found, leases));
  }
  for (const { key, value } of reader.bucket('meta'))
    if (Buffer.from(key).toString() === 'finishedCompactRev')
      revision = Math.max(revision, Number(Buffer.from(value).readBigInt64BE(0)));
  const rows = Array.from(newest.values()).sort((a, b) => (a.key < b.key ? -1 : 1));
  return { revision, rows };
}

function rowOf(
  found: ReturnType<typeof keyValue.decode>,
  leases: ReadonlyMap<number, KnownLease>,
): Row {
  return {
    key: found.key,
    // A view of a whole page otherwise, kept in memory by one row.
    value: Uint8Array.from(found.value),
    createRevision: found.create_revision,
    modRevision: found.mod_revision,
    version: found.version,
    lease: leases.get(found.lease)?.id ?? 0,
  };
}
