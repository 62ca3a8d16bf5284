// The ClusterRoles of every cluster: for people (admin, edit, view), for the cluster's own parts, for
// add-ons that expect them. Those of the controllers are in controller-roles.ts.
// Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go.
import type { ClusterRole, PolicyRule } from '#kube/api/rbac.ts';
import {
  aggregateLabel,
  apiVersion,
  bootstrapMetadata,
  clusterRole,
  events,
  paths,
  read,
  rule,
  write,
} from './vocabulary.ts';

/** Its rules are the aggregation controller's to fill in. */
function aggregated(name: string, labels: Readonly<Record<string, string>> = {}): ClusterRole {
  return {
    apiVersion,
    kind: 'ClusterRole',
    metadata: bootstrapMetadata(name, labels),
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: aggregateLabel(name) }] },
  };
}

const forPeople: readonly ClusterRole[] = [
  clusterRole('cluster-admin', [rule('*', '*', '*'), paths('*', '*')]),
  aggregated('admin'),
  aggregated('edit', aggregateLabel('admin')),
  aggregated('view', aggregateLabel('edit')),
  clusterRole(
    'system:aggregate-to-admin',
    [
      rule('create', 'authorization.k8s.io', 'localsubjectaccessreviews'),
      rule(`${write} ${read}`, 'rbac.authorization.k8s.io', 'roles rolebindings'),
    ],
    aggregateLabel('admin'),
  ),
  /** Bound to nobody: for whoever may add machines without being an administrator. */
  clusterRole('flotilla:machine-enroller', [
    rule(read, 'flotilla.dev', 'machines discoveries'),
    rule('create', 'flotilla.dev', 'machines/enrolment'),
  ]),
  /** Bound to nobody: for whoever may restart machines, put them to sleep and wake them. */
  clusterRole('flotilla:machine-operator', [
    rule(read, 'core', 'nodes'),
    rule('create', 'core', 'nodes/power'),
  ]),
  /** Bound to nobody: for whoever may take machines out of the cluster. */
  clusterRole('flotilla:machine-remover', [
    rule(read, 'core', 'nodes'),
    rule('create', 'core', 'nodes/removal'),
  ]),
  clusterRole('system:aggregate-to-edit', editRules(), aggregateLabel('edit')),
  clusterRole('system:aggregate-to-view', viewRules(), aggregateLabel('view')),
];

function editRules(): PolicyRule[] {
  return [
    rule(read, 'core', 'pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy'),
    rule('impersonate', 'core', 'serviceaccounts'),
    rule(write, 'core', 'pods pods/attach pods/proxy pods/exec pods/portforward'),
    rule('create', 'core', 'pods/eviction'),
    rule(
      write,
      'core',
      'configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy',
    ),
    rule('create', 'core', 'serviceaccounts/token'),
    rule(
      write,
      'apps',
      'daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale',
    ),
    rule(write, 'autoscaling', 'horizontalpodautoscalers'),
    rule(write, 'batch', 'jobs cronjobs'),
    rule(write, 'policy', 'poddisruptionbudgets'),
    rule(write, 'networking.k8s.io', 'networkpolicies ingresses'),
    rule(`${write} ${read}`, 'coordination.k8s.io', 'leases'),
    rule(write, 'flotilla.dev', 'volumemoves'),
  ];
}

function viewRules(): PolicyRule[] {
  return [
    rule(
      read,
      'core',
      'pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints persistentvolumeclaims persistentvolumeclaims/status configmaps',
    ),
    rule(
      read,
      'core',
      'limitranges resourcequotas bindings events pods/status resourcequotas/status namespaces/status replicationcontrollers/status pods/log',
    ),
    rule(read, 'core', 'namespaces'),
    rule(read, 'discovery.k8s.io', 'endpointslices'),
    rule(
      read,
      'apps',
      'controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale',
    ),
    rule(read, 'autoscaling', 'horizontalpodautoscalers horizontalpodautoscalers/status'),
    rule(read, 'batch', 'jobs cronjobs cronjobs/status jobs/status'),
    rule(read, 'policy', 'poddisruptionbudgets poddisruptionbudgets/status'),
    rule(read, 'flotilla.dev', 'volumemoves'),
    rule(read, 'networking.k8s.io', 'networkpolicies ingresses ingresses/status'),
  ];
}

const publicPaths = '/healthz /livez /readyz /version /version/';

const forEverybody: readonly ClusterRole[] = [
  clusterRole('system:public-info-viewer', [paths('get', publicPaths)]),
  clusterRole('system:discovery', [
    paths('get', `${publicPaths} /openapi /openapi/* /api /api/* /apis /apis/*`),
  ]),
  clusterRole('system:basic-user', [
    rule('create', 'authorization.k8s.io', 'selfsubjectaccessreviews selfsubjectrulesreviews'),
    rule('create', 'authentication.k8s.io', 'selfsubjectreviews'),
  ]),
  clusterRole('system:monitoring', [
    paths('get', '/metrics /metrics/slis /livez /readyz /healthz /livez/* /readyz/* /healthz/*'),
  ]),
  // Differs: Kubernetes hands out no agents.
  clusterRole('flotilla:machine-package', [
    paths(
      'get',
      ['package', 'files/*', 'install', 'kubeconfig']
        .map((name) => `/flotilla/machines/${name}`)
        .join(' '),
    ),
  ]),
  // Differs: in Kubernetes people bring control planes onto machines. Each node gets only its own.
  clusterRole('flotilla:control-plane-machine', [
    paths('get', '/flotilla/machines/controlplane /flotilla/machines/membership'),
    paths('post', '/flotilla/machines/invitation /flotilla/machines/leave'),
  ]),
  clusterRole('system:service-account-issuer-discovery', [
    paths('get', '/.well-known/openid-configuration /openid/v1/jwks'),
  ]),
];

const reviews = [
  rule('create', 'authentication.k8s.io', 'tokenreviews'),
  rule('create', 'authorization.k8s.io', 'subjectaccessreviews'),
];

const ownParts: readonly ClusterRole[] = [
  clusterRole('system:auth-delegator', reviews),
  clusterRole('system:kube-aggregator', [rule(read, 'core', 'services endpoints')]),
  clusterRole('system:kube-scheduler', [
    events,
    rule('create', 'coordination.k8s.io', 'leases'),
    rule('get update', 'coordination.k8s.io', 'leases', 'kube-scheduler'),
    rule(read, 'core', 'nodes'),
    rule(`${read} delete`, 'core', 'pods'),
    rule('create', 'core', 'pods/binding bindings'),
    rule('patch update', 'core', 'pods/status'),
    rule(read, 'core', 'replicationcontrollers services namespaces'),
    rule(read, 'apps', 'replicasets statefulsets'),
    rule(read, 'policy', 'poddisruptionbudgets'),
    rule(read, 'core', 'persistentvolumeclaims persistentvolumes'),
    ...reviews,
    rule(read, 'storage.k8s.io', 'csinodes csidrivers csistoragecapacities volumeattachments'),
  ]),
  clusterRole('system:volume-scheduler', [
    rule(`${read} patch update`, 'core', 'persistentvolumes persistentvolumeclaims'),
    rule(read, 'storage.k8s.io', 'storageclasses'),
  ]),
  clusterRole('system:kube-controller-manager', [
    events,
    rule('create', 'coordination.k8s.io', 'leases'),
    rule('get update', 'coordination.k8s.io', 'leases', 'kube-controller-manager'),
    rule('create', 'core', 'secrets serviceaccounts'),
    rule('delete', 'core', 'secrets'),
    rule('get', 'core', 'namespaces secrets serviceaccounts configmaps'),
    rule('update', 'core', 'secrets serviceaccounts'),
    ...reviews,
    // The informers that all controllers share.
    rule('list watch', '*', '*'),
    rule('create', 'core', 'serviceaccounts/token'),
  ]),
];

/** Nobody is bound to it: the node authorizer decides for nodes, object by object. */
const node = clusterRole('system:node', [
  ...reviews,
  rule('create', 'authorization.k8s.io', 'localsubjectaccessreviews'),
  rule(read, 'core', 'services'),
  rule(`${read} create patch update`, 'core', 'nodes'),
  rule('patch update', 'core', 'nodes/status'),
  rule('create patch update', 'core', 'events'),
  rule(`${read} create delete`, 'core', 'pods'),
  rule('patch update', 'core', 'pods/status'),
  rule('create', 'core', 'pods/eviction'),
  rule(read, 'core', 'secrets configmaps'),
  rule('get', 'core', 'persistentvolumeclaims persistentvolumes endpoints'),
  rule(`${read} create`, 'certificates.k8s.io', 'certificatesigningrequests'),
  rule('get create update patch delete', 'coordination.k8s.io', 'leases'),
  rule('get', 'storage.k8s.io', 'volumeattachments'),
  rule('create', 'core', 'serviceaccounts/token'),
  rule('get patch update', 'core', 'persistentvolumeclaims/status'),
  rule(read, 'storage.k8s.io', 'csidrivers'),
  rule('get create update patch delete', 'storage.k8s.io', 'csinodes'),
  rule(read, 'node.k8s.io', 'runtimeclasses'),
]);

const csr = 'certificates.k8s.io';

function approver(name: string): ClusterRole {
  const rules = [rule('approve', csr, 'signers', `kubernetes.io/${name}`)];
  return clusterRole(`system:certificates.k8s.io:${name}-approver`, rules);
}

const forNodes: readonly ClusterRole[] = [
  node,
  clusterRole('system:node-proxier', [
    rule('list watch', 'core', 'services endpoints'),
    rule(read, 'core', 'nodes'),
    events,
    rule('list watch', 'discovery.k8s.io', 'endpointslices'),
  ]),
  clusterRole('system:node-bootstrapper', [
    rule(`${read} create`, csr, 'certificatesigningrequests'),
  ]),
  clusterRole('system:node-problem-detector', [
    rule('get', 'core', 'nodes'),
    rule('patch', 'core', 'nodes/status'),
    events,
  ]),
  clusterRole('system:kubelet-api-admin', [
    rule(`${read} proxy`, 'core', 'nodes'),
    rule('*', 'core', 'nodes/proxy nodes/metrics nodes/stats nodes/log'),
  ]),
  clusterRole('system:certificates.k8s.io:certificatesigningrequests:nodeclient', [
    rule('create', csr, 'certificatesigningrequests/nodeclient'),
  ]),
  clusterRole('system:certificates.k8s.io:certificatesigningrequests:selfnodeclient', [
    rule('create', csr, 'certificatesigningrequests/selfnodeclient'),
  ]),
  // Differs: Kubernetes leaves certificates of agents as servers to people. Ours bear a node's name and no address.
  clusterRole('system:certificates.k8s.io:certificatesigningrequests:selfnodeserver', [
    rule('create', csr, 'certificatesigningrequests/selfnodeserver'),
  ]),
  approver('kube-apiserver-client'),
  approver('kube-apiserver-client-kubelet'),
  approver('kubelet-serving'),
  approver('legacy-unknown'),
];

const forAddOns: readonly ClusterRole[] = [
  clusterRole('system:kube-dns', [rule('list watch', 'core', 'endpoints services')]),
  clusterRole('system:aggregated-metrics-reader', [rule(read, 'metrics.k8s.io', 'pods nodes')], {
    ...aggregateLabel('view'),
    ...aggregateLabel('edit'),
    ...aggregateLabel('admin'),
  }),
  clusterRole('system:persistent-volume-provisioner', [
    rule(`${read} create delete`, 'core', 'persistentvolumes'),
    rule(`${read} update`, 'core', 'persistentvolumeclaims'),
    rule(read, 'storage.k8s.io', 'storageclasses'),
    rule('watch', 'core', 'events'),
    events,
  ]),
];

export const clusterRoles: readonly ClusterRole[] = [
  ...forPeople,
  ...forEverybody,
  ...ownParts,
  ...forNodes,
  ...forAddOns,
];
