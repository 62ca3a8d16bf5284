// PUT of a namespace's finalize subresource: sets spec.finalizers and nothing else. With the last
// one gone from a namespace under deletion, the namespace goes.
// Source: kubernetes pkg/registry/core/namespace/{storage/storage,strategy}.go.
import type { Namespace } from '#kube/api/core.ts';
import { deepCopy } from '#kube/machinery/equality.ts';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { serverRules } from '../../registry/update.ts';
import type { ApiResponse } from '../http.ts';
import { checkName, readObject } from './body.ts';
import { parseWriteParameters } from './options.ts';
import { outputForm, respondStored } from './respond.ts';
import type { RequestScope } from './scope.ts';
import { objectKind, updateOptions } from './write.ts';

export async function handleNamespaceFinalize(scope: RequestScope): Promise<ApiResponse> {
  outputForm(scope);
  const { info, resource, request } = scope;
  const { dryRun, validation } = parseWriteParameters(request.query, 'UpdateOptions');
  const namespace = (await readObject(scope, objectKind(scope), validation)) as Namespace;
  checkName(scope, namespace);
  const { stored } = await resource.update(
    {
      namespace: '',
      name: info.name,
      rules: serverRules,
      change(old) {
        const next = (old as StoredObject).copy() as Namespace;
        next.metadata.resourceVersion = namespace.metadata.resourceVersion;
        next.metadata.uid = namespace.metadata.uid;
        next.spec = deepCopy({ ...next.spec, finalizers: namespace.spec?.finalizers ?? [] });
        if (next.spec.finalizers?.length === 0) delete next.spec.finalizers;
        return Promise.resolve(next);
      },
    },
    updateOptions(scope, dryRun),
  );
  return respondStored(scope, stored);
}
