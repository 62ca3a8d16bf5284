// A kind that is served in two versions, or in two groups: stored in one form, ruled by that form's
// strategy, and converted whenever it is read or written in the other.
// Source: kubernetes apimachinery pkg/runtime/scheme.go (hub and spokes).
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import type { ResourceDefinition, StatusSubresource, Strategy } from './resource.ts';

/** How objects of a version become those that are stored, and back. Neither changes its argument. */
export interface Conversion<T extends KubeObject, S extends KubeObject> {
  readonly toStored: (object: T) => S;
  readonly fromStored: (stored: S) => T;
}

type Naming<T extends KubeObject> = Pick<
  ResourceDefinition<T>,
  'group' | 'version' | 'kind' | 'plural' | 'singular' | 'namespaced' | 'schema'
>;

/** What a version has of its own; the rest is `stored`'s. */
export interface VersionOptions<T extends KubeObject, S extends KubeObject> {
  readonly naming: Naming<T>;
  readonly stored: ResourceDefinition<S>;
  readonly conversion: Conversion<T, S>;
  /** Rules that only this version has. */
  readonly validate?: (object: T) => FieldError[];
  readonly fieldSelectors?: ResourceDefinition<T>['fieldSelectors'];
}

export function versionOf<T extends KubeObject, S extends KubeObject>(
  options: VersionOptions<T, S>,
): ResourceDefinition<T> {
  const { naming, stored, conversion, fieldSelectors } = options;
  const { toStored } = conversion;
  const { ttlSeconds: _, fieldSelectors: storedSelectors, ...shared } = stored;
  const status = stored.subresources?.['status'];
  return {
    ...shared,
    ...naming,
    storedAs: { definition: stored, ...conversion } as unknown as ResourceDefinition<T>['storedAs'],
    strategy: convertedStrategy(stored.strategy, options),
    columns: stored.columns.map((column) => ({
      ...column,
      cell: (object, nowMs) => column.cell(toStored(object), nowMs),
    })),
    fieldSelectors:
      fieldSelectors ??
      mapValues(storedSelectors ?? {}, (value) => (object: T) => value(toStored(object))),
    subresources: status?.type === 'status' ? { status: convertedStatus(status, conversion) } : {},
  };
}

function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  map: (value: A) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

function convertedStrategy<T extends KubeObject, S extends KubeObject>(
  strategy: Strategy<S>,
  { conversion, validate: ownRules }: VersionOptions<T, S>,
): Strategy<T> {
  const { toStored } = conversion;
  const { prepareForCreate, prepareForUpdate, validateUpdate, warnings } = strategy;
  return {
    ...pick(strategy, [
      'validateName',
      'generationFields',
      'keepsStatusOnCreate',
      'allowCreateOnUpdate',
      'requireResourceVersion',
    ]),
    // There and back even without defaults: what is answered is what will be read.
    applyDefaults: (object) =>
      change(object, conversion, (stored) => strategy.applyDefaults?.(stored)),
    prepareForCreate: (object) =>
      change(object, conversion, (stored) => prepareForCreate?.(stored)),
    prepareForUpdate: (next, old) =>
      change(next, conversion, (stored) => prepareForUpdate?.(stored, toStored(old))),
    validate: (object, old) => [
      ...strategy.validate(toStored(object), old === undefined ? undefined : toStored(old)),
      ...(ownRules === undefined ? [] : ownRules(object)),
    ],
    validateUpdate: (next, old) => validateUpdate?.(toStored(next), toStored(old)) ?? [],
    warnings: (object) => warnings?.(toStored(object)) ?? [],
  };
}

function pick<S extends KubeObject>(
  strategy: Strategy<S>,
  names: readonly (keyof Strategy)[],
): Partial<Strategy> {
  return Object.fromEntries(
    names.flatMap((name) => (name in strategy ? [[name, strategy[name]]] : [])),
  );
}

function convertedStatus<T extends KubeObject, S extends KubeObject>(
  { validateUpdate }: StatusSubresource<S>,
  { toStored }: Conversion<T, S>,
): StatusSubresource<T> {
  return {
    type: 'status',
    validateUpdate: (next, old) => validateUpdate?.(toStored(next), toStored(old)) ?? [],
  };
}

/** Lets a rule of the stored form change an object of the other. */
function change<T extends KubeObject, S extends KubeObject>(
  object: T,
  { toStored, fromStored }: Conversion<T, S>,
  rule: (stored: S) => void,
): void {
  const stored = deepCopy(toStored(object));
  rule(stored);
  const changed = fromStored(stored);
  for (const name of Object.keys(object)) delete (object as unknown as Fields)[name];
  Object.assign(object, changed);
}

type Fields = Record<string, unknown>;
