// Who owns which fields of an object, after every write: an ordinary write takes over what it changes,
// an applied configuration owns what it says, and takes away what it no longer says and nobody else
// owns. Pure but for what it remembers of schemas.
// Differs: entries of another version are reckoned with by this version's paths, not converted.
// Source: sigs.k8s.io/structured-merge-diff merge/update.go; kubernetes apimachinery
// pkg/util/managedfields/internal/{fieldmanager,managedfieldsupdater,skipnonapplied,stripmeta}.go.
import type { ManagedFieldsEntry } from '../../api/meta.ts';
import type { KubeObject } from '../../api/object.ts';
import { deepEqual, isObject } from '../equality.ts';
import type { Schema, SchemaRegistry } from '../schema.ts';
import { badRequest } from '../status.ts';
import { canonicalValue } from './canonical.ts';
import { conflictError, withoutAllowed, type Conflict } from './conflicts.ts';
import {
  difference,
  fieldSet,
  intersection,
  isEmptySet,
  sorted,
  union,
  within,
  withoutTrees,
  type FieldPathElements,
  type FieldSet,
} from './field-set.ts';
import { isLastAppliedManager, ownedByLastApplied, refreshLastApplied } from './last-applied.ts';
import {
  capUpdaters,
  isReset,
  ownerKey,
  readOwners,
  storedOwners,
  writeOwners,
  type Owner,
  type Owners,
} from './manager-entries.ts';
import { mergeValue } from './merge.ts';
import { findMistakes } from './mistakes.ts';
import { Shapes } from './shapes.ts';
import { skeletonOf } from './skeleton.ts';
import { compare, fieldsOf, withDeclared, withoutFields } from './typed-value.ts';

/** Who writes, through what, and when. */
export interface Writer {
  readonly manager: string;
  readonly apiVersion: string;
  /** '' for the object itself. */
  readonly subresource: string;
  /** What this way of writing never changes, whatever it brings: nobody owns it by it. */
  readonly resetFields: FieldSet;
  /** If given, all that it can change. */
  readonly onlyFields?: readonly FieldPathElements[];
  /** RFC 3339. */
  readonly time: string;
}

export interface Applied {
  /** Not decoded yet: nulls and spellings are the configuration's. */
  readonly object: Readonly<Record<string, unknown>>;
  readonly managedFields: ManagedFieldsEntry[] | undefined;
}

type Config = Readonly<Record<string, unknown>>;

/** Nobody owns what names an object or is the server's own. */
const systemFields = fieldSet(
  ['f:apiVersion'],
  ['f:kind'],
  ['f:metadata'],
  ...[
    'name',
    'namespace',
    'creationTimestamp',
    'selfLink',
    'uid',
    'clusterName',
    'generation',
    'managedFields',
    'resourceVersion',
  ].map((name) => ['f:metadata', `f:${name}`]),
);

const beforeFirstApply = 'before-first-apply';

interface Change {
  readonly old: object;
  readonly next: object;
}

export class FieldManager {
  readonly #shapes: Shapes;
  readonly #skeletons = new Map<Schema, object>();

  constructor(schemas: SchemaRegistry) {
    this.#shapes = new Shapes(schemas);
  }

  /**
   * The managedFields of `next`, which an ordinary write is about to store. `old` is undefined when
   * it is created. An object that nobody is tracked of stays so until something is applied to it.
   */
  update(
    schemaName: string,
    { old, next }: { readonly old: KubeObject | undefined; readonly next: KubeObject },
    writer: Writer,
  ): ManagedFieldsEntry[] | undefined {
    const owners = ownersFor(old, next, writer);
    if (owners.size === 0 && old !== undefined) return undefined;
    const schema = this.#shapes.registry.get(schemaName);
    const change = { old: old ?? this.#skeleton(schema), next };
    this.#takeOver(owners, schema, change, writer);
    capUpdaters(owners);
    return writeOwners(owners);
  }

  /**
   * `config` on top of `live` (undefined: there is no such object yet). Throws 400 for what is no
   * configuration of this type, 409 when it changes what others own and is not forced.
   */
  apply(
    schemaName: string,
    given: {
      readonly live: KubeObject | undefined;
      readonly config: Config;
      readonly isForced: boolean;
    },
    writer: Writer,
  ): Applied {
    const schema = this.#shapes.registry.get(schemaName);
    this.#checkConfig(schema, given.config);
    const config = canonicalValue(this.#shapes.registry, schema, given.config) as Config;
    const live = given.live ?? { metadata: {} };
    const owners = this.#ownersBefore(schema, given.live, writer);
    const owner: Owner = {
      ...identityOf(writer, 'Apply'),
      fields: ownable(fieldsOf(this.#shapes, schema, config), writer),
      time: writer.time,
    };
    const key = ownerKey(owner);
    const last = owners.get(key);
    owners.set(key, { ...owner, time: last?.time ?? writer.time });
    const values = { live: withoutManagedFields(live), config };
    const merged = mergeValue(this.#shapes, schema, values);
    const next = this.#pruned(schema, merged, { owners, last: last?.fields });
    const comparison = compare(this.#shapes, schema, { old: values.live, next });
    const { added, modified, removed } = comparison;
    const taken = ownable(union(added, modified), writer);
    const conflicts = conflictsWith(owners, key, taken);
    if (!given.isForced) this.#refuse(schema, conflicts, { live, writer });
    loseFields(owners, key, union(taken, ownable(removed, writer)));
    const own = difference(owner.fields, systemFields);
    // Not by the comparison: an order of items is nobody's field, but it is applied.
    const isSame = deepEqual(next, values.live);
    if (isEmptySet(own)) owners.delete(key);
    else {
      const time = isSame && last !== undefined ? last.time : writer.time;
      owners.set(key, { ...owner, fields: sorted(own), time });
    }
    const object = (isSame ? values.live : next) as Record<string, unknown>;
    return {
      object: isLastAppliedManager(writer.manager) ? refreshLastApplied(object, config) : object,
      managedFields: writeOwners(owners),
    };
  }

  #checkConfig(schema: Schema, config: Config): void {
    const { metadata, kind, apiVersion } = config;
    if (isObject(metadata) && (metadata['managedFields'] ?? null) !== null)
      throw badRequest('metadata.managedFields must be nil');
    const mistakes = findMistakes(this.#shapes, schema, config);
    if (mistakes === '') return;
    const { namespace, name } = isObject(metadata) ? metadata : {};
    // Differs: Kubernetes answers 500 with the same text.
    throw badRequest(
      `failed to create typed patch object (${textOf(namespace)}/${textOf(name)}; ` +
        `${textOf(apiVersion)}, Kind=${textOf(kind)}): ${mistakes}`,
    );
  }

  /** Whose fields are what before an apply: what nobody is known to own, an unnamed updater does. */
  #ownersBefore(schema: Schema, live: KubeObject | undefined, writer: Writer): Owners {
    const owners = storedOwners(live?.metadata.managedFields);
    if (owners.size > 0 || live === undefined) return owners;
    const before = { ...writer, manager: beforeFirstApply };
    this.#takeOver(owners, schema, { old: this.#skeleton(schema), next: live }, before);
    return owners;
  }

  #skeleton(schema: Schema): object {
    const known = this.#skeletons.get(schema) ?? skeletonOf(this.#shapes.registry, schema);
    this.#skeletons.set(schema, known);
    return known;
  }

  /** What changed between `old` and `next` is the writer's from now on. Changes `owners`. */
  #takeOver(owners: Owners, schema: Schema, change: Change, writer: Writer): void {
    const comparison = compare(this.#shapes, schema, {
      old: withoutManagedFields(change.old),
      next: withoutManagedFields(change.next),
    });
    const [added, modified, removed] = [
      comparison.added,
      comparison.modified,
      comparison.removed,
    ].map((set) => ownable(set, writer)) as [FieldSet, FieldSet, FieldSet];
    const taken = union(added, modified);
    loseFields(owners, '', union(taken, removed));
    const fields = difference(taken, systemFields);
    if (isEmptySet(fields)) return;
    const identity = identityOf(writer, 'Update');
    const key = ownerKey(identity);
    const all = union(owners.get(key)?.fields ?? {}, fields);
    owners.set(key, { ...identity, fields: sorted(all), time: writer.time });
  }

  /** Without what the applier owned last time and nobody owns any more. */
  #pruned(
    schema: Schema,
    merged: unknown,
    { owners, last }: { readonly owners: Owners; readonly last: FieldSet | undefined },
  ): unknown {
    if (last === undefined || isEmptySet(last)) return merged;
    const shapes = this.#shapes;
    const whole = (set: FieldSet): FieldSet => withDeclared(shapes, schema, set);
    const fields = (value: unknown): FieldSet => whole(fieldsOf(shapes, schema, value));
    const without = (set: FieldSet): unknown =>
      withoutFields(shapes, schema, { value: merged, set });
    const lasts = whole(last);
    const all = fields(merged);
    const owned = [...owners.values()].reduce((sum, one) => union(sum, one.fields), {} as FieldSet);
    const kept = union(fields(without(lasts)), whole(owned));
    const left = fields(without(difference(all, kept)));
    return without(intersection(difference(all, left), lasts));
  }

  #refuse(
    schema: Schema,
    conflicts: readonly Conflict[],
    { live, writer }: { readonly live: object; readonly writer: Writer },
  ): void {
    if (conflicts.length === 0) return;
    const allowed = isLastAppliedManager(writer.manager)
      ? ownedByLastApplied(this.#shapes, schema, { live, apiVersion: writer.apiVersion })
      : undefined;
    const left = allowed === undefined ? conflicts : withoutAllowed(conflicts, allowed);
    if (left.length > 0) throw conflictError(left);
  }
}

/** Those that the request brings, if it may and they can be read, else those of the stored object. */
function ownersFor(old: KubeObject | undefined, next: KubeObject, { subresource }: Writer): Owners {
  const stored = old?.metadata.managedFields;
  const given = next.metadata.managedFields;
  if (given === undefined || subresource !== '' || deepEqual(given, stored))
    return storedOwners(stored);
  if (isReset(given)) return new Map();
  const owners = readOwners(given);
  return owners === undefined || owners.size === 0 ? storedOwners(stored) : owners;
}

function ownable(set: FieldSet, { onlyFields, resetFields }: Writer): FieldSet {
  return onlyFields === undefined ? withoutTrees(set, resetFields) : within(set, onlyFields);
}

function identityOf({ manager, apiVersion, subresource }: Writer, operation: Owner['operation']) {
  return { manager: manager === '' ? 'unknown' : manager, operation, apiVersion, subresource };
}

/** All but one lose these fields; who has none left is gone. Changes `owners`. */
function loseFields(owners: Owners, except: string, lost: FieldSet): void {
  if (isEmptySet(lost)) return;
  for (const [key, owner] of owners) {
    if (key === except) continue;
    const fields = difference(owner.fields, lost);
    if (isEmptySet(fields)) owners.delete(key);
    else owners.set(key, { ...owner, fields });
  }
}

function conflictsWith(owners: Owners, except: string, taken: FieldSet): Conflict[] {
  return [...owners].flatMap(([key, owner]) => {
    if (key === except) return [];
    const fields = intersection(owner.fields, taken);
    return isEmptySet(fields) ? [] : [{ owner, fields }];
  });
}

function withoutManagedFields(object: object): object {
  const { metadata } = object as Partial<KubeObject>;
  if (metadata?.managedFields === undefined) return object;
  const { managedFields: _, ...rest } = metadata;
  return { ...object, metadata: rest };
}

/** Anything else than a text is one of the mistakes. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
