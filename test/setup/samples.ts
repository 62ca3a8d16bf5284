// One legal object of each kind of the resource table, as an author would write it: what every kind
// must take, store and show.
import type { UnstructuredObject } from '#kube/api/object.ts';

/** `metadata.namespace` is left to the test. */
export interface Sample {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

const containers = [{ name: 'web', image: 'nginx:1.29' }];
const labels = { app: 'web' };
const selector = { matchLabels: labels };
const template = { metadata: { labels }, spec: { containers } };
const once = { spec: { restartPolicy: 'Never', containers } };
const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
const ships = {
  group: 'it.example.com',
  scope: 'Namespaced',
  names: { plural: 'ships', kind: 'Ship' },
  versions: [
    { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } },
  ],
};

/** Of kinds that can't be called anything. */
export const givenNames: Readonly<Record<string, string>> = {
  // Those of the Service's name are kept by a controller.
  Endpoints: 'by-hand',
  IPAddress: '10.98.0.7',
  CustomResourceDefinition: 'ships.it.example.com',
  APIService: 'v1.that.example.com',
};

const rbac = 'rbac.authorization.k8s.io';

/** A request for a certificate of CN=jane; its key exists nowhere. */
export const certificateRequest = Buffer.from(
  [
    '-----BEGIN CERTIFICATE REQUEST-----',
    'MIHXMH8CAQAwHTEMMAoGA1UECgwDbGFiMQ0wCwYDVQQDDARqYW5lMFkwEwYHKoZI',
    'zj0CAQYIKoZIzj0DAQcDQgAEqTnC4YjaWaGsgZjtUIqs/RHGYeQIHf/e4MJg4zne',
    'dDMafwDCEGr/4UW5VHL041FKSc7COptt9X8Bw/ahMc8p/KAAMAoGCCqGSM49BAMC',
    'A0gAMEUCIQCYY0VF8fWN408jx+fdz4BnM/LBo3W9YO9ahCw/HhBW8AIgb1dg/2ee',
    'fkGjvGYhbAAzzclkDNaJqnLSoVyj0leOjH4=',
    '-----END CERTIFICATE REQUEST-----',
    '',
  ].join('\n'),
).toString('base64');

const webhook = {
  name: 'check.flotilla.dev',
  admissionReviewVersions: ['v1'],
  sideEffects: 'None',
  clientConfig: { service: { name: 'web', namespace: 'default', path: '/check' } },
  rules: [
    {
      operations: ['CREATE'],
      apiGroups: [''],
      apiVersions: ['v1'],
      resources: ['pods'],
    },
  ],
};

const core = of('v1', {
  Namespace: {},
  Node: {},
  Pod: { spec: { containers } },
  Service: { spec: { selector: labels, ports: [{ port: 80 }] } },
  ConfigMap: { data: { a: 'b' } },
  Secret: { stringData: { a: 'b' } },
  ServiceAccount: {},
  Event: {
    involvedObject: { kind: 'Pod', namespace: 'default', name: 'web' },
    reason: 'Tried',
    message: 'It was tried.',
    type: 'Normal',
    source: { component: 'test' },
  },
  ReplicationController: { spec: { selector: labels, template } },
  LimitRange: {
    spec: { limits: [{ type: 'Container', max: { cpu: '2' }, min: { cpu: '100m' } }] },
  },
  ResourceQuota: { spec: { hard: { resourcequotas: '10', 'requests.storage': '4Gi' } } },
  PodTemplate: { template },
  Endpoints: { subsets: [{ addresses: [{ ip: '10.1.2.3' }], ports: [{ port: 80 }] }] },
  PersistentVolume: {
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      hostPath: { path: '/data' },
    },
  },
  PersistentVolumeClaim: { spec: claim },
});

const apps = of('apps/v1', {
  Deployment: {
    spec: {
      selector,
      template,
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: '50%' } },
    },
  },
  ReplicaSet: { spec: { selector, template } },
  DaemonSet: { spec: { selector, template } },
  StatefulSet: {
    spec: {
      serviceName: 'web',
      selector,
      template,
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: claim }],
    },
  },
  ControllerRevision: { revision: 1, data: { spec: {} } },
});

const batch = of('batch/v1', {
  Job: { spec: { template: once } },
  CronJob: { spec: { schedule: '*/5 * * * *', jobTemplate: { spec: { template: once } } } },
});

const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' };
const autoscaling = [
  ...of('autoscaling/v2', {
    HorizontalPodAutoscaler: { spec: { scaleTargetRef, maxReplicas: 5, behavior: {} } },
  }),
  ...of('autoscaling/v1', {
    HorizontalPodAutoscaler: {
      spec: { scaleTargetRef, maxReplicas: 5, targetCPUUtilizationPercentage: 60 },
    },
  }),
];

const storage = of('storage.k8s.io/v1', {
  StorageClass: { provisioner: 'flotilla.dev/local' },
  VolumeAttributesClass: { driverName: 'local.flotilla.dev', parameters: { speed: 'high' } },
  VolumeAttachment: {
    spec: {
      attacher: 'local.flotilla.dev',
      nodeName: 'one',
      source: { persistentVolumeName: 'it' },
    },
  },
  CSIDriver: { spec: { podInfoOnMount: true } },
  CSINode: { spec: { drivers: [{ name: 'local.flotilla.dev', nodeID: 'one' }] } },
  CSIStorageCapacity: { storageClassName: 'fast', capacity: '10Gi' },
});

const networking = of('networking.k8s.io/v1', {
  Ingress: {
    spec: {
      rules: [
        {
          host: 'web.example.com',
          http: {
            paths: [
              {
                path: '/',
                pathType: 'Prefix',
                backend: { service: { name: 'web', port: { number: 80 } } },
              },
            ],
          },
        },
      ],
    },
  },
  IngressClass: { spec: { controller: 'flotilla.dev/ingress' } },
  NetworkPolicy: { spec: { podSelector: selector, ingress: [{ ports: [{ port: 80 }] }] } },
  ServiceCIDR: { spec: { cidrs: ['10.98.0.0/24'] } },
  IPAddress: { spec: { parentRef: { resource: 'services', namespace: 'default', name: 'web' } } },
});

const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }];
const access = [
  ...of(`${rbac}/v1`, {
    Role: { rules },
    ClusterRole: { rules },
    RoleBinding: {
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'it' },
      subjects: [{ kind: 'ServiceAccount', name: 'default', namespace: 'default' }],
    },
    ClusterRoleBinding: {
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'it' },
      subjects: [{ apiGroup: rbac, kind: 'User', name: 'jane' }],
    },
  }),
  ...of('certificates.k8s.io/v1', {
    CertificateSigningRequest: {
      spec: {
        request: certificateRequest,
        signerName: 'flotilla.dev/test',
        usages: ['client auth'],
      },
    },
  }),
  ...of('admissionregistration.k8s.io/v1', {
    MutatingWebhookConfiguration: { webhooks: [webhook] },
    ValidatingWebhookConfiguration: { webhooks: [webhook] },
    ValidatingAdmissionPolicy: {
      spec: {
        matchConstraints: { resourceRules: webhook.rules },
        validations: [{ expression: 'object.metadata.name != "bad"' }],
      },
    },
    ValidatingAdmissionPolicyBinding: { spec: { policyName: 'it', validationActions: ['Deny'] } },
  }),
  ...of('admissionregistration.k8s.io/v1beta1', {
    MutatingAdmissionPolicy: {
      spec: {
        matchConstraints: { resourceRules: webhook.rules },
        mutations: [
          { patchType: 'ApplyConfiguration', applyConfiguration: { expression: 'Object{}' } },
        ],
        reinvocationPolicy: 'Never',
      },
    },
    MutatingAdmissionPolicyBinding: { spec: { policyName: 'it' } },
  }),
  ...of('flowcontrol.apiserver.k8s.io/v1', {
    FlowSchema: {
      spec: {
        priorityLevelConfiguration: { name: 'it' },
        rules: [
          {
            subjects: [{ kind: 'User', user: { name: 'jane' } }],
            nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
          },
        ],
      },
    },
    PriorityLevelConfiguration: {
      spec: { type: 'Limited', limited: { limitResponse: { type: 'Queue', queuing: {} } } },
    },
  }),
];

const others = [
  ...of('coordination.k8s.io/v1', { Lease: { spec: { holderIdentity: 'one' } } }),
  ...of('discovery.k8s.io/v1', {
    EndpointSlice: { addressType: 'IPv4', endpoints: [{ addresses: ['10.1.2.3'] }] },
  }),
  ...of('events.k8s.io/v1', {
    Event: {
      eventTime: '2026-11-23T12:00:00.000000Z',
      regarding: { kind: 'Pod', namespace: 'default', name: 'web' },
      reportingController: 'flotilla.dev/test',
      reportingInstance: 'one',
      action: 'Trying',
      reason: 'Tried',
      type: 'Normal',
      note: 'It was tried.',
    },
  }),
  ...of('policy/v1', { PodDisruptionBudget: { spec: { selector, minAvailable: 1 } } }),
  ...of('scheduling.k8s.io/v1', { PriorityClass: { value: 1000 } }),
  ...of('apiextensions.k8s.io/v1', { CustomResourceDefinition: { spec: ships } }),
  ...of('apiregistration.k8s.io/v1', {
    APIService: {
      spec: {
        group: 'that.example.com',
        version: 'v1',
        groupPriorityMinimum: 1000,
        versionPriority: 15,
      },
    },
  }),
  ...of('flotilla.dev/v1alpha1', {
    // It is asked at once: nothing may leave this machine.
    Machine: { spec: { address: '127.0.0.9', sshPort: 1 } },
    Discovery: { spec: { sweep: ['192.0.2.0/24'] } },
    ClusterBackup: {
      spec: { target: { folder: { path: '/media/disk' } }, everyHours: 12, keep: { daily: 3 } },
    },
    VolumeMove: { spec: { claims: ['data'], nodeName: 'nas' } },
  }),
  ...of('node.k8s.io/v1', { RuntimeClass: { handler: 'runc' } }),
];

export const samples: readonly Sample[] = [
  ...core,
  ...apps,
  ...batch,
  ...autoscaling,
  ...storage,
  ...networking,
  ...access,
  ...others,
];

function of(apiVersion: string, kinds: Readonly<Record<string, object>>): Sample[] {
  return Object.entries(kinds).map(([kind, fields]) => {
    const name = givenNames[kind] ?? 'it';
    return { apiVersion, kind, metadata: { name }, ...fields };
  });
}

export function sampleOf(apiVersion: string, kind: string): UnstructuredObject {
  const found = samples.find((one) => one.apiVersion === apiVersion && one.kind === kind);
  if (found === undefined) throw new Error(`no sample of ${apiVersion} ${kind}`);
  return structuredClone(found) as unknown as UnstructuredObject;
}
