// The tables of state.db, and how older ones become them. Schema 1 had one row for each revision,
// keys as text, no checksums and no log beside it.
import { crc32 } from 'node:zlib';
import type { Database } from '#platform/sqlite.ts';
import { byteKeyOf } from './byte-keys.ts';
import { chainHash, emptyMeta, rowChecksum, type StateMeta } from './rows.ts';

/** "Flot": tells our files from other SQLite databases. */
export const applicationId = 0x466c_6f74;
export const schemaVersion = 2;

const tables = `
  CREATE TABLE kv (
    -- In the order of writing: by revision, and within one in the order of its operations.
    id INTEGER PRIMARY KEY,
    mod_revision INTEGER NOT NULL,
    key BLOB NOT NULL,
    create_revision INTEGER NOT NULL,
    -- Writes since the key was created; 0: the key was deleted.
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    -- Of this row, and of history up to it (rows.ts).
    checksum INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    -- NULL: the key was deleted. Last, so that reading the others skips its overflow pages.
    value BLOB
  ) STRICT;
  CREATE TABLE meta (json TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;
`;

export const insertRow = 'INSERT INTO kv VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)';

/** In one transaction. */
export function createTables(database: Database): void {
  database.transaction(() => {
    database.exec(tables);
    writeMeta(database, emptyMeta);
    database.pragma(`application_id = ${applicationId}`);
    database.pragma(`user_version = ${schemaVersion}`);
  });
}

/** Undefined when it is damaged. */
export function readMeta(database: Database): StateMeta | undefined {
  const found = database.prepare('SELECT json, checksum FROM meta').get();
  const json = found?.json;
  if (typeof json !== 'string' || crc32(json) !== found?.checksum) return undefined;
  return JSON.parse(json) as StateMeta;
}

/** Within a transaction of the caller's. */
export function writeMeta(database: Database, meta: StateMeta): void {
  const json = JSON.stringify(meta);
  database.exec('DELETE FROM meta');
  database.prepare('INSERT INTO meta VALUES (?, ?)').run(json, crc32(json));
}

const rowsAtOnce = 500;

/**
 * All of it in one transaction. The state counts as that of entry 1 of a log that nobody has, so
 * that members which join are sent it whole.
 */
export function migrateFromSchema1(database: Database): void {
  database.transaction(() => {
    const mark = Number(database.prepare('SELECT revision FROM compaction').get()?.revision);
    database.exec('ALTER TABLE kv RENAME TO kv_1; DROP TABLE compaction;');
    database.exec(tables);
    const end = copyRows(database, mark);
    database.exec('DROP TABLE kv_1');
    const applied = { index: 1, term: 1, membership: { members: [] } };
    writeMeta(database, { ...emptyMeta, ...end, applied, compactedRevision: mark });
    database.pragma(`user_version = ${schemaVersion}`);
  });
}

/** Rows by page: a statement that is being read would forbid writing. */
function copyRows(
  database: Database,
  mark: number,
): Pick<StateMeta, 'revision' | 'hash' | 'compactedHash'> {
  const page = database.prepare(
    'SELECT mod_revision, key, create_revision, value FROM kv_1 WHERE mod_revision > ? ' +
      `ORDER BY mod_revision LIMIT ${rowsAtOnce}`,
  );
  const insert = database.prepare(insertRow);
  const versions = new Map<string, number>();
  let revision = 0;
  let hash = 0;
  let compactedHash = 0;
  let id = 0;
  for (let rows = page.all(0); rows.length > 0; rows = page.all(revision))
    for (const row of rows) {
      revision = Number(row.mod_revision);
      const key = byteKeyOf(String(row.key));
      const value = row.value instanceof Uint8Array ? row.value : undefined;
      // How often a key was written before its first row here is forgotten.
      const version = value === undefined ? 0 : (versions.get(key) ?? 0) + 1;
      versions.set(key, version);
      const createRevision = Number(row.create_revision);
      const head = { key, revision, row: ++id, createRevision, version, lease: 0 };
      const checksum = rowChecksum(head, value);
      hash = chainHash(hash, checksum);
      if (revision <= mark) compactedHash = hash;
      const bytes = Buffer.from(key, 'latin1');
      insert.run(id, revision, bytes, createRevision, version, 0, checksum, hash, value ?? null);
    }
  return { revision: Math.max(revision, mark), hash, compactedHash };
}
