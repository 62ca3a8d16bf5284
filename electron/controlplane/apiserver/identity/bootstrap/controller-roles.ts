// Each controller acts as a service account of kube-system with a role of its own: what it writes,
// and no more. The informers that they share read as system:kube-controller-manager.
// Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go.
import type { PolicyRule } from '#kube/api/rbac.ts';
import { appSigner } from '#kube/machinery/app-names.ts';
import { removedMachinesRef } from '#kube/machinery/removed-machines.ts';
import { events, read, rule } from './vocabulary.ts';

const csr = 'certificates.k8s.io';
const flowControl = 'flowcontrol.apiserver.k8s.io';
/** Differs: in Kubernetes people approve the second. See `selfnodeserver`. */
const agentSigners = 'kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving';
const signers = `kubernetes.io/kube-apiserver-client ${agentSigners}`;

/** A controller that owns pods: of its own kind, in `group`. */
function podOwner(group: string, plural: string, own = read): PolicyRule[] {
  return [
    rule(own, group, plural),
    rule('update', group, `${plural}/status ${plural}/finalizers`),
    rule('list watch create delete patch', 'core', 'pods'),
    events,
  ];
}

const revisions = rule('get list watch create delete patch update', 'apps', 'controllerrevisions');

const rulesByName: Readonly<Record<string, readonly PolicyRule[]>> = {
  // Differs: Kubernetes has no certificates for names of apps.
  'app-certificate-controller': [
    rule(read, csr, 'certificatesigningrequests'),
    rule('update', csr, 'certificatesigningrequests/status certificatesigningrequests/approval'),
    rule('approve sign', csr, 'signers', appSigner),
    rule(read, 'networking.k8s.io', 'ingresses ingressclasses'),
    rule(`${read} create update`, 'core', 'configmaps'),
    events,
  ],
  'attachdetach-controller': [
    rule('list watch', 'core', 'persistentvolumes persistentvolumeclaims pods'),
    rule(read, 'core', 'nodes'),
    rule('patch update', 'core', 'nodes/status'),
    rule(`${read} create delete`, 'storage.k8s.io', 'volumeattachments'),
    rule(read, 'storage.k8s.io', 'csidrivers csinodes'),
    events,
  ],
  'certificate-controller': [
    rule(`${read} delete`, csr, 'certificatesigningrequests'),
    rule('update', csr, 'certificatesigningrequests/status certificatesigningrequests/approval'),
    rule('approve', csr, 'signers', agentSigners),
    rule('sign', csr, 'signers', signers),
    rule('create', 'authorization.k8s.io', 'subjectaccessreviews'),
    // Differs: whether a node whose certificate ended is one still.
    rule('get', 'core', 'nodes'),
    events,
  ],
  // Differs: Kubernetes has none.
  'cluster-backup': [
    rule(read, 'flotilla.dev', 'clusterbackups'),
    rule('update', 'flotilla.dev', 'clusterbackups/status'),
    rule('get', 'core', 'namespaces'),
    events,
  ],
  'clusterrole-aggregation-controller': [
    rule(`${read} patch update escalate`, 'rbac.authorization.k8s.io', 'clusterroles'),
  ],
  'cronjob-controller': [
    rule(`${read} update`, 'batch', 'cronjobs'),
    rule(`${read} create delete patch update`, 'batch', 'jobs'),
    rule('update', 'batch', 'cronjobs/status cronjobs/finalizers'),
    rule('list watch delete', 'core', 'pods'),
    events,
  ],
  'daemon-set-controller': [
    ...podOwner('apps', 'daemonsets'),
    rule('list watch', 'core', 'nodes'),
    rule('create', 'core', 'pods/binding'),
    revisions,
  ],
  'deployment-controller': [
    rule(`${read} update`, 'apps', 'deployments'),
    rule('update', 'apps', 'deployments/status deployments/finalizers'),
    rule(`${read} create delete patch update`, 'apps', 'replicasets'),
    rule(`${read} update`, 'core', 'pods'),
    events,
  ],
  'disruption-controller': [
    rule(read, 'apps', 'deployments replicasets statefulsets'),
    rule(read, 'core', 'replicationcontrollers'),
    rule(read, 'policy', 'poddisruptionbudgets'),
    rule('update', 'policy', 'poddisruptionbudgets/status'),
    rule('patch update', 'core', 'pods/status'),
    rule('get', '*', '*/scale'),
    events,
  ],
  'endpoint-controller': [
    rule(read, 'core', 'services pods'),
    rule(`${read} create delete update`, 'core', 'endpoints'),
    rule('create', 'core', 'endpoints/restricted'),
    events,
  ],
  'endpointslice-controller': [
    rule(read, 'core', 'services pods nodes'),
    rule('update', 'core', 'services/finalizers'),
    rule(`${read} create delete update`, 'discovery.k8s.io', 'endpointslices'),
    events,
  ],
  'endpointslicemirroring-controller': [
    rule(read, 'core', 'services endpoints'),
    rule('update', 'core', 'services/finalizers endpoints/finalizers'),
    rule(`${read} create delete update`, 'discovery.k8s.io', 'endpointslices'),
    events,
  ],
  'ephemeral-volume-controller': [
    rule(read, 'core', 'pods'),
    rule('update', 'core', 'pods/finalizers'),
    rule(`${read} create`, 'core', 'persistentvolumeclaims'),
    events,
  ],
  // Differs: in Kubernetes parts of the API server do what these three do, as a master.
  'flow-schema-controller': [
    rule(read, flowControl, 'flowschemas prioritylevelconfigurations'),
    rule('update', flowControl, 'flowschemas/status'),
  ],
  'api-service-controller': [
    rule(`${read} create delete update`, 'apiregistration.k8s.io', 'apiservices'),
    rule('update', 'apiregistration.k8s.io', 'apiservices/status'),
  ],
  'custom-resource-definition-controller': [
    rule(`${read} update`, 'apiextensions.k8s.io', 'customresourcedefinitions'),
    rule('update', 'apiextensions.k8s.io', 'customresourcedefinitions/status'),
    rule(`${read} delete deletecollection`, '*', '*'),
  ],
  'generic-garbage-collector': [rule(`${read} patch update delete`, '*', '*'), events],
  'horizontal-pod-autoscaler': [
    rule(read, 'autoscaling', 'horizontalpodautoscalers'),
    rule('update', 'autoscaling', 'horizontalpodautoscalers/status'),
    rule('get update', '*', '*/scale'),
    rule('list watch', 'core metrics.k8s.io', 'pods'),
    rule(read, 'custom.metrics.k8s.io external.metrics.k8s.io', '*'),
    events,
  ],
  // Differs: Kubernetes' asks a cloud; here it looks where pods are, and writes down addresses it gave.
  'service-controller': [
    rule(`${read} patch`, 'core', 'services'),
    rule('patch update', 'core', 'services/status'),
    rule('list watch', 'core', 'nodes configmaps'),
    rule('list watch', 'discovery.k8s.io', 'endpointslices'),
    events,
  ],
  // Differs: Kubernetes' servers do it themselves.
  'api-endpoints-controller': [
    rule('get list watch delete', 'coordination.k8s.io', 'leases'),
    rule('get list watch create update delete', 'discovery.k8s.io', 'endpointslices'),
  ],
  // Differs: Kubernetes leaves Ingresses to whoever serves them.
  'ingress-address-controller': [
    rule(read, 'networking.k8s.io', 'ingresses ingressclasses'),
    rule('update', 'networking.k8s.io', 'ingresses/status'),
    rule(read, 'core', 'nodes'),
  ],
  'ingress-problem-controller': [
    rule(read, 'networking.k8s.io', 'ingresses ingressclasses'),
    rule(read, 'core', 'services secrets'),
    events,
  ],
  'job-controller': podOwner('batch', 'jobs', `${read} patch update`),
  // Differs: Kubernetes upgrades no agents.
  'agent-upgrade': [
    rule(`${read} patch`, 'core', 'nodes'),
    rule('get', 'core', 'configmaps', 'control-plane-members'),
  ],
  'control-plane-replicas': [
    rule(`${read} patch`, 'core', 'nodes'),
    rule('create', 'core', 'configmaps'),
    rule('get update', 'core', 'configmaps', 'control-plane-members'),
    rule('get', 'core', 'configmaps', 'control-plane-replicas'),
  ],
  // Differs: Kubernetes has none.
  'home-page': [rule(`${read} patch`, 'core', 'nodes')],
  'home-search': [
    rule(`${read} create delete`, 'flotilla.dev', 'machines'),
    rule('update', 'flotilla.dev', 'machines/status discoveries/status'),
    rule(read, 'flotilla.dev', 'discoveries'),
    rule(read, 'core', 'namespaces nodes'),
  ],
  'machine-enrolment': [
    rule(`${read} patch`, 'flotilla.dev', 'machines'),
    rule('update', 'flotilla.dev', 'machines/status'),
    rule(read, 'core', 'nodes'),
    rule('create', 'core', 'secrets configmaps'),
    rule('get update', 'core', 'configmaps', removedMachinesRef.name),
  ],
  // Differs: Kubernetes has none. What `nodes/power` and `nodes/removal` ask for, until it is done.
  'node-operation': [
    rule(`${read} patch delete`, 'core', 'nodes'),
    rule(read, 'core', 'pods persistentvolumeclaims persistentvolumes'),
    rule('create', 'core', 'pods/eviction'),
    rule('create', 'core', 'nodes/power'),
    rule('create', 'core', 'configmaps'),
    rule('get update', 'core', 'configmaps', removedMachinesRef.name),
    rule('list delete', 'flotilla.dev', 'machines'),
    events,
  ],
  // Differs: Kubernetes has none; the rights are those of `system:persistent-volume-provisioner`.
  'local-path-provisioner': [
    rule(`${read} create delete update`, 'core', 'persistentvolumes'),
    rule(`${read} update`, 'core', 'persistentvolumeclaims'),
    rule('update', 'core', 'persistentvolumeclaims/status'),
    rule(read, 'storage.k8s.io', 'storageclasses'),
    rule(read, 'core', 'nodes'),
    events,
  ],
  // Differs: Kubernetes moves no data.
  'volume-mover': [
    rule(`${read} update`, 'flotilla.dev', 'volumemoves'),
    rule('update', 'flotilla.dev', 'volumemoves/status'),
    rule(`${read} create delete update`, 'core', 'persistentvolumes'),
    rule(`${read} update`, 'core', 'persistentvolumeclaims'),
    rule(`${read} delete`, 'core', 'pods'),
    rule(read, 'core', 'nodes'),
    rule(read, 'storage.k8s.io', 'storageclasses'),
    events,
  ],
  'namespace-controller': [
    rule(`${read} delete`, 'core', 'namespaces'),
    rule('update', 'core', 'namespaces/finalize namespaces/status'),
    rule(`${read} delete deletecollection`, '*', '*'),
  ],
  'node-controller': [
    rule(`${read} delete patch update`, 'core', 'nodes'),
    rule('patch update', 'core', 'nodes/status pods/status'),
    rule(`${read} delete`, 'core', 'pods'),
    events,
  ],
  'persistent-volume-binder': [
    rule(`${read} create delete update`, 'core', 'persistentvolumes'),
    rule('update', 'core', 'persistentvolumes/status persistentvolumeclaims/status'),
    rule(`${read} update`, 'core', 'persistentvolumeclaims'),
    rule(`${read} create delete`, 'core', 'pods'),
    rule(read, 'storage.k8s.io', 'storageclasses'),
    rule('list watch', 'core', 'nodes'),
    rule('watch', 'core', 'events'),
    events,
  ],
  'pod-garbage-collector': [
    rule('list watch delete', 'core', 'pods'),
    rule(read, 'core', 'nodes'),
    rule('patch', 'core', 'pods/status'),
  ],
  'pv-protection-controller': [rule(`${read} update`, 'core', 'persistentvolumes'), events],
  'pvc-protection-controller': [
    rule(`${read} update`, 'core', 'persistentvolumeclaims'),
    rule('update', 'core', 'persistentvolumeclaims/status'),
    rule(read, 'core', 'pods'),
    events,
  ],
  'replicaset-controller': podOwner('apps', 'replicasets', `${read} update`),
  'replication-controller': podOwner('core', 'replicationcontrollers', `${read} update`),
  'resourcequota-controller': [
    rule('list watch', '*', '*'),
    rule('update', 'core', 'resourcequotas/status'),
    events,
  ],
  'root-ca-cert-publisher': [rule('create update', 'core', 'configmaps'), events],
  'service-account-controller': [rule('create', 'core', 'serviceaccounts'), events],
  'statefulset-controller': [
    ...podOwner('apps', 'statefulsets'),
    rule('get update', 'core', 'pods'),
    revisions,
    rule(`${read} create delete update`, 'core', 'persistentvolumeclaims'),
    rule('update', 'core', 'pods/finalizers'),
  ],
  'ttl-after-finished-controller': [rule(`${read} delete`, 'batch', 'jobs'), events],
  'validatingadmissionpolicy-status-controller': [
    rule(read, 'admissionregistration.k8s.io', 'validatingadmissionpolicies'),
    rule('update', 'admissionregistration.k8s.io', 'validatingadmissionpolicies/status'),
    events,
  ],
};

/**
 * By the name of the service account. Differs: whoever may update may patch, which is the same right
 * and what our controllers do where Kubernetes' write whole objects.
 */
export const controllerRules: Readonly<Record<string, readonly PolicyRule[]>> = Object.fromEntries(
  Object.entries(rulesByName).map(([name, rules]) => [name, rules.map(withPatch)]),
);

function withPatch(given: PolicyRule): PolicyRule {
  const { verbs } = given;
  return verbs.includes('update') && !verbs.includes('patch')
    ? { ...given, verbs: [...verbs, 'patch'] }
    : given;
}
