// POST and PUT: decode and check, default, mutating admission, then the registry.
// Source: kubernetes apiserver pkg/endpoints/handlers/{create,update}.go.
import type { KubeObject } from '#kube/api/object.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import { objectRules, statusRules, type UpdateRules } from '../../registry/update.ts';
import type { WriteOptions } from '../../registry/write.ts';
import type { ApiResponse } from '../http.ts';
import { checkName, placeInNamespace, readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondStored } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';

export async function handleCreate(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { dryRun, validation } = parseWriteParameters(scope.request.query, 'CreateOptions');
  const object = await readObject(scope, objectKind(scope), validation);
  placeInNamespace(scope, object);
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
      mayCreate: info.subresource === '',
      validateCreate: createOptions(scope, dryRun).validate,
      async change(old) {
        const next = deepCopy(object);
        if (old === undefined) await admitCreate(scope, next, dryRun);
        else await admitUpdate(scope, next, old.object, dryRun);
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

async function admitCreate(
  scope: RequestScope,
  object: KubeObject,
  dryRun: boolean,
): Promise<void> {
  scope.resource.applyDefaults(object);
  const name = object.metadata.name ?? '';
  await scope.deps.admission.admit(
    attributesOf(scope, { operation: 'CREATE', name, object, dryRun }),
  );
}

/** Defaults and mutating admission: both before the registry's rules, on every retry. */
export async function admitUpdate(
  scope: RequestScope,
  object: KubeObject,
  oldObject: KubeObject,
  dryRun: boolean,
): Promise<void> {
  scope.resource.applyDefaults(object);
  const subject = {
    operation: 'UPDATE',
    name: scope.info.name,
    object,
    oldObject,
    dryRun,
  } as const;
  await scope.deps.admission.admit(attributesOf(scope, subject));
}

function createOptions(scope: RequestScope, dryRun: boolean): WriteOptions {
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
