// The owners of an object's fields: between metadata.managedFields and sets that can be reckoned with.
// Source: kubernetes apimachinery pkg/util/managedfields/internal/{managedfields,capmanagers}.go.
import type { ManagedFieldsEntry } from '../../api/meta.ts';
import { deepEqual, isObject } from '../equality.ts';
import { readFieldSet, sorted, union, type FieldSet } from './field-set.ts';

const operations = ['Apply', 'Update'] as const;

export interface Owner {
  readonly manager: string;
  readonly operation: (typeof operations)[number];
  readonly apiVersion: string;
  /** '' for the object itself. */
  readonly subresource: string;
  readonly fields: FieldSet;
  /** RFC 3339; '' when it is not known. */
  readonly time: string;
}

/** By `ownerKey`; one entry of managedFields each, its fields sorted. Changed only by its maker. */
export type Owners = Map<string, Owner>;

/** Who applies is the same in every version; who updates is not. */
export function ownerKey(owner: Omit<Owner, 'fields' | 'time'>): string {
  const { manager, operation, apiVersion, subresource } = owner;
  const version = operation === 'Apply' ? '' : apiVersion;
  return JSON.stringify([manager, operation, version, subresource]);
}

/** Of an object as it is stored: nothing has to be checked. */
export function storedOwners(entries: readonly ManagedFieldsEntry[] = []): Owners {
  const owners: Owners = new Map();
  for (const entry of entries) {
    const { manager = '', apiVersion = '', subresource = '', time = '' } = entry;
    const operation = entry.operation === 'Apply' ? 'Apply' : 'Update';
    const fields = (entry.fieldsV1 ?? {}) as FieldSet;
    const owner = { manager, operation, apiVersion, subresource, fields, time } as const;
    owners.set(ownerKey(owner), owner);
  }
  return owners;
}

/** Undefined for entries that are none: they are not taken for what the client meant. */
export function readOwners(entries: readonly ManagedFieldsEntry[] = []): Owners | undefined {
  const owners: Owners = new Map();
  for (const entry of entries) {
    const { apiVersion = '', fieldsType, fieldsV1 = {} } = entry;
    const operation = operations.find((known) => known === entry.operation);
    const fields = readFieldSet(fieldsV1);
    if (operation === undefined || fields === undefined) return undefined;
    if (apiVersion === '' || fieldsType !== 'FieldsV1') return undefined;
    const { manager = '', subresource = '', time = '' } = entry;
    const owner = { manager, operation, apiVersion, subresource, fields: sorted(fields), time };
    owners.set(ownerKey(owner), owner);
  }
  return owners;
}

/** In Kubernetes' order; undefined when nobody owns anything. */
export function writeOwners(owners: Owners): ManagedFieldsEntry[] | undefined {
  if (owners.size === 0) return undefined;
  return [...owners.values()].toSorted(compareOwners).map((owner) => {
    const entry: ManagedFieldsEntry = {};
    if (owner.manager !== '') entry.manager = owner.manager;
    entry.operation = owner.operation;
    entry.apiVersion = owner.apiVersion;
    if (owner.time !== '') entry.time = owner.time;
    entry.fieldsType = 'FieldsV1';
    entry.fieldsV1 = owner.fields;
    if (owner.subresource !== '') entry.subresource = owner.subresource;
    return entry;
  });
}

function compareOwners(a: Owner, b: Owner): number {
  return (
    compareText(a.operation, b.operation) ||
    compareText(a.time, b.time) ||
    compareText(a.manager, b.manager) ||
    compareText(a.apiVersion, b.apiVersion) ||
    compareText(a.subresource, b.subresource)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** The client wants ownership to begin anew: an empty list, or a list of one empty entry. */
export function isReset(entries: readonly ManagedFieldsEntry[] | undefined): boolean {
  if (entries === undefined) return false;
  return entries.length === 0 || (entries.length === 1 && deepEqual(entries[0], {}));
}

/** The same but for times. */
export function isSameButTimes(
  a: readonly ManagedFieldsEntry[] = [],
  b: readonly ManagedFieldsEntry[] = [],
): boolean {
  if (a.length !== b.length) return false;
  return a.every((entry, index) => {
    const other = b[index];
    return isObject(other) && deepEqual({ ...entry, time: '' }, { ...other, time: '' });
  });
}

const maxUpdaters = 10;
const oldUpdaters = 'ancient-changes';

/** Merges the oldest updaters of a version into one, until there are few enough. Changes `owners`. */
export function capUpdaters(owners: Owners): void {
  if (owners.size <= maxUpdaters) return;
  const updaters = [...owners]
    .filter(([, { operation }]) => operation === 'Update')
    .toSorted(
      ([a, { time: atA }], [b, { time: atB }]) => compareText(atA, atB) || compareText(a, b),
    );
  let count = updaters.length;
  const firstOfVersion = new Map<string, string>();
  for (const [key, owner] of updaters) {
    if (count <= maxUpdaters) return;
    const { apiVersion } = owner;
    const first = firstOfVersion.get(apiVersion);
    if (first === undefined) {
      firstOfVersion.set(apiVersion, key);
      continue;
    }
    const bucket = {
      manager: oldUpdaters,
      operation: 'Update',
      apiVersion,
      subresource: '',
    } as const;
    const bucketKey = ownerKey(bucket);
    const merged = new Set([first, bucketKey, key].filter((one) => owners.has(one)));
    const fields = [...merged].reduce((sum, one) => union(sum, owners.get(one)?.fields ?? {}), {});
    for (const one of merged) owners.delete(one);
    owners.set(bucketKey, { ...bucket, fields: sorted(fields), time: owner.time });
    count -= merged.size - 1;
    firstOfVersion.set(apiVersion, bucketKey);
  }
}
