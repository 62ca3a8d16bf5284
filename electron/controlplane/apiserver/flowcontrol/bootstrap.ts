// The flow schemas and priority levels that every cluster begins with: Kubernetes' own.
// Source: kubernetes apiserver pkg/apis/flowcontrol/bootstrap/default.go (1.35).
import type {
  FlowSchema,
  LimitedPriorityLevelConfiguration,
  PriorityLevelConfiguration,
  PriorityLevelConfigurationSpec,
  ResourcePolicyRule,
  Subject,
} from '#kube/api/flowcontrol.ts';

const apiVersion = 'flowcontrol.apiserver.k8s.io/v1';
/** Kubernetes' API servers follow their own defaults on objects with this mark. */
const annotations = { 'apf.kubernetes.io/autoupdate-spec': 'true' };

type Queuing = readonly [queues: number, handSize: number, queueLengthLimit: number];

function levelOf(name: string, spec: PriorityLevelConfigurationSpec): PriorityLevelConfiguration {
  return {
    apiVersion,
    kind: 'PriorityLevelConfiguration',
    metadata: { name, annotations },
    spec,
  };
}

function limited(
  nominalConcurrencyShares: number,
  lendablePercent: number,
  queuing: Queuing | undefined,
): PriorityLevelConfigurationSpec {
  const limits: LimitedPriorityLevelConfiguration = {
    nominalConcurrencyShares,
    lendablePercent,
    limitResponse:
      queuing === undefined
        ? { type: 'Reject' }
        : {
            type: 'Queue',
            queuing: { queues: queuing[0], handSize: queuing[1], queueLengthLimit: queuing[2] },
          },
  };
  return { type: 'Limited', limited: limits };
}

export const bootstrapLevels: readonly PriorityLevelConfiguration[] = [
  levelOf('exempt', {
    type: 'Exempt',
    exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 },
  }),
  levelOf('catch-all', limited(5, 0, undefined)),
  levelOf('system', limited(30, 33, [64, 6, 50])),
  levelOf('node-high', limited(40, 25, [64, 6, 50])),
  levelOf('leader-election', limited(10, 0, [16, 4, 50])),
  levelOf('workload-high', limited(40, 50, [128, 6, 50])),
  levelOf('workload-low', limited(100, 90, [128, 6, 50])),
  levelOf('global-default', limited(20, 50, [128, 6, 50])),
];

interface SchemaParts {
  readonly level: string;
  readonly precedence: number;
  readonly by?: 'ByUser' | 'ByNamespace';
  readonly subjects: readonly Subject[];
  /** Everything, if neither is given. */
  readonly resources?: readonly ResourcePolicyRule[];
  readonly paths?: readonly string[];
}

function schema(name: string, parts: SchemaParts): FlowSchema {
  const { by, subjects, resources, paths } = parts;
  const isEverything = resources === undefined && paths === undefined;
  const resourceRules = isEverything ? [ruleOf(['*'], ['*'], ['*'], true)] : resources;
  const nonResourceRules = isEverything
    ? [{ verbs: ['*'], nonResourceURLs: ['*'] }]
    : paths && [{ verbs: ['get'], nonResourceURLs: [...paths] }];
  return {
    apiVersion,
    kind: 'FlowSchema',
    metadata: { name, annotations },
    spec: {
      priorityLevelConfiguration: { name: parts.level },
      matchingPrecedence: parts.precedence,
      ...(by === undefined ? {} : { distinguisherMethod: { type: by } }),
      rules: [
        {
          subjects: [...subjects],
          ...(resourceRules === undefined ? {} : { resourceRules: [...resourceRules] }),
          ...(nonResourceRules === undefined ? {} : { nonResourceRules }),
        },
      ],
    },
  };
}

function ruleOf(
  verbs: readonly string[],
  apiGroups: readonly string[],
  resources: readonly string[],
  clusterScope: boolean,
): ResourcePolicyRule {
  return {
    verbs: [...verbs],
    apiGroups: [...apiGroups],
    resources: [...resources],
    namespaces: ['*'],
    clusterScope,
  };
}

function groups(...names: readonly string[]): Subject[] {
  return names.map((name) => ({ kind: 'Group', group: { name } }));
}

function users(...names: readonly string[]): Subject[] {
  return names.map((name) => ({ kind: 'User', user: { name } }));
}

function systemAccounts(...names: readonly string[]): Subject[] {
  return names.map((name) => ({
    kind: 'ServiceAccount',
    serviceAccount: { namespace: 'kube-system', name },
  }));
}

const everybody = groups('system:unauthenticated', 'system:authenticated');
const manager = 'system:kube-controller-manager';
const scheduler = 'system:kube-scheduler';
const election = ['get', 'create', 'update'];
const leases = ruleOf(election, ['coordination.k8s.io'], ['leases'], false);

export const bootstrapSchemas: readonly FlowSchema[] = [
  schema('exempt', { level: 'exempt', precedence: 1, subjects: groups('system:masters') }),
  schema('probes', {
    level: 'exempt',
    precedence: 2,
    subjects: everybody,
    paths: ['/healthz', '/readyz', '/livez'],
  }),
  schema('system-leader-election', {
    level: 'leader-election',
    precedence: 100,
    by: 'ByUser',
    subjects: [...users(manager, scheduler), ...systemAccounts('*')],
    resources: [leases],
  }),
  schema('endpoint-controller', {
    level: 'workload-high',
    precedence: 150,
    by: 'ByUser',
    subjects: [
      ...users(manager),
      ...systemAccounts('endpoint-controller', 'endpointslicemirroring-controller'),
    ],
    resources: [ruleOf(election, [''], ['endpoints'], false)],
  }),
  schema('workload-leader-election', {
    level: 'leader-election',
    precedence: 200,
    by: 'ByUser',
    subjects: systemAccounts('*'),
    resources: [ruleOf(election, [''], ['endpoints', 'configmaps'], false), leases],
  }),
  schema('system-node-high', {
    level: 'node-high',
    precedence: 400,
    by: 'ByUser',
    subjects: groups('system:nodes'),
    resources: [
      ruleOf(['*'], [''], ['nodes', 'nodes/status'], true),
      ruleOf(['*'], ['coordination.k8s.io'], ['leases'], false),
    ],
  }),
  schema('system-nodes', {
    level: 'system',
    precedence: 500,
    by: 'ByUser',
    subjects: groups('system:nodes'),
  }),
  schema('kube-controller-manager', {
    level: 'workload-high',
    precedence: 800,
    by: 'ByNamespace',
    subjects: users(manager),
  }),
  schema('kube-scheduler', {
    level: 'workload-high',
    precedence: 800,
    by: 'ByNamespace',
    subjects: users(scheduler),
  }),
  schema('kube-system-service-accounts', {
    level: 'workload-high',
    precedence: 900,
    by: 'ByNamespace',
    subjects: systemAccounts('*'),
  }),
  schema('service-accounts', {
    level: 'workload-low',
    precedence: 9000,
    by: 'ByUser',
    subjects: groups('system:serviceaccounts'),
  }),
  schema('global-default', {
    level: 'global-default',
    precedence: 9900,
    by: 'ByUser',
    subjects: everybody,
  }),
  schema('catch-all', {
    level: 'catch-all',
    precedence: 10_000,
    by: 'ByUser',
    subjects: everybody,
  }),
];
