import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { containerOf, kindWorld, podOf, refusal } from '../../../../../test/setup/kinds.ts';
import { podStrategy } from './strategy.ts';

const specOfContainer = (container: object) => ({ containers: [containerOf(container)] });

describe('a new pod', () => {
  it('gets what Kubernetes writes into it', async () => {
    const container = {
      ports: [{ containerPort: 80 }],
      livenessProbe: { httpGet: { port: 80 } },
      env: [
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
      ],
      resources: { limits: { cpu: '0.5', memory: '1024Mi' } },
    };
    const spec = {
      ...specOfContainer(container),
      volumes: [{ name: 'scratch' }, { name: 'settings', configMap: { name: 'settings' } }],
    };
    const { spec: stored, status } = await kindWorld().create(podOf(spec));
    expect({ spec: stored, status }).toEqual({
      spec: {
        containers: [
          {
            name: 'web',
            image: 'nginx:1.29',
            imagePullPolicy: 'IfNotPresent',
            terminationMessagePath: '/dev/termination-log',
            terminationMessagePolicy: 'File',
            ports: [{ containerPort: 80, protocol: 'TCP' }],
            env: [
              {
                name: 'IP',
                valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.podIP' } },
              },
              {
                name: 'CPU',
                valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '0' } },
              },
            ],
            livenessProbe: {
              httpGet: { path: '/', port: 80, scheme: 'HTTP' },
              timeoutSeconds: 1,
              periodSeconds: 10,
              successThreshold: 1,
              failureThreshold: 3,
            },
            resources: {
              limits: { cpu: '500m', memory: '1Gi' },
              requests: { cpu: '500m', memory: '1Gi' },
            },
          },
        ],
        volumes: [
          { name: 'scratch', emptyDir: {} },
          { name: 'settings', configMap: { name: 'settings', defaultMode: 420 } },
        ],
        dnsPolicy: 'ClusterFirst',
        restartPolicy: 'Always',
        schedulerName: 'default-scheduler',
        securityContext: {},
        terminationGracePeriodSeconds: 30,
        enableServiceLinks: true,
      },
      status: { phase: 'Pending', qosClass: 'Guaranteed' },
    });
  });

  const policies: readonly (readonly [image: string, policy: string])[] = [
    ['nginx', 'Always'],
    ['nginx:latest', 'Always'],
    ['nginx:1.29', 'IfNotPresent'],
    ['localhost:5000/nginx', 'Always'],
    ['localhost:5000/team/nginx:1', 'IfNotPresent'],
    [`nginx@sha256:${'a'.repeat(64)}`, 'IfNotPresent'],
    [`nginx:latest@sha256:${'a'.repeat(64)}`, 'Always'],
  ];
  it.each(policies)('of image %s is pulled %s', async (image, policy) => {
    const { spec } = await kindWorld().create(podOf(specOfContainer({ image })));
    expect(spec).toMatchObject({ containers: [{ imagePullPolicy: policy }] });
  });

  it('on the host network uses the host ports its containers name', async () => {
    const spec = { ...specOfContainer({ ports: [{ containerPort: 80 }] }), hostNetwork: true };
    const { spec: stored } = await kindWorld().create(podOf(spec));
    expect(stored).toMatchObject({
      containers: [{ ports: [{ containerPort: 80, hostPort: 80 }] }],
    });
  });
});

describe('a pod is refused', () => {
  const prefix = 'Pod "web" is invalid: ';
  const cases: readonly { name: string; spec: object; want: string }[] = [
    {
      name: 'without containers',
      spec: { containers: [] },
      want: 'spec.containers: Required value',
    },
    {
      name: 'without image',
      spec: { containers: [{ name: 'web' }] },
      want: 'spec.containers[0].image: Required value',
    },
    {
      name: 'with two containers of a name',
      spec: { containers: [containerOf({}), containerOf({})] },
      want: 'spec.containers[1].name: Duplicate value: "web"',
    },
    {
      name: 'with a container name that is no label',
      spec: specOfContainer({ name: 'Web' }),
      want: `spec.containers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
    },
    {
      name: 'with a port out of range',
      spec: specOfContainer({ ports: [{ containerPort: 70_000 }] }),
      want: 'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    },
    {
      name: 'with two ports of a name',
      spec: specOfContainer({
        ports: [
          { name: 'http', containerPort: 80 },
          { name: 'http', containerPort: 81 },
        ],
      }),
      want: 'spec.containers[0].ports[1].name: Duplicate value: "http"',
    },
    {
      name: 'with a protocol unknown',
      spec: specOfContainer({ ports: [{ containerPort: 80, protocol: 'HTTP' }] }),
      want: 'spec.containers[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
    },
    {
      name: 'with a host port taken twice',
      spec: specOfContainer({
        ports: [
          { containerPort: 80, hostPort: 8080 },
          { containerPort: 81, hostPort: 8080 },
        ],
      }),
      want: 'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"',
    },
    {
      name: 'with a mount of no volume',
      spec: specOfContainer({ volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
      want: 'spec.containers[0].volumeMounts[0].name: Not found: "data"',
    },
    {
      name: 'with two mounts at one path',
      spec: {
        ...specOfContainer({
          volumeMounts: [
            { name: 'data', mountPath: '/data' },
            { name: 'data', mountPath: '/data' },
          ],
        }),
        volumes: [{ name: 'data' }],
      },
      want: 'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/data": must be unique',
    },
    {
      name: 'with two sources of a volume',
      spec: { volumes: [{ name: 'data', emptyDir: {}, hostPath: { path: '/data' } }] },
      want: 'spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type',
    },
    {
      name: 'with a host path that climbs',
      spec: { volumes: [{ name: 'data', hostPath: { path: '/a/../b' } }] },
      want: `spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
    },
    {
      name: 'with a request above its limit',
      spec: specOfContainer({ resources: { limits: { cpu: '1' }, requests: { cpu: '1500m' } } }),
      want: 'spec.containers[0].resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1',
    },
    {
      name: 'with a negative amount',
      spec: specOfContainer({ resources: { requests: { memory: '-1Mi' } } }),
      want: 'spec.containers[0].resources.requests[memory]: Invalid value: "-1Mi": must be greater than or equal to 0',
    },
    {
      name: 'with a restart policy unknown',
      spec: { restartPolicy: 'Sometimes' },
      want: 'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    },
    {
      name: 'with a restart policy of a container unknown',
      spec: specOfContainer({ restartPolicy: 'Sometimes' }),
      want: 'spec.containers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    },
    {
      name: 'with restart rules that add to no policy',
      spec: specOfContainer({
        restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [3] } }],
      }),
      want: 'spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used',
    },
    {
      name: 'with a restart rule for nothing known',
      spec: specOfContainer({
        restartPolicy: 'Never',
        restartPolicyRules: [{ action: 'Stop', exitCodes: { operator: 'Is' } }],
      }),
      want: '[spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"]',
    },
    {
      name: 'with a probe that does nothing',
      spec: specOfContainer({ livenessProbe: { periodSeconds: 5 } }),
      want: 'spec.containers[0].livenessProbe: Required value: must specify a handler type',
    },
    {
      name: 'with a liveness probe that has to succeed twice',
      spec: specOfContainer({ livenessProbe: { tcpSocket: { port: 80 }, successThreshold: 2 } }),
      want: 'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
    },
    {
      name: 'with a probe of an init container',
      spec: {
        initContainers: [
          containerOf({ name: 'init', readinessProbe: { tcpSocket: { port: 80 } } }),
        ],
      },
      want: 'spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
    },
    {
      name: 'with a value from two places',
      spec: specOfContainer({
        env: [
          { name: 'A', value: 'b', valueFrom: { configMapKeyRef: { name: 'settings', key: 'a' } } },
        ],
      }),
      want: 'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    },
    {
      name: 'with a value from a file elsewhere',
      spec: specOfContainer({
        env: [
          {
            name: 'A',
            valueFrom: { fileKeyRef: { volumeName: 'data', path: '../etc/a.env', key: 'A' } },
          },
        ],
      }),
      want: 'spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: "../etc/a.env": must not contain \'..\'',
    },
    {
      name: 'with a value from a file without a key',
      spec: specOfContainer({
        env: [
          { name: 'A', valueFrom: { fileKeyRef: { volumeName: 'data', path: 'a.env', key: '' } } },
        ],
      }),
      want: 'spec.containers[0].env[0].valueFrom.fileKeyRef.key: Required value',
    },
    {
      name: 'with a toleration of nothing in particular',
      spec: { tolerations: [{ operator: 'Equal', value: 'a' }] },
      want: 'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    },
    {
      name: 'with no DNS server where it wants its own',
      spec: { dnsPolicy: 'None' },
      want: 'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None',
    },
    {
      name: 'with a scheduling gate and a node',
      spec: { nodeName: 'pi', schedulingGates: [{ name: 'quota' }] },
      want: 'spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared',
    },
    {
      name: 'with one path projected twice',
      spec: {
        volumes: [
          {
            name: 'all',
            projected: {
              sources: ['a', 'b'].map((name) => ({
                configMap: { name, items: [{ key: 'k', path: 'same' }] },
              })),
            },
          },
        ],
      },
      want: 'spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths',
    },
    {
      name: 'with a file mode beyond octal 777',
      spec: { volumes: [{ name: 'key', secret: { secretName: 'key', defaultMode: 512 } }] },
      want: 'spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive',
    },
    {
      name: 'with a preference out of scale',
      spec: {
        affinity: {
          nodeAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 101, preference: {} }],
          },
        },
      },
      want: 'spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100',
    },
    {
      name: 'with a preference of no weight',
      spec: {
        affinity: {
          nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{}] },
        },
      },
      want: 'spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100',
    },
    {
      name: 'near pods of no topology',
      spec: {
        affinity: {
          podAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'a/b/c' }],
          },
        },
      },
      want: `spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    },
    {
      name: 'far from pods by keys of no selector',
      spec: {
        affinity: {
          podAntiAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              { weight: 1, podAffinityTerm: { topologyKey: 'zone', matchLabelKeys: ['a'] } },
            ],
          },
        },
      },
      want: 'spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set',
    },
    {
      name: 'with a spread over fewer domains than one',
      spec: {
        topologySpreadConstraints: [
          { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', minDomains: 0 },
        ],
      },
      want: 'spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero',
    },
    {
      name: 'with a node selector that asks for nothing',
      spec: {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'In' }] }],
            },
          },
        },
      },
      want: "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
    },
    {
      name: 'with a spread of no skew',
      spec: {
        topologySpreadConstraints: [
          { maxSkew: 0, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' },
        ],
      },
      want: 'spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero',
    },
    {
      name: 'with a resource nobody knows',
      spec: specOfContainer({ resources: { limits: { gpu: '1' }, requests: { gpu: '1' } } }),
      want: '[spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified, spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers, spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified, spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers]',
    },
    {
      name: 'with half a device',
      spec: specOfContainer({ resources: { limits: { 'example.com/gpu': '500m' } } }),
      want: '[spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer, spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer]',
    },
    {
      name: 'with a field in its environment that no pod has',
      spec: specOfContainer({
        env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.x' } } }],
      }),
      want: 'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x',
    },
    {
      name: 'that is privileged but may not gain privileges',
      spec: specOfContainer({
        securityContext: { privileged: true, allowPrivilegeEscalation: false },
      }),
      want: 'spec.containers[0].securityContext: Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
    },
    {
      name: 'with several faults, all named in order',
      spec: { containers: [{ name: 'web' }], restartPolicy: 'No' },
      want: '[spec.containers[0].image: Required value, spec.restartPolicy: Unsupported value: "No": supported values: "Always", "OnFailure", "Never"]',
    },
  ];
  it.each(cases)('$name', async ({ spec, want }) => {
    expect(await refusal(kindWorld().create(podOf(spec)))).toBe(prefix + want);
  });
});

describe('a deleted pod', () => {
  const running = { spec: { nodeName: 'pi', terminationGracePeriodSeconds: 30 } };
  const cases: readonly { name: string; pod: object; requested?: number; want: number }[] = [
    { name: 'has its own time to end', pod: running, want: 30 },
    { name: 'has the time its deleter gives', pod: running, requested: 5, want: 5 },
    { name: 'goes at once when asked to', pod: running, requested: 0, want: 0 },
    {
      name: 'has a second when its time is negative',
      pod: { spec: { nodeName: 'pi', terminationGracePeriodSeconds: -1 } },
      want: 1,
    },
    {
      name: 'goes at once when no node has it',
      pod: { spec: { terminationGracePeriodSeconds: 30 } },
      want: 0,
    },
    {
      name: 'goes at once when it is over',
      pod: { ...running, status: { phase: 'Succeeded' } },
      want: 0,
    },
  ];
  it.each(cases)('$name', ({ pod, requested, want }) => {
    expect(podStrategy.deletionGraceSeconds?.(pod as Pod, requested)).toBe(want);
  });
});

describe('an update of a pod', () => {
  interface PodLike {
    spec: Record<string, unknown> & { containers: Record<string, unknown>[] };
  }
  const cases: readonly { name: string; change: (pod: PodLike) => void; want: RegExp }[] = [
    {
      name: 'may change an image',
      change: ({ spec }) => Object.assign(spec.containers[0] ?? {}, { image: 'nginx:1.30' }),
      want: /^$/,
    },
    {
      name: 'may add a toleration',
      change: ({ spec }) => Object.assign(spec, { tolerations: [{ operator: 'Exists' }] }),
      want: /^$/,
    },
    {
      name: 'may set a deadline',
      change: ({ spec }) => Object.assign(spec, { activeDeadlineSeconds: 60 }),
      want: /^$/,
    },
    {
      name: 'may not move it to another node',
      change: ({ spec }) => Object.assign(spec, { nodeName: 'pi' }),
      want: /^Pod "web" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers\[\*\].image`,`spec.initContainers\[\*\].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \(only additions to existing tolerations\),`spec.terminationGracePeriodSeconds` \(allow it to be set to 1 if it was previously negative\)\nchanged: spec.nodeName\n$/,
    },
    {
      name: 'may not add a container',
      change: ({ spec }) => spec.containers.push(containerOf({ name: 'more' }) as never),
      want: /^Pod "web" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers$/,
    },
  ];
  it.each(cases)('$name', async ({ change, want }) => {
    const world = kindWorld();
    const pod = await world.create(podOf());
    const attempt = world.update(pod, (next) => change(next as unknown as PodLike));
    expect(await refusal(attempt)).toMatch(want);
  });

  it('may not take a toleration away', async () => {
    const world = kindWorld();
    const pod = await world.create(podOf({ tolerations: [{ key: 'a', operator: 'Exists' }] }));
    const attempt = world.update(pod, (next) =>
      Object.assign(next['spec'] as object, { tolerations: [] }),
    );
    expect(await refusal(attempt)).toBe(
      'Pod "web" is invalid: spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
    );
  });
});

describe("a pod's status", () => {
  it('changes without touching the spec or the quality-of-service class', async () => {
    const world = kindWorld();
    const pod = await world.create(podOf());
    const next = await world.update(
      pod,
      (copy) => {
        copy['status'] = { phase: 'Running' };
        Object.assign(copy['spec'] as object, { nodeName: 'pi' });
      },
      'status',
    );
    expect({ spec: next['spec'], status: next['status'] }).toEqual({
      spec: pod['spec'],
      status: { phase: 'Running', qosClass: 'BestEffort' },
    });
  });

  it.each([{ podIP: '10.0.0.1; drop' }, { podIPs: [{ ip: '10.0.0.1; drop' }] }])(
    'has addresses that are addresses: %j',
    async (status) => {
      const world = kindWorld();
      const pod = await world.create(podOf());
      const change = (copy: Record<string, unknown>): void => void (copy['status'] = status);
      expect(await refusal(world.update(pod, change, 'status'))).toContain(
        'Invalid value: "10.0.0.1; drop": must be a valid IP address',
      );
    },
  );

  it('may not revive a container that must not restart', async () => {
    const world = kindWorld();
    const pod = await world.create(podOf({ restartPolicy: 'Never' }));
    const status = (state: object) => ({
      containerStatuses: [
        { name: 'web', image: '', imageID: '', ready: false, restartCount: 0, state },
      ],
    });
    const set = (state: object) =>
      world.update(
        pod,
        (copy) => {
          copy['status'] = status(state);
        },
        'status',
      );
    await set({ terminated: { exitCode: 1 } });
    expect(await refusal(set({ running: {} }))).toBe(
      'Pod "web" is invalid: status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state',
    );
  });
});
