import { describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { ConfigMap, Pod, Service } from '#kube/api/core.ts';
import { type App, listApps } from './app.ts';
import { planRemoval } from './belongings.ts';
import { ownLabels } from './ownership.ts';

function workload(
  name: string,
  labels: Record<string, string>,
  configName = 'web-config',
): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', uid: `uid-${name}` },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name, ...labels } },
        spec: {
          containers: [{ name, image: 'web:1' }],
          volumes: [
            { name: 'data', hostPath: { path: '/srv/web' } },
            { name: 'config', configMap: { name: configName } },
            { name: 'films', persistentVolumeClaim: { claimName: 'films' } },
          ],
        },
      },
    },
  } as unknown as Deployment;
}

function service(name: string, selector: object, metadata: object = {}): Service {
  return {
    metadata: { name, namespace: 'default', uid: `uid-${name}`, ...metadata },
    spec: { selector, ports: [{ port: 80 }] },
  } as unknown as Service;
}

function config(labels: Record<string, string>): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'web-config', namespace: 'default', uid: 'uid-config', labels },
  };
}

interface Given {
  readonly others?: Deployment[];
  readonly pods?: Pod[];
  readonly services?: Service[];
  readonly configMaps?: ConfigMap[];
}

function plan({ others = [], pods = [], services = [], configMaps = [] }: Given) {
  const apps = listApps({
    deployments: [workload('web', { tier: 'front' }), ...others],
    daemonSets: [],
    replicationControllers: [],
    pods,
    services,
    events: [],
    nodes: [],
    host: '127.0.0.1',
  });
  const app = apps.find(({ name }) => name === 'web') as App;
  const films = { name: 'films', node: 'nas', volume: 'pvc-1', users: ['web'], isGoing: false };
  const data = ['other', 'default'].map((namespace) => ({ ...films, namespace }));
  const { steps, kept, keptFolders, keptData } = planRemoval(app, {
    apps,
    pods,
    configMaps,
    data,
  });
  expect(keptData).toEqual([{ ...films, namespace: 'default' }]);

  expect(keptFolders).toEqual(['/srv/web']);
  return {
    first: steps[0]?.text,
    goes: steps.map(({ kind, name }) => `${kind}/${name}`),
    stays: kept.map(({ name, why }) => `${name}: ${why}`),
  };
}

const stray = { metadata: { name: 'job-1', namespace: 'default', labels: { tier: 'front' } } };
const cases: { name: string; given: Given; goes: string[]; stays: string[] }[] = [
  {
    name: 'the app goes before a service that leads to it alone',
    given: { services: [service('web', { app: 'web' })] },
    goes: ['Deployment/web', 'Service/web'],
    stays: [],
  },
  {
    name: 'a service that another app is reached by stays, also while that app sleeps',
    given: {
      others: [workload('shop', { tier: 'front' }, 'shop-config')],
      services: [service('front', { tier: 'front' })],
    },
    goes: ['Deployment/web'],
    stays: ['The address front: it leads to shop too'],
  },
  {
    name: 'a service that leads to a pod of nobody stays',
    given: {
      pods: [{ ...stray, spec: { containers: [] }, status: {} } as unknown as Pod],
      services: [service('front', { tier: 'front' })],
    },
    goes: ['Deployment/web'],
    stays: ['The address front: it leads to job-1 too'],
  },
  {
    name: 'what another tool looks after stays',
    given: {
      services: [
        service('helm', { app: 'web' }, { labels: { 'app.kubernetes.io/managed-by': 'Helm' } }),
        service('owned', { app: 'web' }, { ownerReferences: [{ name: 'operator' }] }),
      ],
    },
    goes: ['Deployment/web'],
    stays: ['The address helm: Helm looks after it', 'The address owned: it belongs to operator'],
  },
  {
    name: 'configuration goes when the Deploy form made it for this app',
    given: { configMaps: [config(ownLabels('web'))] },
    goes: ['Deployment/web', 'ConfigMap/web-config'],
    stays: [],
  },
  {
    name: 'configuration that only has the fitting name stays',
    given: { configMaps: [config({ 'app.kubernetes.io/name': 'web' })] },
    goes: ['Deployment/web'],
    stays: ['The configuration web-config: Flotilla did not make it for this app alone'],
  },
  {
    name: 'configuration that another app reads stays',
    given: { others: [workload('shop', {})], configMaps: [config(ownLabels('web'))] },
    goes: ['Deployment/web'],
    stays: ['The configuration web-config: shop reads it too'],
  },
];

describe('planRemoval', () => {
  it.each(cases)('$name', ({ given, goes, stays }) => {
    expect(plan(given)).toMatchObject({ goes, stays });
  });

  const copy = (name: string, deletionTimestamp?: string): Pod =>
    ({
      metadata: { name, namespace: 'default', labels: { app: 'web' }, deletionTimestamp },
      spec: { containers: [] },
      status: {},
    }) as unknown as Pod;
  const counts = [
    { name: 'without copies', pods: [], want: 'The app itself' },
    { name: 'with one', pods: [copy('a')], want: 'The app with its 1 copy' },
    { name: 'with two', pods: [copy('a'), copy('b')], want: 'The app with its 2 copies' },
    {
      name: 'one of which goes already',
      pods: [copy('a'), copy('b', '2026-01-01T00:00:00Z')],
      want: 'The app with its 1 copy',
    },
    {
      name: 'the last of which goes',
      pods: [copy('a', '2026-01-01T00:00:00Z')],
      want: 'The app itself',
    },
  ];
  it.each(counts)('counts the copies that go with an app $name', ({ pods, want }) => {
    expect(plan({ pods }).first).toBe(want);
  });
});
