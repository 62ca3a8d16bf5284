// The paths that are not resources: discovery, OpenAPI, version, health, metrics. One table, read
// top to bottom; what is in none of them is 404. Source: kubernetes apiserver pkg/server/handler.go:
// discovery and version are routes of GET only, the rest answers whatever the method.
import { methodNotAllowedHere, pageNotFound } from '#kube/machinery/status.ts';
import type { Discovery } from './discovery.ts';
import type { Health } from './health.ts';
import type { ApiHandler, ApiRequest, ApiResponse } from '../http.ts';
import type { ServerMetrics } from '../metrics.ts';
import type { OpenApi } from './openapi.ts';
import { jsonResponse } from '../status-response.ts';
import { versionInfo, type Build } from './version.ts';

export interface PathDeps {
  readonly discovery: Discovery;
  readonly openApi: OpenApi;
  readonly health: Health;
  readonly metrics: ServerMetrics;
  readonly build: Build;
  /** Paths that the API server has beyond Kubernetes' own. */
  readonly more?: readonly Route[];
}

export interface Route {
  /** The path itself and all below it. */
  readonly prefix: string;
  readonly getOnly?: boolean;
  readonly answer: ApiHandler;
}

export function createPaths(deps: PathDeps): ApiHandler {
  const routes: readonly Route[] = [
    { prefix: '/api', getOnly: true, answer: (request) => deps.discovery.answer(request) },
    { prefix: '/apis', getOnly: true, answer: (request) => deps.discovery.answer(request) },
    { prefix: '/openapi', answer: (request) => deps.openApi.answer(request) },
    { prefix: '/version', getOnly: true, answer: (request) => versionPage(request, deps.build) },
    { prefix: '/livez', answer: (request) => deps.health.answer(request) },
    { prefix: '/readyz', answer: (request) => deps.health.answer(request) },
    { prefix: '/healthz', answer: (request) => deps.health.answer(request) },
    { prefix: '/metrics', answer: (request) => metricsPage(request, deps.metrics) },
    ...(deps.more ?? []),
  ];
  return async (request) => {
    const { path, method } = request;
    const route = routes.find(({ prefix }) => path === prefix || path.startsWith(`${prefix}/`));
    if (route !== undefined) {
      // Asked first: a path that is not there is 404 whatever the method.
      const response = await route.answer(request);
      const isGet = method === 'GET' || method === 'HEAD';
      if (route.getOnly === true && !isGet) throw methodNotAllowedHere();
      return response;
    }
    if (path !== '/') throw pageNotFound();
    return jsonResponse(200, { paths: routes.map(({ prefix }) => prefix) });
  };
}

async function versionPage({ path }: ApiRequest, build: Build): Promise<ApiResponse> {
  if (!/^\/version\/*$/.test(path)) throw pageNotFound();
  return jsonResponse(200, versionInfo(build));
}

async function metricsPage({ path }: ApiRequest, metrics: ServerMetrics): Promise<ApiResponse> {
  if (path !== '/metrics') throw pageNotFound();
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    body: metrics.render(),
  };
}
