// The scale subresource: kinds with replicas, seen as autoscaling/v1 Scale.
// Source: kubernetes pkg/registry/apps/deployment/storage/storage.go (ScaleREST).
import type { Scale } from '#kube/api/autoscaling.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { field, invalid as invalidField } from '#kube/machinery/field.ts';
import { invalid } from '#kube/machinery/status.ts';
import type { ScaleSubresource } from '../../registry/resource.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { objectRules } from '../../registry/update.ts';
import type { ApiResponse } from '../http.ts';
import { checkName, readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { applyPatch, readPatch } from './patch.ts';
import { outputForm, respondValue } from './respond.ts';
import type { BodyKind, RequestScope } from './scope.ts';
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
  return writeScale(scope, subresource, { dryRun, change: () => scale as Scale });
}

export async function handleScalePatch(
  scope: RequestScope,
  subresource: ScaleSubresource,
): Promise<ApiResponse> {
  const { dryRun, validation } = parseWriteParameters(scope.request.query, 'PatchOptions');
  const patch = await readPatch(scope);
  function change(old: Scale): Scale {
    const next = applyPatch(scope, { patch, base: old, kind: scaleKind, validation });
    checkName(scope, next);
    return next as Scale;
  }
  return writeScale(scope, subresource, { dryRun, change });
}

interface ScaleWrite {
  readonly dryRun: boolean;
  readonly change: (old: Scale) => Scale;
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
      change(old) {
        const object = (old as StoredObject).copy();
        const scale = change(scaleOf(object, subresource));
        validateScale(scale);
        subresource.setSpecReplicas(object, scale.spec?.replicas ?? 0);
        object.metadata.uid = scale.metadata.uid;
        object.metadata.resourceVersion = scale.metadata.resourceVersion;
        return Promise.resolve(object);
      },
    },
    updateOptions(scope, dryRun),
  );
  return respondValue(scope, scaleOf(stored.object, subresource));
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
