// /flotilla/cluster-backup: a backup of the whole cluster as a file (GET), and one that a cluster which was just
// begun gives way to (POST). A path that is no resource, so only administrators come here. The passphrase comes in a
// header of its own, which nothing logs.
import { badRequest, insufficientStorage, methodNotAllowedHere } from '#kube/machinery/status.ts';
import type { SealingKey, Unlocking } from '#platform/sealed-stream.ts';
import type { ApiHandler, ApiRequest, ApiResponse } from '../apiserver/http.ts';
import { jsonResponse } from '../apiserver/status-response.ts';
import { StoreOpenError } from '../store/state-file.ts';
import type { ClusterArchive } from './cluster-archive.ts';
import { BackupRefusedError, type BackupManifest } from './manifest.ts';
import { canonicalPassphrase } from './passphrase.ts';
import { backupName } from './schedule.ts';
import { parseSuccession, supersedes, type Succession } from './succession.ts';

export const clusterBackupPath = '/flotilla/cluster-backup';
/** In base64 of its UTF-8: a header takes no other letters. */
export const passphraseHeader = 'flotilla-passphrase';

/** Where whoever adopted the backup tells those of before. */
export const successionPath = `${clusterBackupPath}/succession`;

export interface BackupPathsDeps {
  /** Undefined: no passphrase was set yet. */
  readonly key: () => Promise<SealingKey | undefined>;
  readonly openArchive: (key: SealingKey) => Promise<ClusterArchive>;
  /** Why this cluster can't give way to another; undefined: it was just begun. */
  readonly whyNotAdopt: () => Promise<string | undefined>;
  readonly adopt: (
    chunks: AsyncIterable<Uint8Array>,
    unlocking: Unlocking,
    signal: AbortSignal,
  ) => Promise<BackupManifest>;
  /** Once the answer is on its way. */
  readonly restart: () => void;
  /** The cluster's id in the store, and those it comes from. */
  readonly lineage: () => readonly string[];
  /** Another goes on from this state: the process ends for good, once the answer is on its way. */
  readonly giveWay: (to: Succession) => Promise<void>;
}

export function createBackupPaths(deps: BackupPathsDeps): ApiHandler {
  return async (request) => {
    try {
      if (request.path === successionPath) return await hear(request, deps);
      if (request.method === 'GET') return await download(deps);
      if (request.method === 'POST') return await adopt(request, deps);
    } catch (error) {
      throw statusOf(error);
    }
    throw methodNotAllowedHere();
  };
}

async function download({ key, openArchive }: BackupPathsDeps): Promise<ApiResponse> {
  const found = await key();
  if (found === undefined)
    throw badRequest(
      'No passphrase was set for backups: set one on the page Backup, or by `npm run cluster -- passphrase`.',
    );
  const { manifest, chunks, close } = await openArchive(found);
  const name = backupName('', Date.parse(manifest.madeAt)).slice(1);
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="flotilla-${name}"`,
    },
    body: (async function* () {
      try {
        yield* chunks;
      } finally {
        close();
      }
    })(),
  };
}

async function adopt(request: ApiRequest, deps: BackupPathsDeps): Promise<ApiResponse> {
  const { openBody, headers, signal } = request;
  if (openBody === undefined) throw badRequest('A backup comes as the body of the request.');
  const passphrase = Buffer.from(headers[passphraseHeader] ?? '', 'base64').toString();
  if (passphrase === '') throw badRequest(`The header ${passphraseHeader} has the passphrase.`);
  const problem = await deps.whyNotAdopt();
  if (problem !== undefined) throw badRequest(problem);
  const unlocking = { passphrase: canonicalPassphrase(passphrase) };
  const { madeAt, madeOn } = await deps.adopt(openBody(), unlocking, signal);
  deps.restart();
  return jsonResponse(202, {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Success',
    message: `This computer goes on as the cluster of ${madeOn}, as of ${madeAt}.`,
  });
}

async function hear(request: ApiRequest, deps: BackupPathsDeps): Promise<ApiResponse> {
  if (request.method !== 'POST') throw methodNotAllowedHere();
  const told = parseSuccession(Buffer.from(await request.readBody()).toString());
  if (told === undefined) throw badRequest('the body has to tell who goes on, and from what');
  const givesWay = supersedes(told, deps.lineage());
  if (givesWay) await deps.giveWay(told);
  return jsonResponse(200, { givesWay });
}

function statusOf(error: unknown): unknown {
  if (error instanceof BackupRefusedError || error instanceof StoreOpenError)
    return badRequest(error.message);
  if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
    return insufficientStorage(
      'The disk of this machine has no room for the cluster: free some space, then try again.',
    );
  return error;
}
