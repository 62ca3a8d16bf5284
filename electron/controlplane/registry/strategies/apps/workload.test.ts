import { describe, expect, it } from 'vitest';
import { containerOf, kindWorld, refusal, workloadOf } from '../../../../../test/setup/kinds.ts';

const templateOf = (spec: object, labels: object = { app: 'web' }) => ({
  template: { metadata: { labels }, spec: { containers: [containerOf({})], ...spec } },
});

describe('a new workload', () => {
  const template = {
    metadata: { labels: { app: 'web' } },
    spec: {
      containers: [
        {
          name: 'web',
          image: 'nginx:1.29',
          imagePullPolicy: 'IfNotPresent',
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          resources: {},
        },
      ],
      dnsPolicy: 'ClusterFirst',
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
      securityContext: {},
      terminationGracePeriodSeconds: 30,
    },
  };
  const selector = { matchLabels: { app: 'web' } };
  const cases = [
    {
      kind: 'Deployment',
      spec: {
        selector,
        template,
        replicas: 1,
        revisionHistoryLimit: 10,
        progressDeadlineSeconds: 600,
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: {
            maxSurge: '25%',
            maxUnavailable: '25%',
          },
        },
      },
      status: {},
    },
    { kind: 'ReplicaSet', spec: { selector, template, replicas: 1 }, status: { replicas: 0 } },
    {
      kind: 'DaemonSet',
      spec: {
        selector,
        template,
        revisionHistoryLimit: 10,
        updateStrategy: {
          type: 'RollingUpdate',
          rollingUpdate: {
            maxSurge: 0,
            maxUnavailable: 1,
          },
        },
      },
      status: {
        currentNumberScheduled: 0,
        desiredNumberScheduled: 0,
        numberMisscheduled: 0,
        numberReady: 0,
      },
    },
  ];
  it.each(cases)('$kind gets what Kubernetes writes into it', async ({ kind, spec, status }) => {
    const stored = await kindWorld().create(workloadOf(kind));
    expect({ spec: stored['spec'], status: stored['status'] }).toEqual({ spec, status });
  });

  it('ReplicationController takes selector and labels from its template', async () => {
    const { metadata, spec } = await kindWorld().create({
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name: 'web' },
      spec: templateOf({}),
    });
    expect({ labels: metadata.labels, spec }).toMatchObject({
      labels: { app: 'web' },
      spec: { selector: { app: 'web' }, replicas: 1 },
    });
  });

  it('Deployment of type Recreate gets no numbers of a rolling update', async () => {
    const { spec } = await kindWorld().create(
      workloadOf('Deployment', { strategy: { type: 'Recreate' } }),
    );
    expect(spec).toMatchObject({ strategy: { type: 'Recreate' } });
    expect((spec as { strategy: object }).strategy).not.toHaveProperty('rollingUpdate');
  });
});

describe('a workload is refused', () => {
  const rolling = (rollingUpdate: object) => ({
    strategy: { type: 'RollingUpdate', rollingUpdate },
  });
  const mismatch =
    'spec.template.metadata.labels: Invalid value: {"app":"api"}: `selector` does not match template `labels`';
  const cases: readonly { kind: string; name: string; spec: object; want: string }[] = [
    {
      kind: 'Deployment',
      name: 'without selector',
      spec: { selector: undefined },
      want: '[spec.selector: Required value, spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`]',
    },
    {
      kind: 'Deployment',
      name: 'with an empty selector',
      spec: { selector: {} },
      want: 'spec.selector: Invalid value: {}: empty selector is invalid for deployment',
    },
    {
      kind: 'Deployment',
      name: 'that does not select its own pods',
      spec: templateOf({}, { app: 'api' }),
      want: mismatch,
    },
    { kind: 'ReplicaSet', name: 'likewise', spec: templateOf({}, { app: 'api' }), want: mismatch },
    { kind: 'DaemonSet', name: 'likewise', spec: templateOf({}, { app: 'api' }), want: mismatch },
    {
      kind: 'Deployment',
      name: 'with negative replicas',
      spec: { replicas: -1 },
      want: 'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    },
    {
      kind: 'Deployment',
      name: 'that may neither surge nor miss a pod',
      spec: rolling({ maxSurge: 0, maxUnavailable: '0%' }),
      want: 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
    },
    {
      kind: 'Deployment',
      name: 'that may miss more than all',
      spec: rolling({ maxUnavailable: '120%' }),
      want: 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "120%": must not be greater than 100%',
    },
    {
      kind: 'Deployment',
      name: 'with a share that is none',
      spec: rolling({ maxSurge: 'some' }),
      want: `spec.strategy.rollingUpdate.maxSurge: Invalid value: "some": a valid percent string must be a numeric value followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')`,
    },
    {
      kind: 'Deployment',
      name: 'with rolling numbers for Recreate',
      spec: { strategy: { type: 'Recreate', rollingUpdate: {} } },
      want: "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    },
    {
      kind: 'Deployment',
      name: 'that gives up before a pod can be available',
      spec: { minReadySeconds: 60, progressDeadlineSeconds: 60 },
      want: 'spec.progressDeadlineSeconds: Invalid value: 60: must be greater than minReadySeconds',
    },
    {
      kind: 'Deployment',
      name: 'of pods that end',
      spec: templateOf({ restartPolicy: 'Never' }),
      want: 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    },
    {
      kind: 'DaemonSet',
      name: 'that surges and misses',
      spec: { updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } },
      want: 'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero',
    },
    {
      kind: 'DaemonSet',
      name: 'of pods with a deadline',
      spec: templateOf({ activeDeadlineSeconds: 5 }),
      want: 'spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported',
    },
  ];
  it.each(cases)('$kind $name', async ({ kind, spec, want }) => {
    const message = await refusal(kindWorld().create(workloadOf(kind, spec)));
    expect(message).toBe(`${kind}.apps "web" is invalid: ${want}`);
  });
});

describe('an update of a workload', () => {
  it.each(['Deployment', 'ReplicaSet', 'DaemonSet'])('keeps the selector of a %s', async (kind) => {
    const world = kindWorld();
    const created = await world.create(workloadOf(kind));
    const selector = { matchLabels: { app: 'web', tier: 'front' } };
    const attempt = world.update(created, (next) =>
      Object.assign(next['spec'] as object, {
        selector,
        ...templateOf({}, { app: 'web', tier: 'front' }),
      }),
    );
    expect(await refusal(attempt)).toBe(
      `${kind}.apps "web" is invalid: spec.selector: Invalid value: ${JSON.stringify(selector)}: field is immutable`,
    );
  });

  it('raises the generation with the spec, not with the status', async () => {
    const world = kindWorld();
    const created = await world.create(workloadOf('Deployment'));
    const scaled = await world.update(created, (next) =>
      Object.assign(next['spec'] as object, { replicas: 3 }),
    );
    const seen = await world.update(
      scaled,
      (next) => {
        next['status'] = { replicas: 3, observedGeneration: 2 };
      },
      'status',
    );
    const generations = [created, scaled, seen].map(({ metadata }) => metadata.generation);
    expect(generations).toEqual([1, 2, 2]);
  });

  it('counts the changes of a DaemonSet template in an annotation', async () => {
    const world = kindWorld();
    const created = await world.create(workloadOf('DaemonSet'));
    const changed = await world.update(created, (next) =>
      Object.assign(next['spec'] as object, templateOf({ hostNetwork: true })),
    );
    const key = 'deprecated.daemonset.template.generation';
    const counts = [created, changed].map(({ metadata }) => metadata.annotations?.[key]);
    expect(counts).toEqual(['1', '2']);
  });

  it('refuses a status with more ready pods than there are', async () => {
    const world = kindWorld();
    const created = await world.create(workloadOf('ReplicaSet'));
    const attempt = world.update(
      created,
      (next) => {
        next['status'] = { replicas: 1, readyReplicas: 2 };
      },
      'status',
    );
    expect(await refusal(attempt)).toBe(
      'ReplicaSet.apps "web" is invalid: status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas',
    );
  });
});

describe('a ControllerRevision', () => {
  const revision = {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: { name: 'web-1' },
    revision: 1,
    data: { spec: {} },
  };

  it('keeps its data for ever', async () => {
    const world = kindWorld();
    const created = await world.create(revision);
    const attempt = world.update(created, (next) => {
      next['data'] = { spec: { a: 1 } };
    });
    expect(await refusal(attempt)).toBe(
      'ControllerRevision.apps "web-1" is invalid: data: Invalid value: {"spec":{"a":1}}: field is immutable',
    );
  });

  it('needs data', async () => {
    const { data: _data, ...empty } = revision;
    expect(await refusal(kindWorld().create(empty))).toBe(
      'ControllerRevision.apps "web-1" is invalid: data: Required value: data is mandatory',
    );
  });
});
