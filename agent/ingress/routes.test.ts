import { describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import type { Ingress, IngressClass, IngressRule } from '#kube/api/networking.ts';
import { ingressController } from '#kube/machinery/ingress.ts';
import { findRoute, hostName, routeTable, type IngressState } from './routes.ts';

const ours: IngressClass = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: { name: 'flotilla' },
  spec: { controller: ingressController },
};
const theirs: IngressClass = {
  ...ours,
  metadata: { name: 'nginx' },
  spec: { controller: 'k8s.io/ingress-nginx' },
};

function service(name: string, more: Partial<Service['spec']> = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { ports: [{ name: 'web', port: 80 }], ...more },
  };
}

type Conditions = NonNullable<EndpointSlice['endpoints']>[number]['conditions'];

function slice(name: string, endpoints: Readonly<Record<string, Conditions>>): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: `${name}-x`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: [{ name: 'web', port: 8080 }],
    endpoints: Object.entries(endpoints).map(([address, conditions]) => ({
      addresses: [address],
      ...(conditions === undefined ? {} : { conditions }),
    })),
  };
}

function backend(name: string, port: { name?: string; number?: number } = { number: 80 }) {
  return { service: { name, port } };
}

/** `Prefix /path → service`. */
function rule(host: string | undefined, ...paths: readonly string[]): IngressRule {
  return {
    ...(host === undefined ? {} : { host }),
    http: {
      paths: paths.map((text) => {
        const [pathType = '', path = '', name = ''] = text.split(' ');
        return { pathType, path, backend: backend(name) };
      }),
    },
  };
}

function ingress(name: string, spec: Ingress['spec'], createdAt = '2026-01-01T00:00:00Z'): Ingress {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { namespace: 'default', name, uid: name, creationTimestamp: createdAt },
    spec: { ingressClassName: 'flotilla', ...spec },
  };
}

const place = { nodeName: 'here', zone: 'attic' };
const names = ['a', 'b', 'c', 'd'];
const world = (...ingresses: readonly Ingress[]): IngressState => ({
  ingresses,
  classes: [ours, theirs],
  services: names.map((name) => service(name)),
  place,
  endpointSlices: names.map((name, n) => slice(name, { [`10.244.0.${n + 1}`]: { ready: true } })),
});

/** The Service behind a host and path; undefined: none. */
function serviceAt(state: IngressState, host: string, path: string): string | undefined {
  return /\/(.*):/.exec(findRoute(routeTable(state), host, path)?.backend ?? '')?.[1];
}

describe('paths', () => {
  // The table of examples in Kubernetes' own documentation of Ingress.
  const examples: readonly (readonly [type: string, path: string, asked: string, does: boolean])[] =
    [
      ['Prefix', '/', '/anything', true],
      ['Exact', '/foo', '/foo', true],
      ['Exact', '/foo', '/bar', false],
      ['Exact', '/foo', '/foo/', false],
      ['Exact', '/foo/', '/foo', false],
      ['Prefix', '/foo', '/foo', true],
      ['Prefix', '/foo', '/foo/', true],
      ['Prefix', '/foo/', '/foo', true],
      ['Prefix', '/foo/', '/foo/', true],
      ['Prefix', '/aaa/bb', '/aaa/bbb', false],
      ['Prefix', '/aaa/bbb', '/aaa/bbb', true],
      ['Prefix', '/aaa/bbb/', '/aaa/bbb', true],
      ['Prefix', '/aaa/bbb', '/aaa/bbb/', true],
      ['Prefix', '/aaa/bbb', '/aaa/bbb/ccc', true],
      ['Prefix', '/aaa/bbb', '/aaa/bbbxyz', false],
      ['Prefix', '/aaa', '/ccc', false],
      ['ImplementationSpecific', '/foo', '/foo/bar', true],
      ['Prefix', '/foo', '/FOO', false],
    ];
  for (const [type, path, asked, does] of examples)
    it(`${type} ${path} ${does ? 'is for' : 'is not for'} ${asked}`, () => {
      const state = world(ingress('one', { rules: [rule('x.local', `${type} ${path} a`)] }));
      expect(serviceAt(state, 'x.local', asked)).toBe(does ? 'a' : undefined);
    });

  it('that are longer win, and exact ones among equals', () => {
    const rules = [
      rule('x.local', 'Prefix / a', 'Prefix /aaa b', 'Prefix /aaa/bbb c', 'Exact /aaa d'),
    ];
    const state = world(ingress('one', { rules }));
    expect(
      ['/', '/aaa', '/aaa/', '/aaa/bbb/ccc', '/zzz'].map((path) =>
        serviceAt(state, 'x.local', path),
      ),
    ).toEqual(['a', 'd', 'b', 'c', 'a']);
  });
});

describe('hosts', () => {
  it('are exact, or have one label of freedom', () => {
    const state = world(
      ingress('one', {
        rules: [rule('*.home.arpa', 'Prefix / a'), rule('x.home.arpa', 'Prefix / b')],
      }),
    );
    expect(
      ['y.home.arpa', 'x.home.arpa', 'home.arpa', 'z.y.home.arpa', 'X.Home.Arpa.:8080'].map(
        (host) => serviceAt(state, host, '/'),
      ),
    ).toEqual(['a', 'b', undefined, undefined, 'b']);
  });

  it('that no rule names go by the rules without a host, then to the default backend', () => {
    const state = world(
      ingress('one', { rules: [rule(undefined, 'Prefix /any a'), rule('x.local', 'Prefix /x b')] }),
      ingress('two', { defaultBackend: backend('c') }),
    );
    expect(
      [
        ['y.local', '/any'],
        ['x.local', '/any'],
        ['x.local', '/x'],
        ['y.local', '/other'],
      ].map(([host = '', path = '']) => serviceAt(state, host, path)),
    ).toEqual(['a', 'a', 'b', 'c']);
  });

  it('are read from a Host header without port, case and final dot', () => {
    expect(['X.local', 'x.local:80', 'x.local.', '[::1]:80'].map(hostName)).toEqual([
      'x.local',
      'x.local',
      'x.local',
      '[::1]',
    ]);
  });
});

describe('Ingresses', () => {
  it('of other classes, and of none, are not ours', () => {
    const rules = [rule('x.local', 'Prefix / a')];
    const annotated = ingress('three', { rules });
    delete annotated.spec.ingressClassName;
    annotated.metadata.annotations = { 'kubernetes.io/ingress.class': 'flotilla' };
    const none = ingress('two', { rules });
    delete none.spec.ingressClassName;
    expect(
      [ingress('one', { rules, ingressClassName: 'nginx' }), none, annotated].map((one) =>
        serviceAt(world(one), 'x.local', '/'),
      ),
    ).toEqual([undefined, undefined, 'a']);
  });

  it('for Flotilla’s own page are nobody’s', () => {
    const rules = ['flotilla.local', 'Flotilla-2.local', 'films.local'].map((host) =>
      rule(host, 'Prefix / a'),
    );
    const state = world(ingress('home', { rules }));
    expect([...routeTable(state).hosts.keys()]).toEqual(['films.local']);
  });

  it('that want the same host and path: the older has it', () => {
    const rules = [rule('x.local', 'Prefix / a')];
    const older = [rule('X.local', 'Prefix / b')];
    const state = world(
      ingress('young', { rules }, '2026-02-01T00:00:00Z'),
      ingress('old', { rules: older }),
    );
    expect(serviceAt(state, 'x.local', '/')).toBe('b');
  });

  it('are served as far as can be', () => {
    const state = world(
      ingress('one', {
        rules: [
          {
            host: 'x.local',
            http: {
              paths: [
                { pathType: 'Prefix', path: '/gone', backend: backend('gone') },
                { pathType: 'Prefix', path: '/port', backend: backend('a', { number: 81 }) },
                { pathType: 'Prefix', path: '/named', backend: backend('a', { name: 'web' }) },
                {
                  pathType: 'Prefix',
                  path: '/bucket',
                  backend: { resource: { kind: 'Bucket', name: 'b' } },
                },
              ],
            },
          },
        ],
      }),
    );
    expect(
      ['/gone', '/port', '/named', '/bucket'].map(
        (path) => findRoute(routeTable(state), 'x.local', path)?.endpoints.length,
      ),
    ).toEqual([0, 0, 1, undefined]);
  });
});

describe('pods', () => {
  const at = (endpoints: Readonly<Record<string, Conditions>>) => {
    const state = {
      ...world(ingress('one', { rules: [rule('x.local', 'Prefix / a')] })),
      endpointSlices: [slice('a', endpoints)],
    };
    return findRoute(routeTable(state), 'x.local', '/')?.endpoints.map(({ address }) => address);
  };

  it('that are ready get requests, sorted', () => {
    expect(
      at({
        '10.0.0.3': { ready: true },
        '10.0.0.1': undefined,
        '10.0.0.2': { ready: false },
      }),
    ).toEqual(['10.0.0.1', '10.0.0.3']);
  });

  it('that end, but serve, get them when no other is left', () => {
    const leaving = { ready: false, serving: true, terminating: true };
    expect(at({ '10.0.0.1': leaving, '10.0.0.2': { ready: true } })).toEqual(['10.0.0.2']);
    expect(at({ '10.0.0.1': leaving, '10.0.0.2': { ready: false } })).toEqual(['10.0.0.1']);
  });
});

it('requests go where a client on this node would: hints, and a policy of the Service, count', () => {
  const ends = (['here', 'there'] as const).map((nodeName, n) => ({
    addresses: [`10.244.${n}.1`],
    nodeName,
    hints: { forZones: [{ name: nodeName === 'here' ? 'attic' : 'cellar' }] },
  }));
  const route = (zone: string, internalTrafficPolicy: string) =>
    findRoute(
      routeTable({
        ...world(ingress('one', { rules: [rule('x.local', 'Prefix / a')] })),
        services: [service('a', { internalTrafficPolicy })],
        endpointSlices: [{ ...slice('a', {}), endpoints: ends }],
        place: { ...place, zone },
      }),
      'x.local',
      '/',
    );
  const addresses = (...given: Parameters<typeof route>) =>
    route(...given)?.endpoints.map(({ address }) => address);
  expect([
    addresses('attic', 'Cluster'),
    addresses('cellar', 'Cluster'),
    addresses('', 'Cluster'),
    addresses('', 'Local'),
    route('attic', 'Cluster')?.runsOn,
  ]).toEqual([
    ['10.244.0.1'],
    ['10.244.1.1'],
    ['10.244.0.1', '10.244.1.1'],
    ['10.244.0.1'],
    ['here', 'there'],
  ]);
});

describe('TLS', () => {
  it('is for the hosts it names, or for those of the rules', () => {
    const table = routeTable(
      world(
        ingress('one', {
          rules: [rule('x.local', 'Prefix / a'), rule(undefined, 'Prefix / b')],
          tls: [
            { secretName: 'all' },
            { secretName: 'named', hosts: ['Y.local'] },
            { hosts: ['z'] },
          ],
        }),
      ),
    );
    expect(table.tls).toEqual([
      { host: 'x.local', namespace: 'default', secretName: 'all' },
      { host: 'y.local', namespace: 'default', secretName: 'named' },
    ]);
  });
});
