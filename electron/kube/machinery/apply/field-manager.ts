// Who owns which fields of an object, after every write: an ordinary write takes over what it changes,
// an applied configuration owns what it says, and takes away what it no longer says and nobody else
// owns. Pure but for what it remembers of schemas.
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
import type { Converting, Versioned } from './versions.ts';

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

/** What a write does to fields that others own, in one version. */
interface Effect {
  readonly taken: FieldSet;
  readonly removed: FieldSet;
}

/** By the version of who owns fields. */
type Effects = ReadonlyMap<string, Effect>;

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
  *update(
    schemaName: string,
    { old, next }: { readonly old: KubeObject | undefined; readonly next: KubeObject },
    writer: Writer,
  ): Converting<ManagedFieldsEntry[] | undefined> {
    const owners = ownersFor(old, next, writer);
    if (owners.size === 0 && old !== undefined) return undefined;
    const schema = this.#shapes.registry.get(schemaName);
    const change = { old: old ?? this.#skeleton(schema), next };
    const effect = this.#effect(schema, change, writer);
    // Of an object that comes into being nothing was owned by anybody: its entries are what it brings.
    const effects =
      old === undefined
        ? alike(owners, effect)
        : yield* this.#effects(owners, { change, effect, writer });
    loseFields(owners, '', effects);
    takeOver(owners, effect.taken, writer);
    capUpdaters(owners);
    return writeOwners(owners);
  }

  /**
   * `config` on top of `live` (undefined: there is no such object yet). Throws 400 for what is no
   * configuration of this type, 409 when it changes what others own and is not forced.
   */
  *apply(
    schemaName: string,
    given: {
      readonly live: KubeObject | undefined;
      readonly config: Config;
      readonly isForced: boolean;
    },
    writer: Writer,
  ): Converting<Applied> {
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
    const merged = mergeValue(this.#shapes, schema, values) as object;
    const next = yield* this.#pruned(
      { object: merged, schema: schemaName },
      { owners, last, writer },
    );
    const change = { old: values.live, next };
    const effect = this.#effect(schema, change, writer);
    const effects = yield* this.#effects(owners, { change, effect, writer });
    if (!given.isForced)
      this.#refuse(schema, conflictsWith(owners, key, effects), { live, writer });
    loseFields(owners, key, effects);
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
    const change = { old: this.#skeleton(schema), next: live };
    takeOver(owners, this.#effect(schema, change, before).taken, before);
    return owners;
  }

  #skeleton(schema: Schema): object {
    const known = this.#skeletons.get(schema) ?? skeletonOf(this.#shapes.registry, schema);
    this.#skeletons.set(schema, known);
    return known;
  }

  #effect(schema: Schema, change: Change, writer: Writer): Effect {
    const { added, modified, removed } = compare(this.#shapes, schema, {
      old: withoutManagedFields(change.old),
      next: withoutManagedFields(change.next),
    });
    return { taken: ownable(union(added, modified), writer), removed: ownable(removed, writer) };
  }

  /** In each version that somebody owns fields in. Deletes from `owners` who owns in one that is no more. */
  *#effects(
    owners: Owners,
    given: { readonly change: Change; readonly effect: Effect; readonly writer: Writer },
  ): Converting<Effects> {
    const { change, effect, writer } = given;
    const effects = new Map([[writer.apiVersion, effect]]);
    for (const { apiVersion } of owners.values()) {
      if (effects.has(apiVersion)) continue;
      const old = yield { object: withoutManagedFields(change.old), apiVersion };
      const next = old && (yield { object: withoutManagedFields(change.next), apiVersion });
      if (old === undefined || next === undefined) {
        for (const [key, owner] of owners) if (owner.apiVersion === apiVersion) owners.delete(key);
        continue;
      }
      const schema = this.#shapes.registry.get(next.schema);
      const converted = { old: old.object, next: next.object };
      effects.set(apiVersion, this.#effect(schema, converted, writer));
    }
    return effects;
  }

  /** Without what the applier owned last time and nobody owns any more. */
  *#pruned(
    merged: Versioned,
    {
      owners,
      last,
      writer,
    }: { readonly owners: Owners; readonly last: Owner | undefined; readonly writer: Writer },
  ): Converting<object> {
    if (last === undefined || isEmptySet(last.fields)) return merged.object;
    const own = writer.apiVersion;
    const first = yield* inVersion(merged, { from: own, to: last.apiVersion });
    if (first === undefined) return merged.object;
    let whole = first;
    let pruned = this.#without(first, () => this.#whole(first, last.fields));
    let at = last.apiVersion;
    for (const [apiVersion, owned] of ownedByVersion(owners, at)) {
      const [next, left] = [
        yield* inVersion(whole, { from: at, to: apiVersion }),
        yield* inVersion(pruned, { from: at, to: apiVersion }),
      ];
      if (next === undefined || left === undefined) continue;
      const kept = union(this.#fields(left), this.#whole(next, owned));
      whole = next;
      pruned = this.#without(next, (all) => difference(all, kept));
      at = apiVersion;
    }
    const [there, rest] = [
      yield* inVersion(whole, { from: at, to: last.apiVersion }),
      yield* inVersion(pruned, { from: at, to: last.apiVersion }),
    ];
    if (there === undefined || rest === undefined) return merged.object;
    const left = this.#fields(rest);
    const lasts = this.#whole(there, last.fields);
    const made = this.#without(there, (all) => intersection(difference(all, left), lasts));
    const result = yield* inVersion(made, { from: last.apiVersion, to: own });
    return result?.object ?? merged.object;
  }

  #whole({ schema }: Versioned, set: FieldSet): FieldSet {
    return withDeclared(this.#shapes, this.#shapes.registry.get(schema), set);
  }

  #fields(versioned: Versioned): FieldSet {
    const schema = this.#shapes.registry.get(versioned.schema);
    return this.#whole(versioned, fieldsOf(this.#shapes, schema, versioned.object));
  }

  /** `which` of all its fields are to go. */
  #without(versioned: Versioned, which: (all: FieldSet) => FieldSet): Versioned {
    const schema = this.#shapes.registry.get(versioned.schema);
    const set = which(this.#fields(versioned));
    const value = { value: versioned.object, set };
    return { ...versioned, object: withoutFields(this.#shapes, schema, value) as object };
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

/** The writer's from now on. Changes `owners`. */
function takeOver(owners: Owners, taken: FieldSet, writer: Writer): void {
  const fields = difference(taken, systemFields);
  if (isEmptySet(fields)) return;
  const identity = identityOf(writer, 'Update');
  const key = ownerKey(identity);
  const all = union(owners.get(key)?.fields ?? {}, fields);
  owners.set(key, { ...identity, fields: sorted(all), time: writer.time });
}

function alike(owners: Owners, effect: Effect): Effects {
  return new Map([...owners.values()].map(({ apiVersion }) => [apiVersion, effect]));
}

/** All but one lose what the write takes or removes; who has none left is gone. Changes `owners`. */
function loseFields(owners: Owners, except: string, effects: Effects): void {
  for (const [key, owner] of owners) {
    const effect = effects.get(owner.apiVersion);
    if (key === except || effect === undefined) continue;
    const fields = difference(owner.fields, union(effect.taken, effect.removed));
    if (isEmptySet(fields)) owners.delete(key);
    else owners.set(key, { ...owner, fields });
  }
}

function conflictsWith(owners: Owners, except: string, effects: Effects): Conflict[] {
  return [...owners].flatMap(([key, owner]) => {
    const taken = effects.get(owner.apiVersion)?.taken;
    if (key === except || taken === undefined) return [];
    const fields = intersection(owner.fields, taken);
    return isEmptySet(fields) ? [] : [{ owner, fields }];
  });
}

/** One version's first: what a conversion needs is back before it is converted. */
function ownedByVersion(owners: Owners, first: string): Map<string, FieldSet> {
  const owned = new Map<string, FieldSet>([[first, {}]]);
  for (const { apiVersion, fields } of owners.values())
    owned.set(apiVersion, union(owned.get(apiVersion) ?? {}, fields));
  return owned;
}

function* inVersion(
  versioned: Versioned,
  { from, to }: { readonly from: string; readonly to: string },
): Converting<Versioned | undefined> {
  return from === to ? versioned : yield { object: versioned.object, apiVersion: to };
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
