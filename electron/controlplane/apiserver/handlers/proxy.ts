// pods/proxy and services/proxy: HTTP to a port of a pod, upgrades (WebSockets) included. The bytes
// go by the node's agent, so a pod need not be reachable from where the API server runs.
// Differs: links in HTML pages are not rewritten, and of a service only endpoints that are pods are
// reached.
// Source: kubernetes pkg/registry/core/pod/rest/subresources.go, pkg/registry/core/service/proxy.go,
// apimachinery pkg/util/proxy/{upgradeaware,transport}.go.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Pod, Service } from '#kube/api/core.ts';
import { assert } from '#kube/base/assert.ts';
import { serviceUnavailable, StatusError } from '#kube/machinery/status.ts';
import type { ApiResponse } from '../http.ts';
import { dialPod, targetsOf } from '../service-connection.ts';
import {
  parseProxyName,
  passedHeaders,
  podTarget,
  proxiedLocation,
  splitProxyPath,
  type ProxyTarget,
} from './proxy-target.ts';
import { attributesOf, type RequestScope } from './scope.ts';
import { isUpgrade, upgradeHeadersOf } from './streams.ts';

export async function handlePodProxy(scope: RequestScope): Promise<ApiResponse> {
  const { scheme, name, port } = parseProxyName(scope.info.name, 'pod');
  const stored = await scope.resource.get(scope.info.namespace, name);
  await askAdmission(scope, name);
  return proxy(scope, podTarget(stored.object as Pod, port), scheme);
}

export async function handleServiceProxy(scope: RequestScope): Promise<ApiResponse> {
  const { info, deps, resource } = scope;
  const { scheme, name, port } = parseProxyName(info.name, 'service');
  const stored = await resource.get(info.namespace, name);
  await askAdmission(scope, name);
  const targets = await targetsOf(deps.registry, stored.object as Service, port);
  const target = targets[Math.floor(deps.random.next() * targets.length)];
  assert(target, 'one of some');
  return proxy(scope, target, scheme);
}

async function askAdmission(scope: RequestScope, name: string): Promise<void> {
  const attributes = attributesOf(scope, { operation: 'CONNECT', name, dryRun: false });
  await scope.deps.admission.admit(attributes);
  await scope.deps.admission.validate(attributes);
}

async function proxy(
  scope: RequestScope,
  target: ProxyTarget,
  scheme: 'http' | 'https',
): Promise<ApiResponse> {
  const { request, info } = scope;
  const { prefix, rest } = splitProxyPath(request.path, info.rest.length);
  const query = request.query.toString();
  const search = query === '' ? '' : `?${query}`;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  if (rest === '' && isRead && !isUpgrade(request))
    return { status: 301, headers: { location: `${prefix}/${search}` } };
  const connection = await dial(scope, target, scheme);
  try {
    const path = `${rest === '' ? '/' : rest}${search}`;
    const answer = await ask(scope, connection, path, `${target.pod}:${target.port}`);
    return answeredBy(answer, connection, { prefix, host: request.headers['host'] ?? '' });
  } catch (error) {
    connection.destroy();
    throw unreachable(error);
  }
}

async function dial(
  { deps, request }: RequestScope,
  target: ProxyTarget,
  scheme: 'http' | 'https',
): Promise<Socket> {
  try {
    const socket = await dialPod(deps.kubelet, target, request.signal);
    // As Kubernetes: a pod's certificate is nobody's that one could know.
    return scheme === 'http' ? socket : connectTls({ socket, rejectUnauthorized: false });
  } catch (error) {
    throw unreachable(error);
  }
}

function unreachable(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return serviceUnavailable(`error trying to reach service: ${why}`, 0);
}

interface Answer {
  readonly incoming: IncomingMessage;
  readonly isUpgraded: boolean;
}

function ask(
  { request }: RequestScope,
  connection: Socket,
  path: string,
  host: string,
): Promise<Answer> {
  const headers: Record<string, string> = { host, ...passedHeaders(request.headers) };
  if (isUpgrade(request)) Object.assign(headers, upgradeHeadersOf(request));
  else headers['connection'] = 'close';
  const forwarded = request.headers['x-forwarded-for'];
  const { remoteAddress } = request;
  if (remoteAddress !== undefined)
    headers['x-forwarded-for'] =
      forwarded === undefined ? remoteAddress : `${forwarded}, ${remoteAddress}`;
  const { method, signal } = request;
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      createConnection: () => connection,
      method,
      path,
      headers,
      signal,
    });
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => resolve({ incoming, isUpgraded: false }));
    outgoing.once('upgrade', (incoming, _socket, head) => {
      if (head.length > 0) connection.unshift(head);
      resolve({ incoming, isUpgraded: true });
    });
    const body = method === 'GET' || method === 'HEAD' ? undefined : request.openBody?.();
    if (body === undefined) outgoing.end();
    else body.on('error', reject).pipe(outgoing);
  });
}

function answeredBy(
  { incoming, isUpgraded }: Answer,
  connection: Socket,
  { prefix, host }: { readonly prefix: string; readonly host: string },
): ApiResponse {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers))
    if (value !== undefined) given[name] = Array.isArray(value) ? value.join(', ') : value;
  const status = incoming.statusCode ?? 502;
  if (isUpgraded) return { status: 101, headers: given, connection };
  const headers = passedHeaders(given);
  const { location } = headers;
  if (location !== undefined) headers['location'] = proxiedLocation(location, prefix, host);
  return { status, headers, body: bodyOf(incoming, connection) };
}

async function* bodyOf(incoming: IncomingMessage, connection: Socket): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of incoming) yield chunk as Uint8Array;
  } finally {
    connection.destroy();
  }
}
