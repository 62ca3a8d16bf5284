// The rules of a custom resource: its schema's, and the expressions in it.
// On updates only what changed is judged, so that a stricter schema does not lock old objects up.
// Source: kubernetes apiextensions-apiserver pkg/registry/customresource/{strategy,validator}.go.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { StatusSubresource, Strategy } from '../resource.ts';
import { loadEngine, needsEngine } from './engine.ts';
import { validateObject } from './validate.ts';

export function customStrategy(
  schema: JSONSchemaProps,
  { hasStatus }: { readonly hasStatus: boolean },
): Strategy {
  const isDemanding = needsEngine(schema);
  return {
    load: () => (isDemanding ? loadEngine() : undefined),
    validate: (object, old) => validateObject(schema, object, old),
    // Without a status subresource, status is a field like any other.
    ...(hasStatus ? {} : { generationFields: 'all' as const }),
  };
}

export function statusRulesOf(
  schema: JSONSchemaProps,
): NonNullable<StatusSubresource['validateUpdate']> {
  return (next, old) => validateObject(schema, next, old);
}
