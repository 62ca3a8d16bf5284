// Objects as `kubectl get` shows them: `meta.k8s.io/v1 Table` made by the resource's columns, and
// PartialObjectMetadata, both in JSON. Cells are the columns' business.
// Source: kubernetes apiserver pkg/endpoints/handlers/response.go, registry/rest/table.go.
import type { ListMeta, ObjectMeta } from '#kube/api/meta.ts';
import type { KubeObject, Table, TableRow } from '#kube/api/object.ts';
import { badRequest } from '#kube/machinery/status.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';

/** Which part of each object a row carries. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** Throws 400. */
export function parseIncludeObject(text: string | null): IncludeObject {
  if (text === null || text === '') return 'Metadata';
  if (text === 'None' || text === 'Metadata' || text === 'Object') return text;
  throw badRequest(`unrecognized includeObject value: ${JSON.stringify(text)}`);
}

export interface TableOptions {
  readonly definition: ResourceDefinition;
  readonly include: IncludeObject;
  readonly nowMs: number;
  /** In a watch only the first event carries the columns. */
  readonly hasColumns?: boolean;
}

export function makeTable(
  objects: readonly KubeObject[],
  metadata: ListMeta,
  options: TableOptions,
): Table {
  const { definition, hasColumns = true } = options;
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: hasColumns ? columnsOf(definition) : [],
    rows: objects.map((object) => rowOf(object, options)),
  };
}

function columnsOf(definition: ResourceDefinition): Table['columnDefinitions'] {
  return definition.columns.map(({ name, type, format, description, priority }) => ({
    name,
    type,
    format: format ?? '',
    description: description ?? '',
    priority: priority ?? 0,
  }));
}

function rowOf(object: KubeObject, { definition, include, nowMs }: TableOptions): TableRow {
  const cells = definition.columns.map((column) => column.cell(object, nowMs));
  switch (include) {
    case 'None':
      return { cells };
    case 'Metadata':
      return { cells, object: partialMetadata(object) };
    case 'Object':
      return { cells, object };
  }
}

/** An object that holds nothing but its metadata; also of bookmarks. */
export function partialMetadata({ metadata }: { readonly metadata: Partial<ObjectMeta> }) {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}
