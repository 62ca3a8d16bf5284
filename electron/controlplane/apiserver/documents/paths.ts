// The paths that are not resources: discovery, OpenAPI, version, health, metrics. One table, read
// top to bottom; what is in none of them is 404.
import { methodNotAllowed, pageNotFound } from '#kube/machinery/status.ts';
import type { Discovery } from './discovery.ts';
import type { Health } from './health.ts';
import type { ApiHandler, ApiResponse } from '../http.ts';
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
}

interface Route {
  /** The path itself and all below it. */
  readonly prefix: string;
  readonly answer: ApiHandler;
}

export function createPaths(deps: PathDeps): ApiHandler {
  const routes: readonly Route[] = [
    { prefix: '/api', answer: (request) => deps.discovery.answer(request) },
    { prefix: '/apis', answer: (request) => deps.discovery.answer(request) },
    { prefix: '/openapi', answer: (request) => deps.openApi.answer(request) },
    { prefix: '/version', answer: async () => jsonResponse(200, versionInfo(deps.build)) },
    { prefix: '/livez', answer: (request) => deps.health.answer(request) },
    { prefix: '/readyz', answer: (request) => deps.health.answer(request) },
    { prefix: '/healthz', answer: (request) => deps.health.answer(request) },
    { prefix: '/metrics', answer: async () => metricsPage(deps.metrics) },
  ];
  return async (request) => {
    const { path, method } = request;
    const route = routes.find(({ prefix }) => path === prefix || path.startsWith(`${prefix}/`));
    if (route !== undefined) {
      if (method !== 'GET' && method !== 'HEAD')
        throw methodNotAllowed({ group: '', resource: path }, method.toLowerCase());
      return route.answer(request);
    }
    if (path !== '/') throw pageNotFound();
    return jsonResponse(200, { paths: routes.map(({ prefix }) => prefix) });
  };
}

function metricsPage(metrics: ServerMetrics): ApiResponse {
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    body: metrics.render(),
  };
}
