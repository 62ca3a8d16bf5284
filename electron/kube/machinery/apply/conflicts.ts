// Conflicts of an applied configuration with other owners, and the 409 that tells of them.
// Source: kubernetes apimachinery pkg/util/managedfields/internal/conflict.go.
import type { StatusCause } from '../../api/meta.ts';
import { applyConflict, type StatusError } from '../status.ts';
import { difference, isEmptySet, pathsOf, pathText, type FieldSet } from './field-set.ts';
import type { Owner } from './manager-entries.ts';

export interface Conflict {
  readonly owner: Owner;
  readonly fields: FieldSet;
}

export function withoutAllowed(conflicts: readonly Conflict[], allowed: FieldSet): Conflict[] {
  return conflicts
    .map(({ owner, fields }) => ({ owner, fields: difference(fields, allowed) }))
    .filter(({ fields }) => !isEmptySet(fields));
}

/** One cause for each field, owners in the order of their names. */
export function conflictError(conflicts: readonly Conflict[]): StatusError {
  const groups = conflicts
    .map(({ owner, fields }) => ({ name: nameOf(owner), paths: pathsOf(fields).map(pathText) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
  const causes: StatusCause[] = groups.flatMap(({ name, paths }) =>
    paths.map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${name}`,
      field,
    })),
  );
  const [only] = causes;
  if (causes.length === 1 && only !== undefined)
    return applyConflict(`Apply failed with 1 conflict: ${only.message}: ${only.field}`, causes);
  const lines = groups.flatMap(({ name, paths }) => [
    `conflicts with ${name}:`,
    ...paths.map((path) => `- ${path}`),
  ]);
  return applyConflict(`Apply failed with ${causes.length} conflicts: ${lines.join('\n')}`, causes);
}

function nameOf({ manager, operation, apiVersion, subresource }: Owner): string {
  const name = JSON.stringify(manager);
  const through = subresource === '' ? name : `${name} with subresource "${subresource}"`;
  return operation === 'Update' ? `${through} using ${apiVersion}` : through;
}
