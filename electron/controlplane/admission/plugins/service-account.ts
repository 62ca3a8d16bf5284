// ServiceAccount: every pod runs as one, `default` unless it says otherwise, and it must exist.
// Differs: mounts no token yet (there is no token to mount).
// Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go.
import type { Pod, ServiceAccount } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import { forbidden } from '#kube/machinery/status.ts';
import type { AdmissionPlugin, ObjectReader } from '../chain.ts';

const serviceAccounts = { group: '', version: 'v1', resource: 'serviceaccounts' };
const defaultName = 'default';
/** A new namespace has no account until its controller has made one. */
const attempts = 10;
const retryDelayMs = 100;
const mirrorAnnotation = 'kubernetes.io/config.mirror';

export function serviceAccount(deps: {
  readonly reader: ObjectReader;
  readonly clock: Clock;
}): AdmissionPlugin {
  async function find(namespace: string, name: string): Promise<ServiceAccount | undefined> {
    const tries = name === defaultName ? attempts : 1;
    for (let left = tries; left > 0; left--) {
      const found = await deps.reader.get(serviceAccounts, namespace, name);
      if (found !== undefined) return found as ServiceAccount;
      if (left > 1) await delay(deps.clock, retryDelayMs);
    }
    return undefined;
  }
  return {
    name: 'ServiceAccount',
    handles: ({ operation, resource, subresource }) =>
      operation === 'CREATE' &&
      subresource === '' &&
      resource.group === '' &&
      resource.resource === 'pods',
    async admit({ object, namespace, name, resource }) {
      const pod = object as Pod;
      if (pod.metadata.annotations?.[mirrorAnnotation] !== undefined) return;
      const { spec } = pod;
      spec.serviceAccountName ||= defaultName;
      // The deprecated name of the field always follows.
      spec.serviceAccount = spec.serviceAccountName;
      const account = await find(namespace, spec.serviceAccountName);
      if (account === undefined) {
        const wanted = spec.serviceAccountName;
        const why = `error looking up service account ${namespace}/${wanted}: serviceaccount "${wanted}" not found`;
        throw forbidden(resource, name, why);
      }
      if ((spec.imagePullSecrets ?? []).length === 0 && account.imagePullSecrets !== undefined)
        spec.imagePullSecrets = account.imagePullSecrets.map((secret) => ({ ...secret }));
    },
  };
}
