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
import { isTrue } from '../request-info.ts';
import { containerOf, failureOf } from './connect.ts';
import { attributesOf, type RequestScope } from './scope.ts';

export async function handleExec(scope: RequestScope): Promise<ApiResponse> {
  return handleCommand(scope, 'exec');
}

export async function handleAttach(scope: RequestScope): Promise<ApiResponse> {
  return handleCommand(scope, 'attach');
}

async function handleCommand(scope: RequestScope, kind: 'exec' | 'attach'): Promise<ApiResponse> {
  const { query } = scope.request;
  const { pod, nodeName } = await checkedPod(scope);
  const container = containerOf(pod, query.get('container') ?? '');
  const passed = new URLSearchParams();
  const isWanted = (name: string, otherwise: boolean): boolean =>
    query.has(name) ? isTrue(query.get(name)) : otherwise;
  const wanted = {
    input: isWanted('stdin', false),
    output: isWanted('stdout', true),
    error: isWanted('stderr', true),
    tty: isWanted('tty', false),
  };
  for (const [name, value] of Object.entries(wanted)) if (value) passed.set(name, '1');
  if (kind === 'exec') for (const word of query.getAll('command')) passed.append('command', word);
  if (kind === 'exec' && !passed.has('command'))
    throw badRequest('you must specify at least one command for the container');
  const { namespace, name } = scope.info;
  return passOn(scope, nodeName, { path: pathOf(kind, namespace, name, container), query: passed });
}

export async function handlePortForward(scope: RequestScope): Promise<ApiResponse> {
  const { nodeName } = await checkedPod(scope);
  const { namespace, name } = scope.info;
  const query = new URLSearchParams();
  for (const ports of scope.request.query.getAll('ports')) query.append('ports', ports);
  return passOn(scope, nodeName, { path: pathOf('portForward', namespace, name), query });
}

function pathOf(...segments: readonly string[]): string {
  return `/${segments.map(encodeURIComponent).join('/')}`;
}

/** The pod, once the client may do this and the pod is somewhere. */
async function checkedPod(
  scope: RequestScope,
): Promise<{ readonly pod: Pod; readonly nodeName: string }> {
  const { info, request, resource, deps } = scope;
  if (!isUpgrade(request)) throw badRequest('Upgrade request required');
  authorizeWebSocket(scope);
  const stored = await resource.get(info.namespace, info.name);
  const attributes = attributesOf(scope, { operation: 'CONNECT', name: info.name, dryRun: false });
  await deps.admission.admit(attributes);
  await deps.admission.validate(attributes);
  const pod = stored.object as Pod;
  const nodeName = pod.spec?.nodeName ?? '';
  if (nodeName === '') throw badRequest(`pod ${info.name} does not have a host assigned`);
  return { pod, nodeName };
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
