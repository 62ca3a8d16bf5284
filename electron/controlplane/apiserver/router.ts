// The router: a request whose meaning is known (RequestInfo) to the handler of its verb.
// Everything kind-specific comes from the resource table; 404 and 405 are decided here.
import { unreachable } from '#kube/base/assert.ts';
import {
  methodNotAllowedHere,
  pageNotFound,
  StatusError,
  unauthorized,
} from '#kube/machinery/status.ts';
import {
  allVerbs,
  type ConnectSubresource,
  type ResourceDefinition,
  type ScaleSubresource,
  type Subresource,
  type Verb,
} from '../registry/resource.ts';
import { supportsVerb } from '../registry/resource-table.ts';
import type { ApiRequest, ApiResponse, RequestInfo } from './http.ts';
import { handleComponentGet, handleComponentList } from './handlers/component-status.ts';
import { handleNodeProxy, handlePodLog } from './handlers/connect.ts';
import { handleDelete, handleDeleteCollection } from './handlers/delete.ts';
import { handleBackupPassphrase } from './handlers/backup-passphrase.ts';
import { handleEnrolment } from './handlers/enrolment.ts';
import { handleNodeOperation } from './handlers/node-operation.ts';
import { handleNamespaceFinalize } from './handlers/namespace-finalize.ts';
import { handlePatch } from './handlers/patch.ts';
import { handleEviction } from './handlers/eviction.ts';
import { handleBinding, handleBindingByName } from './handlers/binding.ts';
import { handlePodProxy, handleServiceProxy } from './handlers/proxy.ts';
import { handleGet, handleList } from './handlers/read.ts';
import { handleScaleGet, handleScalePatch, handleScaleUpdate } from './handlers/scale.ts';
import { FieldTracker } from './handlers/fields.ts';
import { handleReview } from './handlers/reviews.ts';
import { warningHeaders, type RequestScope, type RouterDeps } from './handlers/scope.ts';
import { handleAttach, handleExec, handlePortForward } from './handlers/streams.ts';
import { handleWatch } from './handlers/watch.ts';
import { WatchFrames } from './handlers/watch-frames.ts';
import { handleMetricsGet, handleMetricsList } from './resource-metrics/handler.ts';
import { NodeSamples } from './resource-metrics/samples.ts';
import { handleTokenRequest } from './handlers/token-request.ts';
import { handleCreate, handleUpdate } from './handlers/write.ts';
import { statusResponse } from './status-response.ts';

export type { RouterDeps } from './handlers/scope.ts';

/**
 * Answers resource requests (`info.isResourceRequest`); `request.user` must be set. Throws
 * StatusError for everything that is not a success: the chain turns it into a Status body.
 */
export type RouteRequest = (request: ApiRequest, info: RequestInfo) => Promise<ApiResponse>;

type Handler = (scope: RequestScope) => Promise<ApiResponse>;

export function createRouter(deps: RouterDeps): RouteRequest {
  const fields = new FieldTracker(deps.schemas);
  const samples = new NodeSamples(deps);
  const frames = new WatchFrames();
  return async function routeRequest(request, info) {
    const { table } = deps.registry;
    const isKnown = () => table.lookup(info.group, info.version, info.resource) !== undefined;
    // It may have been defined a moment ago, through another member.
    if (!isKnown() && info.group.includes('.')) await deps.registry.refresh();
    const scope = { ...scopeOf(deps, request, info), fields, samples, frames };
    try {
      return await handlerOf(scope)(scope);
    } catch (error) {
      // Whoever is refused is warned all the same.
      if (!(error instanceof StatusError) || scope.warnings.size === 0) throw error;
      const { headers, ...answer } = statusResponse(error);
      return { ...answer, headers: { ...headers, ...warningHeaders(scope) } };
    }
  };
}

function scopeOf(deps: RouterDeps, request: ApiRequest, info: RequestInfo) {
  const { registry } = deps;
  const definition = registry.table.lookup(info.group, info.version, info.resource);
  if (definition === undefined) throw pageNotFound();
  const { user } = request;
  if (user === undefined) throw unauthorized();
  const resource = registry.resource(definition);
  const { deprecation } = definition;
  const warnings = new Set<string>(deprecation === undefined ? [] : [deprecation]);
  return { deps, request, info, definition, resource, user, warnings };
}

function handlerOf(scope: RequestScope): Handler {
  const { definition, info } = scope;
  if (!isWellPlaced(scope)) throw pageNotFound();
  if (info.subresource === '') return objectHandler(scope);
  const subresource = definition.subresources?.[info.subresource];
  if (subresource === undefined || info.name === '') throw pageNotFound();
  if (info.rest.length > 0 && info.subresource !== 'proxy') throw pageNotFound();
  return subresourceHandler(scope, subresource);
}

/** Objects of a namespaced kind live in one; the others in none (a Namespace's is its name). */
function isWellPlaced({ definition, info }: RequestScope): boolean {
  const { namespace, name, resource } = info;
  if (!definition.namespaced) return namespace === '' || resource === 'namespaces';
  const isOne = name !== '' && !isCollectionVerb(info.verb);
  return namespace !== '' || !isOne;
}

function isCollectionVerb(verb: string): boolean {
  return verb === 'list' || verb === 'watch' || verb === 'deletecollection';
}

function objectHandler({ definition, info, request }: RequestScope): Handler {
  const verb = allVerbs.find((known) => known === info.verb);
  if (verb === undefined || !supportsVerb(definition, verb)) throw methodNotAllowedHere();
  const isOne = info.name !== '';
  switch (verb) {
    case 'get':
      return definition.computed === undefined ? handleGet : computed(definition.computed).get;
    case 'list':
      return definition.computed === undefined ? handleList : computed(definition.computed).list;
    case 'watch':
      // The old form of watching has its verb from the path, whatever the method.
      return request.method === 'GET' || request.method === 'HEAD' ? handleWatch : notAllowed();
    case 'create':
      if (isOne || (definition.namespaced && info.namespace === '')) throw methodNotAllowedHere();
      if (definition.review === undefined) return handleCreate;
      return definition.review === 'binding' ? handleBindingByName : handleReview;
    case 'update':
      return isOne ? handleUpdate : notAllowed();
    case 'patch':
      return isOne ? handlePatch : notAllowed();
    case 'delete':
      return handleDelete;
    case 'deletecollection':
      if (definition.namespaced && info.namespace === '') throw methodNotAllowedHere();
      return handleDeleteCollection;
    default:
      return unreachable(verb);
  }
}

function computed(how: NonNullable<ResourceDefinition['computed']>) {
  return how === 'component-status'
    ? { get: handleComponentGet, list: handleComponentList }
    : { get: handleMetricsGet, list: handleMetricsList };
}

function notAllowed(): never {
  throw methodNotAllowedHere();
}

function subresourceHandler(scope: RequestScope, subresource: Subresource): Handler {
  switch (subresource.type) {
    case 'status':
      return statusHandler(scope.info.verb);
    case 'scale':
      return scaleHandler(scope.info.verb, subresource);
    case 'connect':
      return connectHandler(scope.info.verb, subresource);
  }
}

function statusHandler(verb: string): Handler {
  if (verb === 'get') return handleGet;
  if (verb === 'update') return handleUpdate;
  return verb === 'patch' ? handlePatch : notAllowed();
}

function scaleHandler(verb: string, subresource: ScaleSubresource): Handler {
  if (verb === 'get') return (scope) => handleScaleGet(scope, subresource);
  if (verb === 'update') return (scope) => handleScaleUpdate(scope, subresource);
  if (verb === 'patch') return (scope) => handleScalePatch(scope, subresource);
  return notAllowed();
}

function connectHandler(verb: string, { handler, verbs }: ConnectSubresource): Handler {
  if (!verbs.includes(verb as Verb)) throw methodNotAllowedHere();
  switch (handler) {
    case 'pod-log':
      return handlePodLog;
    case 'pod-binding':
      return handleBinding;
    case 'pod-eviction':
      return handleEviction;
    case 'node-proxy':
      return handleNodeProxy;
    case 'pod-proxy':
      return handlePodProxy;
    case 'service-proxy':
      return handleServiceProxy;
    case 'pod-exec':
      return handleExec;
    case 'pod-attach':
      return handleAttach;
    case 'pod-portforward':
      return handlePortForward;
    case 'machine-enrolment':
      return handleEnrolment;
    case 'node-operation':
      return handleNodeOperation;
    case 'backup-passphrase':
      return handleBackupPassphrase;
    case 'namespace-finalize':
      return handleNamespaceFinalize;
    case 'service-account-token':
      return handleTokenRequest;
    default:
      return unreachable(handler);
  }
}
