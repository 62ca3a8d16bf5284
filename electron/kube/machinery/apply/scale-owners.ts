// A Scale is a view of another object's replicas: their owners are those of that object's field, and
// what a write of the Scale does to them comes back to it.
// Source: kubernetes apimachinery pkg/util/managedfields/scalehandler.go.
import type { ManagedFieldsEntry } from '../../api/meta.ts';
import { difference, fieldSet, hasPath, isEmptySet, sorted, union } from './field-set.ts';
import { storedOwners, writeOwners, type Owners } from './manager-entries.ts';

/** In the object as in the Scale. */
const replicasPath = ['f:spec', 'f:replicas'];
const replicas = fieldSet(replicasPath);

type Entries = readonly ManagedFieldsEntry[] | undefined;

/** The entries of an object's Scale. */
export function ownersOfScale(entries: Entries): ManagedFieldsEntry[] | undefined {
  const owners: Owners = new Map();
  for (const [key, owner] of storedOwners(entries))
    if (hasPath(owner.fields, replicasPath)) owners.set(key, { ...owner, fields: replicas });
  return writeOwners(owners);
}

/** An object's entries after its Scale has got `scaleEntries`. */
export function withOwnersOfScale(
  entries: Entries,
  scaleEntries: Entries,
): ManagedFieldsEntry[] | undefined {
  const owners = storedOwners(entries);
  const ofScale = storedOwners(scaleEntries);
  for (const [key, owner] of owners) {
    if (ofScale.has(key) || !hasPath(owner.fields, replicasPath)) continue;
    const fields = difference(owner.fields, replicas);
    if (isEmptySet(fields)) owners.delete(key);
    else owners.set(key, { ...owner, fields });
  }
  for (const [key, { fields, ...owner }] of ofScale) {
    if (!hasPath(fields, replicasPath)) continue;
    const before = owners.get(key)?.fields ?? {};
    owners.set(key, { ...owner, fields: sorted(union(before, replicas)) });
  }
  return writeOwners(owners);
}
