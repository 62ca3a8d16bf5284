// Makes resources/schema/<group>.<version>.json and electron/kube/api/<group>.ts from facts in:
//   - @kubernetes/client-node (devDependency): field names, JSON types, which fields are required
//   - protobuf.json: which group a type belongs to, which strings are quantities
//   - merge-keys.json: list types, patch strategies, defaults
// Run `npm run generate`; test/schema.test.ts fails when the committed output is stale.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { api, groupVersions } from './group-versions.ts';

const metaPackage = 'k8s.io.apimachinery.pkg.apis.meta.v1';

/**
 * Structs that Go holds by value, so that they are there when the author left them out: an empty
 * object by default, as in Kubernetes' own OpenAPI. Every kind's `spec` is one, too.
 */
const valueStructs: ReadonlySet<string> = new Set([
  'admissionregistration/v1.MutatingWebhook.clientConfig',
  'admissionregistration/v1.ValidatingWebhook.clientConfig',
  'apiextensions/v1.CustomResourceDefinitionSpec.names',
  'apps/v1.DaemonSetSpec.template',
  'apps/v1.DaemonSetSpec.updateStrategy',
  'apps/v1.DeploymentSpec.strategy',
  'apps/v1.DeploymentSpec.template',
  'apps/v1.ReplicaSetSpec.template',
  'apps/v1.StatefulSetSpec.template',
  'apps/v1.StatefulSetSpec.updateStrategy',
  'autoscaling/v1.HorizontalPodAutoscalerSpec.scaleTargetRef',
  'autoscaling/v2.ContainerResourceMetricSource.target',
  'autoscaling/v2.ExternalMetricSource.metric',
  'autoscaling/v2.ExternalMetricSource.target',
  'autoscaling/v2.HorizontalPodAutoscalerSpec.scaleTargetRef',
  'autoscaling/v2.ObjectMetricSource.describedObject',
  'autoscaling/v2.ObjectMetricSource.metric',
  'autoscaling/v2.ObjectMetricSource.target',
  'autoscaling/v2.PodsMetricSource.metric',
  'autoscaling/v2.PodsMetricSource.target',
  'autoscaling/v2.ResourceMetricSource.target',
  'batch/v1.CronJobSpec.jobTemplate',
  'batch/v1.JobSpec.template',
  'batch/v1.JobTemplateSpec.spec',
  'core/v1.PersistentVolumeClaimSpec.resources',
  'core/v1.PodTemplate.template',
  'core/v1.PodTemplateSpec.spec',
  'flowcontrol/v1.FlowSchemaSpec.priorityLevelConfiguration',
  'flowcontrol/v1.LimitedPriorityLevelConfiguration.limitResponse',
  'networking/v1.HTTPIngressPath.backend',
  'networking/v1.IngressServiceBackend.port',
  'networking/v1.NetworkPolicySpec.podSelector',
  'rbac/v1.ClusterRoleBinding.roleRef',
  'rbac/v1.RoleBinding.roleRef',
  'storage/v1.VolumeAttachmentSpec.source',
]);

const jsonSchema = { $ref: 'apiextensions/v1.JSONSchemaProps' };
/**
 * Fields of JSON schemas that client-node calls `any`. A list of schemas as `items` is refused by
 * Kubernetes as well, so only what may stand there is said.
 */
const unions: Readonly<Record<string, Schema>> = {
  'apiextensions/v1.JSONSchemaProps.additionalProperties': { ...jsonSchema, orBoolean: true },
  'apiextensions/v1.JSONSchemaProps.items': jsonSchema,
};

interface ProtoField {
  readonly type: string;
  readonly keyType?: string;
}
interface ProtoMessage {
  readonly fields?: Readonly<Record<string, ProtoField>>;
  readonly nested?: Readonly<Record<string, ProtoMessage>>;
}
interface Extension {
  readonly listType?: string;
  /** Of a map's field, or of a struct, under the type's own name. */
  readonly mapType?: string;
  readonly keys?: readonly string[];
  readonly patchStrategy?: string;
  readonly patchMergeKey?: string;
  readonly default?: string;
}
interface Attribute {
  readonly baseName: string;
  readonly type: string;
  readonly format: string;
}
interface ClientType {
  readonly file: string;
  readonly attributes: readonly Attribute[];
  readonly required: ReadonlySet<string>;
}
type Schema = Record<string, unknown>;

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '../..');
/** Where the output goes: the tree, or the folder given (the test compares it with the tree). */
const target = process.argv[2] ?? root;
const models = path.join(root, 'node_modules/@kubernetes/client-node/dist/gen/models');
const messages = new Map<string, ProtoMessage>();
collectMessages(readJson('protobuf.json') as ProtoMessage, '');
const extensions = readJson('merge-keys.json') as Record<string, Extension>;

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(path.join(here, name), 'utf8'));
}

function collectMessages(node: ProtoMessage, prefix: string): void {
  for (const [name, child] of Object.entries(node.nested ?? {})) {
    const full = prefix === '' ? name : `${prefix}.${name}`;
    if (child.fields !== undefined) messages.set(full, child);
    collectMessages(child, full);
  }
}

/** client-node class → `<group-version prefix>.<Type>`, such as `apps/v1.Deployment`. */
function typeName(clientName: string, from: string): string {
  const match = /^([A-Z][a-z]+)?V(\d(?:(?:alpha|beta)\d)?)(.+)$/.exec(clientName);
  if (match === null) throw new Error(`unexpected type name ${clientName}`);
  const [, prefix, version, name] = match;
  const candidates = [...messages.keys()].filter((full) => {
    const parts = full.split('.');
    if (parts.at(-1) !== name || parts.at(-2) !== `v${version}`) return false;
    return prefix === undefined || parts.at(-3) === prefix.toLowerCase();
  });
  const own = from.slice(0, from.lastIndexOf('.'));
  const preferred = candidates.find(
    (full) =>
      shortName(full).startsWith(`${own}.`) ||
      full.startsWith(metaPackage) ||
      full.startsWith(`${api}.core.`),
  );
  const full = preferred ?? candidates[0];
  if (full === undefined) throw new Error(`no protobuf message for ${clientName}`);
  return shortName(full);
}

function shortName(full: string): string {
  const parts = full.split('.');
  return `${parts.at(-3)}/${parts.at(-2)}.${parts.at(-1)}`;
}

async function loadClientTypes(): Promise<Map<string, ClientType>> {
  const types = new Map<string, ClientType>();
  const files = readdirSync(models).filter((f) => /^([A-Z][a-z]+)?V\d\w*\.js$/.test(f));
  for (const file of files) {
    const name = file.slice(0, -3);
    const module = (await import(pathToFileURL(path.join(models, file)).href)) as Record<
      string,
      { attributeTypeMap?: Attribute[] }
    >;
    const attributes = module[name]?.attributeTypeMap;
    if (attributes === undefined) continue;
    const declaration = readFileSync(path.join(models, `${name}.d.ts`), 'utf8');
    const required = new Set<string>();
    for (const match of declaration.matchAll(/^ {4}'([^']+)': /gm)) required.add(match[1] ?? '');
    types.set(name, { file: name, attributes, required });
  }
  return types;
}

/** The protobuf field of a JSON field; looks into messages that Go embeds inline in JSON. */
function protoField(
  message: ProtoMessage,
  name: string,
  jsonNames: ReadonlySet<string>,
): ProtoField | undefined {
  const direct = message.fields?.[name];
  if (direct !== undefined) return direct;
  for (const [fieldName, field] of Object.entries(message.fields ?? {})) {
    const embedded = messages.get(field.type);
    if (jsonNames.has(fieldName) || embedded === undefined) continue;
    const found = protoField(embedded, name, jsonNames);
    if (found !== undefined) return found;
  }
  return undefined;
}

function extensionOf(type: string, field: string, message: ProtoMessage): Extension | undefined {
  const direct = extensions[`${type}.${field}`];
  if (direct !== undefined) return direct;
  for (const embedded of Object.values(message.fields ?? {})) {
    const nested = messages.get(embedded.type);
    if (nested === undefined || nested.fields?.[field] === undefined) continue;
    const found = extensions[`${shortName(embedded.type.replace(/^\./, ''))}.${field}`];
    if (found !== undefined && message.fields?.[field] === undefined) return found;
  }
  return undefined;
}

function baseSchema(type: string, format: string, owner: string, refs: Set<string>): Schema {
  const array = /^Array<(.+)>$/.exec(type)?.[1];
  if (array !== undefined) return { type: 'array', items: baseSchema(array, '', owner, refs) };
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1];
  if (map !== undefined)
    return map === 'any'
      ? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
      : { type: 'object', additionalProperties: baseSchema(map, '', owner, refs) };
  switch (type) {
    case 'string':
      return format === '' ? { type: 'string' } : { type: 'string', format };
    case 'boolean':
      return { type: 'boolean' };
    case 'number':
      return format === 'double'
        ? { type: 'number', format }
        : { type: 'integer', format: format || 'int32' };
    case 'Date':
    case 'V1MicroTime':
      return {
        type: 'string',
        format: type === 'Date' && format !== 'date-time-micro' ? 'date-time' : 'date-time-micro',
      };
    case 'IntOrString':
      return { 'x-kubernetes-int-or-string': true };
    case 'any':
      return { 'x-kubernetes-preserve-unknown-fields': true };
    default: {
      const name = typeName(type, owner);
      refs.add(type);
      return { $ref: name };
    }
  }
}

function fieldSchema(
  type: string,
  attribute: Attribute,
  client: ClientType,
  refs: Set<string>,
): Schema {
  const message = messages.get(fullName(type)) ?? {};
  const jsonNames = new Set(client.attributes.map((a) => a.baseName));
  const union = unions[`${type}.${attribute.baseName}`];
  const schema =
    union === undefined ? baseSchema(attribute.type, attribute.format, type, refs) : { ...union };
  const proto = protoField(message, attribute.baseName, jsonNames);
  if (proto?.type.endsWith('resource.Quantity') === true) {
    const quantity = { type: 'string', format: 'quantity', 'x-kubernetes-int-or-string': true };
    if (schema['type'] === 'object') schema['additionalProperties'] = quantity;
    else Object.assign(schema, quantity);
  }
  if (proto?.type === 'bytes') {
    const bytes = { type: 'string', format: 'byte' };
    if (schema['type'] === 'object') schema['additionalProperties'] = bytes;
    else if (schema['type'] === 'string') Object.assign(schema, bytes);
  }
  const extension = extensionOf(type, attribute.baseName, message);
  if (extension?.listType !== undefined) {
    if (schema['type'] === 'array') schema['x-kubernetes-list-type'] = extension.listType;
    else schema['x-kubernetes-map-type'] = extension.listType;
  }
  if (extension?.mapType !== undefined) schema['x-kubernetes-map-type'] = extension.mapType;
  if (extension?.keys !== undefined) schema['x-kubernetes-list-map-keys'] = extension.keys;
  if (extension?.patchStrategy !== undefined)
    schema['x-kubernetes-patch-strategy'] = extension.patchStrategy;
  if (extension?.patchMergeKey !== undefined)
    schema['x-kubernetes-patch-merge-key'] = extension.patchMergeKey;
  if (extension?.default !== undefined && !extension.default.startsWith('ref(')) {
    const value: unknown = JSON.parse(extension.default);
    // An empty string is Go's zero value: writing it into every reference would only add noise.
    if (value !== '') schema['default'] = value;
  }
  const isSpec = attribute.baseName === 'spec' && kindNames.has(type);
  if (isSpec || valueStructs.has(`${type}.${attribute.baseName}`)) schema['default'] = {};
  return schema;
}

function fullName(short: string): string {
  for (const full of messages.keys()) if (shortName(full) === short) return full;
  throw new Error(`no message ${short}`);
}

const clientTypes = await loadClientTypes();
const clientByName = new Map<string, string>();
for (const name of clientTypes.keys()) {
  try {
    const short = typeName(name, '/.');
    if (!clientByName.has(short) || /^[A-Z][a-z]+V\d/.test(name)) clientByName.set(short, name);
  } catch {
    // Types of APIs that protobuf.json leaves out on purpose (alpha and beta versions).
  }
}

const kindNames = new Set(
  groupVersions.flatMap(({ protoPackage, kinds }) =>
    kinds.map((kind) => shortName(`${protoPackage}.${kind}`)),
  ),
);
const schemas = new Map<string, Schema>();
function visit(clientName: string, owner: string): void {
  const name = typeName(clientName, owner);
  if (schemas.has(name)) return;
  const client = clientTypes.get(clientName);
  if (client === undefined) throw new Error(`client-node has no ${clientName}`);
  const refs = new Set<string>();
  const properties: Record<string, Schema> = {};
  const schema: Schema = { type: 'object' };
  const mapType = extensions[name]?.mapType;
  if (mapType !== undefined) schema['x-kubernetes-map-type'] = mapType;
  schemas.set(name, schema);
  for (const attribute of client.attributes.toSorted((a, b) => (a.baseName < b.baseName ? -1 : 1)))
    properties[attribute.baseName] = fieldSchema(name, attribute, client, refs);
  const required = Object.keys(properties).filter((p) => client.required.has(p));
  if (required.length > 0) schema['required'] = required;
  schema['properties'] = properties;
  for (const ref of refs) visit(ref, name);
}

const kindsByType = new Map<string, { group: string; version: string; kind: string }>();
for (const gv of groupVersions)
  for (const kind of gv.kinds) {
    const short = shortName(`${gv.protoPackage}.${kind}`);
    const clientName = clientByName.get(short);
    if (clientName === undefined) throw new Error(`client-node has no ${short}`);
    visit(clientName, short);
    kindsByType.set(short, { group: gv.group, version: gv.version, kind });
  }
for (const name of ['V1DeleteOptions', 'V1Status', 'V1LabelSelector']) visit(name, 'meta/v1.X');

// --- output -----------------------------------------------------------------------------------

const byPackage = new Map<string, Map<string, Schema>>();
for (const [name, schema] of [...schemas].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
  const [pkg, type] = [name.slice(0, name.lastIndexOf('.')), name.slice(name.lastIndexOf('.') + 1)];
  const bucket = byPackage.get(pkg) ?? new Map<string, Schema>();
  bucket.set(type, schema);
  byPackage.set(pkg, bucket);
}

function tsType(schema: Schema, pkg: string, imports: Map<string, Set<string>>): string {
  const ref = schema['$ref'] as string | undefined;
  if (ref !== undefined) {
    if (schema['orBoolean'] === true) return `${tsType({ $ref: ref }, pkg, imports)} | boolean`;
    const [refPackage, type] = [
      ref.slice(0, ref.lastIndexOf('.')),
      ref.slice(ref.lastIndexOf('.') + 1),
    ];
    if (refPackage !== pkg)
      imports.set(refPackage, (imports.get(refPackage) ?? new Set()).add(type));
    return type;
  }
  if (schema['format'] === 'quantity') return 'Quantity';
  if (schema['x-kubernetes-int-or-string'] === true) return 'IntOrString';
  switch (schema['type']) {
    case 'array':
      return `${tsType(schema['items'] as Schema, pkg, imports)}[]`;
    case 'object': {
      const values = schema['additionalProperties'] as Schema | undefined;
      return `Record<string, ${values === undefined ? 'unknown' : tsType(values, pkg, imports)}>`;
    }
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
    case 'string':
      return schema['type'];
    default:
      return 'unknown';
  }
}

function tsInterface(
  name: string,
  schema: Schema,
  pkg: string,
  imports: Map<string, Set<string>>,
): string {
  const gvk = kindsByType.get(`${pkg}.${name}`);
  const required = new Set((schema['required'] as string[] | undefined) ?? []);
  const lines: string[] = [];
  for (const [field, child] of Object.entries(schema['properties'] as Record<string, Schema>)) {
    if (gvk !== undefined && field === 'apiVersion') {
      lines.push(`  apiVersion: '${gvk.group === '' ? '' : `${gvk.group}/`}${gvk.version}';`);
      continue;
    }
    if (gvk !== undefined && field === 'kind') {
      lines.push(`  kind: '${gvk.kind}';`);
      continue;
    }
    // Go marks metadata.name optional for generateName; every stored object has one.
    const named = name === 'ObjectMeta' && field === 'name';
    const always =
      named || required.has(field) || (gvk !== undefined && ['metadata', 'spec'].includes(field));
    const key = /^[\w$]+$/.test(field) ? field : `'${field}'`;
    lines.push(`  ${key}${always ? '' : '?'}: ${tsType(child, pkg, imports)};`);
  }
  return `export interface ${name} {\n${lines.join('\n')}\n}\n`;
}

function write(file: string, text: string): void {
  const full = path.join(target, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
}

/** `apps/v1` → `apps`, `autoscaling/v2` → `autoscaling-v2`: a group's later versions say so. */
function typesFile(pkg: string): string {
  const [group = '', version = ''] = pkg.split('/');
  return version === 'v1' ? group : `${group}-${version}`;
}

const handWritten = new Set(['IntOrString', 'Quantity']);
for (const [pkg, types] of byPackage) {
  const json = {
    $comment: 'Generated by resources/schema/generate.ts; do not edit.',
    package: pkg,
    types: {} as Schema,
  };
  for (const [name, schema] of types) json.types[name] = schema;
  write(`resources/schema/${pkg.replace('/', '.')}.json`, `${JSON.stringify(json, null, 1)}\n`);
  const imports = new Map<string, Set<string>>();
  const bodies = [...types].map(([name, schema]) => tsInterface(name, schema, pkg, imports));
  const head = ['// Generated by resources/schema/generate.ts; do not edit.'];
  const text = bodies.join('\n');
  const scalars = [...handWritten].filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  if (scalars.length > 0) head.push(`import type { ${scalars.join(', ')} } from './scalars.ts';`);
  for (const [other, names] of [...imports].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    head.push(
      `import type { ${[...names].toSorted().join(', ')} } from './${typesFile(other)}.ts';`,
    );
  write(`electron/kube/api/${typesFile(pkg)}.ts`, `${head.join('\n')}\n\n${text}`);
}

/** One import per document, so that the bundler packs them all. */
function documentList(): string {
  const names = [...byPackage.keys()].map((pkg) => ({
    file: `${pkg.replace('/', '.')}.json`,
    name: pkg.replace(/\/v(\d)/, 'V$1'),
  }));
  return [
    '// Generated by resources/schema/generate.ts; do not edit.',
    ...names.map(({ file, name }) => `import ${name} from './${file}' with { type: 'json' };`),
    '',
    'export const schemaDocuments: readonly unknown[] = [',
    ...names.map(({ name }) => `  ${name},`),
    '];',
    '',
  ].join('\n');
}
write('resources/schema/documents.ts', documentList());
