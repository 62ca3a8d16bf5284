import { describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { Pod, Service } from '#kube/api/core.ts';
import { type AppSources, listApps } from './app.ts';
import { describeFacts } from './facts.ts';

function workload(name: string, metadata: object = {}): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', ...metadata },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          containers: [
            { name, image: 'web:1', volumeMounts: [{ name: 'data', mountPath: '/data' }] },
          ],
          volumes: [
            { name: 'data', hostPath: { path: '/srv/web' } },
            { name: 'config', configMap: { name: `${name}-config` } },
            { name: 'shared', configMap: { name: 'shared' } },
          ],
        },
      },
    },
  } as unknown as Deployment;
}

function pod(name: string, labels: Record<string, string>, namespace = 'default'): Pod {
  return {
    metadata: { name, namespace, labels },
    spec: { containers: [] },
    status: {},
  } as unknown as Pod;
}

function service(name: string, spec: object): Service {
  return { metadata: { name, namespace: 'default' }, spec } as unknown as Service;
}

const none: AppSources = {
  deployments: [],
  daemonSets: [],
  replicationControllers: [],
  pods: [],
  services: [],
  events: [],
  nodes: [],
  host: '127.0.0.1',
};

describe('listApps', () => {
  it("leaves out the system's own and what others own", () => {
    const deployments = [
      workload('web'),
      workload('dns', { namespace: 'kube-system' }),
      workload('owned', { ownerReferences: [{ controller: true }] }),
    ];
    expect(listApps({ ...none, deployments }).map(({ name }) => name)).toEqual(['web']);
  });

  it('gathers the copies that its selector picks in its own namespace', () => {
    const pods = [
      pod('web-1', { app: 'web' }),
      pod('db-1', { app: 'db' }),
      pod('web-2', { app: 'web' }, 'other'),
    ];
    const [app] = listApps({ ...none, deployments: [workload('web')], pods });
    expect(app?.pods.map(({ metadata }) => metadata.name)).toEqual(['web-1']);
  });

  const addresses = [
    {
      name: 'none without a node port',
      spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
      want: undefined,
    },
    {
      name: 'here, at the node port',
      spec: { selector: { app: 'web' }, ports: [{ port: 80, nodePort: 30080 }] },
      want: 'http://127.0.0.1:30080',
    },
    {
      name: 'https by its port',
      spec: { selector: { app: 'web' }, ports: [{ port: 443, nodePort: 30443 }] },
      want: 'https://127.0.0.1:30443',
    },
    {
      name: 'none for UDP',
      spec: { selector: { app: 'web' }, ports: [{ port: 53, nodePort: 30053, protocol: 'UDP' }] },
      want: undefined,
    },
    {
      name: 'none of a service without selector',
      spec: { selector: {}, ports: [{ port: 80, nodePort: 30080 }] },
      want: undefined,
    },
    {
      name: 'none of another app',
      spec: { selector: { app: 'db' }, ports: [{ port: 80, nodePort: 30080 }] },
      want: undefined,
    },
  ];
  it.each(addresses)('address: $name', ({ spec, want }) => {
    const [app] = listApps({
      ...none,
      deployments: [workload('web')],
      services: [service('web', spec)],
    });
    expect(app?.address?.url).toBe(want);
  });
});

describe('describeFacts', () => {
  it('says in words what has no limit and no address', () => {
    const [app] = listApps({ ...none, deployments: [workload('web')] });
    const facts =
      app && describeFacts(app, [], { host: '127.0.0.1', nowMs: 0, ingresses: [], kept: [] });
    expect(
      facts?.map(({ label, lines }) => `${label}: ${lines.map(({ text }) => text).join(', ')}`),
    ).toEqual([
      'Reached at: Not opened to the outside',
      'May use: As much as the machine has',
      'Keeps: /data, in /srv/web on its machine',
      'Deployed: ',
    ]);
  });
});
