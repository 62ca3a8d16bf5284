// Objects and lists as answers, in the form the client asked for. Plain JSON is spliced from the
// stored bytes; only tables, partial metadata, YAML and pretty-printing build anything.
// Source: kubernetes apiserver pkg/endpoints/handlers/response.go.
import type { ListMeta } from '#kube/api/meta.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';
import { apiVersionOfResource } from '../../registry/resource-table.ts';
import type { ListPage } from '../../registry/list.ts';
import { typeHeadOf, type StoredObject } from '../../registry/storage-codec.ts';
import type { ApiResponse, SlicedBody } from '../http.ts';
import { encodeResponse, negotiateOutput, type OutputForm } from '../representation/negotiation.ts';
import { makeTable, parseIncludeObject, partialMetadata } from '../representation/table.ts';
import { listBody } from './list-body.ts';
import { warningHeaders, type RequestScope } from './scope.ts';

const encoder = new TextEncoder();

/** Checks what the client accepts before anything is written. Throws 406. */
export function outputForm(scope: RequestScope): OutputForm {
  return negotiateOutput(scope.request);
}

export function respondStored(
  scope: RequestScope,
  stored: StoredObject,
  status = 200,
): Promise<ApiResponse> {
  const form = outputForm(scope);
  if (form.shape === 'object') return respondBytes(scope, withNewline(stored.json), status, form);
  const { resourceVersion } = stored.object.metadata;
  const body =
    form.shape === 'Table'
      ? makeTable([stored.object], { resourceVersion: resourceVersion ?? '' }, tableOptions(scope))
      : partialMetadata(stored.object);
  return respondBytes(scope, jsonBytes(body), status, form);
}

/** For what is not an object of the resource: Status, Scale. Always in full. */
export function respondValue(
  scope: RequestScope,
  value: object,
  status = 200,
): Promise<ApiResponse> {
  return respondBytes(scope, jsonBytes(value), status, outputForm(scope));
}

/** An object that lies nowhere: made for this answer. */
export function respondComputed(scope: RequestScope, object: KubeObject): Promise<ApiResponse> {
  const form = outputForm(scope);
  const body =
    form.shape === 'object'
      ? object
      : form.shape === 'Table'
        ? makeTable([object], {}, tableOptions(scope))
        : partialMetadata(object);
  return respondBytes(scope, jsonBytes(body), 200, form);
}

export function respondComputedList(
  scope: RequestScope,
  objects: readonly KubeObject[],
): Promise<ApiResponse> {
  const form = outputForm(scope);
  const items = objects.map(withoutType);
  const body =
    form.shape === 'object'
      ? { ...listType(scope.definition), metadata: {}, items }
      : form.shape === 'Table'
        ? makeTable(objects, {}, tableOptions(scope))
        : partialList(objects, {});
  return respondBytes(scope, jsonBytes(body), 200, form);
}

export function respondPage(scope: RequestScope, page: ListPage): Promise<ApiResponse> {
  const form = outputForm(scope);
  const metadata: ListMeta = { resourceVersion: String(page.revision) };
  if (page.continueToken !== '') metadata.continue = page.continueToken;
  if (page.remaining !== undefined) metadata.remainingItemCount = page.remaining;
  if (form.shape === 'object')
    return encodeResponse(200, bodyOfList(scope, page, metadata), form, warningHeaders(scope));
  const objects = page.items.map(({ object }) => object);
  const body =
    form.shape === 'Table'
      ? makeTable(objects, metadata, tableOptions(scope))
      : partialList(objects, metadata);
  return respondBytes(scope, jsonBytes(body), 200, form);
}

export function tableOptions({ definition, request, deps }: RequestScope) {
  const include = parseIncludeObject(request.query.get('includeObject'));
  return { definition, include, nowMs: deps.clock.now() };
}

function partialList(objects: readonly KubeObject[], metadata: ListMeta): object {
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    items: objects.map((object) => partialMetadata(object)),
  };
}

function withoutType(object: KubeObject): object {
  const { apiVersion: _, kind: __, ...item } = object;
  return item;
}

function listType(definition: ResourceDefinition) {
  const kind = definition.listKind ?? `${definition.kind}List`;
  return { kind, apiVersion: apiVersionOfResource(definition) };
}

/**
 * `{"kind":"PodList",…,"items":[` + the stored bytes, joined by commas + `]}`. What the list says of
 * all its items none says again, as in Kubernetes; custom resources do.
 */
function bodyOfList(scope: RequestScope, { items }: ListPage, metadata: ListMeta): SlicedBody {
  const { definition } = scope;
  const head = JSON.stringify({ ...listType(definition), metadata, items: [] });
  const cut = definition.isCustom === true ? 1 : typeHeadOf(definition).length;
  return listBody(encoder.encode(head.slice(0, -2)), items, cut);
}

function withNewline(json: Uint8Array): Uint8Array {
  const result = Buffer.allocUnsafe(json.length + 1);
  result.set(json);
  result[json.length] = 0x0a;
  return result;
}

function jsonBytes(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

function respondBytes(
  scope: RequestScope,
  json: Uint8Array,
  status: number,
  form: OutputForm,
): Promise<ApiResponse> {
  return encodeResponse(status, json, form, warningHeaders(scope));
}
