// The scale subresource: kinds with replicas, seen as autoscaling/v1 Scale.
// Source: kubernetes pkg/registry/apps/deployment/storage/storage.go (ScaleREST).
import type { Scale } from '#kube/api/autoscaling.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ownersOfScale, withOwnersOfScale } from '#kube/machinery/apply/scale-owners.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { invalid } from '#kube/machinery/status.ts';
import type { ScaleSubresource } from '../../registry/resource.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { objectRules } from '../../registry/update.ts';
import type { WriteOptions } from '../../registry/write.ts';
import type { ApiResponse } from '../http.ts';
import { decodeApplied, readConfiguration, type Configuration } from './apply.ts';
import { checkName, readObject } from './body.ts';
import { setManagedFields } from './fields.ts';
import { parsePatchParameters, parseWriteParameters } from './options.ts';
import { applyPatch, isApplyRequest, readPatch } from './patch.ts';
import { outputForm, respondValue } from './respond.ts';
import { attributesOf, type BodyKind, type RequestScope } from './scope.ts';
import { updateOptions } from './write.ts';

export const scaleKind: BodyKind = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  schema: 'autoscaling/v1.Scale',
};

export async function handleScaleGet(
  scope: RequestScope,
  subresource: ScaleSubresource,
): Promise<ApiResponse> {
  outputForm(scope);
  const stored = await scope.resource.get(scope.info.namespace, scope.info.name);
  return respondValue(scope, scaleOf(stored.object, subresource));
}

export async function handleScaleUpdate(
  scope: RequestScope,
  subresource: ScaleSubresource,
): Promise<ApiResponse> {
  const { dryRun, validation } = parseWriteParameters(scope.request.query, 'UpdateOptions');
  const scale = await readObject(scope, scaleKind, validation);
  checkName(scope, scale);
  return writeScale(scope, subresource, { dryRun, change: tracked(scope, () => scale as Scale) });
}

export async function handleScalePatch(
  scope: RequestScope,
  subresource: ScaleSubresource,
): Promise<ApiResponse> {
  const isApply = isApplyRequest(scope);
  const parameters = parsePatchParameters(scope.request.query, isApply);
  const { dryRun, validation } = parameters;
  if (isApply) {
    const configuration = await readConfiguration(scope, scaleKind, parameters);
    return writeScale(scope, subresource, { dryRun, change: applied(scope, configuration) });
  }
  const patch = await readPatch(scope);
  const change = tracked(scope, (old) => {
    const next = applyPatch(scope, { patch, base: old, kind: scaleKind, validation });
    checkName(scope, next);
    return next as Scale;
  });
  return writeScale(scope, subresource, { dryRun, change });
}

interface ScaleWrite {
  readonly dryRun: boolean;
  /** From the Scale as it is, with its fields' owners, to what it shall be. */
  readonly change: (old: Scale) => Scale;
}

function tracked(scope: RequestScope, change: (old: Scale) => Scale): ScaleWrite['change'] {
  return (old) => {
    const { managedFields: _, ...metadata } = old.metadata;
    const next = { ...change({ ...old, metadata }) };
    next.spec = { replicas: next.spec?.replicas ?? 0 };
    next.metadata = { ...next.metadata };
    delete next.metadata.managedFields;
    setManagedFields(next, scope.fields.trackScale(scope, scaleKind.schema, { old, next }));
    return next;
  };
}

function applied(scope: RequestScope, { value, isForced }: Configuration): ScaleWrite['change'] {
  return (live) => {
    const given = { live, config: value, isForced };
    const result = scope.fields.applyScale(scope, scaleKind.schema, given);
    const next = decodeApplied(scope, scaleKind.schema, result);
    checkName(scope, next);
    return next as Scale;
  };
}

async function writeScale(
  scope: RequestScope,
  subresource: ScaleSubresource,
  { dryRun, change }: ScaleWrite,
): Promise<ApiResponse> {
  outputForm(scope);
  const { namespace, name } = scope.info;
  const { stored } = await scope.resource.update(
    {
      namespace,
      name,
      rules: objectRules(scope.definition),
      async change(old) {
        const object = (old as StoredObject).copy();
        const before = scaleOf(object, subresource);
        // A Scale of 0 says so here: its owner is known, too.
        before.spec = { replicas: subresource.getSpecReplicas(object) };
        setManagedFields(before, ownersOfScale(object.metadata.managedFields));
        const scale = change(before);
        const subject = { operation: 'UPDATE', name, object: scale, oldObject: before } as const;
        await scope.deps.admission.admit(attributesOf(scope, { ...subject, dryRun }));
        validateScale(scale);
        const { managedFields } = scale.metadata;
        setManagedFields(object, withOwnersOfScale(object.metadata.managedFields, managedFields));
        subresource.setSpecReplicas(object, scale.spec?.replicas ?? 0);
        object.metadata.uid = scale.metadata.uid;
        object.metadata.resourceVersion = scale.metadata.resourceVersion;
        return object;
      },
    },
    { ...updateOptions(scope, dryRun), validate: validatedAs(scope, subresource, dryRun) },
  );
  return respondValue(scope, scaleOf(stored.object, subresource));
}

/** Plugins see the Scale, whatever kind it is of. */
function validatedAs(
  scope: RequestScope,
  subresource: ScaleSubresource,
  dryRun: boolean,
): NonNullable<WriteOptions['validate']> {
  const seen = (one: KubeObject | undefined) =>
    one === undefined ? undefined : scaleOf(one, subresource);
  return async (next, old) => {
    const [object, oldObject] = [seen(next), seen(old)];
    const subject = { operation: 'UPDATE', name: scope.info.name, object, oldObject } as const;
    await scope.deps.admission.validate(attributesOf(scope, { ...subject, dryRun }));
  };
}

function validateScale(scale: Scale): void {
  const replicas = scale.spec?.replicas ?? 0;
  if (replicas >= 0) return;
  throw invalid(scaleKind, scale.metadata.name ?? '', [
    invalidField(field('spec', 'replicas'), replicas, 'must be greater than or equal to 0'),
  ]);
}

function scaleOf(object: KubeObject, subresource: ScaleSubresource): Scale {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = subresource.getSpecReplicas(object);
  const selector = subresource.getSelector(object);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: replicas === 0 ? {} : { replicas },
    status: {
      replicas: subresource.getStatusReplicas(object),
      ...(selector === '' ? {} : { selector }),
    },
  };
}
