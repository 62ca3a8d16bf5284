// The operations of each resource as OpenAPI paths: enough for clients to find kinds, schemas and
// which query parameters exist (`kubectl apply` looks for `fieldValidation` before it relies on the
// server's validation).
// Source: kubernetes apiserver pkg/endpoints/installer.go (shape and operation names).
import type { GroupVersionKind } from '#kube/api/object.ts';
import {
  allVerbs,
  type ResourceDefinition,
  type Subresource,
  type Verb,
} from '../../registry/resource.ts';
import { subresourceKind, subresourceVerbs } from './discovery.ts';
import { publishedName, referenceTo, type OpenApiForm } from './openapi-schema.ts';

/** A kind, and how its objects are described. */
interface Subject extends GroupVersionKind {
  readonly isCustom: boolean;
}

interface Operation {
  /** Kubernetes' name of what it does: `list`, `post`, `get`, `put`, `patch` … */
  readonly action: string;
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly parameters: readonly Parameter[];
  readonly hasBody: boolean;
  /** Published name of what is sent and answered. */
  readonly body: string;
  readonly answer: string;
}

interface Parameter {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean';
  readonly description: string;
}

const writeParameters: readonly Parameter[] = [
  { name: 'dryRun', type: 'string', description: 'All: do everything but store.' },
  { name: 'fieldManager', type: 'string', description: 'Who makes this change.' },
  {
    name: 'fieldValidation',
    type: 'string',
    description: 'What to do about unknown or duplicate fields: Ignore, Warn or Strict.',
  },
];
const listParameters: readonly Parameter[] = [
  { name: 'allowWatchBookmarks', type: 'boolean', description: 'Send BOOKMARK events.' },
  { name: 'continue', type: 'string', description: 'Where the last page ended.' },
  { name: 'fieldSelector', type: 'string', description: 'Only objects with these field values.' },
  { name: 'labelSelector', type: 'string', description: 'Only objects with these labels.' },
  { name: 'limit', type: 'integer', description: 'At most this many objects in one answer.' },
  { name: 'resourceVersion', type: 'string', description: 'Which state of the cluster to read.' },
  { name: 'resourceVersionMatch', type: 'string', description: 'How to read resourceVersion.' },
  { name: 'sendInitialEvents', type: 'boolean', description: 'Begin a watch with what exists.' },
  { name: 'timeoutSeconds', type: 'integer', description: 'End the answer after this long.' },
  { name: 'watch', type: 'boolean', description: 'Stream changes instead of listing.' },
];
const deleteParameters: readonly Parameter[] = [
  { name: 'dryRun', type: 'string', description: 'All: do everything but store.' },
  { name: 'gracePeriodSeconds', type: 'integer', description: 'Time to end in good order.' },
  { name: 'propagationPolicy', type: 'string', description: 'Orphan, Background or Foreground.' },
];

/** Path → path item, of a resource with its subresources. */
export function pathsOf(definition: ResourceDefinition, form: OpenApiForm): Record<string, object> {
  const { group, version, kind, plural, namespaced, isCustom = false } = definition;
  const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const collection = namespaced ? `${base}/namespaces/{namespace}/${plural}` : `${base}/${plural}`;
  const item = `${collection}/{name}`;
  const own = { group, version, kind, isCustom };
  const verbs = new Set<Verb>(definition.verbs ?? allVerbs);
  const name = publishedName(definition.schema);
  const paths: Record<string, object> = {};
  const collectionOperations = operationsOfCollection(verbs, name);
  paths[collection] = pathItem(collection, own, collectionOperations, form);
  if (namespaced && verbs.has('list'))
    paths[`${base}/${plural}`] = pathItem(
      `${base}/${plural}`,
      own,
      collectionOperations.filter(({ action }) => action === 'list'),
      form,
    );
  paths[item] = pathItem(item, own, operationsOfItem(verbs, name), form);
  for (const [subName, subresource] of Object.entries(definition.subresources ?? {})) {
    const path = `${item}/${subName}`;
    const target = { ...subresourceKind(definition, subresource), isCustom };
    const operations = operationsOfItem(
      new Set(subresourceVerbs(subresource)),
      publishedName(subresourceSchema(definition, subresource)),
    );
    paths[path] = pathItem(path, target, operations, form);
  }
  return paths;
}

/** The schema of what a subresource reads and writes, such as `policy/v1.Eviction`. */
export function subresourceSchema(
  definition: ResourceDefinition,
  subresource: Subresource,
): string {
  if (subresource.type === 'status') return definition.schema;
  const { group, version, kind } = subresourceKind(definition, subresource);
  const [ownPackage = ''] = definition.schema.split('.');
  const isOwn = group === definition.group && version === definition.version;
  return isOwn ? `${ownPackage}.${kind}` : `${group}/${version}.${kind}`;
}

function operationsOfCollection(verbs: ReadonlySet<string>, name: string): Operation[] {
  const operations: Operation[] = [];
  const list = `${name}List`;
  if (verbs.has('list'))
    operations.push(
      operation('list', 'get', { parameters: listParameters, body: name, answer: list }),
    );
  if (verbs.has('create'))
    operations.push(
      operation('post', 'post', { parameters: writeParameters, body: name, answer: name }),
    );
  if (verbs.has('deletecollection'))
    operations.push(
      operation('deletecollection', 'delete', {
        parameters: [...deleteParameters, ...listParameters],
        ...deletion,
      }),
    );
  return operations;
}

function operationsOfItem(verbs: ReadonlySet<string>, name: string): Operation[] {
  const operations: Operation[] = [];
  const own = { body: name, answer: name };
  if (verbs.has('get')) operations.push(operation('get', 'get', { parameters: [], ...own }));
  if (verbs.has('create'))
    operations.push(operation('post', 'post', { parameters: writeParameters, ...own }));
  if (verbs.has('update'))
    operations.push(operation('put', 'put', { parameters: writeParameters, ...own }));
  if (verbs.has('patch'))
    operations.push(
      operation('patch', 'patch', { parameters: [...writeParameters, forceParameter], ...own }),
    );
  if (verbs.has('delete'))
    operations.push(operation('delete', 'delete', { parameters: deleteParameters, ...deletion }));
  return operations;
}

const forceParameter: Parameter = {
  name: 'force',
  type: 'boolean',
  description: 'Take over fields of other managers.',
};
const deletion = {
  body: publishedName('meta/v1.DeleteOptions'),
  answer: publishedName('meta/v1.Status'),
};

function operation(
  action: string,
  method: Operation['method'],
  rest: Pick<Operation, 'parameters' | 'body' | 'answer'>,
): Operation {
  return { action, method, hasBody: method !== 'get', ...rest };
}

function pathItem(
  path: string,
  kind: Subject,
  operations: readonly Operation[],
  form: OpenApiForm,
): object {
  const item: Record<string, unknown> = {
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        ...typed('string', form),
      })),
      { name: 'pretty', in: 'query', ...typed('string', form) },
    ],
  };
  for (const entry of operations) item[entry.method] = operationObject(entry, kind, form);
  return item;
}

function operationObject(entry: Operation, subject: Subject, form: OpenApiForm): object {
  const { isCustom, ...kind } = subject;
  // kubectl sends a strategic merge wherever it is named here.
  const patches = isCustom ? patchTypes.filter((type) => !type.includes('strategic')) : patchTypes;
  const parameters: object[] = entry.parameters.map(({ name, type, description }) => ({
    name,
    in: 'query',
    description,
    ...typed(type, form),
  }));
  const shared = {
    tags: [kind.group === '' ? `core_${kind.version}` : `${kind.group}_${kind.version}`],
    'x-kubernetes-action': entry.action,
    'x-kubernetes-group-version-kind': kind,
  };
  const body = entry.method === 'patch' ? publishedName('meta/v1.Patch') : entry.body;
  if (form === 'v2') {
    if (entry.hasBody)
      parameters.push({ name: 'body', in: 'body', schema: referenceTo(body, form) });
    return {
      ...shared,
      consumes: entry.method === 'patch' ? patches : ['*/*'],
      produces: ['application/json'],
      parameters,
      responses: { 200: { description: 'OK', schema: referenceTo(entry.answer, form) } },
    };
  }
  const content = (types: readonly string[], name: string): object =>
    Object.fromEntries(types.map((type) => [type, { schema: referenceTo(name, form) }]));
  return {
    ...shared,
    parameters,
    ...(entry.hasBody
      ? { requestBody: { content: content(entry.method === 'patch' ? patches : ['*/*'], body) } }
      : {}),
    responses: {
      200: { description: 'OK', content: content(['application/json'], entry.answer) },
    },
  };
}

const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

function typed(type: Parameter['type'], form: OpenApiForm): object {
  return form === 'v2' ? { type, uniqueItems: true } : { schema: { type, uniqueItems: true } };
}
