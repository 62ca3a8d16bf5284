// pods/proxy and services/proxy: HTTP to a port of a pod, upgrades (WebSockets) included. The bytes
// go by the node's agent, so a pod need not be reachable from where the API server runs.
// Differs: links in HTML pages are not rewritten, and of a service only endpoints that are pods are
// reached.
// Source: kubernetes pkg/registry/core/pod/rest/subresources.go, pkg/registry/core/service/proxy.go.
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Pod, Service } from '#kube/api/core.ts';
import { assert } from '#kube/base/assert.ts';
import type { ApiResponse } from '../http.ts';
import { dialPod, targetsOf } from '../service-connection.ts';
import { askBackend, backendResponse, unreachable } from './backend.ts';
import {
  parseProxyName,
  passedHeaders,
  podTarget,
  proxiedLocation,
  splitProxyPath,
  type ProxyTarget,
} from './proxy-target.ts';
import { admitConnect, proxyOptions } from './connect-options.ts';
import type { RequestScope } from './scope.ts';
import { isUpgrade } from './streams.ts';

export async function handlePodProxy(scope: RequestScope): Promise<ApiResponse> {
  const { scheme, name, port } = parseProxyName(scope.info.name, 'pod');
  const stored = await scope.resource.get(scope.info.namespace, name);
  const path = await admittedPath(scope, name, 'PodProxyOptions');
  return proxy(scope, podTarget(stored.object as Pod, port), { scheme, path });
}

export async function handleServiceProxy(scope: RequestScope): Promise<ApiResponse> {
  const { info, deps, resource } = scope;
  const { scheme, name, port } = parseProxyName(info.name, 'service');
  const stored = await resource.get(info.namespace, name);
  const path = await admittedPath(scope, name, 'ServiceProxyOptions');
  const targets = await targetsOf(deps.registry, stored.object as Service, port);
  const target = targets[Math.floor(deps.random.next() * targets.length)];
  assert(target, 'one of some');
  return proxy(scope, target, { scheme, path });
}

/** What is asked of the backend: the request's own path, unless a webhook wants another. */
async function admittedPath(scope: RequestScope, name: string, kind: string): Promise<string> {
  const { rest } = splitProxyPath(scope.request.path, scope.info.rest.length);
  const { path } = await admitConnect(scope, name, proxyOptions(kind, rest));
  return typeof path === 'string' && path.startsWith('/') ? path : '/';
}

async function proxy(
  scope: RequestScope,
  target: ProxyTarget,
  { scheme, path }: { readonly scheme: 'http' | 'https'; readonly path: string },
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
    const answer = await askBackend(request, connection, {
      path: `${path}${search}`,
      host: `${target.pod}:${target.port}`,
      headers: passedHeaders(request.headers),
    });
    const response = backendResponse(answer, connection);
    return relocated(response, prefix, request.headers['host'] ?? '');
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

function relocated(response: ApiResponse, prefix: string, host: string): ApiResponse {
  const { location } = response.headers;
  if (location === undefined || response.status === 101) return response;
  const headers = { ...response.headers, location: proxiedLocation(location, prefix, host) };
  return { ...response, headers };
}
