// Who may do what, as data: the built-in roles of the cluster's own parts, in the shape of RBAC's
// PolicyRule so that ClusterRoles can take them over as they are. Each part gets what it does and
// no more. Nodes are not here: see node-authorizer.ts.
// Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go.

/** `*` stands for all. Resources with a subresource are written `pods/status`. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  /** All names when left out. */
  readonly resourceNames?: readonly string[];
  /** Only these namespaces; everywhere when left out. */
  readonly namespaces?: readonly string[];
  /** Exact paths, or with a trailing `*`. */
  readonly nonResourceURLs?: readonly string[];
}

export interface PolicyBinding {
  /** The ClusterRole's name. */
  readonly role: string;
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
  readonly rules: readonly PolicyRule[];
}

const read = ['get', 'list', 'watch'];
const events: PolicyRule = {
  verbs: ['create', 'patch', 'update'],
  apiGroups: ['', 'events.k8s.io'],
  resources: ['events'],
};

export const bootstrapPolicy: readonly PolicyBinding[] = [
  {
    role: 'system:public-info-viewer',
    groups: ['system:authenticated', 'system:unauthenticated'],
    rules: [
      {
        verbs: ['get', 'head'],
        nonResourceURLs: ['/healthz', '/livez', '/readyz', '/version', '/version/'],
      },
    ],
  },
  {
    role: 'system:discovery',
    groups: ['system:authenticated'],
    rules: [
      {
        verbs: ['get', 'head'],
        nonResourceURLs: ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*'],
      },
    ],
  },
  {
    role: 'system:monitoring',
    groups: ['system:monitoring'],
    rules: [
      {
        verbs: ['get'],
        nonResourceURLs: ['/metrics', '/healthz/*', '/livez/*', '/readyz/*'],
      },
    ],
  },
  {
    role: 'system:kube-scheduler',
    users: ['system:kube-scheduler'],
    rules: [
      events,
      { verbs: [...read, 'delete'], apiGroups: [''], resources: ['pods'] },
      { verbs: ['create'], apiGroups: [''], resources: ['pods/binding'] },
      { verbs: ['patch', 'update'], apiGroups: [''], resources: ['pods/status'] },
      {
        verbs: read,
        apiGroups: [''],
        resources: ['nodes', 'namespaces', 'services', 'replicationcontrollers'],
      },
      { verbs: read, apiGroups: ['apps'], resources: ['replicasets', 'statefulsets'] },
      { verbs: read, apiGroups: ['policy'], resources: ['poddisruptionbudgets'] },
      {
        verbs: ['create', 'get', 'update'],
        apiGroups: ['coordination.k8s.io'],
        resources: ['leases'],
        namespaces: ['kube-system'],
      },
    ],
  },
  {
    // Differs: Kubernetes gives each controller a service account of its own; here they share one
    // identity until service-account tokens exist. The garbage collector and the namespace
    // controller need to read and delete every kind, the rest is named.
    role: 'system:kube-controller-manager',
    users: ['system:kube-controller-manager'],
    rules: [
      events,
      {
        verbs: ['get', 'list', 'watch', 'patch', 'update', 'delete', 'deletecollection'],
        apiGroups: ['*'],
        resources: ['*'],
      },
      {
        verbs: ['create'],
        apiGroups: [''],
        resources: ['pods', 'pods/eviction', 'serviceaccounts', 'configmaps'],
      },
      {
        verbs: ['create'],
        apiGroups: ['apps'],
        resources: ['replicasets', 'controllerrevisions'],
      },
      { verbs: ['create'], apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'] },
      {
        verbs: ['create'],
        apiGroups: ['coordination.k8s.io'],
        resources: ['leases'],
        namespaces: ['kube-system'],
      },
    ],
  },
];
