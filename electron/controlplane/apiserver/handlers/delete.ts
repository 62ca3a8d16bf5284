// DELETE of one object and of a collection. Options come in the body or in the query.
// Source: kubernetes apiserver pkg/endpoints/handlers/delete.go.
import type { DeleteOptions, Status } from '#kube/api/meta.ts';
import type { WriteOptions } from '../../registry/write.ts';
import type { DeleteResult } from '../../registry/delete.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseDeleteQuery, parseListQuery, validateDeleteOptions } from './options.ts';
import { outputForm, respondPage, respondStored, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

export async function handleDelete(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource } = scope;
  const options = await readDeleteOptions(scope);
  const request = { namespace: info.namespace, name: info.name, options };
  const result = await resource.delete(request, deleteWriteOptions(scope, options));
  if (result.isRemoved) return respondValue(scope, removedStatus(scope, result));
  return respondStored(scope, result.stored, isCascadeWanted(options) ? 202 : 200);
}

export async function handleDeleteCollection(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, request, definition } = scope;
  const options = await readDeleteOptions(scope);
  const query = parseListQuery(request.query, definition.namespaced ? info.namespace : '');
  const page = await resource.deleteCollection(query, options, deleteWriteOptions(scope, options));
  return respondPage(scope, page);
}

const deleteOptionsSchema = 'meta/v1.DeleteOptions';

/** Throws 400, 415, 422. */
export async function readDeleteOptions(scope: RequestScope): Promise<DeleteOptions> {
  const { request } = scope;
  const body = await request.readBody();
  const options =
    body.length === 0
      ? parseDeleteQuery(request.query)
      : await decodeOptions({
          ...scope,
          request: { ...request, readBody: () => Promise.resolve(body) },
        });
  validateDeleteOptions(options);
  return options;
}

/** DeleteOptions belong to every group, so their apiVersion does not matter. */
async function decodeOptions(scope: RequestScope): Promise<DeleteOptions> {
  const body = await readObject(scope, deleteOptionsKind(scope), 'Ignore');
  const { metadata: _metadata, apiVersion: _apiVersion, kind: _kind, ...options } = body;
  return options;
}

function deleteOptionsKind({ definition }: RequestScope): BodyKind {
  const { group, version } = definition;
  return { group, version, kind: 'DeleteOptions', schema: deleteOptionsSchema, isAnyGroup: true };
}

export function deleteWriteOptions(scope: RequestScope, options: DeleteOptions): WriteOptions {
  const dryRun = (options.dryRun ?? []).length > 0;
  return {
    dryRun,
    warn: (text) => scope.warnings.add(text),
    async validate(_object, oldObject) {
      const name = oldObject?.metadata.name ?? '';
      const attributes = attributesOf(scope, {
        operation: 'DELETE',
        name,
        oldObject,
        dryRun,
        options: { kind: 'DeleteOptions', apiVersion: 'meta.k8s.io/v1', ...options },
      });
      await scope.deps.admission.admit(attributes);
      await scope.deps.admission.validate(attributes);
    },
  };
}

function removedStatus({ definition }: RequestScope, { stored }: DeleteResult): Status {
  const { name, uid = '' } = stored.object.metadata;
  const group = definition.group === '' ? {} : { group: definition.group };
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...group, kind: definition.plural, uid },
  };
}

/** Kubernetes answers 202 only when the client asked for dependents to go first. */
function isCascadeWanted({ propagationPolicy, orphanDependents }: DeleteOptions): boolean {
  return propagationPolicy === 'Foreground' || orphanDependents === false;
}
