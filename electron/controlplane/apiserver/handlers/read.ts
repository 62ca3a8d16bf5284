// GET of one object and of a collection.
// Source: kubernetes apiserver pkg/endpoints/handlers/get.go.
import type { ApiResponse } from '../http.ts';
import { parseListQuery } from './options.ts';
import { outputForm, respondPage, respondStored } from './respond.ts';
import type { RequestScope } from './scope.ts';

export async function handleGet(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, request, resource } = scope;
  const resourceVersion = request.query.get('resourceVersion') ?? '';
  return respondStored(scope, await resource.get(info.namespace, info.name, resourceVersion));
}

export async function handleList(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, request, resource, definition } = scope;
  const namespace = definition.namespaced ? info.namespace : '';
  return respondPage(scope, await resource.list(parseListQuery(request.query, namespace)));
}
