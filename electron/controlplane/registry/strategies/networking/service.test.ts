import { describe, expect, it } from 'vitest';
import type { UnstructuredObject } from '#kube/api/object.ts';
import { kindWorld, refusal, serviceOf } from '../../../../../test/setup/kinds.ts';

interface SpecLike extends Record<string, unknown> {
  clusterIP: string;
  ports: { port: number; name?: string; nodePort?: number }[];
}
const specOf = (service: UnstructuredObject) => service['spec'] as SpecLike;

describe('a new Service', () => {
  it('gets what Kubernetes writes into it, and an address', async () => {
    const service = await kindWorld().create(serviceOf());
    const { clusterIP, clusterIPs, ...rest } = specOf(service);
    expect(clusterIPs).toEqual([clusterIP]);
    expect(clusterIP).toMatch(/^10\.96\.0\.\d+$/);
    expect({ ...rest, status: service['status'] }).toEqual({
      type: 'ClusterIP',
      selector: { app: 'web' },
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      status: { loadBalancer: {} },
    });
  });

  const reached = [
    {
      name: 'nowhere, since it asks for no load balancer',
      spec: {},
      ingress: [{ ip: '10.1.2.3' }],
      want: 'status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"',
    },
    {
      name: 'not at what is no address',
      spec: { type: 'LoadBalancer' },
      ingress: [{ ip: 'here' }],
      want: 'status.loadBalancer.ingress[0].ip: Invalid value: "here"',
    },
    {
      name: 'at an address',
      spec: { type: 'LoadBalancer' },
      ingress: [{ ip: '10.1.2.3' }],
      want: '',
    },
  ];
  it.each(reached)('is reached $name', async ({ spec, ingress, want }) => {
    const world = kindWorld();
    const service = await world.create(serviceOf(spec));
    const change = (next: Record<string, unknown>): void =>
      void (next['status'] = { loadBalancer: { ingress } });
    expect(await refusal(world.update(service, change, 'status'))).toContain(want);
  });

  it('of type NodePort gets a node port per port, shared by TCP and UDP', async () => {
    const ports = [
      { name: 'tcp', port: 53, protocol: 'TCP' },
      { name: 'udp', port: 53, protocol: 'UDP' },
      { name: 'web', port: 80 },
    ];
    const { ports: stored, externalTrafficPolicy } = specOf(
      await kindWorld().create(serviceOf({ type: 'NodePort', ports })),
    );
    const [tcp, udp, web] = stored.map(({ nodePort }) => nodePort);
    expect(tcp).toBe(udp);
    expect(new Set([tcp, web]).size).toBe(2);
    expect(externalTrafficPolicy).toBe('Cluster');
  });

  it('that is headless gets no address', async () => {
    const { clusterIP, clusterIPs } = specOf(
      await kindWorld().create(serviceOf({ clusterIP: 'None' })),
    );
    expect({ clusterIP, clusterIPs }).toEqual({ clusterIP: 'None', clusterIPs: ['None'] });
  });

  it('of type ExternalName gets neither address nor families', async () => {
    const { selector: _selector, ...spec } = specOf(
      await kindWorld().create(serviceOf({ type: 'ExternalName', externalName: 'nas.home' })),
    );
    expect(spec).toEqual({
      type: 'ExternalName',
      externalName: 'nas.home',
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      sessionAffinity: 'None',
    });
  });

  it('that keeps clients on one pod does so for three hours', async () => {
    const { sessionAffinityConfig } = specOf(
      await kindWorld().create(serviceOf({ sessionAffinity: 'ClientIP' })),
    );
    expect(sessionAffinityConfig).toEqual({ clientIP: { timeoutSeconds: 10_800 } });
  });
});

describe('a Service is refused', () => {
  const cases: readonly { name: string; spec: object; want: string }[] = [
    { name: 'without ports', spec: { ports: [] }, want: 'spec.ports: Required value' },
    {
      name: 'with two ports, one without name',
      spec: { ports: [{ name: 'a', port: 80 }, { port: 81 }] },
      want: 'spec.ports[1].name: Required value',
    },
    {
      name: 'with a port out of range',
      spec: { ports: [{ port: 0, targetPort: 80 }] },
      want: 'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
    },
    {
      name: 'with a target port name too long',
      spec: { ports: [{ port: 80, targetPort: 'a-very-long-name' }] },
      want: 'spec.ports[0].targetPort: Invalid value: "a-very-long-name": must be no more than 15 bytes',
    },
    {
      name: 'of a type unknown',
      spec: { type: 'Public' },
      want: 'spec.type: Unsupported value: "Public": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    },
    {
      name: 'with a node port though of type ClusterIP',
      spec: { ports: [{ port: 80, nodePort: 30_000 }] },
      want: "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    },
    {
      name: 'with a node port out of range',
      spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] },
      want: 'spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30003',
    },
    {
      name: 'with an address out of range',
      spec: { clusterIP: '10.97.0.1' },
      want: 'spec.clusterIPs: Invalid value: ["10.97.0.1"]: failed to allocate IP 10.97.0.1: the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/24',
    },
    {
      name: 'with an address that is none',
      spec: { clusterIP: '10.96.0' },
      want: 'spec.clusterIPs[0]: Invalid value: "10.96.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    },
    {
      name: 'that is an external name of nothing',
      spec: { type: 'ExternalName' },
      want: 'spec.externalName: Required value',
    },
    {
      name: 'that is headless and has node ports',
      spec: { type: 'NodePort', clusterIP: 'None' },
      want: `spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`,
    },
    {
      name: 'with one port twice',
      spec: {
        ports: [
          { name: 'a', port: 80 },
          { name: 'b', port: 80 },
        ],
      },
      want: 'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}',
    },
    {
      name: 'for two address families',
      spec: { ipFamilyPolicy: 'RequireDualStack' },
      want: 'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    },
  ];
  it.each(cases)('$name', async ({ spec, want }) => {
    const message = await refusal(kindWorld().create(serviceOf(spec)));
    expect(message).toBe(`Service "web" is invalid: ${want}`);
  });

  it('with an address another Service has', async () => {
    const world = kindWorld();
    await world.create(serviceOf({ clusterIP: '10.96.0.9' }, { name: 'first' }));
    expect(await refusal(world.create(serviceOf({ clusterIP: '10.96.0.9' })))).toBe(
      'Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: provided IP is already allocated',
    );
  });

  it('with a node port another Service has, in any namespace', async () => {
    const world = kindWorld();
    const spec = { type: 'NodePort', ports: [{ port: 80, nodePort: 30_001 }] };
    await world.create(serviceOf(spec, { namespace: 'kube-system' }));
    expect(await refusal(world.create(serviceOf(spec)))).toBe(
      'Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated',
    );
  });
});

describe('an update of a Service', () => {
  it('that leaves out what the cluster chose keeps it', async () => {
    const world = kindWorld();
    const created = await world.create(serviceOf({ type: 'NodePort' }));
    const updated = await world.update(created, (next) => {
      next['spec'] = { type: 'NodePort', ports: [{ port: 8080 }] };
    });
    const chosen = ({ clusterIP, ports }: SpecLike) => [clusterIP, ports[0]?.nodePort];
    expect(chosen(specOf(updated))).toEqual(chosen(specOf(created)));
  });

  it('may not change the address', async () => {
    const world = kindWorld();
    const created = await world.create(serviceOf({ clusterIP: '10.96.0.8' }));
    const attempt = world.update(created, (next) =>
      Object.assign(specOf(next), { clusterIP: '10.96.0.9' }),
    );
    expect(await refusal(attempt)).toBe(
      'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set',
    );
  });

  it('from NodePort to ClusterIP gives the node ports back', async () => {
    const world = kindWorld();
    const ports = [{ port: 80, nodePort: 30_001 }];
    const created = await world.create(serviceOf({ type: 'NodePort', ports }));
    const updated = await world.update(created, (next) =>
      Object.assign(specOf(next), { type: 'ClusterIP' }),
    );
    await world.create(serviceOf({ type: 'NodePort', ports }, { name: 'next' }));
    expect(specOf(updated).ports).toEqual([{ port: 80, protocol: 'TCP', targetPort: 80 }]);
    expect(specOf(updated)).not.toHaveProperty('externalTrafficPolicy');
  });

  it('to ExternalName gives the address back, and from it takes a new one', async () => {
    const world = kindWorld();
    const created = await world.create(serviceOf());
    const external = await world.update(created, (next) =>
      Object.assign(specOf(next), { type: 'ExternalName', externalName: 'nas.home' }),
    );
    expect(specOf(external)).not.toHaveProperty('clusterIP');
    const back = await world.update(external, (next) =>
      Object.assign(specOf(next), { type: 'ClusterIP' }),
    );
    expect(specOf(back).clusterIP).toMatch(/^10\.96\.0\.\d+$/);
  });
});
