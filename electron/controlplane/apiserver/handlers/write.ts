// POST and PUT: decode and check, default, mutating admission, then the registry.
// Source: kubernetes apiserver pkg/endpoints/handlers/{create,update}.go.
import type { KubeObject } from '#kube/api/object.ts';
import { readOwners } from '#kube/machinery/apply/manager-entries.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { objectRules, statusRules, type UpdateRules } from '../../registry/update.ts';
import type { WriteOptions } from '../../registry/write.ts';
import type { ApiResponse } from '../http.ts';
import { forbiddenError } from '../identity/authorization.ts';
import { checkName, placeInNamespace, readObject } from './body.ts';
import { setManagedFields } from './fields.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondStored } from './respond.ts';
import { attributesOf, type AdmissionSubject, type BodyKind, type RequestScope } from './scope.ts';

export async function handleCreate(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { dryRun, validation } = parseWriteParameters(scope.request.query, 'CreateOptions');
  const object = await readObject(scope, objectKind(scope), validation);
  placeInNamespace(scope, object);
  scope.resource.applyDefaults(object);
  await scope.fields.track(scope, undefined, object);
  await admitCreate(scope, object, dryRun);
  const options = createOptions(scope, dryRun);
  return respondStored(scope, await scope.resource.create(object, options), 201);
}

/** PUT of the object or of its status. */
export async function handleUpdate(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'UpdateOptions');
  const object = await readObject(scope, objectKind(scope), validation);
  checkName(scope, object);
  placeInNamespace(scope, object);
  const { stored, isCreated } = await resource.update(
    {
      namespace: info.namespace,
      name: info.name,
      rules: rulesOf(scope),
      mayCreate: info.subresource === '' ? 'ifKindAllows' : 'never',
      validateCreate: createOptions(scope, dryRun).validate,
      async change(old) {
        const next = deepCopy(object);
        resource.applyDefaults(next);
        await scope.fields.track(scope, old?.object, next);
        await admit(scope, next, old?.object, dryRun);
        return next;
      },
    },
    updateOptions(scope, dryRun),
  );
  return respondStored(scope, stored, isCreated ? 201 : 200);
}

export function objectKind({ definition }: RequestScope): BodyKind {
  const { group, version, kind, schema } = definition;
  return { group, version, kind, schema };
}

/** What this request may change: the object, or only its status. */
export function rulesOf({ definition, info }: RequestScope): UpdateRules {
  const subresource = definition.subresources?.[info.subresource];
  return subresource?.type === 'status'
    ? statusRules(subresource, definition)
    : objectRules(definition);
}

/** Mutating admission of what a PUT or PATCH makes, on every retry; of a create, if there is no old. */
export async function admit(
  scope: RequestScope,
  object: KubeObject,
  oldObject: KubeObject | undefined,
  dryRun: boolean,
): Promise<void> {
  if (oldObject === undefined) {
    authorizeCreate(scope);
    return admitCreate(scope, object, dryRun);
  }
  const { name } = scope.info;
  await mutate(scope, { operation: 'UPDATE', name, object, oldObject, dryRun });
}

async function admitCreate(
  scope: RequestScope,
  object: KubeObject,
  dryRun: boolean,
): Promise<void> {
  const name = object.metadata.name ?? '';
  await mutate(scope, { operation: 'CREATE', name, object, dryRun });
}

/** The object stays in its namespace, and what a plugin leaves as managedFields has to be some. */
async function mutate(
  scope: RequestScope,
  subject: AdmissionSubject & { readonly object: KubeObject },
): Promise<void> {
  const { object } = subject;
  const before = object.metadata.managedFields;
  await scope.deps.admission.admit(attributesOf(scope, subject));
  placeInNamespace(scope, object);
  const after = object.metadata.managedFields;
  if (after === before || readOwners(after) !== undefined) return;
  setManagedFields(object, before);
  scope.warnings.add(
    '.metadata.managedFields was in an invalid state after admission; this could be caused by an ' +
      'outdated mutating admission controller; please fix your requests',
  );
}

/** An update that creates needs the permission to create, too. */
function authorizeCreate({ info, user, deps }: RequestScope): void {
  const { version: _version, rest: _rest, ...target } = info;
  const attributes = { ...target, verb: 'create', user, fieldSelector: null };
  const decision = deps.access.authorize(attributes);
  if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
}

export function createOptions(scope: RequestScope, dryRun: boolean): WriteOptions {
  return {
    dryRun,
    warn: (text) => void scope.warnings.add(text),
    async validate(object) {
      const name = object?.metadata.name ?? '';
      const subject = { operation: 'CREATE', name, object, dryRun } as const;
      await scope.deps.admission.validate(attributesOf(scope, subject));
    },
  };
}

export function updateOptions(scope: RequestScope, dryRun: boolean): WriteOptions {
  return {
    dryRun,
    warn: (text) => void scope.warnings.add(text),
    async validate(object, oldObject) {
      const { name } = scope.info;
      const subject = { operation: 'UPDATE', name, object, oldObject, dryRun } as const;
      await scope.deps.admission.validate(attributesOf(scope, subject));
    },
  };
}
