import { describe, expect, it } from 'vitest';
import type { Pod, PodSpec } from '#kube/api/core.ts';
import { sandboxConfig } from './sandbox-config.ts';

function podOf(spec: Partial<PodSpec>): Pod {
  const metadata = { name: 'p', namespace: 'ns', uid: 'u' };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [], ...spec } };
}

describe('the sandbox', () => {
  it('publishes host ports, names hosts, keeps the grace period', () => {
    const pod = podOf({
      containers: [
        {
          name: 'a',
          ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81 }],
        },
      ],
      hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }],
      terminationGracePeriodSeconds: 5,
    });
    expect(sandboxConfig(pod, 2)).toMatchObject({
      attempt: 2,
      hostname: 'p',
      ports: [{ containerPort: 80, hostPort: 8080, protocol: 'tcp' }],
      extraHosts: ['x:1.2.3.4', 'y:1.2.3.4'],
      gracePeriodSeconds: 5,
    });
  });

  it('says what no sandbox can be', () => {
    expect(() => sandboxConfig(podOf({ hostUsers: false }), 0)).toThrow('user namespace');
    const resourceClaims = [{ name: 'gpu', resourceClaimName: 'one' }];
    expect(() => sandboxConfig(podOf({ resourceClaims }), 0)).toThrow('resourceClaims');
  });

  it('has limits only when the pod as a whole has some', () => {
    const resources = { requests: { cpu: '500m' }, limits: { memory: '1Gi' } };
    expect(sandboxConfig(podOf({ resources }), 0).limits).toEqual({
      cpuShares: 512,
      cpuQuotaMicros: 0,
      memoryBytes: 2 ** 30,
    });
    expect(sandboxConfig(podOf({}), 0)).not.toHaveProperty('limits');
  });
});

describe('the names of a pod', () => {
  const fqdn = 'web.db.ns.svc.cluster.local';
  const cases: { name: string; spec: Partial<PodSpec>; want: [string, string] }[] = [
    { name: 'its own', spec: {}, want: ['p', ''] },
    { name: 'cut short', spec: { hostname: `${'a'.repeat(62)}--b` }, want: ['a'.repeat(62), ''] },
    {
      name: 'below a service',
      spec: { hostname: 'web', subdomain: 'db' },
      want: ['web', 'db.ns.svc.cluster.local'],
    },
    {
      name: 'in full',
      spec: { hostname: 'web', subdomain: 'db', setHostnameAsFQDN: true },
      want: [fqdn, ''],
    },
    {
      name: 'what overrides all',
      spec: { hostnameOverride: 'x.y', subdomain: 'db' },
      want: ['x.y', ''],
    },
  ];
  it.each(cases)('are $name', ({ spec, want }) => {
    const { hostname, domain } = sandboxConfig(podOf(spec), 0);
    expect([hostname, domain]).toEqual(want);
  });

  it('may not be longer than the kernel takes', () => {
    const spec = { hostname: 'a'.repeat(42), subdomain: 'db', setHostnameAsFQDN: true };
    expect(() => sandboxConfig(podOf(spec), 0)).toThrow(
      'is too long (64 characters is the max, 66 characters requested)',
    );
  });
});
