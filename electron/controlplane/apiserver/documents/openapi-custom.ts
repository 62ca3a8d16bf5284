// A custom resource's schema in OpenAPI's words: as its author wrote it, with the fields of every
// object; in version 2 without what that can't say.
// Source: kubernetes apiextensions-apiserver pkg/controller/openapi/{builder,v2}.
import type { JSONSchemaProps } from '#kube/api/apiextensions.ts';
import { isObject } from '#kube/machinery/equality.ts';
import { publishedName, referenceTo, type OpenApiForm } from './openapi-schema.ts';

const apiVersion = {
  type: 'string',
  description: 'Version of the schema of this object, with its group, such as apps/v1.',
};
const kind = { type: 'string', description: 'What this object is, such as Deployment.' };

/** Rules are for the server; clients have no use for them in version 2. */
const unsaidInVersion2: ReadonlySet<string> = new Set([
  'allOf',
  'anyOf',
  'oneOf',
  'not',
  'nullable',
  'x-kubernetes-validations',
]);

export function customOpenApi(schema: JSONSchemaProps, form: OpenApiForm): Record<string, unknown> {
  const metadata = referenceTo(publishedName('meta/v1.ObjectMeta'), form);
  const made = node(schema, form);
  return {
    ...made,
    type: 'object',
    properties: {
      ...(isObject(made['properties']) ? made['properties'] : {}),
      apiVersion,
      kind,
      metadata: form === 'v3' ? { allOf: [metadata], default: {} } : metadata,
    },
  };
}

function node(schema: JSONSchemaProps, form: OpenApiForm): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true;
  for (const [name, value] of Object.entries(schema)) {
    if (form === 'v2' && unsaidInVersion2.has(name)) continue;
    if (name === 'properties')
      result[name] = Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([key, child]) => [key, node(child, form)]),
      );
    else if (name === 'items') result[name] = node(value as JSONSchemaProps, form);
    else if (name === 'additionalProperties')
      result[name] = typeof value === 'object' ? node(value as JSONSchemaProps, form) : value;
    else result[name] = value;
  }
  if (form === 'v2' && (schema.nullable === true || isOpen)) {
    // Old clients refuse what the server takes; untyped, they leave it alone.
    for (const name of ['type', 'properties', 'items', 'additionalProperties', 'required'])
      delete result[name];
    if (isOpen && schema.nullable !== true) result['type'] = schema.type ?? 'object';
  }
  return result;
}
