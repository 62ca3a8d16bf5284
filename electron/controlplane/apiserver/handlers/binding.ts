// Binding a pod to a node.
// Source: kubernetes pkg/registry/core/pod/storage/storage.go.
import type { Binding, Pod } from '#kube/api/core.ts';
import type { Status } from '#kube/api/meta.ts';
import type { Eviction } from '#kube/api/policy.ts';
import { assert } from '#kube/base/assert.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { field, notSupported, required, type FieldError } from '#kube/machinery/field.ts';
import { badRequest, conflict, invalid } from '#kube/machinery/status.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { serverRules } from '../../registry/update.ts';
import type { ApiResponse } from '../http.ts';
import { readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

const bindingKind: BodyKind = {
  group: '',
  version: 'v1',
  kind: 'Binding',
  schema: 'core/v1.Binding',
};

export const created: Status = {
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Success',
  code: 201,
};

export async function handleBinding(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'CreateOptions');
  const binding = (await readObject(scope, bindingKind, validation)) as Binding;
  checkUrlName(scope, binding);
  const errors = validateBinding(binding);
  if (errors.length > 0) throw invalid(bindingKind, info.name, errors);
  const attributes = attributesOf(scope, {
    operation: 'CREATE',
    name: info.name,
    object: binding,
    dryRun,
  });
  await scope.deps.admission.admit(attributes);
  await resource.update(
    {
      namespace: info.namespace,
      name: info.name,
      rules: serverRules,
      change: (old) => Promise.resolve(bind(scope, old as StoredObject, binding)),
    },
    { dryRun, validate: () => scope.deps.admission.validate(attributes) },
  );
  return respondValue(scope, created, 201);
}

/** POST …/bindings. Differs: admission sees it as pods/binding, too. */
export async function handleBindingByName(scope: RequestScope): Promise<ApiResponse> {
  const { registry } = scope.deps;
  const bytes = await scope.request.readBody();
  const request = { ...scope.request, readBody: () => Promise.resolve(bytes) };
  const { metadata } = await readObject({ ...scope, request }, bindingKind, 'Ignore');
  // The types promise a name, the wire does not.
  const name: string = (metadata as Partial<typeof metadata>).name ?? '';
  if (name === '') throw badRequest('name is required');
  const definition = registry.table.lookup('', 'v1', 'pods');
  assert(definition, 'pods are in the table');
  const info = { ...scope.info, resource: 'pods', name, subresource: 'binding' };
  const resource = registry.resource(definition);
  return handleBinding({ ...scope, request, info, definition, resource });
}

export function checkUrlName({ info }: RequestScope, { kind, metadata }: Binding | Eviction): void {
  // The types promise a name, the wire does not.
  const name = metadata.name ?? '';
  const namespace = metadata.namespace ?? '';
  if (name !== '' && name !== info.name)
    throw badRequest(`name in URL does not match name in ${kind} object`);
  if (namespace !== '' && namespace !== info.namespace)
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
}

function validateBinding({ target }: Binding): FieldError[] {
  const path = field('target');
  const errors: FieldError[] = [];
  const { kind = '', name = '' } = target ?? {};
  if (kind !== '' && kind !== 'Node')
    errors.push(notSupported(path.child('kind'), kind, ['Node', '<empty>']));
  if (name === '') errors.push(required(path.child('name'), ''));
  return errors;
}

/** The pod with its node. Throws 409 when it has one already or is on its way out. */
function bind(scope: RequestScope, old: StoredObject, binding: Binding): Pod {
  const pod = old.copy() as Pod;
  const { name, uid } = pod.metadata;
  const refuse = (why: string) => conflict({ group: '', resource: 'pods/binding' }, name, why);
  const wantedUid = binding.metadata.uid ?? '';
  if (wantedUid !== '' && wantedUid !== uid)
    throw refuse(
      `Precondition failed: UID in precondition: ${wantedUid}, UID in object meta: ${uid ?? ''}`,
    );
  if (pod.metadata.deletionTimestamp !== undefined)
    throw refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  const nodeName = pod.spec?.nodeName ?? '';
  if (nodeName !== '') throw refuse(`pod ${name} is already assigned to node "${nodeName}"`);
  if (pod.spec !== undefined) pod.spec.nodeName = binding.target.name ?? '';
  const { annotations } = binding.metadata;
  if (annotations !== undefined)
    pod.metadata.annotations = { ...pod.metadata.annotations, ...annotations };
  setScheduled(pod, rfc3339(scope.deps.clock.now()));
  return pod;
}

function setScheduled(pod: Pod, now: string): void {
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: now };
  pod.status = { ...pod.status, conditions: [...others, scheduled] };
}
