// Our schemas in OpenAPI's words: names as Kubernetes publishes them, references as paths into the
// document, and the extensions clients read (merge keys, list types, group-version-kind).
// Pure: SchemaRegistry in, plain objects out.
// Source: kubernetes kube-openapi pkg/util/proto, pkg/common.
import type { GroupVersionKind } from '#kube/api/object.ts';
import type { Schema, SchemaRegistry } from '#kube/machinery/schema.ts';

/** OpenAPI 2 and 3 differ in where schemas live and in what may stand beside a reference. */
export type OpenApiForm = 'v2' | 'v3';

const referencePrefix: Readonly<Record<OpenApiForm, string>> = {
  v2: '#/definitions/',
  v3: '#/components/schemas/',
};

/**
 * `apps/v1.Deployment` → `io.k8s.api.apps.v1.Deployment`. A whole group belongs to a custom resource:
 * `example.com/v1.Ship` → `com.example.v1.Ship`.
 */
export function publishedName(name: string): string {
  const [group = '', rest = ''] = name.split('/');
  if (group.includes('.')) return `${group.split('.').toReversed().join('.')}.${rest}`;
  return `${packages[group] ?? `io.k8s.api.${group}`}.${rest}`;
}

/** Groups whose types are not in k8s.io/api. */
const packages: Readonly<Record<string, string | undefined>> = {
  meta: 'io.k8s.apimachinery.pkg.apis.meta',
  apiextensions: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions',
  apiregistration: 'io.k8s.kube-aggregator.pkg.apis.apiregistration',
};

export function referenceTo(name: string, form: OpenApiForm): object {
  return { $ref: `${referencePrefix[form]}${name}` };
}

export const intOrStringName = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString';
export const quantityName = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
export const timeName = 'io.k8s.apimachinery.pkg.apis.meta.v1.Time';

/** Types of Go that are scalars here, as components of their own, as in Kubernetes. */
export function scalarComponents(form: OpenApiForm): Record<string, object> {
  const either =
    form === 'v3' ? { oneOf: [{ type: 'string' }, { type: 'number' }] } : { type: 'string' };
  return {
    [quantityName]: {
      description:
        'A fixed-point number with a unit: 100m is a tenth, 1Gi is 1024 to the third power.',
      ...either,
    },
    [intOrStringName]: {
      description: 'A number, or a text such as the name of a port or a percentage.',
      ...(form === 'v3'
        ? { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' }
        : { type: 'string', format: 'int-or-string' }),
    },
    [timeName]: {
      description: 'A moment in RFC 3339 form, to the second.',
      type: 'string',
      format: 'date-time',
    },
  };
}

/** What a type is for, under '', and each of its fields, by name. */
export type Texts = Readonly<Record<string, string>>;

/** One schema of ours as OpenAPI. */
export function toOpenApi(
  schema: Schema,
  form: OpenApiForm,
  texts: Texts = {},
): Record<string, unknown> {
  const { '': description } = texts;
  const described = description === undefined ? {} : { description };
  const target = referenceOf(schema, form);
  if (target !== undefined) {
    const beside = { ...described, ...extensionsOf(schema), ...defaultOf(schema) };
    // OpenAPI 3 ignores what stands beside a reference, so it has to be wrapped.
    return form === 'v3' && Object.keys(beside).length > 0
      ? { allOf: [target], ...beside }
      : { ...target, ...beside };
  }
  const result: Record<string, unknown> = {
    ...described,
    ...extensionsOf(schema),
    ...defaultOf(schema),
  };
  // What may be anything says no type: kubectl checks by it.
  const isAnything = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (schema.type !== undefined || !isAnything) result['type'] = schema.type ?? 'object';
  if (schema.format !== undefined) result['format'] = schema.format;
  if (schema.required !== undefined) result['required'] = schema.required;
  if (schema.items !== undefined) result['items'] = toOpenApi(schema.items, form);
  if (schema.additionalProperties !== undefined)
    result['additionalProperties'] = toOpenApi(schema.additionalProperties, form);
  if (schema.properties !== undefined)
    result['properties'] = Object.fromEntries(
      Object.entries(schema.properties).map(([name, child]) => {
        const text = Object.hasOwn(texts, name) ? texts[name] : undefined;
        return [name, toOpenApi(child, form, text === undefined ? {} : { '': text })];
      }),
    );
  return result;
}

function referenceOf(schema: Schema, form: OpenApiForm): object | undefined {
  if (schema.$ref !== undefined) return referenceTo(publishedName(schema.$ref), form);
  if (schema.format === 'quantity') return referenceTo(quantityName, form);
  if (schema['x-kubernetes-int-or-string'] === true) return referenceTo(intOrStringName, form);
  if (schema.format === 'date-time') return referenceTo(timeName, form);
  return undefined;
}

/** Extensions are copied as they are; int-or-string is said by the reference. */
function extensionsOf(schema: Schema): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema).filter(
      ([key]) => key.startsWith('x-kubernetes-') && key !== 'x-kubernetes-int-or-string',
    ),
  );
}

function defaultOf(schema: Schema): Record<string, unknown> {
  return schema.default === undefined ? {} : { default: schema.default };
}

/** The names a schema refers to, and those they refer to, and so on; with itself. */
export function closureOf(schemas: SchemaRegistry, roots: Iterable<string>): Set<string> {
  const found = new Set<string>();
  const waiting = [...roots];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (found.has(name) || !schemas.has(name)) continue;
    found.add(name);
    collectReferences(schemas.get(name), waiting);
  }
  return found;
}

function collectReferences(schema: Schema, into: string[]): void {
  if (schema.$ref !== undefined) into.push(schema.$ref);
  if (schema.items !== undefined) collectReferences(schema.items, into);
  if (schema.additionalProperties !== undefined)
    collectReferences(schema.additionalProperties, into);
  for (const child of Object.values(schema.properties ?? {})) collectReferences(child, into);
}

/** The schema of a kind's list. */
export function listSchema(itemName: string, kind: GroupVersionKind, form: OpenApiForm): object {
  return {
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: referenceTo(publishedName('meta/v1.ListMeta'), form),
      items: { type: 'array', items: referenceTo(itemName, form) },
    },
    'x-kubernetes-group-version-kind': [kind],
  };
}
