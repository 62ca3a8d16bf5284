// Rules for ObjectMeta that hold for every kind: what is legal, what may change.
// What a kind adds to them is its strategy's business.
// Source: kubernetes apimachinery pkg/api/validation/objectmeta.go.
import type { ObjectMeta, OwnerReference } from '../api/meta.ts';
import { deepEqual } from './equality.ts';
import {
  field,
  forbidden,
  invalid,
  required,
  tooLong,
  type FieldError,
  type FieldPath,
} from './field.ts';
import { parseApiVersion } from './gvk.ts';
import {
  byteLength,
  dns1123LabelName,
  dns1123SubdomainName,
  isLabelValue,
  isQualifiedName,
  type NameRule,
} from './names.ts';

export const totalAnnotationSizeLimitBytes = 256 * 1024;
/** Room for the five characters that generateName adds. */
export const maxGeneratedNameBase = 58;

export const orphanFinalizer = 'orphan';
export const foregroundFinalizer = 'foregroundDeletion';
const standardFinalizers = new Set(['kubernetes', orphanFinalizer, foregroundFinalizer]);

export interface ObjectMetaRules {
  readonly namespaced: boolean;
  /** DNS-1123 subdomain when left out. */
  readonly validateName?: NameRule;
  /** `metadata` when left out. */
  readonly path?: FieldPath;
}

/** Everything wrong with the metadata of an object that is about to be stored. */
export function validateObjectMeta(meta: ObjectMeta, rules: ObjectMetaRules): FieldError[] {
  const path = rules.path ?? field('metadata');
  const { namespaced, validateName = dns1123SubdomainName } = rules;
  return [
    ...validateNames(meta, path, validateName),
    ...validateNamespace(meta, path, namespaced),
    ...validateGeneration(meta, path),
    ...validateLabels(meta.labels, path.child('labels')),
    ...validateAnnotations(meta.annotations, path.child('annotations')),
    ...validateOwnerReferences(meta.ownerReferences, path.child('ownerReferences')),
    ...validateFinalizers(meta.finalizers, path.child('finalizers')),
  ];
}

function validateNames(meta: ObjectMeta, path: FieldPath, rule: NameRule): FieldError[] {
  const errors: FieldError[] = [];
  const { generateName, name } = meta;
  if (generateName !== undefined && generateName !== '')
    for (const message of rule(generateName, true))
      errors.push(invalid(path.child('generateName'), generateName, message));
  // Undefined can arrive here: the type promises a name only for stored objects.
  const given = (name as string | undefined) ?? '';
  if (given === '') errors.push(required(path.child('name'), 'name or generateName is required'));
  else
    for (const message of rule(given, false))
      errors.push(invalid(path.child('name'), given, message));
  return errors;
}

function validateNamespace(meta: ObjectMeta, path: FieldPath, namespaced: boolean): FieldError[] {
  const at = path.child('namespace');
  const namespace = meta.namespace ?? '';
  if (!namespaced) return namespace === '' ? [] : [forbidden(at, 'not allowed on this type')];
  if (namespace === '') return [required(at, '')];
  return dns1123LabelName(namespace, false).map((message) => invalid(at, namespace, message));
}

function validateGeneration(meta: ObjectMeta, path: FieldPath): FieldError[] {
  const { generation = 0 } = meta;
  if (generation >= 0) return [];
  return [invalid(path.child('generation'), generation, 'must be greater than or equal to 0')];
}

export function validateLabels(
  labels: Readonly<Record<string, string>> | undefined,
  path: FieldPath,
): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...isQualifiedName(key).map((message) => invalid(path, key, message)),
    ...isLabelValue(value).map((message) => invalid(path, value, message)),
  ]);
}

export function validateAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  path: FieldPath,
): FieldError[] {
  const entries = Object.entries(annotations ?? {});
  const errors = entries.flatMap(([key]) =>
    isQualifiedName(key.toLowerCase()).map((message) => invalid(path, key, message)),
  );
  const sizeBytes = entries.reduce((sum, [k, v]) => sum + byteLength(k) + byteLength(v), 0);
  if (sizeBytes > totalAnnotationSizeLimitBytes)
    errors.push(tooLong(path, totalAnnotationSizeLimitBytes));
  return errors;
}

export function validateOwnerReferences(
  owners: readonly OwnerReference[] = [],
  path: FieldPath,
): FieldError[] {
  const errors = owners.flatMap((owner, index) => validateOwnerReference(owner, path.index(index)));
  const [first, ...others] = owners
    .filter((owner) => owner.controller === true)
    .map(({ kind = '', name = '' }: Partial<OwnerReference>) => `${kind}/${name}`);
  for (const other of others)
    errors.push(
      invalid(
        path,
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${first} and ${other}`,
      ),
    );
  return errors;
}

function validateOwnerReference(owner: OwnerReference, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  const { apiVersion = '', kind = '', name = '', uid = '' } = owner as Partial<OwnerReference>;
  const isLegalVersion = apiVersion.split('/').length <= 2;
  const { group, version } = isLegalVersion ? parseApiVersion(apiVersion) : noVersion;
  if (version === '')
    errors.push(invalid(path.child('apiVersion'), apiVersion, 'version must not be empty'));
  for (const [name_, value] of Object.entries({ kind, name, uid }))
    if (value === '') errors.push(invalid(path.child(name_), value, 'must not be empty'));
  if (group === '' && version === 'v1' && kind === 'Event')
    errors.push(invalid(path, owner, '/v1, Kind=Event is disallowed from being an owner'));
  return errors;
}

const noVersion = { group: '', version: '' };

export function validateFinalizers(
  finalizers: readonly string[] = [],
  path: FieldPath,
): FieldError[] {
  const errors = finalizers.flatMap((name) =>
    isQualifiedName(name).map((message) => invalid(path, name, message)),
  );
  if (finalizers.includes(orphanFinalizer) && finalizers.includes(foregroundFinalizer))
    errors.push(
      invalid(
        path,
        finalizers,
        `finalizer ${orphanFinalizer} and ${foregroundFinalizer} cannot be both set`,
      ),
    );
  for (const [index, name] of finalizers.entries())
    errors.push(...validateFinalizerName(name, path.index(index)));
  return errors;
}

function validateFinalizerName(name: string, path: FieldPath): FieldError[] {
  if (name.includes('/') || standardFinalizers.has(name)) return [];
  const message = 'name is neither a standard finalizer name nor is it fully qualified';
  return [invalid(path, name, message)];
}

const immutableFields = [
  'name',
  'namespace',
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
] as const;

/** What an update must not change. validateObjectMeta runs on `next` as well. */
export function validateObjectMetaUpdate(
  next: ObjectMeta,
  old: ObjectMeta,
  path: FieldPath = field('metadata'),
): FieldError[] {
  const errors: FieldError[] = [];
  if (old.deletionTimestamp !== undefined) {
    const before = new Set(old.finalizers);
    const added = (next.finalizers ?? []).filter((name) => !before.has(name));
    const list = `[]string{${added
      .toSorted()
      .map((name) => JSON.stringify(name))
      .join(', ')}}`;
    if (added.length > 0)
      errors.push(
        forbidden(
          path.child('finalizers'),
          `no new finalizers can be added if the object is being deleted, found new finalizers ${list}`,
        ),
      );
  }
  if ((next.resourceVersion ?? '') === '')
    errors.push(invalid(path.child('resourceVersion'), '', 'must be specified for an update'));
  if ((next.generation ?? 0) < (old.generation ?? 0))
    errors.push(invalid(path.child('generation'), next.generation, 'must not be decremented'));
  for (const name of immutableFields)
    errors.push(...validateImmutable(next[name], old[name], path.child(name)));
  return errors;
}

/** `field is immutable` when the values differ. */
export function validateImmutable(next: unknown, old: unknown, path: FieldPath): FieldError[] {
  return deepEqual(next, old) ? [] : [invalid(path, next, 'field is immutable')];
}
