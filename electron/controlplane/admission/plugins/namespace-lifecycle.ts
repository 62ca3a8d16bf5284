// NamespaceLifecycle: nothing is created where there is no namespace or one that is going away,
// and the system's own namespaces stay.
// Source: kubernetes apiserver pkg/admission/plugin/namespace/lifecycle/admission.go.
import type { Namespace } from '#kube/api/core.ts';
import { forbidden, notFound } from '#kube/machinery/status.ts';
import type { AdmissionAttributes, AdmissionPlugin, ObjectReader } from '../chain.ts';

const namespaces = { group: '', version: 'v1', resource: 'namespaces' };
const immortal = new Set(['default', 'kube-system', 'kube-public']);

export function namespaceLifecycle(reader: ObjectReader): AdmissionPlugin {
  return {
    name: 'NamespaceLifecycle',
    handles: ({ operation, namespace, resource }) =>
      // An answer to what one may do there would tell whether there is such a namespace.
      (operation === 'CREATE' &&
        namespace !== '' &&
        resource.resource !== 'localsubjectaccessreviews') ||
      (operation === 'DELETE' && resource.group === '' && resource.resource === 'namespaces'),
    validate({ operation, name }) {
      if (operation === 'DELETE') refuseImmortal(name);
    },
    // Changes nothing, but has to speak before plugins that look for other things of the namespace.
    async admit(attributes) {
      if (attributes.operation !== 'CREATE') return;
      const found = await reader.get(namespaces, '', attributes.namespace);
      if (found === undefined) throw notFound(namespaces, attributes.namespace);
      // The reader looked it up as a namespace.
      if ((found as Namespace).status?.phase === 'Terminating') throw terminating(attributes);
    },
  };
}

function refuseImmortal(name: string): void {
  if (immortal.has(name)) throw forbidden(namespaces, name, 'this namespace may not be deleted');
}

/** Clients that drain or clean up look for the cause. */
function terminating({ resource, name, namespace }: AdmissionAttributes): Error {
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const error = forbidden(resource, name, why);
  const cause = {
    reason: 'NamespaceTerminating',
    message: `namespace ${namespace} is being terminated`,
    field: 'metadata.namespace',
  };
  error.status.details = { ...error.status.details, causes: [cause] };
  return error;
}
