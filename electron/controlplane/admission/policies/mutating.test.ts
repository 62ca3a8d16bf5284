// MutatingAdmissionPolicies as requests meet them: the API server in process.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import {
  noWebhooks,
  schemas,
  startTestApi,
  type Json,
  type TestApi,
} from '../../../../test/setup/api.ts';
import { dynamicDeps } from '../../api-server.ts';
import type { AdmissionPlugin } from '../chain.ts';
import { dynamicPlugins } from '../plugins/standard.ts';

let api: TestApi;

/** Runs before the policies in each round, as built-in plugins do. */
const stamp: AdmissionPlugin = {
  name: 'Stamp',
  handles: ({ resource, operation }) =>
    resource.resource === 'configmaps' && operation !== 'DELETE',
  admit({ object }) {
    const data = ((object as Json).data ??= {});
    if (data.sidecar !== undefined) data.seen = 'yes';
  },
};

beforeAll(async () => {
  api = await startTestApi({
    plugins: (registry) => [
      stamp,
      ...dynamicPlugins(
        dynamicDeps({
          registry,
          schemas,
          webhooks: noWebhooks,
          authorize: ({ verb }) => ({ allowed: verb === 'create', reason: '' }),
          random: seededRandom(1),
          logger: silentLogger,
        }),
      ),
    ],
  });
  await api.request('POST', '/api/v1/namespaces', {
    body: { metadata: { name: 'default', labels: { tier: 'gold' } } },
  });
});
afterAll(() => api.stop());

const group = '/apis/admissionregistration.k8s.io/v1beta1';
const configMaps = '/api/v1/namespaces/default/configmaps';
const pods = '/api/v1/namespaces/default/pods';
const autoscalers = '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers';
afterEach(async () => {
  for (const plural of ['mutatingadmissionpolicies', 'mutatingadmissionpolicybindings'])
    await api.request('DELETE', `${group}/${plural}`);
  for (const path of [configMaps, pods, autoscalers]) await api.request('DELETE', path);
});

interface Given {
  readonly [field: string]: unknown;
}

const ruleOf = (resource: string, apiGroup = '', version = 'v1') => ({
  operations: ['CREATE', 'UPDATE'],
  apiGroups: [apiGroup],
  apiVersions: [version],
  resources: [resource],
});
const apply = (expression: string) => ({
  patchType: 'ApplyConfiguration',
  applyConfiguration: { expression },
});
const patch = (expression: string) => ({ patchType: 'JSONPatch', jsonPatch: { expression } });

async function install(spec: Given, binding: Given = {}, name = 'p'): Promise<void> {
  const answers = [
    await api.request('POST', `${group}/mutatingadmissionpolicies`, {
      body: {
        metadata: { name },
        spec: {
          reinvocationPolicy: 'Never',
          matchConstraints: { resourceRules: [ruleOf('configmaps')] },
          ...spec,
        },
      },
    }),
    await api.request('POST', `${group}/mutatingadmissionpolicybindings`, {
      body: { metadata: { name: `${name}-b` }, spec: { policyName: name, ...binding } },
    }),
  ];
  for (const { status, text } of answers) if (status !== 201) throw new Error(text);
}

const create = (body: object, path = configMaps) =>
  api.request('POST', path, { body: { metadata: { name: 'one' }, ...body } });

describe('a mutation', () => {
  const cases: readonly {
    name: string;
    mutations: readonly object[];
    more?: Given;
    want: object;
  }[] = [
    {
      name: 'merges a configuration',
      mutations: [apply('Object{data: Object.data{b: "2"}}')],
      want: { a: '1', b: '2' },
    },
    {
      name: 'patches',
      mutations: [
        patch(
          '[JSONPatch{op: "replace", path: "/data/a", value: "x"}, JSONPatch{op: "copy", from: "/data/a", path: "/data/c"}]',
        ),
      ],
      want: { a: 'x', c: 'x' },
    },
    {
      name: 'sees what those before it made',
      mutations: [
        apply('Object{data: Object.data{b: object.data.a + "!"}}'),
        apply('Object{data: Object.data{c: object.data.b + "!"}}'),
      ],
      want: { a: '1', b: '1!', c: '1!!' },
    },
    {
      name: 'leaves the object alone when what it tests is not so',
      mutations: [
        patch(
          '[JSONPatch{op: "test", path: "/data/a", value: "2"}, JSONPatch{op: "remove", path: "/data/a"}]',
        ),
      ],
      want: { a: '1' },
    },
    {
      name: 'knows variables, the request and its namespace',
      mutations: [
        apply('Object{data: Object.data{t: variables.tier, who: request.userInfo.username}}'),
      ],
      more: { variables: [{ name: 'tier', expression: 'namespaceObject.metadata.labels.tier' }] },
      want: { a: '1', t: 'gold', who: 'admin' },
    },
    {
      name: 'waits for its conditions',
      mutations: [apply('Object{data: Object.data{b: "2"}}')],
      more: { matchConditions: [{ name: 'no', expression: 'object.data.a == "2"' }] },
      want: { a: '1' },
    },
    {
      name: 'that fails is left out where failures are ignored',
      mutations: [
        apply('Object{data: Object.data{b: object.data.nothing}}'),
        apply('Object{data: Object.data{c: "3"}}'),
      ],
      more: { failurePolicy: 'Ignore' },
      want: { a: '1', c: '3' },
    },
  ];
  it.each(cases)('$name', async ({ mutations, more, want }) => {
    await install({ mutations, ...more });
    expect((await create({ data: { a: '1' } })).json.data).toEqual(want);
  });

  it('merges lists by their keys, and owns nothing', async () => {
    await install({
      matchConstraints: { resourceRules: [ruleOf('pods')] },
      mutations: [
        apply(`Object{spec: Object.spec{containers: object.spec.containers.map(c,
          Object.spec.containers{name: c.name, env: [Object.spec.containers.env{name: "TIER", value: "gold"}]})}}`),
      ],
    });
    const { json: body } = await create(
      { spec: { containers: [{ name: 'web', image: 'w', env: [{ name: 'A', value: '1' }] }] } },
      pods,
    );
    expect(body.spec.containers).toHaveLength(1);
    expect(body.spec.containers[0]).toMatchObject({
      image: 'w',
      env: [
        { name: 'A', value: '1' },
        { name: 'TIER', value: 'gold' },
      ],
    });
    expect(JSON.stringify(body.metadata.managedFields)).not.toContain('TIER');
  });

  it('is made in the version its rule names, and arrives in that of the request', async () => {
    await install({
      matchConstraints: {
        resourceRules: [ruleOf('horizontalpodautoscalers', 'autoscaling', 'v2')],
      },
      mutations: [
        patch(
          '[JSONPatch{op: "add", path: "/spec/metrics", value: [Object.spec.metrics{type: "Resource", resource: Object.spec.metrics.resource{name: "cpu", target: Object.spec.metrics.resource.target{type: "Utilization", averageUtilization: 70}}}]}]',
        ),
        patch(
          '[JSONPatch{op: "replace", path: "/spec/maxReplicas", value: object.spec.metrics.size() + 4}]',
        ),
      ],
    });
    const { json: body, text } = await create(
      { spec: { maxReplicas: 3, scaleTargetRef: { kind: 'Deployment', name: 'web' } } },
      autoscalers,
    );
    expect(body.spec?.targetCPUUtilizationPercentage, text).toBe(70);
    // The second sees in that version, too, what the first made.
    expect(body.spec.maxReplicas).toBe(5);
  });
});

describe('a refusal', () => {
  const cases: readonly { name: string; mutation: object; want: string }[] = [
    {
      name: 'tells which expression failed',
      mutation: apply('Object{data: Object.data{b: object.data.nothing}}'),
      want: `policy 'p' with binding 'p-b' denied request: expression 'Object{data: Object.data{b: object.data.nothing}}' resulted in error: no such key: nothing`,
    },
    {
      name: 'names fields that are not there',
      mutation: apply('Object{oops: 1}'),
      want: `policy 'p' with binding 'p-b' denied request: error applying patch: failed to convert patch object to typed object: .oops: field not declared in schema`,
    },
    {
      name: 'protects what is replaced as a whole',
      mutation: apply(
        'Object{metadata: Object.metadata{ownerReferences: [Object.metadata.ownerReferences{uid: "1"}]}}',
      ),
      want: `policy 'p' with binding 'p-b' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.ownerReferences[0]`,
    },
    {
      name: 'tells why a patch does not apply',
      mutation: patch('[JSONPatch{op: "remove", path: "/nothing"}]'),
      want: `policy 'p' with binding 'p-b' denied request: JSONPath: error in remove for path: '/nothing': Unable to remove nonexistent key: nothing: missing value`,
    },
  ];
  it.each(cases)('$name', async ({ mutation, want }) => {
    await install({ mutations: [mutation] });
    const { status, json: body } = await create({ data: { a: '1' } });
    expect({ status, reason: body.reason, message: body.message }).toEqual({
      status: 403,
      reason: 'Invalid',
      message: want,
    });
  });

  it('comes when a patch makes fields the kind does not have', async () => {
    await install({ mutations: [patch('[JSONPatch{op: "add", path: "/oops", value: 1}]')] });
    const { status, json: body } = await create({ data: { a: '1' } });
    expect([status, body.message]).toEqual([
      500,
      expect.stringContaining('strict decoding error: unknown field "oops"'),
    ]);
  });
});

describe('policies', () => {
  it('hold where their binding says, with its params', async () => {
    await api.request('POST', configMaps, {
      body: { metadata: { name: 'param' }, data: { v: '7' } },
    });
    await install(
      {
        paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
        mutations: [apply('Object{data: Object.data{b: params.data.v}}')],
      },
      {
        paramRef: { name: 'param', parameterNotFoundAction: 'Deny' },
        matchResources: { objectSelector: { matchLabels: { on: 'yes' } } },
      },
    );
    const labelled = await create({ metadata: { name: 'two', labels: { on: 'yes' } } });
    expect([labelled.json.data, (await create({})).json.data]).toEqual([{ b: '7' }, {}]);
  });

  it('are asked again, if they want to, after another changed the object', async () => {
    const count = (key: string) =>
      apply(
        `Object{data: Object.data{${key}: (has(object.data.${key}) ? object.data.${key} : "") + "i"}}`,
      );
    await install({ mutations: [count('once')] }, {}, 'a');
    await install({ mutations: [count('again')], reinvocationPolicy: 'IfNeeded' }, {}, 'b');
    await install({ mutations: [apply('Object{data: Object.data{sidecar: "x"}}')] }, {}, 'c');
    const { json: body } = await create({ data: {} });
    expect(body.data).toEqual({ once: 'i', again: 'ii', sidecar: 'x', seen: 'yes' });
  });

  it('that fail use up the budget they have together, and let others have their turn', async () => {
    const costly = `lists.range(40).all(a, lists.range(40).all(b, lists.range(12).all(c, a + b + c >= 0)))`;
    const failing = `Object{data: Object.data{b: ${costly} ? object.data.nothing : ""}}`;
    await install({
      failurePolicy: 'Ignore',
      mutations: [
        ...Array.from({ length: 20 }, () => apply(failing)),
        apply('Object{data: Object.data{b: "2"}}'),
      ],
    });
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      if (isOver) return;
      turns++;
      setImmediate(count);
    };
    count();
    const { json: body } = await create({ data: { a: '1' } });
    isOver = true;
    expect(body.data).toEqual({ a: '1' });
    expect(turns).toBeGreaterThanOrEqual(10);
  });

  it('leave their own kind and what is deleted alone', async () => {
    await install({
      matchConstraints: {
        resourceRules: [
          { operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*'] },
        ],
      },
      mutations: [apply('Object{metadata: Object.metadata{labels: {"x": "y"}}}')],
    });
    const { json: body } = await create({});
    const policy = await api.request('GET', `${group}/mutatingadmissionpolicies/p`);
    const deleted = await api.request('DELETE', `${configMaps}/one`);
    expect([body.metadata.labels, policy.json.metadata.labels, deleted.status]).toEqual([
      { x: 'y' },
      undefined,
      200,
    ]);
  });
});

describe('what is no policy', () => {
  it('is refused in the words of Kubernetes', async () => {
    const spec = {
      matchConstraints: { resourceRules: [{ ...ruleOf('pods'), operations: ['DELETE'] }] },
      mutations: [
        { patchType: 'Other' },
        { patchType: 'JSONPatch', applyConfiguration: { expression: 'Object{}' } },
        apply('Object.spec{}'),
        apply(' '),
      ],
    };
    const { json: body } = await api.request('POST', `${group}/mutatingadmissionpolicies`, {
      body: { metadata: { name: 'p' }, spec },
    });
    expect(body.details.causes.map(({ field, message }: Json) => `${field}: ${message}`)).toEqual([
      'spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"',
      'spec.mutations[0].patchType: Unsupported value: "Other": supported values: "ApplyConfiguration", "JSONPatch"',
      'spec.mutations[1].jsonPatch: Required value: must be specified when patchType is JSONPatch',
      'spec.mutations[1].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch',
      'spec.mutations[2].applyConfiguration.expression: Invalid value: "Object.spec{}": must evaluate to Object',
      'spec.mutations[3].applyConfiguration.expression: Required value: expression is not specified',
      'spec.reinvocationPolicy: Required value',
    ]);
  });
});
