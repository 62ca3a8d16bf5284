// The OpenAPI 2 document in protobuf, the only form kubectl before 1.27 asks for (and later ones as
// a last resort): definitions, and of the paths what says which kinds can be patched with which
// query parameters. Writes only; extensions are YAML inside, for which JSON will do.
// Source: gnostic openapiv2/OpenAPIv2.proto (field numbers).

/** What is answered: the `@` that clients ask with is no legal character of a media type. */
export const openApiProtobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

export function acceptsProtobuf(accept: string | undefined): boolean {
  return /application\/com\.github\.proto-openapi\.spec\.v2[.@]v1\.0\+protobuf/.test(accept ?? '');
}

interface Document {
  readonly swagger: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, object>>;
  readonly definitions: Readonly<Record<string, object>>;
}

/** A field of a message: number and content, encoded. */
type Field = Uint8Array;
type Plain = Readonly<Record<string, unknown>>;

export function encodeOpenApi(document: Document): Uint8Array {
  const { title, version } = document.info;
  return concat([
    text(1, document.swagger),
    message(2, [text(1, title), text(2, version)]),
    message(
      8,
      Object.entries(document.paths).map(([path, item]) =>
        message(2, [text(1, path), message(2, pathItem(item as Plain))]),
      ),
    ),
    message(9, namedSchemas(document.definitions)),
  ]);
}

function namedSchemas(schemas: Readonly<Record<string, unknown>>): Field[] {
  return Object.entries(schemas).map(([name, schema]) =>
    message(1, [text(1, name), message(2, schemaFields(schema as Plain))]),
  );
}

function schemaFields(schema: Plain): Field[] {
  const { $ref, format, description, required, type, items } = schema;
  const { additionalProperties, properties } = schema;
  const fields: Field[] = [];
  if (typeof $ref === 'string') fields.push(text(1, $ref));
  if (typeof format === 'string') fields.push(text(2, format));
  if (typeof description === 'string') fields.push(text(4, description));
  for (const name of asList(required)) fields.push(text(19, String(name)));
  if (isPlain(additionalProperties))
    fields.push(message(21, [message(1, schemaFields(additionalProperties))]));
  if (typeof type === 'string') fields.push(message(22, [text(1, type)]));
  if (isPlain(items)) fields.push(message(23, [message(1, schemaFields(items))]));
  if (isPlain(properties)) fields.push(message(25, namedSchemas(properties)));
  return [...fields, ...extensions(31, schema)];
}

function pathItem(item: Plain): Field[] {
  const { patch } = item;
  return isPlain(patch) ? [message(8, operation(patch))] : [];
}

function operation({ parameters, ...rest }: Plain): Field[] {
  const query = asList(parameters)
    .filter(isPlain)
    .filter((parameter) => parameter['in'] === 'query')
    .map(({ name, type }) =>
      // ParametersItem → Parameter → NonBodyParameter → QueryParameterSubSchema.
      message(8, [
        message(1, [
          message(2, [
            message(3, [text(3, 'query'), text(4, String(name)), text(6, String(type))]),
          ]),
        ]),
      ]),
    );
  return [...query, ...extensions(13, rest)];
}

/** `x-…` entries as NamedAny with a YAML value. */
function extensions(field: number, from: Plain): Field[] {
  return Object.entries(from)
    .filter(([key]) => key.startsWith('x-'))
    .map(([key, value]) =>
      message(field, [text(1, key), message(2, [text(2, JSON.stringify(value))])]),
    );
}

function text(field: number, value: string): Field {
  return delimited(field, new TextEncoder().encode(value));
}

function message(field: number, fields: readonly Field[]): Field {
  return delimited(field, concat(fields));
}

/** Wire type 2: number, length, bytes. */
function delimited(field: number, bytes: Uint8Array): Field {
  return concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Uint8Array.from([...bytes, rest]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
