// A configuration that a policy applies: merged as one that a client applies, but nobody owns its fields.
// Source: kubernetes apiserver pkg/admission/plugin/policy/mutating/patch/smd.go.
import { isObject } from '../equality.ts';
import type { Schema } from '../schema.ts';
import { mergeValue } from './merge.ts';
import { findMistakes } from './mistakes.ts';
import type { Shapes } from './shapes.ts';

/** Throws an Error that says why it is no configuration of this type. */
export function mergeConfiguration(
  shapes: Shapes,
  schema: Schema,
  { object, config }: { readonly object: unknown; readonly config: unknown },
): unknown {
  const mistakes = findMistakes(shapes, schema, config);
  if (mistakes !== '')
    throw new Error(`failed to convert patch object to typed object: ${mistakes}`);
  const atomics = atomicsIn(shapes, schema, { value: config, path: '' });
  if (atomics.length > 0)
    throw new Error(
      `invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ${atomics.join(', ')}`,
    );
  return mergeValue(shapes, schema, { live: object, config });
}

/** What would be replaced as a whole, though its author may have meant but some of it. */
function atomicsIn(
  shapes: Shapes,
  schema: Schema | undefined,
  { value, path }: { readonly value: unknown; readonly path: string },
): string[] {
  const shape = shapes.of(schema, value);
  if (shape.kind === 'leaf') return Array.isArray(value) || isObject(value) ? [path] : [];
  return shapes.parts(shape, value).flatMap((part) =>
    atomicsIn(shapes, part.schema, {
      value: part.value,
      path: path + (typeof part.key === 'number' ? `[${part.key}]` : `.${part.key}`),
    }),
  );
}
