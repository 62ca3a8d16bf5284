// ServiceAccount: every pod runs as one, `default` unless it says otherwise, and it must exist.
// Its token, the cluster's certificate authority and the namespace's name are mounted into every
// container, unless pod or account say otherwise.
// Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go.
import type { Pod, PodSpec, ServiceAccount, Volume } from '#kube/api/core.ts';
import { delay, type Clock } from '#kube/base/clock.ts';
import { safeSuffix, type Random } from '#kube/base/random.ts';
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
  readonly random: Random;
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
      const isMounted =
        spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
      if (isMounted) mountToken(spec, deps.random);
    },
  };
}

const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
const volumePrefix = 'kube-api-access-';
/** A little more than an hour: Kubernetes knows by it that nobody asked for this lifetime. */
const expirationSeconds = 3607;

/** A container that mounts something else there keeps that. */
function mountToken(spec: PodSpec, random: Random): void {
  const containers = [...(spec.initContainers ?? []), ...spec.containers].filter(
    ({ volumeMounts = [] }) => !volumeMounts.some((mount) => mount.mountPath === mountPath),
  );
  if (containers.length === 0) return;
  const volume = (spec.volumes ?? []).find(
    ({ name = '', projected }: Partial<Volume>) =>
      name.startsWith(volumePrefix) && projected !== undefined,
  );
  const name = volume?.name ?? `${volumePrefix}${safeSuffix(random)}`;
  if (volume === undefined) spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
  for (const container of containers)
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name, readOnly: true, mountPath },
    ];
}

function tokenVolume(name: string): Volume {
  const fieldRef = { apiVersion: 'v1', fieldPath: 'metadata.namespace' };
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef }] } },
      ],
    },
  };
}
