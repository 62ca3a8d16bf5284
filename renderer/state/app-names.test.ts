import { expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { Ingress } from '#kube/api/networking.ts';
import type { App } from './app.ts';
import { appNames } from './app-names.ts';
import { describeFacts } from './facts.ts';

const services: Service[] = [
  { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'default', name: 'web' }, spec: {} },
];

function ingress(
  host: string,
  more: { path?: string; service?: string; namespace?: string; spec?: object; at?: string } = {},
): Ingress {
  const { path = '/', service = 'web', namespace = 'default', spec = {}, at = '10.0.0.1' } = more;
  const backend = { service: { name: service, port: { number: 80 } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { namespace, name: 'x' },
    spec: {
      ingressClassName: 'flotilla',
      rules: [{ host, http: { paths: [{ path, pathType: 'Prefix', backend }] } }],
      ...spec,
    },
    status: { loadBalancer: at === '' ? {} : { ingress: [{ ip: at }] } },
  };
}

it('are those whose Ingress leads to a service of the app, and is served', () => {
  const all = [
    ingress('Films.local'),
    ingress('films.local', { path: '/music/' }),
    ingress('other.local', { service: 'other' }),
    ingress('other.local', { namespace: 'other' }),
    ingress('closed.local', { at: '' }),
    ingress('*.example.com'),
  ];
  expect(appNames(services, all).map(({ url }) => url)).toEqual([
    'http://films.local',
    'http://films.local/music',
  ]);
});

it('lead to the page of trust where the home’s own certificate stands for them', () => {
  const tls = [{ hosts: ['b.local'], secretName: 'b' }];
  const trusted = (one: Ingress) => appNames(services, [one])[0]?.trustUrl;
  expect(trusted(ingress('a.local', { path: '/x', spec: { tls } }))).toBe(
    'http://a.local/.well-known/flotilla/trust',
  );
  expect([
    trusted(ingress('b.local', { spec: { tls } })),
    trusted(ingress('shop.example.com')),
    trusted(ingress('a.local', { spec: { ingressClassName: 'nginx' } })),
  ]).toEqual([undefined, undefined, undefined]);
});

it('stand among the facts of an app, which is then opened to the outside', () => {
  const object = { metadata: {}, spec: { template: { spec: { containers: [{ name: 'main' }] } } } };
  const app = { object, services, pods: [], address: undefined } as unknown as App;
  const at = { host: '127.0.0.1', nowMs: 0, ingresses: [ingress('films.local')], kept: [] };
  expect(describeFacts(app, [], at)[0]).toEqual({
    label: 'Reached at',
    lines: [
      { text: 'films.local', href: 'http://films.local', isCopyable: true },
      {
        text: "Trust this home's certificate",
        href: 'http://films.local/.well-known/flotilla/trust',
      },
    ],
  });
});
