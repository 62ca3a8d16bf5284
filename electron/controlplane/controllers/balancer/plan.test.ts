import { describe, expect, it } from 'vitest';
import type { Node, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { balancerClasses, isBalanced, portsAnnotation } from '#kube/machinery/balancers.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { planBalancer } from './plan.ts';

function node(
  name: string,
  address: string,
  more: {
    ready?: string;
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
  } = {},
): Node {
  const { ready = 'True', labels = {} } = more;
  const free = '22/tcp free; 53/tcp free; 53/udp free; 80/tcp free; 443/tcp free';
  const annotations = { [portsAnnotation]: free, ...more.annotations };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, annotations, labels },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: ready }],
    },
  };
}

function service(
  name: string,
  port: number,
  more: Partial<Service['spec']> = {},
  second = 0,
): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace: 'default',
      name,
      creationTimestamp: `2026-01-01T00:00:0${second}Z`,
    },
    spec: { type: 'LoadBalancer', ports: [{ port }], ...more },
  };
}

const pi = node('pi', '192.168.1.2');
const pc = node('pc', '192.168.1.1');

function planned(
  one: Service,
  world: { services?: Service[]; nodes?: Node[]; slices?: EndpointSlice[] } = {},
): { at: (string | undefined)[]; refusals: readonly string[] } {
  const { services = [one], nodes = [pi, pc], slices = [] } = world;
  const given = new Map<string, string>();
  const { ingress, refusals } = planBalancer(one, {
    services,
    nodes,
    slices,
    pool: undefined,
    given,
  });
  return { at: ingress.map(({ ip }) => ip), refusals: refusals.map(({ text }) => text) };
}

describe('a LoadBalancer Service', () => {
  it('is reached at every machine that is ready', () => {
    const away = node('away', '192.168.1.3', { ready: 'Unknown' });
    expect(planned(service('a', 80), { nodes: [pi, pc, away] })).toEqual({
      at: ['192.168.1.1', '192.168.1.2'],
      refusals: [],
    });
  });

  it('not at one whose own program has the port, nor where Ingresses are served at it', () => {
    const busy = node('busy', '192.168.1.4', {
      annotations: {
        [portsAnnotation]:
          '22/tcp sshd (process 7); 53/udp dnsmasq (process 9); 53/tcp free; 443/tcp free',
      },
    });
    const front = node('front', '192.168.1.5', {
      annotations: { [ingressNode.portsAnnotation]: 'http 80; https 443' },
    });
    const nodes = [pi, busy, front];
    expect(planned(service('ssh', 22), { nodes })).toEqual({
      at: ['192.168.1.2', '192.168.1.5'],
      refusals: ['busy: port 22/tcp is taken by sshd (process 7)'],
    });
    expect(planned(service('web', 443), { nodes }).refusals).toEqual([
      'front: port 443/tcp serves Ingresses there',
    ]);
    const dns = service('dns', 53, { ports: [{ port: 53, protocol: 'UDP' }] });
    expect(planned(dns, { nodes }).at).toEqual(['192.168.1.2', '192.168.1.5']);
    expect(planned(service('dns', 53), { nodes }).refusals).toEqual([]);
  });

  it('not yet at one that has not looked who has the port, or where it is a node port', () => {
    expect(planned(service('a', 8080))).toEqual({ at: [], refusals: [] });
    const other = service('b', 81, { type: 'NodePort', ports: [{ port: 81, nodePort: 443 }] });
    expect(planned(service('a', 443), { services: [other] }).refusals).toEqual([
      'port 443/tcp is the node port of Service default/b',
    ]);
  });

  it('has a port for itself: the older Service has it', () => {
    const [older, younger] = [service('a', 80, {}, 1), service('b', 80, {}, 2)];
    const services = [younger, older, service('c', 80, { type: 'NodePort' }, 0)];
    expect(planned(older, { services }).at.length).toBe(2);
    expect(planned(younger, { services })).toEqual({
      at: [],
      refusals: ["port 80/tcp is the older Service default/a's already"],
    });
  });

  it('has a port that an older Service asks for at an address nobody has', () => {
    const nowhere = service('a', 80, { loadBalancerIP: '192.168.1.99' }, 1);
    const younger = service('b', 80, {}, 2);
    const services = [nowhere, younger];
    expect(planned(younger, { services })).toEqual({
      at: ['192.168.1.1', '192.168.1.2'],
      refusals: [],
    });
    const there = service('a', 80, { loadBalancerIP: '192.168.1.1' }, 1);
    expect(planned(younger, { services: [there, younger] }).at).toEqual([]);
  });

  it('with a local policy is reached only where a pod is', () => {
    const slice: EndpointSlice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 's' },
      addressType: 'IPv4',
      endpoints: [
        { addresses: ['10.244.0.2'], nodeName: 'pi', conditions: { ready: true } },
        { addresses: ['10.244.1.2'], nodeName: 'pc', conditions: { ready: false } },
      ],
      ports: [],
    };
    const local = service('a', 80, { externalTrafficPolicy: 'Local' });
    expect(planned(local, { slices: [slice] }).at).toEqual(['192.168.1.2']);
  });

  it('leaves out a machine that is labelled so', () => {
    const labels = { 'node.kubernetes.io/exclude-from-external-load-balancers': '' };
    const left = node('left', '192.168.1.9', { labels });
    expect(planned(service('a', 80), { nodes: [left] }).at).toEqual([]);
  });
});

it('of another class is left to others', () => {
  expect(
    [
      {},
      { loadBalancerClass: balancerClasses.nodes },
      { loadBalancerClass: 'metallb.io/x' },
      { type: 'NodePort' },
    ].map((more) => isBalanced(service('a', 80, more))),
  ).toEqual([true, true, false, false]);
});
