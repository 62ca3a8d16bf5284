import { expect, it } from 'vitest';
import type { App } from './app.ts';
import { describeFacts } from './facts.ts';

function linesOf(services: readonly object[]): readonly string[] | undefined {
  const object = { metadata: {}, spec: { template: { spec: { containers: [{ name: 'main' }] } } } };
  const app = { object, services, pods: [], address: undefined } as unknown as App;
  const facts = describeFacts(app, [], { host: '127.0.0.1', nowMs: 0, ingresses: [], kept: [] });
  return facts.find(({ label }) => label === 'Inside the cluster')?.lines.map(({ text }) => text);
}

it('tells the numbers that answer inside the cluster, not names that nobody knows', () => {
  const metadata = { name: 'web', namespace: 'default' };
  const ports = [{ port: 80 }, { port: 443 }];
  expect(linesOf([{ metadata, spec: { clusterIP: '10.96.0.7', ports } }])).toEqual([
    '10.96.0.7:80',
    '10.96.0.7:443',
  ]);
});

it('has nothing to tell of a service without a number', () => {
  const metadata = { name: 'web', namespace: 'default' };
  expect(linesOf([{ metadata, spec: { clusterIP: 'None', ports: [{ port: 80 }] } }])).toBe(
    undefined,
  );
  expect(linesOf([{ metadata, spec: { ports: [{ port: 80 }] } }])).toBe(undefined);
});

it('tells what is kept, and on which machine as soon as there is one', () => {
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'films-data' } }];
  const volumeMounts = [{ name: 'data', mountPath: '/data' }];
  const spec = { containers: [{ name: 'main', volumeMounts }], volumes };
  const object = { metadata: {}, spec: { template: { spec } } };
  const app = { object, services: [], namespace: 'default' } as unknown as App;
  const data = { namespace: 'default', name: 'films-data', volume: 'pvc-1', users: [] };
  const keeps = (node?: string) =>
    describeFacts(app, [], {
      host: '127.0.0.1',
      nowMs: 0,
      ingresses: [],
      kept: [{ ...data, node, isGoing: false }],
    }).find(({ label }) => label === 'Keeps')?.lines[0]?.text;
  expect(keeps('nas')).toBe('/data, kept on nas as films-data');
  expect(keeps()).toBe('/data, kept as films-data');
});
