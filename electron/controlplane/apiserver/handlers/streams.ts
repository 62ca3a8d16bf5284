// pods/exec, pods/attach, pods/portforward: the API server checks, then passes the client's own
// upgrade to the node's agent and joins the two connections. Frames are the agent's affair,
// WebSocket and SPDY alike, so nothing here depends on the protocol.
// Differs: Kubernetes 1.30 to 1.35 translate WebSockets to SPDY here, since old kubelets know only
// that; agent and API server are of one release here.
// Source: kubernetes pkg/registry/core/pod/{strategy.go,rest/subresources.go}, apimachinery
// pkg/util/proxy/upgradeaware.go.
import type { Pod } from '#kube/api/core.ts';
import { badRequest } from '#kube/machinery/status.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { forbiddenError } from '../identity/authorization.ts';
import { containerOf, failureOf } from './connect.ts';
import {
  admitConnect,
  commandOptions,
  commandQuery,
  listOf,
  portForwardOptions,
} from './connect-options.ts';
import type { RequestScope } from './scope.ts';

export async function handleExec(scope: RequestScope): Promise<ApiResponse> {
  return handleCommand(scope, 'exec');
}

export async function handleAttach(scope: RequestScope): Promise<ApiResponse> {
  return handleCommand(scope, 'attach');
}

async function handleCommand(scope: RequestScope, kind: 'exec' | 'attach'): Promise<ApiResponse> {
  const pod = await podOf(scope);
  const options = await admitConnect(
    scope,
    scope.info.name,
    commandOptions(kind, scope.request.query),
  );
  const nodeName = nodeOf(pod);
  const container = containerOf(pod, options.container ?? '');
  const query = commandQuery(options);
  if (kind === 'exec' && !query.has('command'))
    throw badRequest('you must specify at least one command for the container');
  const { namespace, name } = scope.info;
  return passOn(scope, nodeName, { path: pathOf(kind, namespace, name, container), query });
}

export async function handlePortForward(scope: RequestScope): Promise<ApiResponse> {
  const { namespace, name } = scope.info;
  const pod = await podOf(scope);
  const options = await admitConnect(scope, name, portForwardOptions(scope.request.query));
  const ports = listOf(options.ports);
  const query = new URLSearchParams(ports.length === 0 ? {} : { ports: ports.join(',') });
  return passOn(scope, nodeOf(pod), { path: pathOf('portForward', namespace, name), query });
}

function pathOf(...segments: readonly string[]): string {
  return `/${segments.map(encodeURIComponent).join('/')}`;
}

/** The pod, once the client may do this. */
async function podOf(scope: RequestScope): Promise<Pod> {
  const { info, request, resource } = scope;
  if (!isUpgrade(request)) throw badRequest('Upgrade request required');
  authorizeWebSocket(scope);
  return (await resource.get(info.namespace, info.name)).object as Pod;
}

function nodeOf({ metadata, spec }: Pod): string {
  const nodeName = spec?.nodeName ?? '';
  if (nodeName === '') throw badRequest(`pod ${metadata.name ?? ''} does not have a host assigned`);
  return nodeName;
}

/** A WebSocket is a GET to the chain; who may only read must not run commands by it. */
function authorizeWebSocket({ request, info, user, deps }: RequestScope): void {
  if (request.headers['upgrade']?.toLowerCase() !== 'websocket' || info.verb === 'create') return;
  const { version: _version, rest: _rest, ...target } = info;
  const attributes = { ...target, verb: 'create', user, fieldSelector: null };
  const decision = deps.access.authorize(attributes);
  if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
}

export function isUpgrade({ headers }: ApiRequest): boolean {
  const options = (headers['connection'] ?? '').toLowerCase().split(/\s*,\s*/);
  return options.includes('upgrade') && (headers['upgrade'] ?? '') !== '';
}

/** What the two ends of an upgraded connection tell each other; nothing else of the client's. */
const upgradeHeaders = [
  'upgrade',
  'sec-websocket-key',
  'sec-websocket-version',
  'x-stream-protocol-version',
] as const;
/** A browser's token is for the API server alone. */
const tokenPrefix = 'base64url.bearer.authorization.k8s.io.';

export function upgradeHeadersOf({ headers }: ApiRequest): Record<string, string> {
  const passed: Record<string, string> = { connection: 'Upgrade' };
  for (const name of upgradeHeaders) {
    const value = headers[name];
    if (value !== undefined) passed[name] = value;
  }
  const protocols = (headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith(tokenPrefix));
  if (protocols.length > 0) passed['sec-websocket-protocol'] = protocols.join(', ');
  return passed;
}

async function passOn(
  scope: RequestScope,
  nodeName: string,
  target: { readonly path: string; readonly query: URLSearchParams },
): Promise<ApiResponse> {
  const { deps, request } = scope;
  const { method, signal } = request;
  const headers = upgradeHeadersOf(request);
  const answer = await deps.kubelet.upgrade(nodeName, { method, ...target, headers, signal });
  if (!('connection' in answer)) throw await failureOf(scope, answer);
  return { status: 101, headers: answer.headers, connection: answer.connection };
}
