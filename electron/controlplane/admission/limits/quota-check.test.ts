import { describe, expect, it } from 'vitest';
import type { ResourceQuota } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { containerOf, podOf, refusal, serviceOf } from '../../../../test/setup/kinds.ts';
import { attributesOf, type Given } from '../testing/attributes.ts';
import { chargeQuotas, type ChargedWrite } from './quota-check.ts';

interface Amounts {
  readonly hard: Record<string, string>;
  readonly used: Record<string, string>;
}

function quotaOf({ hard, used }: Amounts, spec: Partial<ResourceQuota['spec']> = {}) {
  const quota = { metadata: { name: 'team' }, spec: { hard, ...spec }, status: { hard, used } };
  return quota as unknown as ResourceQuota;
}

function charge(quota: ResourceQuota, given: Given): Record<string, unknown> | undefined {
  const [charged] = chargeQuotas([quota], attributesOf(given) as ChargedWrite, 0);
  return charged?.status?.used;
}

const pod = (requests: object, more: object = {}): KubeObject =>
  podOf({
    containers: [containerOf({ resources: { requests, limits: requests } })],
    ...more,
  }) as KubeObject;
const claim = (storage: string, storageClassName = 'fast'): KubeObject =>
  ({ metadata: {}, spec: { storageClassName, resources: { requests: { storage } } } }) as never;

describe('what is charged', () => {
  const cases: readonly { name: string; hard: string[]; given: Given; want: object }[] = [
    {
      name: 'of a pod',
      hard: ['pods', 'count/pods', 'requests.cpu', 'cpu', 'limits.memory', 'secrets'],
      given: { object: pod({ cpu: '100m', memory: '1536Mi' }) },
      want: {
        pods: '1',
        'count/pods': '1',
        'requests.cpu': '100m',
        cpu: '100m',
        'limits.memory': '1536Mi',
      },
    },
    {
      name: 'of a device',
      hard: ['requests.example.com/gpu'],
      given: { object: pod({ 'example.com/gpu': '2' }) },
      want: { 'requests.example.com/gpu': '2' },
    },
    {
      name: 'of a Service',
      hard: ['services', 'services.nodeports', 'services.loadbalancers', 'count/services'],
      given: {
        resource: 'services',
        object: serviceOf({
          type: 'LoadBalancer',
          ports: [{ port: 80 }, { port: 443 }],
        }) as KubeObject,
      },
      want: {
        services: '1',
        'count/services': '1',
        'services.nodeports': '2',
        'services.loadbalancers': '1',
      },
    },
    {
      name: 'of a claim, also to its class',
      hard: [
        'requests.storage',
        'persistentvolumeclaims',
        'fast.storageclass.storage.k8s.io/requests.storage',
        'slow.storageclass.storage.k8s.io/requests.storage',
      ],
      given: { resource: 'persistentvolumeclaims', object: claim('2Gi') },
      want: {
        'requests.storage': '2Gi',
        persistentvolumeclaims: '1',
        'fast.storageclass.storage.k8s.io/requests.storage': '2Gi',
      },
    },
    {
      name: 'of a claim that grows',
      hard: ['requests.storage', 'persistentvolumeclaims'],
      given: {
        resource: 'persistentvolumeclaims',
        operation: 'UPDATE',
        object: claim('3Gi'),
        oldObject: claim('2Gi'),
      },
      want: { 'requests.storage': '1Gi' },
    },
    {
      name: 'of a pod that is resized',
      hard: ['requests.cpu', 'pods'],
      given: {
        operation: 'UPDATE',
        subresource: 'resize',
        object: pod({ cpu: '500m' }),
        oldObject: pod({ cpu: '200m' }),
      },
      want: { 'requests.cpu': '300m' },
    },
    {
      name: 'of a Service that becomes a NodePort',
      hard: ['services', 'services.nodeports'],
      given: {
        resource: 'services',
        operation: 'UPDATE',
        object: serviceOf({ type: 'NodePort' }) as KubeObject,
        oldObject: serviceOf() as KubeObject,
      },
      want: { 'services.nodeports': '1' },
    },
    {
      name: 'of any kind, by number',
      hard: ['count/deployments.apps'],
      given: { resource: 'deployments', object: {} as KubeObject },
      want: { 'count/deployments.apps': '1' },
    },
    {
      name: 'of a Secret, under both names',
      hard: ['secrets', 'count/secrets'],
      given: { resource: 'secrets', object: {} as KubeObject },
      want: { secrets: '1', 'count/secrets': '1' },
    },
  ];
  it.each(cases)('$name', ({ hard, given, want }) => {
    const zero = Object.fromEntries(hard.map((name) => [name, '0']));
    const quota = quotaOf({ hard: Object.fromEntries(hard.map((n) => [n, '100Gi'])), used: zero });
    expect(charge(quota, given)).toEqual({ ...zero, ...want });
  });
});

describe('scopes', () => {
  const selecting = (scopeName: string, operator: string, ...values: string[]) => ({
    scopeSelector: { matchExpressions: [{ scopeName, operator, values }] },
  });
  const cases: readonly { scope: object; spec: object; want: boolean }[] = [
    { scope: { scopes: ['BestEffort'] }, spec: { containers: [containerOf({})] }, want: true },
    { scope: { scopes: ['NotBestEffort'] }, spec: { containers: [containerOf({})] }, want: false },
    { scope: { scopes: ['NotBestEffort'] }, spec: {}, want: true },
    { scope: { scopes: ['Terminating'] }, spec: { activeDeadlineSeconds: 5 }, want: true },
    { scope: { scopes: ['Terminating'] }, spec: {}, want: false },
    { scope: { scopes: ['NotTerminating'] }, spec: {}, want: true },
    {
      scope: selecting('PriorityClass', 'In', 'gold'),
      spec: { priorityClassName: 'gold' },
      want: true,
    },
    { scope: selecting('PriorityClass', 'In', 'gold'), spec: {}, want: false },
    { scope: selecting('PriorityClass', 'NotIn', 'gold'), spec: {}, want: true },
    { scope: selecting('PriorityClass', 'Exists'), spec: { priorityClassName: 'tin' }, want: true },
    { scope: selecting('PriorityClass', 'DoesNotExist'), spec: {}, want: true },
    {
      scope: { scopes: ['CrossNamespacePodAffinity'] },
      spec: {
        affinity: {
          podAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [{ namespaces: ['a'] }],
          },
        },
      },
      want: true,
    },
  ];
  it.each(cases)('$scope of $spec: $want', ({ scope, spec, want }) => {
    const quota = quotaOf({ hard: { pods: '9' }, used: { pods: '3' } }, scope);
    expect(charge(quota, { object: pod({ cpu: '1' }, spec) })).toEqual({ pods: want ? '4' : '3' });
  });

  it('leave out kinds that have none', () => {
    const quota = quotaOf(
      { hard: { secrets: '9' }, used: { secrets: '3' } },
      { scopes: ['BestEffort'] },
    );
    expect(charge(quota, { resource: 'secrets', object: {} as KubeObject })).toEqual({
      secrets: '3',
    });
  });
});

describe('refuses', () => {
  const cases: readonly { name: string; amounts: Amounts; object: KubeObject; want: string }[] = [
    {
      name: 'what is more than is left, and says of what',
      amounts: {
        hard: { pods: '5', 'requests.cpu': '1', 'requests.memory': '1Gi' },
        used: { pods: '2', 'requests.cpu': '800m', 'requests.memory': '1000Mi' },
      },
      object: pod({ cpu: '300m', memory: '100Mi' }),
      want: 'exceeded quota: team, requested: requests.cpu=300m,requests.memory=100Mi, used: requests.cpu=800m,requests.memory=1000Mi, limited: requests.cpu=1,requests.memory=1Gi',
    },
    {
      name: 'pods that do not say what is limited',
      amounts: {
        hard: { 'limits.cpu': '1', 'requests.memory': '1Gi' },
        used: { 'limits.cpu': '0', 'requests.memory': '0' },
      },
      object: podOf({ containers: [containerOf({}), containerOf({ name: 'b' })] }) as KubeObject,
      want: 'failed quota: team: must specify limits.cpu for: b,web; requests.memory for: b,web',
    },
    {
      name: 'what nobody has counted yet',
      amounts: { hard: { pods: '5' }, used: {} },
      object: pod({ cpu: '1' }),
      want: 'status unknown for quota: team, resources: pods',
    },
  ];
  it.each(cases)('$name', async ({ amounts, object, want }) => {
    const attempt = Promise.resolve().then(() => charge(quotaOf(amounts), { object }));
    expect(await refusal(attempt)).toBe(`pods "web" is forbidden: ${want}`);
  });

  it('nothing for containers that say nothing where their pod does', () => {
    const amounts = { hard: { 'limits.cpu': '2' }, used: { 'limits.cpu': '0' } };
    const resources = { requests: { cpu: '1' }, limits: { cpu: '1' } };
    const object = podOf({ containers: [containerOf({})], resources }) as KubeObject;
    expect(charge(quotaOf(amounts), { object })).toEqual({ 'limits.cpu': '1' });
  });

  it('nothing for a limit that was lowered below what is used, if it adds nothing to it', () => {
    const amounts = {
      hard: { pods: '5', 'requests.cpu': '1' },
      used: { pods: '2', 'requests.cpu': '3' },
    };
    expect(charge(quotaOf(amounts), { object: pod({ cpu: '0' }) })).toEqual({
      ...amounts.used,
      pods: '3',
    });
  });
});
