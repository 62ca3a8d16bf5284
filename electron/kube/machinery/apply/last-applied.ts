// From client-side to server-side apply: what kubectl wrote down as last applied, on the client's side,
// is what its server-side apply may change although another name owns it; and the annotation follows
// what kubectl applies, so that both ways can take turns.
// Source: kubernetes apimachinery pkg/util/managedfields/internal/lastapplied{manager,updater}.go.
import { exactJson } from '../exact-json.ts';
import { isObject, stableStringify } from '../equality.ts';
import type { Schema } from '../schema.ts';
import { canonicalValue } from './canonical.ts';
import { difference, union, type FieldSet } from './field-set.ts';
import type { Shapes } from './shapes.ts';
import { compare, fieldsOf } from './typed-value.ts';

const annotation = 'kubectl.kubernetes.io/last-applied-configuration';

export function isLastAppliedManager(manager: string): boolean {
  return manager === 'kubectl';
}

/** The fields that still are as client-side apply has left them; undefined: it never came by. */
export function ownedByLastApplied(
  shapes: Shapes,
  schema: Schema,
  { live, apiVersion }: { readonly live: object; readonly apiVersion: string },
): FieldSet | undefined {
  const given = parse(annotationOf(live));
  if (given === undefined || given['apiVersion'] !== apiVersion) return undefined;
  const lastApplied = canonicalValue(shapes.registry, schema, given);
  const { added, modified, removed } = compare(shapes, schema, { old: lastApplied, next: live });
  const changed = union(union(added, modified), removed);
  return difference(fieldsOf(shapes, schema, lastApplied), changed);
}

/** `object` with the annotation saying `config`, if it has one. */
export function refreshLastApplied(
  object: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  if (annotationOf(object) === '') return object;
  const { metadata } = object;
  const { annotations } = metadata as { annotations: object };
  const text = `${stableStringify(withoutAnnotation(config))}\n`;
  return {
    ...object,
    metadata: { ...(metadata as object), annotations: { ...annotations, [annotation]: text } },
  };
}

function withoutAnnotation(config: Readonly<Record<string, unknown>>): object {
  const { metadata } = config;
  if (!isObject(metadata) || !isObject(metadata['annotations'])) return config;
  const { [annotation]: _, ...annotations } = metadata['annotations'];
  return { ...config, metadata: { ...metadata, annotations } };
}

function annotationOf(object: object): string {
  const { metadata } = object as { readonly metadata?: unknown };
  const annotations = isObject(metadata) ? metadata['annotations'] : undefined;
  const text = isObject(annotations) ? annotations[annotation] : undefined;
  return typeof text === 'string' ? text : '';
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value = exactJson(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
