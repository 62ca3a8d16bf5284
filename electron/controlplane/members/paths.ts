// /flotilla/…: what `npm run cluster` asks a running control plane. Paths that are no resources, so
// only administrators (system:masters) are let through by the chain; nothing is checked here again.
import {
  badRequest,
  insufficientStorage,
  methodNotAllowedHere,
  pageNotFound,
  serviceUnavailable,
  timeout,
} from '#kube/machinery/status.ts';
import type { ApiHandler, ApiRequest, ApiResponse } from '../apiserver/http.ts';
import { jsonResponse } from '../apiserver/status-response.ts';
import { MembershipRefusedError } from '../replica/membership-changes.ts';
import { ProposalUnknownError, ReplicaUnavailableError } from '../replica/types.ts';
import { StoreOpenError } from '../store/state-file.ts';
import { NoSpaceError, UnavailableError } from '../store/store.ts';
import type { Members } from './members.ts';

export const membersPath = '/flotilla/members';
export const backupPath = '/flotilla/backup';
export const recoveryPath = '/flotilla/recovery';

/** Answers below `/flotilla`; throws StatusError. Undefined members: an etcd keeps the state. */
export function createMemberPaths(members: Members | undefined): ApiHandler {
  return async (request) => {
    const { path } = request;
    const isKnown =
      [membersPath, backupPath, recoveryPath].includes(path) || path.startsWith(`${membersPath}/`);
    if (!isKnown) throw pageNotFound();
    if (members === undefined)
      throw badRequest("The state is kept by an etcd (--datastore): use etcd's own tools for it.");
    try {
      return await answer(request, members);
    } catch (error) {
      throw statusOf(error);
    }
  };
}

async function answer(request: ApiRequest, members: Members): Promise<ApiResponse> {
  const { path, method } = request;
  if (path === backupPath && method === 'GET') return await backup(members);
  if (path === backupPath && method === 'POST') return await restore(request, members);
  if (path === membersPath && method === 'GET')
    return request.query.get('watch') === 'true'
      ? watch(request, members)
      : jsonResponse(200, members.report());
  if (path === membersPath && method === 'POST') {
    const { name, address } = await readJson(request);
    return jsonResponse(201, await members.invite(String(name), String(address)));
  }
  if (path === recoveryPath && method === 'GET') return jsonResponse(200, members.recovery());
  if (path === recoveryPath && method === 'POST') {
    await members.recover(String((await readJson(request))['confirm']));
    const message = 'The control plane ends now and goes on from this machine alone.';
    return jsonResponse(202, { kind: 'Status', apiVersion: 'v1', status: 'Success', message });
  }
  if (path.startsWith(`${membersPath}/`) && method === 'DELETE') {
    await members.remove(decodeURIComponent(path.slice(membersPath.length + 1)));
    return jsonResponse(200, members.report());
  }
  throw methodNotAllowedHere();
}

function watch({ signal }: ApiRequest, members: Members): ApiResponse {
  return {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: (async function* () {
      for await (const report of members.watch(signal)) yield `${JSON.stringify(report)}\n`;
    })(),
  };
}

/** The first bytes are waited for, so that a refusal is still an answer. */
async function backup(members: Members): Promise<ApiResponse> {
  const chunks = members.backup();
  const first = await chunks.next();
  return {
    status: 200,
    headers: { 'content-type': 'application/octet-stream' },
    body: (async function* () {
      try {
        if (first.done !== true) yield first.value;
        yield* chunks;
      } finally {
        await chunks.return(undefined);
      }
    })(),
  };
}

async function restore(request: ApiRequest, members: Members): Promise<ApiResponse> {
  const { openBody, query, signal } = request;
  if (openBody === undefined) throw badRequest('A backup comes as the body of the request.');
  const isOther = query.get('otherCluster') === 'true';
  await members.restore(openBody(), { isOther, signal });
  const message = 'The backup is whole: the control plane ends now and starts again with it.';
  return jsonResponse(202, { kind: 'Status', apiVersion: 'v1', status: 'Success', message });
}

async function readJson(request: ApiRequest): Promise<Readonly<Record<string, unknown>>> {
  const text = Buffer.from(await request.readBody()).toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The same answer as for JSON that is no object.
  }
  throw badRequest(
    'the body has to be a JSON object: `name` and `address` of a member, or what to `confirm`',
  );
}

/** As a client is told. */
export function statusOf(error: unknown): unknown {
  if (error instanceof MembershipRefusedError || error instanceof StoreOpenError)
    return badRequest(error.message);
  if (error instanceof ReplicaUnavailableError || error instanceof UnavailableError)
    return serviceUnavailable(error.message);
  if (error instanceof NoSpaceError || (error as NodeJS.ErrnoException).code === 'ENOSPC')
    return insufficientStorage(
      `The disk of this machine has no room for a copy of the state (${(error as Error).message}): free some space, then ask again.`,
    );
  if (error instanceof ProposalUnknownError)
    return timeout(
      `Whether the members changed is not known (${error.message}): look at \`npm run cluster -- members\` before asking again.`,
    );
  return error;
}
