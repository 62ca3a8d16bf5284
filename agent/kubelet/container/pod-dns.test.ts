import { describe, expect, it } from 'vitest';
import type { Pod, PodSpec } from '#kube/api/core.ts';
import { podDns, resolvConfMounts, resolvConfText } from './pod-dns.ts';

function podOf(spec: Partial<PodSpec>): Pod {
  const metadata = { name: 'p', namespace: 'ns', uid: 'u' };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [], ...spec } };
}

const node = { servers: ['192.168.1.1'], searches: ['lan'], options: ['ndots:1', 'edns0'] };
const clusterServer = '10.96.0.10';
const ofCluster = {
  servers: ['10.96.0.10'],
  searches: ['ns.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'lan'],
  options: ['ndots:5'],
};
const own = {
  nameservers: ['9.9.9.9'],
  searches: ['a.b', 'lan'],
  options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }],
};

describe('the name servers of a pod', () => {
  const cases: {
    name: string;
    spec: Partial<PodSpec>;
    server?: string;
    want: ReturnType<typeof podDns>;
  }[] = [
    { name: "are the cluster's", spec: {}, server: clusterServer, want: ofCluster },
    {
      name: "are the cluster's by the policy's name",
      spec: { dnsPolicy: 'ClusterFirst' },
      server: clusterServer,
      want: ofCluster,
    },
    {
      name: "are the cluster's on the machine's network when asked for",
      spec: { dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true },
      server: clusterServer,
      want: ofCluster,
    },
    {
      name: "are the machine's on the machine's network",
      spec: { dnsPolicy: 'ClusterFirst', hostNetwork: true },
      server: clusterServer,
      want: undefined,
    },
    {
      name: "are the machine's with the policy Default",
      spec: { dnsPolicy: 'Default' },
      server: clusterServer,
      want: undefined,
    },
    { name: "are the machine's where the cluster's can't be reached", spec: {}, want: undefined },
    {
      name: 'are more with a dnsConfig, and its options win',
      spec: { dnsConfig: own },
      server: clusterServer,
      want: {
        servers: ['10.96.0.10', '9.9.9.9'],
        searches: [...ofCluster.searches, 'a.b'],
        options: ['ndots:2', 'rotate'],
      },
    },
    {
      name: "are the machine's and more",
      spec: { dnsPolicy: 'Default', dnsConfig: own },
      server: clusterServer,
      want: {
        servers: ['192.168.1.1', '9.9.9.9'],
        searches: ['lan', 'a.b'],
        options: ['ndots:2', 'edns0', 'rotate'],
      },
    },
    {
      name: 'are only those given with the policy None',
      spec: { dnsPolicy: 'None', dnsConfig: own },
      server: clusterServer,
      want: { servers: ['9.9.9.9'], searches: ['a.b', 'lan'], options: ['ndots:2', 'rotate'] },
    },
  ];
  it.each(cases)('$name', ({ spec, server, want }) => {
    expect(podDns(podOf(spec), { node, clusterServer: server })).toEqual(want);
  });

  it('are three at most, as libc reads them', () => {
    const dnsConfig = { nameservers: ['1.1.1.1', '2.2.2.2', '3.3.3.3'] };
    const { servers } = podDns(podOf({ dnsConfig }), { node, clusterServer }) ?? {};
    expect(servers).toEqual(['10.96.0.10', '1.1.1.1', '2.2.2.2']);
  });
});

describe('the file', () => {
  it('is written as the kubelet writes it', () => {
    expect(resolvConfText(ofCluster)).toBe(
      'search ns.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
    expect(resolvConfText({ servers: [], searches: [], options: [] })).toBe('');
  });

  it("is mounted, unless the container has one of its own or gets the engine's", () => {
    const containerPath = '/etc/resolv.conf';
    const mount = {
      hostPath: '/f',
      containerPath,
      readOnly: true,
      propagation: 'rprivate',
    } as const;
    expect(resolvConfMounts('/f', [], true)).toEqual([mount]);
    expect(resolvConfMounts('/f', [{ ...mount, hostPath: '/own' }], false)).toEqual([]);
    expect(resolvConfMounts(undefined, [], false)).toEqual([]);
  });
});
