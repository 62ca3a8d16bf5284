// What the fuzzer sends: whole objects of a kind, nearly right ones, and changes of every sort.
import * as fc from 'fast-check';
import { schemas, type Json } from './api.ts';
import { arbitraryOf } from './arbitrary.ts';
import { apiVersionOfResource } from '../../electron/controlplane/registry/resource-table.ts';
import type { ResourceDefinition } from '../../electron/controlplane/registry/resource.ts';

export type { Json };

export interface Change {
  readonly method: 'PUT' | 'PATCH';
  /** '' or `/status` and its like. */
  readonly subresource: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: Json;
}

const applying: Readonly<Record<string, string>> = { fieldManager: 'other', force: 'true' };
const metadataSchema = 'meta/v1.ObjectMeta';

/** Named by the server, as a rule; `sample` is a legal one, of which parts are replaced. */
export function arbitraryObject(definition: ResourceDefinition, sample: Json): fc.Arbitrary<Json> {
  const right = arbitraryOf(schemas, definition.schema) as fc.Arbitrary<Json>;
  const wrong = arbitraryOf(schemas, definition.schema, { wrongTypes: 0.1 }) as fc.Arbitrary<Json>;
  const half =
    sample === undefined
      ? right
      : fc.oneof(
          fc
            .tuple(right, fc.constantFrom(...Object.keys(sample)))
            .map(([body, key]) => ({ ...sample, [key]: body?.[key] ?? null })),
          fc.tuple(right, fc.nat(3)).map(([body, index]) => mixed(sample, body, index)),
          fc.tuple(wrong, fc.nat(3)).map(([body, index]) => mixed(sample, body, index)),
        );
  const bodies = fc.oneof(
    { arbitrary: right, weight: 1 },
    { arbitrary: wrong, weight: 1 },
    { arbitrary: half, weight: 3 },
  );
  return fc.tuple(bodies, metadata()).map(([body, given]) => ({ ...body, metadata: given }));
}

function metadata(): fc.Arbitrary<Json> {
  const named = { generateName: 'x-' };
  const drawn = arbitraryOf(schemas, metadataSchema) as fc.Arbitrary<Json>;
  return fc.oneof(
    { arbitrary: fc.constant(named), weight: 4 },
    {
      // Finalizers would keep it for ever.
      arbitrary: drawn.map(
        ({ name: _name, namespace: _namespace, finalizers: _held, ...rest }) => ({
          ...rest,
          ...named,
        }),
      ),
      weight: 1,
    },
  );
}

/** The sample with some fields of its spec taken from another body. */
function mixed(sample: Json, body: Json, index: number): Json {
  if (sample.spec === undefined) return { ...sample, ...body };
  const spec = { ...sample.spec };
  for (const [at, [name, value]] of Object.entries(body?.spec ?? {}).entries())
    if (at % 4 === index) spec[name] = value;
  return { ...sample, spec };
}

/** A change by PUT or any sort of patch, of the object or of a subresource that can be written. */
export function arbitraryChange(definition: ResourceDefinition): fc.Arbitrary<Change> {
  const subresources = Object.entries(definition.subresources ?? {})
    .filter(([, { type }]) => type === 'status' || type === 'scale')
    .map(([name]) => `/${name}`);
  return fc
    .tuple(
      fc.constantFrom('', ...subresources),
      fc.constantFrom<'put' | 'json' | 'merge' | 'strategic' | 'apply'>(
        'put',
        'json',
        'merge',
        'strategic',
        'apply',
      ),
      fc.constantFrom('Ignore', 'Warn', 'Strict'),
    )
    .chain(([subresource, how, fieldValidation]) => {
      const isScale = definition.subresources?.[subresource.slice(1)]?.type === 'scale';
      const schema = isScale ? 'autoscaling/v1.Scale' : definition.schema;
      const typeMeta = isScale
        ? { apiVersion: 'autoscaling/v1', kind: 'Scale' }
        : { apiVersion: apiVersionOfResource(definition), kind: definition.kind };
      const drawn = (arbitraryOf(schemas, schema, { wrongTypes: 0.05 }) as fc.Arbitrary<Json>).map(
        (body) => {
          const { metadata: _metadata, apiVersion: _version, kind: _kind, ...rest } = body ?? {};
          return rest;
        },
      );
      const made = (bodies: fc.Arbitrary<Json>, type: string): fc.Arbitrary<Change> =>
        bodies.map((body) => ({
          method: type === 'application/json' ? 'PUT' : 'PATCH',
          subresource,
          headers: { 'content-type': type },
          query: { fieldValidation, ...(type.includes('apply') ? applying : {}) },
          body,
        }));
      switch (how) {
        case 'put':
          return made(drawn, 'application/json');
        case 'merge':
          return made(drawn, 'application/merge-patch+json');
        case 'strategic':
          return made(
            fc.tuple(drawn, fc.nat()).map(directed),
            'application/strategic-merge-patch+json',
          );
        case 'apply':
          return made(
            drawn.map((body) => ({ ...body, ...typeMeta })),
            'application/apply-patch+yaml',
          );
        case 'json':
          return made(operations(drawn), 'application/json-patch+json');
      }
    });
}

/** Operations on what such an object has, or has not. */
function operations(drawn: fc.Arbitrary<Json>): fc.Arbitrary<Json> {
  const op = fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test');
  const operation = fc.tuple(drawn, fc.nat(), fc.nat(), op).map(([body, at, from, name]) => {
    const places = placesIn(body);
    const place = places[at % places.length];
    return {
      op: name,
      path: place?.path,
      value: place?.value,
      from: places[from % places.length]?.path,
    };
  });
  return fc.array(operation, { maxLength: 4 });
}

interface Place {
  readonly path: string;
  readonly value: Json;
}

function placesIn(value: Json, path = ''): Place[] {
  const here = [{ path, value }];
  if (typeof value !== 'object' || value === null) return here;
  const below = Object.entries(value).flatMap(([key, child]) =>
    placesIn(child, `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`),
  );
  return [...here, ...below, ...(Array.isArray(value) ? [{ path: `${path}/-`, value: null }] : [])];
}

/** A strategic patch with one directive somewhere, legal or not. */
function directed([body, draw]: [Json, number]): Json {
  const copy = structuredClone(body);
  const objects = placesIn(copy).flatMap(({ value }) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? [value] : [],
  );
  const chosen = objects[draw % objects.length];
  const keys = Object.keys(chosen);
  const key = keys[draw % Math.max(1, keys.length)] ?? 'a';
  const directives: readonly (readonly [string, Json])[] = [
    ['$patch', 'delete'],
    ['$patch', 'replace'],
    ['$patch', 'merge'],
    ['$patch', draw],
    ['$retainKeys', keys],
    ['$retainKeys', key],
    [`$setElementOrder/${key}`, chosen[key]],
    [`$setElementOrder/${key}`, [{ name: 'web' }, 'a']],
    [`$deleteFromPrimitiveList/${key}`, chosen[key]],
    [`$deleteFromPrimitiveList/${key}`, ['a', {}]],
  ];
  const [name, value] = directives[draw % directives.length] ?? ['$patch', 'delete'];
  chosen[name] = structuredClone(value);
  return copy;
}
