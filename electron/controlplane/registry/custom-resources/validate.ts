// A custom resource against its schema, then against the rules in it, which may rely on the schema.
// Source: kubernetes apiextensions-apiserver pkg/registry/customresource/strategy.go.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { FieldPath, invalid, type FieldError } from '#kube/machinery/field.ts';
import { validateValue } from '#kube/machinery/structural/values.ts';
import { hasExpressions, ruleEngine, valueContext } from './engine.ts';

const blocking: ReadonlySet<string> = new Set([
  'FieldValueNotSupported',
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
]);

export function validateObject(
  schema: JSONSchemaProps,
  object: KubeObject,
  old: KubeObject | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  validateValue(schema, object, { path: '', old, context: valueContext(), errors });
  if (!hasExpressions(schema)) return errors;
  if (errors.some(({ type }) => blocking.has(type)))
    return [
      ...errors,
      invalid(
        new FieldPath('<nil>'),
        null,
        'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
      ),
    ];
  return [...errors, ...ruleEngine().validateRules(schema, object, old)];
}
