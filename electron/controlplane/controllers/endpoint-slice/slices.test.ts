import { describe, expect, it } from 'vitest';
import type { Node, Pod, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { endpointGroups } from './endpoints.ts';
import { ownerOfService, planSlices } from './slices.ts';

function service(spec: Partial<Service['spec']> = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: 'web', uid: 'svc', labels: { team: 'shop' } },
    spec: { clusterIP: '10.96.0.9', ports: [{ port: 80, targetPort: 8080 }], ...spec },
  };
}

function pod(
  name: string,
  more: { spec?: Partial<Pod['spec']>; ready?: boolean; ip?: string } = {},
): Pod {
  const conditions = [{ type: 'Ready', status: more.ready === false ? 'False' : 'True' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name, uid: name },
    spec: { containers: [], nodeName: 'n1', ...more.spec },
    status: { phase: 'Running', podIP: more.ip ?? '10.0.0.1', conditions },
  };
}

const nodes = new Map();

describe('endpoints', () => {
  it('resolve named ports per pod, in groups of their own', () => {
    const named = (name: string, containerPort: number): Pod =>
      pod(name, {
        spec: { containers: [{ name: 'c', ports: [{ name: 'http', containerPort }] }] },
      });
    const view = {
      service: service({ ports: [{ port: 80, targetPort: 'http' }] }),
      pods: [named('a', 8080), named('b', 9090), named('c', 8080), pod('without')],
      nodes,
    };
    const groups = endpointGroups(view, 'IPv4');
    const facts = groups.map(({ ports, endpoints }) => [
      ports[0]?.port,
      endpoints.map((e) => e.targetRef?.name),
    ]);
    expect(facts).toEqual([
      [8080, ['a', 'c']],
      [9090, ['b']],
    ]);
  });

  it('leave out pods without an address of the family, and finished ones', () => {
    const done = pod('done');
    const pods = [
      pod('v6', { ip: 'fd00::1' }),
      pod('none', { ip: '' }),
      { ...done, status: { ...done.status, phase: 'Succeeded' } },
    ];
    expect(endpointGroups({ service: service(), pods, nodes }, 'IPv4')).toEqual([]);
    expect(endpointGroups({ service: service(), pods, nodes }, 'IPv6')).toHaveLength(1);
  });

  // One bad address would make the API refuse the slice, and the endpoints of all nodes with it.
  it.each(['127.0.0.1', '169.254.169.254', '0.0.0.0', '224.0.0.1', '10.0.0.1; drop', 'x'])(
    'leave out %j, whatever a node says of its pod',
    (ip) => {
      const pods = [pod('lies', { ip }), pod('honest')];
      const [group] = endpointGroups({ service: service(), pods, nodes }, 'IPv4');
      expect(group?.endpoints.map(({ addresses }) => addresses)).toEqual([['10.0.0.1']]);
    },
  );

  it('count unready pods as ready when the Service publishes them', () => {
    const ready = (publishNotReadyAddresses: boolean): unknown => {
      const view = {
        service: service({ publishNotReadyAddresses }),
        pods: [pod('a', { ready: false })],
        nodes,
      };
      return endpointGroups(view, 'IPv4')[0]?.endpoints[0]?.conditions;
    };
    expect([ready(false), ready(true)]).toEqual([
      { ready: false, serving: false, terminating: false },
      { ready: true, serving: false, terminating: false },
    ]);
  });

  it('say whom they are for where the Service wants its traffic to stay close', () => {
    const attic: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'attic' } },
      spec: {},
    };
    const hints = (trafficDistribution: string, known: ReadonlyMap<string, Node>): unknown => {
      const pods = [pod('a'), pod('unready', { ready: false })];
      const view = { service: service({ trafficDistribution }), pods, nodes: known };
      return endpointGroups(view, 'IPv4')[0]?.endpoints.map((endpoint) => endpoint.hints);
    };
    const inAttic = new Map([['n1', attic]]);
    const forZones = [{ name: 'attic' }];
    const forNodes = [{ name: 'n1' }];
    expect([
      hints('PreferSameZone', inAttic),
      hints('PreferClose', inAttic),
      hints('PreferSameNode', inAttic),
      hints('PreferSameNode', nodes),
      hints('PreferSameZone', nodes),
      hints('', inAttic),
    ]).toEqual(
      [{ forZones }, { forZones }, { forZones, forNodes }, { forNodes }, undefined, undefined].map(
        (first) => [first, undefined],
      ),
    );
  });

  it('carry a host name only for the governing Service', () => {
    const hostname = (subdomain: string): unknown => {
      const view = {
        service: service(),
        pods: [pod('a', { spec: { hostname: 'db-0', subdomain } })],
        nodes,
      };
      return endpointGroups(view, 'IPv4')[0]?.endpoints[0]?.hostname;
    };
    expect([hostname('web'), hostname('other')]).toEqual(['db-0', undefined]);
  });
});

describe('slices', () => {
  function plan(
    podCount: number,
    existing: EndpointSlice[],
    spec: Partial<Service['spec']> = {},
  ): ReturnType<typeof planSlices> {
    const pods = Array.from({ length: podCount }, (_, i) => pod(`p${i}`, { ip: `10.0.1.${i}` }));
    const view = { service: service(spec), pods, nodes };
    const groups = endpointGroups(view, 'IPv4');
    return planSlices({
      owner: ownerOfService(view.service),
      addressType: 'IPv4',
      existing,
      groups,
    });
  }
  function sizes(slices: readonly EndpointSlice[]): number[] {
    return slices.map(({ endpoints = [] }) => endpoints.length);
  }
  /** As the server would have stored them. */
  function stored(slices: readonly EndpointSlice[]): EndpointSlice[] {
    return slices.map((slice, i) => ({
      ...slice,
      metadata: { ...slice.metadata, name: `web-${i}` },
    }));
  }

  it('hold at most 100 endpoints each', () => {
    expect(sizes(plan(250, []).create)).toEqual([100, 100, 50]);
  });

  it('are left alone when nothing changed', () => {
    expect(plan(3, stored(plan(3, []).create))).toEqual({ create: [], update: [], remove: [] });
  });

  it('keep endpoints where they are and fill up before a new slice is made', () => {
    const before = stored(plan(150, []).create);
    const { create, update, remove } = plan(152, before);
    expect([create, remove, sizes(update)]).toEqual([[], [], [52]]);
  });

  it('go when they are empty, but for one', () => {
    const before = stored(plan(150, []).create);
    const fewer = plan(20, before);
    expect([sizes(fewer.update), fewer.remove.map((slice) => slice.metadata.name)]).toEqual([
      [20],
      ['web-1'],
    ]);
    const none = plan(0, before);
    expect([none.create.length, none.update.length, none.remove.length]).toEqual([1, 0, 2]);
  });

  it('carry the labels of their Service, and say so when it is headless', () => {
    const [slice] = plan(1, [], { clusterIP: 'None' }).create;
    expect(slice?.metadata.labels).toEqual({
      team: 'shop',
      'kubernetes.io/service-name': 'web',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      'service.kubernetes.io/headless': '',
    });
  });
});
