// /flotilla/machines/…: what a machine fetches to become a node, or to be upgraded, and the line that a person runs on it.
// Who may is decided by the chain (role flotilla:machine-package): machines with a token, nodes, and administrators, and for the
// line only these.
import { createReadStream } from 'node:fs';
import { agentKubeconfigText, type ClientConfig } from '#platform/kubeconfig.ts';
import { packageText } from '#kube/machinery/agent-versions.ts';
import { controlPlanePackageText } from '#kube/machinery/control-planes.ts';
import {
  badRequest,
  forbidden,
  methodNotAllowedHere,
  pageNotFound,
} from '#kube/machinery/status.ts';
import type { ApiHandler, ApiRequest, ApiResponse } from '../../apiserver/http.ts';
import {
  invitationFor,
  isMember,
  leaveGroup,
  type ReplicaPathsDeps,
} from '../replicas/replica-paths.ts';
import type { IssuedToken } from '../tokens.ts';
import type { ControlPlanePackage } from './control-plane-package.ts';
import { installScript } from './install-script.ts';
import {
  PackageError,
  type Architecture,
  type MachinePackage,
  type PackagePart,
} from './machine-package.ts';

export const machinesPath = '/flotilla/machines';

export interface PackagePathsDeps {
  /** Whether agents tell the home of apps' names, and that they are there. */
  readonly isDiscovering: boolean;
  readonly packageFor: (architecture: Architecture) => Promise<MachinePackage>;
  readonly controlPlane: () => Promise<ControlPlanePackage>;
  readonly replicas: ReplicaPathsDeps;
  /** As other machines reach this API server; undefined: none does. */
  readonly server: () => Pick<ClientConfig, 'server' | 'caPem' | 'serverName'> | undefined;
  /** Of the key that this API server shows now: `sha256//…`. */
  readonly pin: () => Promise<string>;
  readonly issueToken: (nodeName: string) => Promise<IssuedToken>;
  /** Of whoever came with a token that is no good any more, in words; undefined: it is, or it was none. */
  readonly tokenProblem: (userName: string) => Promise<string | undefined>;
}

/** What the line is made for and good for. */
export interface MachineCommand {
  readonly command: string;
  readonly expires: string;
  readonly tokenId: string;
}

export function createPackagePaths(deps: PackagePathsDeps): ApiHandler {
  const known = new Map<string, PackagePart>();

  async function packageOf(request: ApiRequest): Promise<ApiResponse> {
    const architecture = request.query.get('architecture') ?? '';
    if (architecture !== 'x64' && architecture !== 'arm64')
      throw badRequest(`architecture has to be x64 or arm64, not "${architecture}"`);
    const { version, runtime, agent } = await deps.packageFor(architecture).catch(wordsOf);
    for (const part of [runtime, agent]) known.set(part.sha256, part);
    return text(packageText({ version, runtime, agent }));
  }

  async function controlPlane(): Promise<ApiResponse> {
    const { version, part } = await deps.controlPlane().catch(wordsOf);
    known.set(part.sha256, part);
    return text(controlPlanePackageText({ version, sha256: part.sha256, bytes: part.bytes }));
  }

  /** Of a machine that keeps the state, or is to. */
  async function replicaAnswer(what: string, { user }: ApiRequest): Promise<ApiResponse> {
    if (what === 'invitation') return text(await invitationFor(user, deps.replicas), 'no-store');
    if (what === 'leave') await leaveGroup(user, deps.replicas);
    return text(isMember(user, deps.replicas) ? 'member\n' : 'none\n');
  }

  /** Only what was told of before, by this process or by asking again. */
  async function fileOf(sha256: string): Promise<ApiResponse> {
    const part = known.get(sha256);
    if (part === undefined) throw pageNotFound();
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(part.bytes),
    };
    return { status: 200, headers, body: createReadStream(part.file) };
  }

  function kubeconfigOf({ headers }: ApiRequest): ApiResponse {
    const [, token = ''] = /^Bearer (\S+)$/i.exec(headers['authorization'] ?? '') ?? [];
    const names = { cluster: 'flotilla', user: 'joining' };
    return text(agentKubeconfigText({ ...reachable(deps), token }, names));
  }

  async function commandOf(request: ApiRequest): Promise<ApiResponse> {
    const name = nodeNameIn(Buffer.from(await request.readBody()).toString('utf8'));
    const { server } = reachable(deps);
    const pin = await deps.pin();
    const { token, id, expires } = await deps.issueToken(name);
    const command = commandLineFor({ server, pin, token, name });
    const answer: MachineCommand = { command, expires, tokenId: id };
    const headers = { 'content-type': 'application/json' };
    return { status: 201, headers, body: `${JSON.stringify(answer)}\n` };
  }

  return async (request) => {
    const { path, method } = request;
    const below = path.slice(machinesPath.length + 1);
    if (below === 'commands') {
      if (method !== 'POST') throw methodNotAllowedHere();
      return commandOf(request);
    }
    const verb = replicaVerbs.get(below);
    if (verb !== undefined) {
      if (method !== verb) throw methodNotAllowedHere();
      return replicaAnswer(below, request);
    }
    const [, sha256] = /^files\/([0-9a-f]{64})$/.exec(below) ?? [];
    const isKnown =
      ['package', 'install', 'kubeconfig', 'controlplane'].includes(below) || sha256 !== undefined;
    if (!isKnown) throw pageNotFound();
    if (method !== 'GET') throw methodNotAllowedHere();
    if (sha256 !== undefined || below === 'package') {
      // The script and the address tell nothing; what was joined by is no key to the rest for whoever finds it.
      const problem = await deps.tokenProblem(request.user?.name ?? '');
      if (problem !== undefined)
        throw forbidden({ group: '', resource: 'packages' }, below, problem);
    }
    if (sha256 !== undefined) return fileOf(sha256);
    if (below === 'package') return packageOf(request);
    if (below === 'controlplane') return controlPlane();
    return below === 'install' ? text(installScript(deps.isDiscovering)) : kubeconfigOf(request);
  };
}

const replicaVerbs = new Map([
  ['invitation', 'POST'],
  ['leave', 'POST'],
  ['membership', 'GET'],
]);

function text(body: string, caching?: 'no-store'): ApiResponse {
  const type = { 'content-type': 'text/plain; charset=utf-8' };
  return { status: 200, headers: caching ? { ...type, 'cache-control': caching } : type, body };
}

function reachable({ server }: PackagePathsDeps) {
  const found = server();
  if (found === undefined)
    throw badRequest(
      'No other machine reaches this cluster: its API listens on this computer only. Start it with --bind-address 0.0.0.0, or an address of this computer',
    );
  return found;
}

function wordsOf(error: unknown): never {
  throw error instanceof PackageError ? badRequest(error.message) : error;
}

/** A label, as host names are: it goes into a certificate and a command. */
function nodeNameIn(body: string): string {
  let name: unknown;
  try {
    ({ name } = JSON.parse(body) as { readonly name?: unknown });
  } catch {
    // The same answer as for JSON without a name.
  }
  if (typeof name === 'string' && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return name;
  throw badRequest('the machine needs a name of small letters, digits and "-", at most 63 of them');
}

export interface CommandParts {
  readonly server: string;
  readonly pin: string;
  readonly token: string;
  readonly name: string;
}

/** None of its parts has anything in it that a shell would read: digits, letters, `.:/=+-`. */
export function commandLineFor({ server, pin, token, name }: CommandParts): string {
  const fetch = `curl -fsS --insecure --pinnedpubkey '${pin}' -H 'Authorization: Bearer ${token}'`;
  return `${fetch} '${server}${machinesPath}/install' | sudo sh -s -- '${server}' '${pin}' '${token}' '${name}'`;
}
