// An etcd of the person's own as the store beneath (--datastore): opened, and asked first whether it
// is there, lets us in and is new enough, each told as a sentence for a person.
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Clock } from '#kube/base/clock.ts';
import type { DatastoreOptions } from '../options.ts';
import { openEtcdStore } from './etcd/etcd-store.ts';
import { GrpcError } from './etcd/grpc.ts';
import { ConnectionError, GrpcClient, type GrpcClientOptions } from './etcd/grpc-client.ts';
import { statusResponse } from './etcd/protocol-admin.ts';
import { emptyMessage } from './etcd/protocol.ts';
import type { Store } from './store/store.ts';

/** Its message is a sentence for a person: starting again alone can't help. */
export class DatastoreError extends Error {
  override readonly name = 'DatastoreError';
}

const statusPath = '/etcdserverpb.Maintenance/Status';
const patienceMs = 5_000;

export interface DatastoreUse {
  readonly clock: Clock;
  /** A cluster was kept there before, so an empty etcd is the wrong one. */
  readonly mustHold: boolean;
  /** The cluster's certificate authority: whose the etcd's content is. */
  readonly caPem: string;
}

/** Beside the objects, which are below /registry/. */
const ownerKey = '/owner';

/** Throws DatastoreError. */
export async function openDatastore(options: DatastoreOptions, use: DatastoreUse): Promise<Store> {
  const connection = await connectionOf(options, use.clock);
  await check(options, connection);
  const store = openEtcdStore(connection);
  try {
    if (use.mustHold && (await store.count('/registry/')) === 0)
      throw new DatastoreError(
        `The etcd at ${nameOf(options)} holds no cluster, but this data directory had one in an etcd before: give the address of that one, restore its data, or choose another --data to begin anew.`,
      );
    await claim(store, options, use.caPem);
  } catch (error) {
    await store.close();
    throw error instanceof DatastoreError ? error : refused(options, error);
  }
  return store;
}

/**
 * One data directory for each etcd: the certificates of another are not those that machines and
 * people of the cluster trust, and two sets of controllers would undo each other's work.
 */
async function claim(store: Store, options: DatastoreOptions, caPem: string): Promise<void> {
  const { fingerprint256 } = new X509Certificate(caPem);
  const { kv: held } = await store.get(ownerKey);
  const written = held ?? (await store.put(ownerKey, Buffer.from(fingerprint256), 0)).kv;
  if (Buffer.from(written?.value ?? []).toString() === fingerprint256) return;
  throw new DatastoreError(
    `The etcd at ${nameOf(options)} keeps the cluster of another data directory: start Flotilla with that one, take over its folder pki, or give the address of another etcd.`,
  );
}

async function connectionOf(options: DatastoreOptions, clock: Clock): Promise<GrpcClientOptions> {
  const { ca, cert, key, endpoints } = options;
  const isSecured = ca !== undefined || cert !== undefined;
  const scheme = isSecured ? 'https' : 'http';
  const tls = {
    ...(ca === undefined ? {} : { ca: await pemFile('--datastore-ca', ca) }),
    ...(cert === undefined ? {} : { cert: await pemFile('--datastore-cert', cert) }),
    ...(key === undefined ? {} : { key: await pemFile('--datastore-key', key) }),
  };
  return {
    endpoints: endpoints.map((endpoint) => `${scheme}://${endpoint}`),
    clock,
    ...(isSecured ? { tls } : {}),
  };
}

async function pemFile(flag: string, file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new DatastoreError(`${flag} ${file} can't be read: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  if (text.includes('-----BEGIN')) return text;
  throw new DatastoreError(`${flag} ${file} is no PEM file (-----BEGIN …).`);
}

/** One of them has to answer; those that do have to be new enough. */
async function check(options: DatastoreOptions, connection: GrpcClientOptions): Promise<void> {
  let failure: unknown;
  let answers = 0;
  for (const endpoint of connection.endpoints) {
    const client = new GrpcClient({ ...connection, endpoints: [endpoint] });
    try {
      const types = { request: emptyMessage, response: statusResponse };
      const { version } = await client.unary(statusPath, types, {}, patienceMs);
      const [major = 0, minor = 0] = version.split('.').map(Number);
      if (major < 3 || (major === 3 && minor < 4))
        throw new DatastoreError(`The etcd at ${endpoint} is ${version}: 3.4 or newer is needed.`);
      answers += 1;
    } catch (error) {
      if (error instanceof DatastoreError) throw error;
      failure = error;
    } finally {
      client.close();
    }
  }
  if (answers === 0) throw refused(options, failure);
}

function refused(options: DatastoreOptions, error: unknown): DatastoreError {
  return new DatastoreError(sentenceOf(options, error), { cause: error });
}

function sentenceOf(options: DatastoreOptions, error: unknown): string {
  const where = `the etcd at ${nameOf(options)}`;
  const because = (error as Error).message;
  const isSecured = options.ca !== undefined || options.cert !== undefined;
  if (error instanceof GrpcError)
    return `${capital(where)} refuses to answer (${because}): it wants another certificate (--datastore-cert, --datastore-key) or has no quorum.`;
  if (isTlsFailure(error))
    return `No trusted connection to ${where} (${because}): check --datastore-ca, and --datastore-cert with --datastore-key if it asks who we are.`;
  if (error instanceof ConnectionError) {
    const hint = isSecured
      ? 'check that it runs and speaks TLS'
      : 'check that it runs; if it speaks TLS, give --datastore-ca (and --datastore-cert, --datastore-key)';
    return `${capital(where)} can't be reached (${because}): ${hint}.`;
  }
  return `${capital(where)} can't be used: ${because}.`;
}

function isTlsFailure(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)) return true;
  }
  return false;
}

function nameOf({ endpoints }: DatastoreOptions): string {
  return endpoints.join(', ');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
