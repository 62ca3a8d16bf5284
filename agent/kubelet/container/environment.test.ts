import { describe, expect, it } from 'vitest';
import type { ConfigMap, Container, Pod, Secret, Service } from '#kube/api/core.ts';
import { containerResource, podField } from './downward.ts';
import { containerEnvironment, envFiles, type EnvironmentInput } from './environment.ts';
import { expandReferences } from './expansion.ts';
import { serviceEnvironment } from './service-env.ts';

describe('references', () => {
  const values: Record<string, string> = { A: 'one', B: '$(A)' };
  const cases = [
    { text: 'plain', want: 'plain' },
    { text: '$(A)', want: 'one' },
    { text: 'x$(A)y$(A)', want: 'xoneyone' },
    { text: '$(MISSING)', want: '$(MISSING)' },
    { text: '$$(A)', want: '$(A)' },
    { text: '$$$(A)', want: '$one' },
    { text: '$(B)', want: '$(A)' },
    { text: '$(A', want: '$(A' },
    { text: '$A $', want: '$A $' },
    { text: '', want: '' },
  ];
  it.each(cases)('$text becomes $want', ({ text, want }) => {
    expect(expandReferences(text, (name) => values[name])).toBe(want);
  });
});

describe('the environment', () => {
  const container: Container = {
    name: 'a',
    resources: { limits: { memory: '64Mi' }, requests: { cpu: '250m' } },
  };
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u', labels: { app: 'web', tier: 'x' } },
    spec: { containers: [container], nodeName: 'node-1' },
  };
  const map: ConfigMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'm' },
    data: { one: '1', two: '2' },
  };
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 's' },
    data: { password: Buffer.from('geheim').toString('base64') },
  };

  function environment(spec: Partial<Container>, more: Partial<EnvironmentInput> = {}) {
    return Object.fromEntries(
      containerEnvironment({
        pod,
        container: { ...container, ...spec },
        addresses: { podIps: ['10.244.0.2'], nodeIps: ['192.168.1.5'] },
        allocatable: { cpu: 4, memory: '8Gi' },
        services: new Map([['WEB_SERVICE_HOST', '10.96.0.5']]),
        configMap: (name) => (name === 'm' ? map : undefined),
        secret: (name) => (name === 's' ? secret : undefined),
        file: () => undefined,
        ...more,
      }),
    );
  }

  it('takes values in order: envFrom, env over it, services last', () => {
    const result = environment({
      envFrom: [{ configMapRef: { name: 'm' }, prefix: 'M_' }, { secretRef: { name: 's' } }],
      env: [
        { name: 'M_one', value: 'own' },
        { name: 'BOTH', value: '$(M_one)+$(M_two)+$(WEB_SERVICE_HOST)' },
      ],
    });
    expect(result).toEqual({
      M_one: 'own',
      M_two: '2',
      password: 'geheim',
      BOTH: 'own+2+10.96.0.5',
      WEB_SERVICE_HOST: '10.96.0.5',
    });
  });

  const refs = [
    { name: 'field', from: { fieldRef: { fieldPath: 'status.podIP' } }, want: '10.244.0.2' },
    { name: 'label', from: { fieldRef: { fieldPath: "metadata.labels['app']" } }, want: 'web' },
    {
      name: 'a label it does not have',
      from: { fieldRef: { fieldPath: "metadata.labels['constructor']" } },
      want: '',
    },
    { name: 'node', from: { fieldRef: { fieldPath: 'spec.nodeName' } }, want: 'node-1' },
    { name: 'limit', from: { resourceFieldRef: { resource: 'limits.memory' } }, want: '67108864' },
    {
      name: 'limit in MiB',
      from: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } },
      want: '64',
    },
    { name: 'cpu rounds up', from: { resourceFieldRef: { resource: 'requests.cpu' } }, want: '1' },
    {
      name: 'no limit is all there is',
      from: { resourceFieldRef: { resource: 'limits.cpu' } },
      want: '4',
    },
    { name: 'key', from: { configMapKeyRef: { name: 'm', key: 'two' } }, want: '2' },
    { name: 'secret', from: { secretKeyRef: { name: 's', key: 'password' } }, want: 'geheim' },
    {
      name: 'optional and missing',
      from: { configMapKeyRef: { name: 'none', key: 'x', optional: true } },
      want: undefined,
    },
  ];
  it.each(refs)('resolves $name', ({ from, want }) => {
    expect(environment({ env: [{ name: 'X', valueFrom: from }] })['X']).toBe(want);
  });

  const errors = [
    { spec: { envFrom: [{ configMapRef: { name: 'no' } }] }, want: 'configmap "no" not found' },
    { spec: { envFrom: [{ secretRef: { name: 'no' } }] }, want: 'secret "no" not found' },
    {
      spec: { env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'm', key: 'k' } } }] },
      want: "couldn't find key k in ConfigMap ns/m",
    },
    {
      spec: { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] },
      want: "couldn't find key k in Secret ns/s",
    },
    {
      spec: {
        env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 's', key: 'constructor' } } }],
      },
      want: "couldn't find key constructor in Secret ns/s",
    },
  ];
  it.each(errors)('says "$want"', ({ spec, want }) => {
    expect(() => environment(spec)).toThrow(want);
  });

  it('shows all labels as sorted lines', () => {
    const addresses = { podIps: [], nodeIps: [] };
    expect(podField(pod, { fieldPath: 'metadata.labels' }, addresses)).toBe('app="web"\ntier="x"');
    expect(podField(pod, { fieldPath: 'spec.nonsense' }, addresses)).toBeUndefined();
    expect(containerResource(container, { resource: 'nonsense' }, {})).toBeUndefined();
  });

  describe('out of a file', () => {
    const of = (key: string, optional?: boolean): Partial<Container> => {
      const whether = optional === undefined ? {} : { optional };
      const fileKeyRef = { volumeName: 'v', path: 'a.env', key, ...whether };
      return { env: [{ name: 'X', valueFrom: { fileKeyRef } }] };
    };
    const file = (text: string | undefined, problem?: string) => ({
      file: () => ({ text, ...(problem === undefined ? {} : { problem }) }),
    });

    it('has a value by its key', () => {
      const env = environment(of('A'), file("B='1'\nA='2'"));
      expect(env['X']).toBe('2');
      expect(envFiles({ name: 'a', env: [...of('A').env!, ...of('B').env!] })).toHaveLength(1);
    });

    const absent = [file("B='1'"), file("A=''"), file(undefined)];
    it.each(absent)('lacks what is not there: %#', (more) => {
      const missing = 'environment variable key "A" not found in file "a.env"';
      expect(() => environment(of('A'), more)).toThrow(missing);
      expect(environment(of('A', true), more)).not.toHaveProperty('X');
    });

    it.each([
      [of('A', true), file('A=2'), /^couldn't parse env file "a.env": .* at line 1: value must be/],
      [of('A', true), file(undefined, 'no'), /^couldn't parse env file "a.env": no$/],
      [of('A'.repeat(129)), file(''), /exceeds maximum length of 128 characters/],
      [of('A'), file(`A='${'x'.repeat(32_769)}'`), /exceeds maximum size of 32 KiB/],
    ])('is refused in words: %#', (spec, more, why) => {
      expect(() => environment(spec, more)).toThrow(why);
    });
  });
});

describe('service variables', () => {
  function service(name: string, namespace: string, clusterIP: string): Service {
    const ports = [
      { port: 80, name: 'http' },
      { port: 53, protocol: 'UDP' },
    ];
    return {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { clusterIP, ports },
    };
  }
  const all = [
    service('my-web', 'ns', '10.96.0.5'),
    service('headless', 'ns', 'None'),
    service('other', 'else', '10.96.0.6'),
    service('kubernetes', 'default', '10.96.0.1'),
  ];

  it('tell of each service of the namespace and of the API', () => {
    const result = Object.fromEntries(serviceEnvironment(all, 'ns', true));
    expect(result).toMatchObject({
      MY_WEB_SERVICE_HOST: '10.96.0.5',
      MY_WEB_SERVICE_PORT: '80',
      MY_WEB_SERVICE_PORT_HTTP: '80',
      MY_WEB_PORT: 'tcp://10.96.0.5:80',
      MY_WEB_PORT_80_TCP_ADDR: '10.96.0.5',
      MY_WEB_PORT_53_UDP: 'udp://10.96.0.5:53',
      KUBERNETES_SERVICE_HOST: '10.96.0.1',
    });
    expect(Object.keys(result).filter((key) => /HEADLESS|OTHER/.test(key))).toEqual([]);
  });

  it('tell only of the API when links are off', () => {
    const names = [...serviceEnvironment(all, 'ns', false).keys()];
    expect(names.length).toBeGreaterThan(0);
    expect(names.every((name) => name.startsWith('KUBERNETES_'))).toBe(true);
  });
});
