import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';
import { limitRanger } from '../../admission/limits/limit-ranger.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi({ plugins: (registry) => [limitRanger(registry.reader)] });
});
afterEach(() => api.stop());

const pods = '/api/v1/namespaces/default/pods';
const strategic = { 'content-type': 'application/strategic-merge-patch+json' };
const compute = { cpu: '100m', memory: '64Mi' };
const burstable = { requests: compute, limits: { cpu: '200m', memory: '128Mi' } };

async function createPod(spec: object = {}, metadata: object = {}) {
  const containers = [{ name: 'web', image: 'i', resources: burstable }];
  const body = { metadata: { name: 'web', ...metadata }, spec: { containers, ...spec } };
  expect((await api.request('POST', pods, { body })).status).toBe(201);
}

function resize(resources: object, name = 'web', list = 'containers') {
  const body = { spec: { [list]: [{ name, resources }] } };
  return api.request('PATCH', `${pods}/web/resize?fieldManager=me`, { headers: strategic, body });
}

async function refusalOf(answer: ReturnType<typeof resize>): Promise<string> {
  const { status, json } = await answer;
  return `${status} ${json.message}`;
}

describe('a resize', () => {
  it('changes CPU and memory, and the generation', async () => {
    await createPod();
    const { status, json } = await resize({ requests: { cpu: '150m' }, limits: { cpu: '0.3' } });
    const resources = {
      requests: { cpu: '150m', memory: '64Mi' },
      limits: { cpu: '300m', memory: '128Mi' },
    };
    expect([status, json.spec.containers[0].resources, json.metadata.generation]).toEqual([
      200,
      resources,
      2,
    ]);
    const again = await api.request('PUT', `${pods}/web/resize`, { body: json });
    expect([again.status, again.json.metadata.generation]).toEqual([200, 2]);
    expect((await api.request('GET', `${pods}/web/resize`)).json.kind).toBe('Pod');
  });

  it('changes nothing else, and owns nothing else', async () => {
    await createPod();
    const body = {
      metadata: { labels: { a: 'b' } },
      spec: {
        activeDeadlineSeconds: 5,
        containers: [{ name: 'web', image: 'other', resources: { requests: { cpu: '120m' } } }],
      },
    };
    const { json } = await api.request('PATCH', `${pods}/web/resize?fieldManager=me`, {
      headers: strategic,
      body,
    });
    const { spec, metadata } = json;
    expect([metadata.labels, spec.activeDeadlineSeconds, spec.containers[0].image]).toEqual([
      undefined,
      undefined,
      'i',
    ]);
    expect(
      metadata.managedFields.filter(({ manager }: { manager: string }) => manager === 'me'),
    ).toMatchObject([
      {
        subresource: 'resize',
        fieldsV1: {
          'f:spec': {
            'f:containers': {
              'k:{"name":"web"}': { 'f:resources': { 'f:requests': { 'f:cpu': {} } } },
            },
          },
        },
      },
    ]);
  });

  it('is not done by an update of the pod', async () => {
    await createPod();
    const body = {
      spec: { containers: [{ name: 'web', resources: { requests: { cpu: '150m' } } }] },
    };
    const { status } = await api.request('PATCH', `${pods}/web`, { headers: strategic, body });
    expect(status).toBe(422);
  });

  it('stays within the limit ranges of the namespace', async () => {
    const limits = [{ type: 'Container', max: { cpu: '1' } }];
    const body = { metadata: { name: 'most' }, spec: { limits } };
    await api.request('POST', '/api/v1/namespaces/default/limitranges', { body });
    await createPod();
    expect(await refusalOf(resize({ limits: { cpu: '2' } }))).toBe(
      '403 pods "web" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
    );
  });

  it('is listed in discovery', async () => {
    const definition = api.registry.table.lookup('', 'v1', 'pods');
    expect(Object.keys(definition?.subresources ?? {})).toContain('resize');
  });
});

describe('a resize is refused', () => {
  const invalid = (what: string) => `422 Pod "web" is invalid: ${what}`;
  const cases: readonly [string, object, string][] = [
    [
      'that makes it another class',
      { requests: { cpu: '200m', memory: '128Mi' } },
      invalid(
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
      ),
    ],
    [
      'of what is neither CPU nor memory',
      { limits: { 'ephemeral-storage': '1Gi' } },
      invalid('spec: Forbidden: only cpu and memory resources are mutable'),
    ],
    [
      'that takes a limit away',
      { limits: { memory: null } },
      invalid('spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed'),
    ],
    [
      'above its own limit',
      { requests: { cpu: '300m' } },
      invalid(
        'spec.containers[0].resources.requests: Invalid value: "300m": must be less than or equal to cpu limit of 200m',
      ),
    ],
  ];
  it.each(cases)('%s', async (_, resources, want) => {
    await createPod();
    expect(await refusalOf(resize(resources))).toBe(want);
  });

  it('that takes a request without a limit away', async () => {
    await createPod({
      containers: [{ name: 'web', image: 'i', resources: { requests: compute } }],
    });
    expect(await refusalOf(resize({ requests: { cpu: null } }))).toBe(
      invalid(
        'spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed',
      ),
    );
  });

  it('that adds or renames containers', async () => {
    await createPod();
    const { json } = await api.request('GET', `${pods}/web`);
    const [container] = json.spec.containers;
    const put = (...containers: object[]) => {
      const body = { ...json, spec: { ...json.spec, containers } };
      return refusalOf(api.request('PUT', `${pods}/web/resize`, { body }));
    };
    expect(await put(container, { ...container, name: 'two' })).toBe(
      invalid('spec.containers: Forbidden: containers may not be added or removed on resize'),
    );
    expect(await put({ ...container, name: 'two' })).toBe(
      invalid(
        'spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize',
      ),
    );
  });

  it('of init containers that are over, not of sidecars', async () => {
    const init = { image: 'i', resources: burstable };
    await createPod({
      initContainers: [
        { ...init, name: 'once' },
        { ...init, name: 'beside', restartPolicy: 'Always' },
      ],
    });
    expect(await refusalOf(resize({ requests: { cpu: '150m' } }, 'once', 'initContainers'))).toBe(
      invalid('spec: Forbidden: resources for non-sidecar init containers are immutable'),
    );
    const { status } = await resize({ requests: { cpu: '150m' } }, 'beside', 'initContainers');
    expect(status).toBe(200);
  });

  it('of a static pod', async () => {
    await createPod({}, { annotations: { 'kubernetes.io/config.mirror': 'x' } });
    expect(await refusalOf(resize({ requests: { cpu: '150m' } }))).toBe(
      // The path of the whole is empty, in Kubernetes too.
      invalid(': Forbidden: static pods cannot be resized'),
    );
  });

  it('on a node whose agent does not say what containers have', async () => {
    await createPod();
    const report = (more: object) => {
      const state = { running: { startedAt: '2026-01-01T00:00:00Z' } };
      const base = { name: 'web', image: 'i', imageID: '', ready: true, restartCount: 0 };
      const body = { status: { containerStatuses: [{ ...base, state, ...more }] } };
      return api.request('PATCH', `${pods}/web/status`, { headers: strategic, body });
    };
    await report({});
    expect(await refusalOf(resize({ requests: { cpu: '150m' } }))).toBe(
      invalid('spec: Forbidden: Pod running on node without support for resize'),
    );
    await report({ resources: burstable });
    expect((await resize({ requests: { cpu: '150m' } })).status).toBe(200);
  });
});

describe('a resize policy', () => {
  const pod = (resizePolicy: object[], spec: object = {}) => {
    const containers = [{ name: 'web', image: 'i', resizePolicy }];
    return { body: { metadata: { name: 'web' }, spec: { containers, ...spec } } };
  };
  it.each([
    [
      [{ resourceName: 'disk', restartPolicy: 'NotRequired' }],
      {},
      'Unsupported value: "disk": supported values: "cpu", "memory"',
    ],
    [
      [{ resourceName: 'cpu', restartPolicy: 'Sometimes' }],
      {},
      'Unsupported value: "Sometimes": supported values: "NotRequired", "RestartContainer"',
    ],
    [
      [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }],
      { restartPolicy: 'Never' },
      `Invalid value: "RestartContainer": must be 'NotRequired' when \`restartPolicy\` is 'Never'`,
    ],
  ])('has to be one: %j', async (policy, spec, want) => {
    const { status, json } = await api.request('POST', pods, pod(policy, spec));
    expect([status, json.message]).toEqual([
      422,
      `Pod "web" is invalid: spec.containers[0].resizePolicy: ${want}`,
    ]);
  });
});
