import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { builtInResources } from '../resources.ts';

const now = Date.parse('2026-11-23T12:00:00Z');
const ago = (minutes: number) => rfc3339(now - minutes * 60_000);

/** The cells of `kubectl get -o wide` in their order, without name and age. */
function cells(kind: string, object: object): unknown[] {
  const columns = builtInResources.find((resource) => resource.kind === kind)?.columns ?? [];
  const whole = { metadata: { name: 'it', creationTimestamp: ago(5) }, ...object };
  return columns
    .filter(({ name }) => !['Name', 'Age', 'Created At'].includes(name))
    .map(({ cell }) => cell(whole as KubeObject, now));
}

const condition = (type: string) => ({ type, status: 'True' });
const template = { spec: { containers: [{ name: 'c', image: 'i' }] } };
const host = (name: string) => ({ host: name });
const metric = (name: string, target: object, current?: object) => ({
  spec: { type: 'Resource', resource: { name, target } },
  ...(current === undefined ? {} : { status: { type: 'Resource', resource: { name, current } } }),
});
const autoscaler = (...metrics: { spec: object; status?: object }[]) => ({
  spec: {
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    maxReplicas: 3,
    metrics: metrics.map(({ spec }) => spec),
  },
  status: {
    desiredReplicas: 2,
    currentReplicas: 2,
    currentMetrics: metrics.flatMap(({ status }) => (status === undefined ? [] : [status])),
  },
});
const cpu = metric('cpu', { averageUtilization: 80 }, { averageUtilization: 42 });

describe('the table of', () => {
  const cases: readonly { name: string; kind: string; given: object; want: unknown[] }[] = [
    {
      name: 'a Job that runs',
      kind: 'Job',
      given: { spec: { completions: 3, template }, status: { startTime: ago(3), succeeded: 1 } },
      want: ['Running', '1/3', '3m', 'c', 'i', '<none>'],
    },
    {
      name: 'a Job that is complete',
      kind: 'Job',
      given: {
        spec: { completions: 1, template, selector: { matchLabels: { a: 'b' } } },
        status: {
          startTime: ago(60),
          completionTime: ago(58),
          succeeded: 1,
          conditions: [condition('SuccessCriteriaMet'), condition('Complete')],
        },
      },
      want: ['Complete', '1/1', '2m', 'c', 'i', 'a=b'],
    },
    {
      name: 'a Job without completions',
      kind: 'Job',
      given: {
        spec: { parallelism: 2, template },
        status: { conditions: [condition('Suspended')] },
      },
      want: ['Suspended', '0/1 of 2', '', 'c', 'i', '<none>'],
    },
    {
      name: 'a CronJob that made one',
      kind: 'CronJob',
      given: {
        spec: {
          schedule: '@daily',
          timeZone: 'UTC',
          suspend: true,
          jobTemplate: { spec: { template } },
        },
        status: { active: [{}], lastScheduleTime: ago(10) },
      },
      want: ['@daily', 'UTC', 'True', 1, '10m', 'c', 'i', '<none>'],
    },
    {
      name: 'a bound PersistentVolume',
      kind: 'PersistentVolume',
      given: {
        spec: {
          capacity: { storage: '5Gi' },
          accessModes: ['ReadWriteMany', 'ReadWriteOnce'],
          persistentVolumeReclaimPolicy: 'Delete',
          claimRef: { namespace: 'lab', name: 'data' },
          storageClassName: 'fast',
          volumeMode: 'Block',
        },
        status: { phase: 'Bound' },
      },
      want: ['5Gi', 'RWO,RWX', 'Delete', 'Bound', 'lab/data', 'fast', '<unset>', '', 'Block'],
    },
    {
      name: 'a PersistentVolumeClaim on its way out',
      kind: 'PersistentVolumeClaim',
      given: {
        metadata: { name: 'it', deletionTimestamp: ago(1) },
        spec: { volumeName: 'v', volumeMode: 'Filesystem' },
        status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadOnlyMany'] },
      },
      want: ['Terminating', 'v', '1Gi', 'ROX', '', '<unset>', 'Filesystem'],
    },
    {
      name: 'a ResourceQuota',
      kind: 'ResourceQuota',
      given: {
        status: {
          hard: { pods: '10', 'limits.cpu': '4', 'requests.cpu': '2' },
          used: { pods: '3', 'limits.cpu': '1' },
        },
      },
      want: ['pods: 3/10, requests.cpu: 0/2', 'limits.cpu: 1/4'],
    },
    {
      name: 'Endpoints of four addresses',
      kind: 'Endpoints',
      given: {
        subsets: [
          {
            addresses: ['10.0.0.1', '10.0.0.2', 'fd00::1', '10.0.0.4'].map((ip) => ({ ip })),
            ports: [{ port: 80 }],
          },
        ],
      },
      want: ['10.0.0.1:80,10.0.0.2:80,[fd00::1]:80 + 1 more...'],
    },
    {
      name: 'an Ingress of many hosts',
      kind: 'Ingress',
      given: {
        spec: { ingressClassName: 'x', rules: ['a', 'b', 'c', 'd'].map(host), tls: [{}] },
        status: { loadBalancer: { ingress: [{ ip: '10.0.0.2' }, { hostname: 'a.b' }] } },
      },
      want: ['x', 'a,b,c + 1 more...', '10.0.0.2,a.b', '80, 443'],
    },
    {
      name: 'an IngressClass with parameters',
      kind: 'IngressClass',
      given: { spec: { controller: 'x/y', parameters: { apiGroup: 'g', kind: 'K', name: 'n' } } },
      want: ['x/y', 'K.g/n'],
    },
    {
      name: 'an autoscaler that measures',
      kind: 'HorizontalPodAutoscaler',
      given: autoscaler(cpu),
      want: ['Deployment/web', 'cpu: 42%/80%', '<unset>', 3, 2],
    },
    {
      name: 'an autoscaler of three metrics',
      kind: 'HorizontalPodAutoscaler',
      given: autoscaler(cpu, metric('memory', { averageValue: '1Gi' }), cpu),
      want: ['Deployment/web', 'cpu: 42%/80%, memory: <unknown>/1Gi + 1 more...', '<unset>', 3, 2],
    },
    {
      name: 'a budget in per cent',
      kind: 'PodDisruptionBudget',
      given: { spec: { maxUnavailable: '20%' }, status: { disruptionsAllowed: 2 } },
      want: ['N/A', '20%', 2],
    },
    {
      name: 'a ClusterRoleBinding',
      kind: 'ClusterRoleBinding',
      given: {
        roleRef: { kind: 'ClusterRole', name: 'view' },
        subjects: [
          { kind: 'User', name: 'jane' },
          { kind: 'User', name: 'joe' },
          { kind: 'ServiceAccount', namespace: 'lab', name: 'bot' },
        ],
      },
      want: ['ClusterRole/view', 'jane, joe', '', 'lab/bot'],
    },
    {
      name: 'a certificate that was issued',
      kind: 'CertificateSigningRequest',
      given: {
        spec: { signerName: 'a.b/c', username: 'jane', expirationSeconds: 3600 },
        status: { conditions: [condition('Approved')], certificate: 'x' },
      },
      want: ['a.b/c', 'jane', '60m', 'Approved,Issued'],
    },
    {
      name: 'a default StorageClass',
      kind: 'StorageClass',
      given: { provisioner: 'p', allowVolumeExpansion: true },
      want: ['p', 'Delete', 'Immediate', true],
    },
    {
      name: 'a FlowSchema whose level is missing',
      kind: 'FlowSchema',
      given: {
        spec: { priorityLevelConfiguration: { name: 'l' }, matchingPrecedence: 5 },
        status: { conditions: [condition('Dangling')] },
      },
      want: ['l', 5, '<none>', 'True'],
    },
    {
      name: 'an IPAddress',
      kind: 'IPAddress',
      given: { spec: { parentRef: { resource: 'services', namespace: 'lab', name: 'web' } } },
      want: ['services/lab/web'],
    },
  ];
  it.each(cases)('$name', ({ kind, given, want }) => expect(cells(kind, given)).toEqual(want));

  it('a default StorageClass says so by its name', () => {
    const { columns = [] } = builtInResources.find(({ kind }) => kind === 'StorageClass') ?? {};
    const annotations = { 'storageclass.kubernetes.io/is-default-class': 'true' };
    const object = { metadata: { name: 'fast', annotations } } as unknown as KubeObject;
    expect(columns[0]?.cell(object, now)).toBe('fast (default)');
  });
});
