import { describe, expect, it } from 'vitest';
import type { PodSpec } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { containerOf, podOf, refusal, workloadOf } from '../../../../test/setup/kinds.ts';
import { readerOf, run, type Given } from '../testing/attributes.ts';
import { podSecurity } from './pod-security.ts';
import { detailsText, policyOf, violationsOf, type Level } from './policy.ts';

function text(level: Level, spec: object, version: number | 'latest' = 'latest'): string {
  const pod = { annotations: {}, spec: { containers: [containerOf({})], ...spec } as PodSpec };
  return detailsText(violationsOf({ level, version }, pod));
}

type Case = readonly [spec: object, want: string, version?: number];

const secured = (more: object = {}, securityContext: object = {}) =>
  containerOf({
    ...more,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      ...securityContext,
    },
  });
const good = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  containers: [secured()],
};

describe('baseline', () => {
  const web = (securityContext: object, more: object = {}) => ({
    containers: [containerOf({ securityContext, ...more })],
  });
  const cases: readonly Case[] = [
    [{}, ''],
    [good, ''],
    [
      { hostNetwork: true, hostPID: true, hostIPC: false },
      'host namespaces (hostNetwork=true, hostPID=true)',
    ],
    [
      {
        volumes: [
          { name: 'a', hostPath: { path: '/' } },
          { name: 'b', emptyDir: {} },
        ],
      },
      'hostPath volumes (volume "a")',
    ],
    [
      web(
        {},
        {
          ports: [
            { containerPort: 80, hostPort: 80 },
            { containerPort: 81, hostPort: 81 },
          ],
        },
      ),
      'hostPort (container "web" uses hostPorts 80, 81)',
    ],
    [
      web({ privileged: true }),
      'privileged (container "web" must not set securityContext.privileged=true)',
    ],
    [
      web({ capabilities: { add: ['NET_RAW', 'CHOWN', 'SYS_ADMIN'] } }),
      'non-default capabilities (container "web" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)',
    ],
    [
      {
        initContainers: [containerOf({ name: 'i', securityContext: { privileged: true } })],
        ...web({ privileged: true }),
      },
      'privileged (containers "i", "web" must not set securityContext.privileged=true)',
    ],
    [
      { securityContext: { appArmorProfile: { type: 'Unconfined' } } },
      'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ],
    [
      { securityContext: { seLinuxOptions: { type: 'spc_t', user: 'root' } } },
      'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)',
    ],
    [{ securityContext: { seLinuxOptions: { type: 'container_engine_t' } } }, ''],
    [
      { securityContext: { seLinuxOptions: { type: 'container_engine_t' } } },
      'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "container_engine_t")',
      30,
    ],
    [
      web({ seccompProfile: { type: 'Unconfined' } }),
      'seccompProfile (container "web" must not set securityContext.seccompProfile.type to "Unconfined")',
    ],
    [
      { securityContext: { sysctls: [{ name: 'net.ipv4.tcp_rmem' }, { name: 'kernel.msgmax' }] } },
      'forbidden sysctls (kernel.msgmax)',
    ],
    [
      { securityContext: { sysctls: [{ name: 'net.ipv4.tcp_rmem' }] } },
      'forbidden sysctls (net.ipv4.tcp_rmem)',
      31,
    ],
    [
      { securityContext: { windowsOptions: { hostProcess: true } } },
      'hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)',
    ],
    [
      web({ procMount: 'Unmasked' }),
      'procMount (container "web" must not set securityContext.procMount to "Unmasked")',
    ],
    [{ hostUsers: false, ...web({ procMount: 'Unmasked' }) }, ''],
    [
      web({}, { livenessProbe: { httpGet: { host: '10.0.0.1', port: 80 } } }),
      'probe or lifecycle host (container "web" uses probe or lifecycle host "10.0.0.1")',
    ],
    [web({}, { livenessProbe: { httpGet: { host: '10.0.0.1', port: 80 } } }), '', 33],
  ];
  it.each(cases.map(([spec, want, version]) => ({ spec, want, version })))(
    '$spec: $want',
    ({ spec, want, version }) => {
      expect(text('baseline', spec, version)).toBe(want);
    },
  );
});

describe('restricted', () => {
  const cases: readonly Case[] = [
    [good, ''],
    [
      {},
      'allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false), ' +
        'unrestricted capabilities (container "web" must set securityContext.capabilities.drop=["ALL"]), ' +
        'runAsNonRoot != true (pod or container "web" must set securityContext.runAsNonRoot=true), ' +
        'seccompProfile (pod or container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    ],
    [
      {},
      'runAsNonRoot != true (pod or container "web" must set securityContext.runAsNonRoot=true)',
      7,
    ],
    [
      {
        ...good,
        hostNetwork: true,
        volumes: [
          { name: 'a', hostPath: {} },
          { name: 'b', nfs: {} },
        ],
      },
      'host namespaces (hostNetwork=true), restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")',
    ],
    [
      {
        ...good,
        containers: [
          secured({}, { capabilities: { drop: ['ALL'], add: ['NET_RAW', 'NET_BIND_SERVICE'] } }),
        ],
      },
      'unrestricted capabilities (container "web" must not include "NET_RAW" in securityContext.capabilities.add)',
    ],
    [
      { ...good, containers: [secured({}, { runAsNonRoot: false, runAsUser: 0 })] },
      'runAsNonRoot != true (container "web" must not set securityContext.runAsNonRoot=false), ' +
        'runAsUser=0 (container "web" must not set runAsUser=0)',
    ],
    [{ ...good, hostUsers: false, containers: [secured({}, { runAsUser: 0 })] }, ''],
    [
      { ...good, hostUsers: false, containers: [secured({}, { procMount: 'Unmasked' })] },
      'procMount (container "web" must not set securityContext.procMount to "Unmasked")',
    ],
    [
      { ...good, containers: [secured({}, { seccompProfile: { type: 'Unconfined' } })] },
      'seccompProfile (container "web" must not set securityContext.seccompProfile.type to "Unconfined")',
    ],
    [{ os: { name: 'windows' }, securityContext: { runAsNonRoot: true } }, ''],
  ];
  it.each(cases.map(([spec, want, version]) => ({ spec, want, version })))(
    '$spec: $want',
    ({ spec, want, version }) => {
      expect(text('restricted', spec, version)).toBe(want);
    },
  );
});

const prefix = 'pod-security.kubernetes.io';
const labelled = (labels: Record<string, string>) => ({
  metadata: {
    name: 'default',
    labels: Object.fromEntries(Object.entries(labels).map(([key, to]) => [`${prefix}/${key}`, to])),
  },
});

/** What a write was answered, and its warnings. */
async function answer(labels: Record<string, string>, given: Given) {
  const warnings: string[] = [];
  const plugin = podSecurity(readerOf({ 'namespaces//default': labelled(labels) }));
  const refused = await refusal(run(plugin, { ...given, warn: (one) => warnings.push(one) }));
  return [refused, ...warnings];
}

describe('a namespace', () => {
  const root = podOf({ hostPID: true }) as KubeObject;
  const violation = 'host namespaces (hostPID=true)';
  const mode = { enforce: 'baseline', warn: 'baseline', 'warn-version': 'v1.30' };

  it('without labels allows everything', async () => {
    expect(await answer({}, { object: root })).toEqual(['']);
  });

  it('refuses what violates the level that it enforces', async () => {
    expect(await answer(mode, { object: root })).toEqual([
      `pods "web" is forbidden: violates PodSecurity "baseline:latest": ${violation}`,
    ]);
  });

  it('has the audit told of the level that it audits, also when nobody is warned', async () => {
    const notes = new Map<string, string>();
    const labels = { enforce: 'privileged', audit: 'baseline' };
    const plugin = podSecurity(readerOf({ 'namespaces//default': labelled(labels) }));
    const annotate = (key: string, value: string): void => void notes.set(key, value);
    await run(plugin, { object: root, annotate });
    expect(Object.fromEntries(notes)).toEqual({
      'pod-security.kubernetes.io/enforce-policy': 'privileged:latest',
      'pod-security.kubernetes.io/audit-violations': `would violate PodSecurity "baseline:latest": ${violation}`,
    });
  });

  it('warns of what violates the level that it warns of', async () => {
    expect(await answer({ warn: 'baseline', 'warn-version': 'v1.30' }, { object: root })).toEqual([
      '',
      `would violate PodSecurity "baseline:v1.30": ${violation}`,
    ]);
  });

  const template = { metadata: {}, spec: { hostPID: true, containers: [] } };
  const workloads: readonly (readonly [string, object])[] = [
    ['deployments', workloadOf('Deployment', { template })],
    ['cronjobs', { spec: { jobTemplate: { spec: { template } } } }],
    ['replicationcontrollers', { spec: { template } }],
    ['podtemplates', { template }],
  ];
  it.each(workloads)('warns of %s, and lets them through', async (resource, object) => {
    expect(await answer(mode, { resource, object: object as KubeObject })).toEqual([
      '',
      `would violate PodSecurity "baseline:v1.30": ${violation}`,
    ]);
  });

  it('looks at an update that brings something new', async () => {
    const operation = 'UPDATE';
    const labels = { ...root, metadata: { name: 'web', labels: { a: 'b' } } };
    const same = await answer(mode, { operation, object: labels, oldObject: root });
    const image = podOf({ hostPID: true, containers: [containerOf({ image: 'other:1' })] });
    const other = await answer(mode, { operation, object: image as KubeObject, oldObject: root });
    expect([same, other]).toEqual([
      [''],
      [`pods "web" is forbidden: violates PodSecurity "baseline:latest": ${violation}`],
    ]);
  });

  it('with labels that can not be read enforces the strictest', () => {
    const { labels } = labelled({ enforce: 'high', 'warn-version': '1.30', warn: 'low' }).metadata;
    const { policy, errors } = policyOf(labels);
    expect(policy).toEqual({
      enforce: { level: 'restricted', version: 'latest' },
      audit: { level: 'privileged', version: 'latest' },
      warn: { level: 'privileged', version: 'latest' },
    });
    expect(errors).toHaveLength(3);
  });
});

describe('who labels a namespace', () => {
  const open = labelled({}) as unknown as KubeObject;
  const pods = {
    'pods/default/a': podOf({ hostPID: true }, { name: 'a' }),
    'pods/default/b': podOf({ hostPID: true }, { name: 'b' }),
    'pods/default/c': podOf(
      { hostIPC: true, volumes: [{ name: 'v', hostPath: {} }] },
      { name: 'c' },
    ),
    'pods/default/d': podOf({}, { name: 'd' }),
  };
  const label = async (labels: Record<string, string>, oldObject?: KubeObject) => {
    const warnings: string[] = [];
    const refused = await refusal(
      run(podSecurity(readerOf(pods)), {
        resource: 'namespaces',
        namespace: '',
        name: 'default',
        kind: { group: '', version: 'v1', kind: 'Namespace' },
        operation: oldObject === undefined ? 'CREATE' : 'UPDATE',
        object: labelled(labels) as unknown as KubeObject,
        oldObject,
        warn: (one) => warnings.push(one),
      }),
    );
    return [refused, ...warnings];
  };

  it('hears of a level that does not exist', async () => {
    const want = [
      `Namespace "default" is invalid: metadata.labels[${prefix}/enforce]: Invalid value: "high": must be one of privileged, baseline, restricted`,
    ];
    expect(await label({ enforce: 'high' })).toEqual(want);
    expect(await label({ enforce: 'high' }, open)).toEqual(want);
  });

  it('hears which pods violate what is enforced from now on', async () => {
    expect(await label({ enforce: 'baseline' }, open)).toEqual([
      '',
      'existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"',
      'a (and 1 other pod): host namespaces',
      'c: host namespaces, hostPath volumes',
    ]);
  });

  it('hears nothing when it is loosened', async () => {
    const strict = labelled({ enforce: 'restricted' }) as unknown as KubeObject;
    expect(await label({ enforce: 'baseline' }, strict)).toEqual(['']);
  });
});
