// What an object is before it has been given anything: Go's zero value of its type as JSON. A create
// is compared with it, so its creator does not own the structs that are always there.
// Source: kubernetes apiserver pkg/endpoints/handlers/create.go (scope.Creater.New).
import type { Schema, SchemaRegistry } from '../schema.ts';

/** Structs of Go that are no pointers, by the names that Kubernetes' conventions give them. */
const alwaysThere = new Set([
  'metadata',
  'spec',
  'status',
  'template',
  'strategy',
  'updateStrategy',
  'jobTemplate',
]);

export function skeletonOf(registry: SchemaRegistry, given: Schema): Record<string, unknown> {
  const schema = registry.resolve(given);
  const skeleton: Record<string, unknown> = {};
  const required = new Set(schema.required);
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const isStruct = child.$ref !== undefined;
    if (isStruct && alwaysThere.has(name)) skeleton[name] = skeletonOf(registry, child);
    else if (required.has(name)) skeleton[name] = null;
  }
  return skeleton;
}
