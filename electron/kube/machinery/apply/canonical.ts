// A configuration with its quantities and times in the one spelling in which they are stored.
// Differs: Kubernetes compares the texts, so that `1000m` conflicts with the same `1` of another owner.
import { isObject, setOwn } from '../equality.ts';
import { canonicalQuantity } from '../quantity.ts';
import { fieldSchema, type Schema, type SchemaRegistry } from '../schema.ts';
import { StatusError } from '../status.ts';
import { canonicalMicroTime, canonicalTime } from '../time.ts';

/** Nulls and empty values stay; what can't be read stays as it is, for the decoder to refuse. */
export function canonicalValue(
  registry: SchemaRegistry,
  given: Schema | undefined,
  value: unknown,
): unknown {
  const schema = given === undefined ? undefined : registry.resolve(given);
  if (schema === undefined) return value;
  if (Array.isArray(value))
    return value.map((item: unknown) => canonicalValue(registry, schema.items, item));
  if (!isObject(value)) return canonicalScalar(schema.format, value);
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value))
    setOwn(result, key, canonicalValue(registry, fieldSchema(schema, key), value[key]));
  return result;
}

function canonicalScalar(format: string | undefined, value: unknown): unknown {
  try {
    if (format === 'quantity' && (typeof value === 'string' || typeof value === 'number'))
      return canonicalQuantity(typeof value === 'string' ? value.trim() : value);
    if (typeof value !== 'string') return value;
    if (format === 'date-time') return canonicalTime(value);
    return format === 'date-time-micro' ? canonicalMicroTime(value) : value;
  } catch (error) {
    if (error instanceof StatusError) return value;
    throw error;
  }
}
