// A definition's printer columns. A path that leads nowhere leaves its cell empty.
// Source: kubernetes apiextensions-apiserver pkg/registry/customresource/tableconvertor.
import type { CustomResourceColumnDefinition } from '#kube/api/apiextensions.ts';
import { findByPath, parseJsonPath, type JsonPath } from '#kube/machinery/json-path.ts';
import { age } from '../columns/age.ts';
import { ageColumn, nameColumn } from '../columns/cells.ts';
import type { Column } from '../resource.ts';

export function customColumns(
  columns: readonly CustomResourceColumnDefinition[] | undefined,
): readonly Column[] {
  if (columns === undefined || columns.length === 0)
    return [nameColumn, { ...ageColumn, type: 'date' }];
  return [nameColumn, ...columns.map(customColumn)];
}

function customColumn(column: CustomResourceColumnDefinition): Column {
  const { name, type, description, format, priority, jsonPath } = column;
  const path = pathOf(jsonPath);
  return {
    name,
    type: type as Column['type'],
    description:
      description ?? `Custom resource definition column (in JSONPath format): ${jsonPath}`,
    ...(format === undefined ? {} : { format }),
    ...(priority === undefined ? {} : { priority }),
    cell: (object, nowMs) => cellOf(type, findByPath(path, object), nowMs),
  };
}

/** What is stored was checked once; should it not be readable today, it leads nowhere. */
function pathOf(text: string): JsonPath {
  try {
    return parseJsonPath(text);
  } catch {
    return [{ kind: 'field', name: '' }];
  }
}

function cellOf(
  type: string,
  found: readonly unknown[],
  nowMs: number,
): ReturnType<Column['cell']> {
  const [value] = found;
  if (value === undefined || value === null) return null;
  switch (type) {
    case 'integer':
      if (typeof value === 'bigint') return Number(value);
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      if (typeof value === 'bigint') return Number(value);
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date':
      if (typeof value !== 'string') return null;
      return Number.isNaN(Date.parse(value)) ? '<invalid>' : age(value, nowMs);
    default:
      return typeof value === 'string' ? value : JSON.stringify(value);
  }
}
