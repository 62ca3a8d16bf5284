// What the kinds refuse, in Kubernetes' words: the sample of each kind with one thing wrong.
import { describe, expect, it } from 'vitest';
import type { UnstructuredObject } from '#kube/api/object.ts';
import { kindWorld, refusal } from '../../../../test/setup/kinds.ts';
import { sampleOf } from '../../../../test/setup/samples.ts';

type Fields = Record<string, unknown>;

interface Case {
  readonly name: string;
  readonly kind: string;
  /** On top of the sample's spec, or of the sample if there is no spec. */
  readonly given: Fields;
  readonly want: string;
}

const versions: Readonly<Record<string, string>> = {
  LimitRange: 'v1',
  ResourceQuota: 'v1',
  Endpoints: 'v1',
  PersistentVolume: 'v1',
  PersistentVolumeClaim: 'v1',
  StatefulSet: 'apps/v1',
  HorizontalPodAutoscaler: 'autoscaling/v2',
  PodDisruptionBudget: 'policy/v1',
  StorageClass: 'storage.k8s.io/v1',
  VolumeAttachment: 'storage.k8s.io/v1',
  CSIDriver: 'storage.k8s.io/v1',
  CSINode: 'storage.k8s.io/v1',
  Ingress: 'networking.k8s.io/v1',
  IngressClass: 'networking.k8s.io/v1',
  NetworkPolicy: 'networking.k8s.io/v1',
  ServiceCIDR: 'networking.k8s.io/v1',
  Role: 'rbac.authorization.k8s.io/v1',
  ClusterRole: 'rbac.authorization.k8s.io/v1',
  RoleBinding: 'rbac.authorization.k8s.io/v1',
  ClusterRoleBinding: 'rbac.authorization.k8s.io/v1',
  PriorityClass: 'scheduling.k8s.io/v1',
  RuntimeClass: 'node.k8s.io/v1',
  CertificateSigningRequest: 'certificates.k8s.io/v1',
  ValidatingWebhookConfiguration: 'admissionregistration.k8s.io/v1',
  ValidatingAdmissionPolicyBinding: 'admissionregistration.k8s.io/v1',
  FlowSchema: 'flowcontrol.apiserver.k8s.io/v1',
  PriorityLevelConfiguration: 'flowcontrol.apiserver.k8s.io/v1',
  APIService: 'apiregistration.k8s.io/v1',
};

function changed(kind: string, given: Fields): UnstructuredObject {
  const sample = sampleOf(versions[kind] ?? '', kind);
  const spec = sample['spec'] as Fields | undefined;
  Object.assign(spec ?? sample, given);
  return sample;
}

/** Without the `Kind.group "name" is invalid: ` in front. */
function withoutHead(message: string): string {
  return message.replace(/^[^"]+"[^"]*" is invalid: /, '');
}

const cases: readonly Case[] = [
  {
    name: 'another name than its group and version',
    kind: 'APIService',
    given: { version: 'v2' },
    want: 'metadata.name: Invalid value: "v1.that.example.com": must be `spec.version+"."+spec.group`: "v2.that.example.com"',
  },
  {
    name: 'no priorities',
    kind: 'APIService',
    given: { groupPriorityMinimum: undefined, versionPriority: 1001 },
    want: '[spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000, spec.versionPriority: Invalid value: 1001: must be positive and less than 1000]',
  },
  {
    name: 'a local one with certificates',
    kind: 'APIService',
    given: { service: undefined, caBundle: 'YWJj', insecureSkipTLSVerify: true },
    want: '[spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle, spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify]',
  },
  {
    name: 'a service without a name, checked and not checked',
    kind: 'APIService',
    given: { service: { namespace: 'a' }, caBundle: 'YWJj', insecureSkipTLSVerify: true },
    want: '[spec.service.name: Required value, spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present]',
  },
  {
    name: 'a minimum above the maximum',
    kind: 'LimitRange',
    given: { limits: [{ type: 'Container', min: { cpu: '2' }, max: { cpu: '1' } }] },
    want: '[spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1, spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1, spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1]',
  },
  {
    name: 'defaults for whole pods',
    kind: 'LimitRange',
    given: { limits: [{ type: 'Pod', default: { cpu: '1' } }] },
    want: "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
  },
  {
    name: 'a resource nobody counts',
    kind: 'ResourceQuota',
    given: { hard: { storage: '1' } },
    want: 'spec.hard[storage]: Invalid value: "storage": must be a standard resource for quotas',
  },
  {
    name: 'scopes that exclude each other',
    kind: 'ResourceQuota',
    given: { hard: { pods: '1' }, scopes: ['BestEffort', 'NotBestEffort'] },
    want: 'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
  },
  {
    name: 'a subset of no addresses',
    kind: 'Endpoints',
    given: { subsets: [{ ports: [{ port: 0 }] }] },
    want: '[subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`, subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive]',
  },
  {
    name: 'two kinds of volume at once, of no size',
    kind: 'PersistentVolume',
    given: { capacity: {}, nfs: { server: 'a', path: '/b' } },
    want: '[spec.capacity: Required value, spec.nfs: Forbidden: may not specify more than 1 volume type]',
  },
  {
    name: 'a disk of a node without saying of which',
    kind: 'PersistentVolume',
    given: { hostPath: undefined, local: { path: '/data' } },
    want: 'metadata.annotations: Required value: Local volume requires node affinity',
  },
  {
    name: 'no size and no way to mount it',
    kind: 'PersistentVolumeClaim',
    given: { resources: {}, accessModes: [] },
    want: '[spec.accessModes: Required value: at least 1 access mode is required, spec.resources[storage]: Required value]',
  },
  {
    name: 'a way to mount it that nobody knows',
    kind: 'PersistentVolumeClaim',
    given: { accessModes: ['Sometimes'] },
    want: 'spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
  },
  {
    name: 'a policy nobody knows',
    kind: 'StatefulSet',
    given: { podManagementPolicy: 'Random', replicas: -1 },
    want: "[spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel', spec.replicas: Invalid value: -1: must be greater than or equal to 0]",
  },
  {
    name: 'fewer pods at most than at least',
    kind: 'HorizontalPodAutoscaler',
    given: { minReplicas: 3, maxReplicas: 2 },
    want: 'spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`',
  },
  {
    name: 'a metric without its source',
    kind: 'HorizontalPodAutoscaler',
    given: { metrics: [{ type: 'Pods' }] },
    want: 'spec.metrics[0].pods: Required value: must populate information for the given metric source',
  },
  {
    name: 'a target of no kind',
    kind: 'HorizontalPodAutoscaler',
    given: { metrics: [{ type: 'Resource', resource: { name: 'cpu' } }] },
    want: '[spec.metrics[0].resource.target.type: Required value: must specify a metric target type, spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization]',
  },
  {
    name: 'both limits',
    kind: 'PodDisruptionBudget',
    given: { selector: {}, minAvailable: 1, maxUnavailable: '101%' },
    want: '[spec: Invalid value: {"selector":{},"minAvailable":1,"maxUnavailable":"101%"}: minAvailable and maxUnavailable cannot be both set, spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%]',
  },
  {
    name: 'a reclaim policy for no class',
    kind: 'StorageClass',
    given: { reclaimPolicy: 'Recycle' },
    want: 'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
  },
  {
    name: 'nothing attached',
    kind: 'VolumeAttachment',
    given: { source: {} },
    want: 'spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName',
  },
  {
    name: 'tokens for the same audience, for a moment',
    kind: 'CSIDriver',
    given: { tokenRequests: [{ audience: 'a', expirationSeconds: 5 }, { audience: 'a' }] },
    want: '[spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes, spec.tokenRequests[1].audience: Duplicate value: "a"]',
  },
  {
    name: 'a driver without a node id',
    kind: 'CSINode',
    given: { drivers: [{ name: 'a.b' }] },
    want: 'spec.drivers[0].nodeID: Required value',
  },
  {
    name: 'no rule and no backend',
    kind: 'Ingress',
    given: { rules: [] },
    want: 'spec: Invalid value: []: either `defaultBackend` or `rules` must be specified',
  },
  {
    name: 'a path that is not absolute',
    kind: 'Ingress',
    given: {
      rules: [
        {
          host: '10.0.0.1',
          http: { paths: [{ path: 'a', pathType: 'Prefix', backend: { service: { name: 'w' } } }] },
        },
      ],
    },
    want: '[spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address, spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path, spec.rules[0].http.paths[0].backend: Required value: port name or number is required]',
  },
  {
    name: 'a controller without a domain',
    kind: 'IngressClass',
    given: { controller: 'nginx' },
    want: 'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")',
  },
  {
    name: 'a peer that is both a block and pods, and a hole outside of it',
    kind: 'NetworkPolicy',
    given: {
      ingress: [
        { from: [{ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }] },
      ],
    },
    want: '[spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`, spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer]',
  },
  {
    name: 'a range of ports that ends before it begins',
    kind: 'NetworkPolicy',
    given: { ingress: [{ ports: [{ port: 80, endPort: 70 }, { endPort: 5 }] }] },
    want: '[spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`, spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified]',
  },
  {
    name: 'two ranges of one family',
    kind: 'ServiceCIDR',
    given: { cidrs: ['10.0.0.0/8', '11.0.0.0/8'] },
    want: 'spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
  },
  {
    name: 'a rule of nothing, and one of URLs',
    kind: 'Role',
    given: { rules: [{}, { verbs: ['get'], nonResourceURLs: ['/x'] }] },
    want: '[rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules must supply at least one api group, rules[0].resources: Required value: resource rules must supply at least one resource, rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs]',
  },
  {
    name: 'an aggregation of no roles',
    kind: 'ClusterRole',
    given: { aggregationRule: {} },
    want: 'aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil',
  },
  {
    name: 'a role of another kind and a subject of none',
    kind: 'RoleBinding',
    given: { roleRef: { kind: 'Thing', name: 'x' }, subjects: [{ kind: 'Robot', name: 'r' }] },
    want: '[roleRef.kind: Unsupported value: "Thing": supported values: "ClusterRole", "Role", subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"]',
  },
  {
    name: 'a service account of no namespace',
    kind: 'ClusterRoleBinding',
    given: { subjects: [{ kind: 'ServiceAccount', name: 'x' }] },
    want: 'subjects[0].namespace: Required value',
  },
  {
    name: 'more than a user may have',
    kind: 'PriorityClass',
    given: { value: 1_000_000_001 },
    want: 'value: Forbidden: maximum allowed value of a user defined priority is 1000000000',
  },
  {
    name: 'a handler that is no name',
    kind: 'RuntimeClass',
    given: { handler: '' },
    want: `handler: Invalid value: "": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
  },
  {
    name: 'no signer, no use, and no request',
    kind: 'CertificateSigningRequest',
    given: { request: 'YQ==', signerName: '', usages: [], expirationSeconds: 5 },
    want: '[spec.request: Invalid value: "YQ==": PEM block type must be CERTIFICATE REQUEST, spec.usages: Required value, spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes), spec.signerName: Required value]',
  },
  {
    name: 'a hook of a short name that goes nowhere',
    kind: 'ValidatingWebhookConfiguration',
    given: { webhooks: [{ name: 'a.b', sideEffects: 'Some', admissionReviewVersions: ['v1'] }] },
    want: '[webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots, webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun", webhooks[0].clientConfig: Required value: exactly one of url or service is required]',
  },
  {
    name: 'actions that say the same twice',
    kind: 'ValidatingAdmissionPolicyBinding',
    given: { validationActions: ['Deny', 'Warn'] },
    want: 'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
  },
  {
    name: 'a level that is not said',
    kind: 'FlowSchema',
    given: { priorityLevelConfiguration: {}, matchingPrecedence: 20_000 },
    want: '[spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000, spec.priorityLevelConfiguration.name: Required value: must reference a priority level]',
  },
  {
    name: 'limits of what has none',
    kind: 'PriorityLevelConfiguration',
    given: { type: 'Exempt' },
    want: 'spec.limited: Forbidden: must be nil if the type is not Limited',
  },
];

describe('is refused', () => {
  it.each(cases)('$kind with $name', async ({ kind, given, want }) => {
    const message = await refusal(kindWorld().create(changed(kind, given)));
    expect(withoutHead(message)).toBe(want);
  });

  it('a system priority that is none of the two', async () => {
    const object = changed('PriorityClass', {});
    object.metadata.name = 'system-mine';
    expect(withoutHead(await refusal(kindWorld().create(object)))).toBe(
      "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
    );
  });
});

describe('can not be changed', () => {
  const changes: readonly { kind: string; to: Fields; want: string }[] = [
    {
      kind: 'StatefulSet',
      to: { serviceName: 'other' },
      want: "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    },
    {
      kind: 'PersistentVolumeClaim',
      to: { accessModes: ['ReadWriteMany'] },
      want: 'spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
    },
    {
      kind: 'PersistentVolume',
      to: { hostPath: { path: '/other' } },
      want: 'spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation',
    },
    {
      kind: 'StorageClass',
      to: { provisioner: 'a/b', volumeBindingMode: 'WaitForFirstConsumer' },
      want: '[provisioner: Forbidden: updates to provisioner are forbidden., volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable]',
    },
    {
      kind: 'RoleBinding',
      to: { roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'b' } },
      want: 'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"b"}: cannot change roleRef',
    },
    {
      kind: 'PriorityClass',
      to: { value: 7 },
      want: 'value: Forbidden: may not be changed in an update.',
    },
    {
      kind: 'RuntimeClass',
      to: { handler: 'other' },
      want: 'handler: Invalid value: "other": field is immutable',
    },
    {
      kind: 'IngressClass',
      to: { controller: 'a.b/c' },
      want: 'spec.controller: Invalid value: "a.b/c": field is immutable',
    },
    {
      kind: 'ResourceQuota',
      to: { scopes: ['BestEffort'], hard: { pods: '1' } },
      want: 'spec.scopes: Invalid value: ["BestEffort"]: field is immutable',
    },
  ];
  it.each(changes)('$kind', async ({ kind, to, want }) => {
    const world = kindWorld();
    const made = await world.create(changed(kind, {}));
    const attempt = world.update(made, (next) => {
      Object.assign((next['spec'] as Fields | undefined) ?? next, to);
    });
    expect(withoutHead(await refusal(attempt))).toBe(want);
  });

  it('but a bound claim may grow', async () => {
    const world = kindWorld();
    const claim = await world.create(changed('PersistentVolumeClaim', {}));
    const bound = await world.update(
      claim,
      (next) => {
        next['status'] = {
          phase: 'Bound',
          accessModes: ['ReadWriteOnce'],
          capacity: { storage: '1Gi' },
        };
      },
      'status',
    );
    const resize = (storage: string) =>
      world.update(bound, (next) => {
        (next['spec'] as Fields)['resources'] = { requests: { storage } };
      });
    expect(await refusal(resize('2Gi'))).toBe('');
    expect(withoutHead(await refusal(resize('1Gi')))).toBe(
      'spec.resources.requests.storage: Forbidden: field can not be less than status.capacity',
    );
  });
});

describe('what the author left out', () => {
  const filled: readonly { kind: string; given: Fields; want: Fields }[] = [
    {
      kind: 'NetworkPolicy',
      given: { egress: [{}] },
      want: {
        podSelector: { matchLabels: { app: 'web' } },
        ingress: [{ ports: [{ port: 80, protocol: 'TCP' }] }],
        egress: [{}],
        policyTypes: ['Ingress', 'Egress'],
      },
    },
    {
      kind: 'LimitRange',
      given: {},
      want: {
        limits: [
          {
            type: 'Container',
            max: { cpu: '2' },
            min: { cpu: '100m' },
            default: { cpu: '2' },
            defaultRequest: { cpu: '2' },
          },
        ],
      },
    },
    {
      kind: 'HorizontalPodAutoscaler',
      given: { behavior: { scaleDown: { stabilizationWindowSeconds: 60 } } },
      want: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
        minReplicas: 1,
        maxReplicas: 5,
        metrics: [
          {
            type: 'Resource',
            resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
          },
        ],
        behavior: {
          scaleUp: {
            stabilizationWindowSeconds: 0,
            selectPolicy: 'Max',
            policies: [
              { type: 'Pods', value: 4, periodSeconds: 15 },
              { type: 'Percent', value: 100, periodSeconds: 15 },
            ],
          },
          scaleDown: {
            stabilizationWindowSeconds: 60,
            selectPolicy: 'Max',
            policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
          },
        },
      },
    },
    {
      kind: 'PersistentVolumeClaim',
      given: {},
      want: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
        volumeMode: 'Filesystem',
      },
    },
    {
      kind: 'CSIDriver',
      given: {},
      want: {
        attachRequired: true,
        fsGroupPolicy: 'ReadWriteOnceWithFSType',
        podInfoOnMount: true,
        requiresRepublish: false,
        seLinuxMount: false,
        storageCapacity: false,
        volumeLifecycleModes: ['Persistent'],
      },
    },
  ];
  it.each(filled)('$kind', async ({ kind, given, want }) => {
    const made = await kindWorld().create(changed(kind, given));
    expect(made['spec']).toEqual(want);
  });
});
