// A custom resource against its schema, then against the rules in it.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { FieldError } from '#kube/machinery/field.ts';
import { validateValue, type ValueContext } from '#kube/machinery/structural/values.ts';

export function validateObject(
  schema: JSONSchemaProps,
  object: KubeObject,
  old: KubeObject | undefined,
  context: ValueContext,
): FieldError[] {
  const errors: FieldError[] = [];
  validateValue(schema, object, { path: '', old, context, errors });
  return errors;
}
