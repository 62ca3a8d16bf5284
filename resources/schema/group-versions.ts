// What generate.ts generates: every group version that is served, and its kinds.

/** One group version to generate; `kinds` are its top-level kinds, the roots of the type closure. */
export interface GroupVersion {
  readonly group: string;
  readonly version: string;
  readonly protoPackage: string;
  readonly kinds: readonly string[];
}

export const api = 'k8s.io.api';
export const groupVersions: readonly GroupVersion[] = [
  {
    group: '',
    version: 'v1',
    protoPackage: `${api}.core.v1`,
    kinds: [
      'Binding',
      'ComponentStatus',
      'ConfigMap',
      'Endpoints',
      'Event',
      'LimitRange',
      'Namespace',
      'Node',
      'PersistentVolume',
      'PersistentVolumeClaim',
      'Pod',
      'PodTemplate',
      'ReplicationController',
      'ResourceQuota',
      'Secret',
      'Service',
      'ServiceAccount',
    ],
  },
  {
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    protoPackage: `${api}.admissionregistration.v1`,
    kinds: [
      'MutatingWebhookConfiguration',
      'ValidatingAdmissionPolicy',
      'ValidatingAdmissionPolicyBinding',
      'ValidatingWebhookConfiguration',
    ],
  },
  {
    group: 'admissionregistration.k8s.io',
    version: 'v1beta1',
    protoPackage: `${api}.admissionregistration.v1beta1`,
    kinds: ['MutatingAdmissionPolicy', 'MutatingAdmissionPolicyBinding'],
  },
  {
    group: 'apiextensions.k8s.io',
    version: 'v1',
    protoPackage: 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1',
    kinds: ['CustomResourceDefinition'],
  },
  {
    group: 'apiregistration.k8s.io',
    version: 'v1',
    protoPackage: 'k8s.io.kube_aggregator.pkg.apis.apiregistration.v1',
    kinds: ['APIService'],
  },
  {
    group: 'apps',
    version: 'v1',
    protoPackage: `${api}.apps.v1`,
    kinds: ['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'],
  },
  {
    group: 'authentication.k8s.io',
    version: 'v1',
    protoPackage: `${api}.authentication.v1`,
    kinds: ['SelfSubjectReview', 'TokenRequest', 'TokenReview'],
  },
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    protoPackage: `${api}.authorization.v1`,
    kinds: [
      'LocalSubjectAccessReview',
      'SelfSubjectAccessReview',
      'SelfSubjectRulesReview',
      'SubjectAccessReview',
    ],
  },
  {
    group: 'autoscaling',
    version: 'v1',
    protoPackage: `${api}.autoscaling.v1`,
    kinds: ['HorizontalPodAutoscaler', 'Scale'],
  },
  {
    group: 'autoscaling',
    version: 'v2',
    protoPackage: `${api}.autoscaling.v2`,
    kinds: ['HorizontalPodAutoscaler'],
  },
  {
    group: 'batch',
    version: 'v1',
    protoPackage: `${api}.batch.v1`,
    kinds: ['CronJob', 'Job'],
  },
  {
    group: 'certificates.k8s.io',
    version: 'v1',
    protoPackage: `${api}.certificates.v1`,
    kinds: ['CertificateSigningRequest'],
  },
  {
    group: 'coordination.k8s.io',
    version: 'v1',
    protoPackage: `${api}.coordination.v1`,
    kinds: ['Lease'],
  },
  {
    group: 'discovery.k8s.io',
    version: 'v1',
    protoPackage: `${api}.discovery.v1`,
    kinds: ['EndpointSlice'],
  },
  {
    group: 'events.k8s.io',
    version: 'v1',
    protoPackage: `${api}.events.v1`,
    kinds: ['Event'],
  },
  {
    group: 'flowcontrol.apiserver.k8s.io',
    version: 'v1',
    protoPackage: `${api}.flowcontrol.v1`,
    kinds: ['FlowSchema', 'PriorityLevelConfiguration'],
  },
  {
    group: 'networking.k8s.io',
    version: 'v1',
    protoPackage: `${api}.networking.v1`,
    kinds: ['Ingress', 'IngressClass', 'IPAddress', 'NetworkPolicy', 'ServiceCIDR'],
  },
  {
    group: 'node.k8s.io',
    version: 'v1',
    protoPackage: `${api}.node.v1`,
    kinds: ['RuntimeClass'],
  },
  {
    group: 'policy',
    version: 'v1',
    protoPackage: `${api}.policy.v1`,
    kinds: ['Eviction', 'PodDisruptionBudget'],
  },
  {
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    protoPackage: `${api}.rbac.v1`,
    kinds: ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
  },
  {
    group: 'scheduling.k8s.io',
    version: 'v1',
    protoPackage: `${api}.scheduling.v1`,
    kinds: ['PriorityClass'],
  },
  {
    group: 'storage.k8s.io',
    version: 'v1',
    protoPackage: `${api}.storage.v1`,
    kinds: [
      'CSIDriver',
      'CSINode',
      'CSIStorageCapacity',
      'StorageClass',
      'VolumeAttachment',
      'VolumeAttributesClass',
    ],
  },
];
