// The kinds our own code talks to, as typed values: what a REST path is made of, plus the object's
// TypeScript type. Kinds met only at run time come from discovery.ts.
import type {
  ConfigMap,
  Endpoints,
  Event,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicationController,
  ResourceQuota,
  Secret,
  Service,
  ServiceAccount,
} from '../api/core.ts';
import type { ValidatingAdmissionPolicy } from '../api/admissionregistration.ts';
import type { APIService } from '../api/apiregistration.ts';
import type { CustomResourceDefinition } from '../api/apiextensions.ts';
import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet } from '../api/apps.ts';
import type { TokenReview } from '../api/authentication.ts';
import type { SubjectAccessReview } from '../api/authorization.ts';
import type { CertificateSigningRequest } from '../api/certificates.ts';
import type { Lease } from '../api/coordination.ts';
import type { EndpointSlice } from '../api/discovery.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '../api/flowcontrol.ts';
import type { Ingress, IngressClass, NetworkPolicy } from '../api/networking.ts';
import type { ClusterBackup } from '../api/cluster-backup.ts';
import type { Discovery, Machine } from '../api/fleet.ts';
import type { VolumeMove } from '../api/volume-move.ts';
import type { RuntimeClass } from '../api/node.ts';
import type { PodDisruptionBudget } from '../api/policy.ts';
import type { ClusterRole } from '../api/rbac.ts';
import type { StorageClass } from '../api/storage.ts';
import type { GroupVersionResource, KubeObject } from '../api/object.ts';
import { assert } from '../base/assert.ts';
import { resourcePath } from '../machinery/gvk.ts';

export interface Resource<T extends KubeObject = KubeObject> extends GroupVersionResource {
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: it carries the object's type for inference. */
  readonly object?: T;
}

export const pods: Resource<Pod> = core('pods', 'Pod');
export const services: Resource<Service> = core('services', 'Service');
export const endpoints: Resource<Endpoints> = core('endpoints', 'Endpoints');
export const configMaps: Resource<ConfigMap> = core('configmaps', 'ConfigMap');
export const secrets: Resource<Secret> = core('secrets', 'Secret');
export const serviceAccounts: Resource<ServiceAccount> = core('serviceaccounts', 'ServiceAccount');
export const events: Resource<Event> = core('events', 'Event');
export const replicationControllers: Resource<ReplicationController> = core(
  'replicationcontrollers',
  'ReplicationController',
);
export const resourceQuotas: Resource<ResourceQuota> = core('resourcequotas', 'ResourceQuota');
export const persistentVolumeClaims: Resource<PersistentVolumeClaim> = core(
  'persistentvolumeclaims',
  'PersistentVolumeClaim',
);
export const persistentVolumes: Resource<PersistentVolume> = {
  ...core('persistentvolumes', 'PersistentVolume'),
  namespaced: false,
};
export const storageClasses: Resource<StorageClass> = {
  group: 'storage.k8s.io',
  version: 'v1',
  resource: 'storageclasses',
  kind: 'StorageClass',
  namespaced: false,
};
export const ingresses: Resource<Ingress> = {
  group: 'networking.k8s.io',
  version: 'v1',
  resource: 'ingresses',
  kind: 'Ingress',
  namespaced: true,
};
export const ingressClasses: Resource<IngressClass> = {
  group: 'networking.k8s.io',
  version: 'v1',
  resource: 'ingressclasses',
  kind: 'IngressClass',
  namespaced: false,
};
export const networkPolicies: Resource<NetworkPolicy> = {
  group: 'networking.k8s.io',
  version: 'v1',
  resource: 'networkpolicies',
  kind: 'NetworkPolicy',
  namespaced: true,
};
export const runtimeClasses: Resource<RuntimeClass> = {
  group: 'node.k8s.io',
  version: 'v1',
  resource: 'runtimeclasses',
  kind: 'RuntimeClass',
  namespaced: false,
};
export const namespaces: Resource<Namespace> = {
  ...core('namespaces', 'Namespace'),
  namespaced: false,
};
export const nodes: Resource<Node> = { ...core('nodes', 'Node'), namespaced: false };

export const deployments: Resource<Deployment> = apps('deployments', 'Deployment');
export const replicaSets: Resource<ReplicaSet> = apps('replicasets', 'ReplicaSet');
export const daemonSets: Resource<DaemonSet> = apps('daemonsets', 'DaemonSet');
export const controllerRevisions: Resource<ControllerRevision> = apps(
  'controllerrevisions',
  'ControllerRevision',
);

export const customResourceDefinitions: Resource<CustomResourceDefinition> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  resource: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
export const validatingAdmissionPolicies: Resource<ValidatingAdmissionPolicy> = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  resource: 'validatingadmissionpolicies',
  kind: 'ValidatingAdmissionPolicy',
  namespaced: false,
};
export const apiServices: Resource<APIService> = {
  group: 'apiregistration.k8s.io',
  version: 'v1',
  resource: 'apiservices',
  kind: 'APIService',
  namespaced: false,
};
export const leases: Resource<Lease> = {
  group: 'coordination.k8s.io',
  version: 'v1',
  resource: 'leases',
  kind: 'Lease',
  namespaced: true,
};
export const endpointSlices: Resource<EndpointSlice> = {
  group: 'discovery.k8s.io',
  version: 'v1',
  resource: 'endpointslices',
  kind: 'EndpointSlice',
  namespaced: true,
};

export const flowSchemas: Resource<FlowSchema> = flowControl('flowschemas', 'FlowSchema');
export const priorityLevelConfigurations: Resource<PriorityLevelConfiguration> = flowControl(
  'prioritylevelconfigurations',
  'PriorityLevelConfiguration',
);
export const podDisruptionBudgets: Resource<PodDisruptionBudget> = {
  group: 'policy',
  version: 'v1',
  resource: 'poddisruptionbudgets',
  kind: 'PodDisruptionBudget',
  namespaced: true,
};

export const clusterRoles: Resource<ClusterRole> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  resource: 'clusterroles',
  kind: 'ClusterRole',
  namespaced: false,
};
export const certificateSigningRequests: Resource<CertificateSigningRequest> = {
  group: 'certificates.k8s.io',
  version: 'v1',
  resource: 'certificatesigningrequests',
  kind: 'CertificateSigningRequest',
  namespaced: false,
};

export const tokenReviews: Resource<TokenReview> = {
  group: 'authentication.k8s.io',
  version: 'v1',
  resource: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
};

export const subjectAccessReviews: Resource<SubjectAccessReview> = {
  group: 'authorization.k8s.io',
  version: 'v1',
  resource: 'subjectaccessreviews',
  kind: 'SubjectAccessReview',
  namespaced: false,
};

export const machines: Resource<Machine> = fleet('machines', 'Machine');
export const discoveries: Resource<Discovery> = fleet('discoveries', 'Discovery');
export const clusterBackups: Resource<ClusterBackup> = fleet('clusterbackups', 'ClusterBackup');
export const volumeMoves: Resource<VolumeMove> = {
  ...fleet('volumemoves', 'VolumeMove'),
  namespaced: true,
};

/** Names an object of a known resource; `namespace` is left out for cluster-scoped ones. */
export interface ObjectRef {
  readonly namespace?: string;
  readonly name: string;
}

export interface PathParts {
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** `/apis/apps/v1/namespaces/default/deployments/web/status`. */
export function pathOfResource(resource: GroupVersionResource, parts: PathParts = {}): string {
  // An empty name would turn a delete into the deletion of the whole collection.
  assert(parts.name !== '', `an object of ${resource.resource} needs a name`);
  const { group, version, resource: plural } = resource;
  // Picked one by one: a caller's ref may be an object with more to it.
  const { namespace, name, subresource } = parts;
  return resourcePath({ group, version, resource: plural, namespace, name, subresource });
}

/** `namespace/name`, or `name` for cluster-scoped objects: the key of caches and work queues. */
export function keyOf(object: { metadata: { namespace?: string; name: string } }): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

export function parseKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  if (slash < 0) return { namespace: '', name: key };
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

function core(resource: string, kind: string): Resource<never> {
  return { group: '', version: 'v1', resource, kind, namespaced: true };
}

function apps(resource: string, kind: string): Resource<never> {
  return { group: 'apps', version: 'v1', resource, kind, namespaced: true };
}

function fleet(resource: string, kind: string): Resource<never> {
  return { group: 'flotilla.dev', version: 'v1alpha1', resource, kind, namespaced: false };
}

function flowControl(resource: string, kind: string): Resource<never> {
  const group = 'flowcontrol.apiserver.k8s.io';
  return { group, version: 'v1', resource, kind, namespaced: false };
}
