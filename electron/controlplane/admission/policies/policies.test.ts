// ValidatingAdmissionPolicies as requests meet them: the API server in process.
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
import { validatingPolicies } from './validating.ts';

let api: TestApi;
/** What was put down for the audit. */
const notes: Record<string, string> = {};

/** There is no audit log behind the router of tests. */
function noting(plugin: AdmissionPlugin): AdmissionPlugin {
  return {
    ...plugin,
    validate: (attributes) =>
      plugin.validate?.({
        ...attributes,
        annotate: (key, value) => {
          notes[key] = value;
        },
      }),
  };
}

beforeAll(async () => {
  api = await startTestApi({
    plugins: (registry) => [
      noting(
        validatingPolicies(
          dynamicDeps({
            registry,
            schemas,
            webhooks: noWebhooks,
            authorize: ({ verb, user }) => ({
              allowed: verb === 'create' && user.name === 'admin',
              reason: 'so',
            }),
            random: seededRandom(1),
            logger: silentLogger,
          }),
        ),
      ),
    ],
  });
  for (const name of ['default', 'other'])
    await api.request('POST', '/api/v1/namespaces', {
      body: { metadata: { name, labels: { tier: name } } },
    });
});
afterAll(() => api.stop());

const group = '/apis/admissionregistration.k8s.io/v1';
const configMaps = '/api/v1/namespaces/default/configmaps';
afterEach(async () => {
  for (const key of Object.keys(notes)) delete notes[key];
  for (const plural of ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'])
    await api.request('DELETE', `${group}/${plural}`);
  await api.request('DELETE', configMaps);
});

const rules = [
  { operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] },
];

interface Given {
  readonly [field: string]: unknown;
}

function policyOf(spec: Given): Json {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: 'p' },
    spec: { matchConstraints: { resourceRules: rules }, ...spec },
  };
}

async function install(spec: Given, binding: Given = {}): Promise<void> {
  const policy = await api.request('POST', `${group}/validatingadmissionpolicies`, {
    body: policyOf(spec),
  });
  const bound = await api.request('POST', `${group}/validatingadmissionpolicybindings`, {
    body: {
      metadata: { name: 'b' },
      spec: { policyName: 'p', validationActions: ['Deny'], ...binding },
    },
  });
  for (const { status, text } of [policy, bound]) if (status !== 201) throw new Error(text);
}

function create(data: object = {}, name = 'one') {
  return api.request('POST', configMaps, { body: { metadata: { name }, data } });
}

const denied = (why: string) =>
  `configmaps "one" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ${why}`;

describe('a validation', () => {
  const cases: readonly { name: string; spec: Given; data?: object; want: string }[] = [
    {
      name: 'that holds lets the request pass',
      spec: { validations: [{ expression: 'object.data.a == "b"' }] },
      data: { a: 'b' },
      want: '',
    },
    {
      name: 'tells its expression',
      spec: { validations: [{ expression: 'object.data.a == "b"' }] },
      data: { a: 'c' },
      want: denied('failed expression: object.data.a == "b"'),
    },
    {
      name: 'tells its message',
      spec: { validations: [{ expression: 'false', message: ' never ' }] },
      want: denied('never'),
    },
    {
      name: 'tells what its message expression makes',
      spec: {
        validations: [
          { expression: 'false', message: 'x', messageExpression: '"no " + object.metadata.name' },
        ],
      },
      want: denied('no one'),
    },
    {
      name: 'tells its message where that expression fails',
      spec: {
        validations: [{ expression: 'false', message: 'x', messageExpression: 'object.data.none' }],
      },
      want: denied('x'),
    },
    {
      name: 'that fails refuses',
      spec: { validations: [{ expression: 'object.data.none == "b"' }] },
      want: denied(`expression 'object.data.none == "b"' resulted in error: no such key: none`),
    },
    {
      name: 'that fails passes with Ignore',
      spec: { failurePolicy: 'Ignore', validations: [{ expression: 'object.data.none == "b"' }] },
      want: '',
    },
    {
      name: 'that is false refuses with Ignore, too',
      spec: { failurePolicy: 'Ignore', validations: [{ expression: 'false', message: 'x' }] },
      want: denied('x'),
    },
    {
      name: 'knows the request, its user and the namespace',
      spec: {
        validations: [
          {
            expression:
              'request.operation == "CREATE" && request.userInfo.username == "admin" && ' +
              'request.namespace == "default" && oldObject == null && params == null && ' +
              'namespaceObject.metadata.labels.tier == "default"',
          },
        ],
      },
      want: '',
    },
    {
      name: 'may ask who may what',
      spec: {
        validations: [
          { expression: 'authorizer.requestResource.check("create").allowed()' },
          {
            expression:
              'authorizer.serviceAccount("default", "x").group("").resource("pods").check("create").allowed()',
            message: 'x may not',
          },
        ],
      },
      want: denied('x may not'),
    },
    {
      name: 'uses variables, which use others',
      spec: {
        variables: [
          { name: 'a', expression: 'size(object.data)' },
          { name: 'b', expression: 'variables.a * 2' },
          { name: 'never', expression: 'object.data.none' },
        ],
        validations: [{ expression: 'variables.b == 4' }],
      },
      data: { a: '', b: '' },
      want: '',
    },
    {
      name: 'is not asked where the conditions are not met',
      spec: {
        matchConditions: [{ name: 'x', expression: 'object.metadata.name != "one"' }],
        validations: [{ expression: 'false' }],
      },
      want: '',
    },
    {
      name: 'ends when it costs too much',
      spec: {
        validations: [
          {
            expression: `[${Array.from({ length: 60 }, (_, n) => n).join(',')}].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a + b + c + d > 0))))`,
          },
        ],
      },
      want: denied(
        'validation failed due to running out of cost budget, no further validation rules will be run',
      ),
    },
  ];
  it.each(cases)('$name', async ({ spec, data, want }) => {
    await install(spec);
    const { json } = await create(data);
    expect(json.message ?? '').toBe(want);
  });

  it('has the reason it gives, and names the cause', async () => {
    await install({ validations: [{ expression: 'false', reason: 'Forbidden', message: 'x' }] });
    const { json } = await create();
    expect([json.code, json.reason]).toEqual([403, 'Forbidden']);
    expect(json.details.causes).toEqual([
      { message: `ValidatingAdmissionPolicy 'p' with binding 'b' denied request: x` },
    ]);
  });

  it('is 422 if it gives none', async () => {
    await install({ validations: [{ expression: 'false' }] });
    const { json } = await create();
    expect([json.code, json.reason]).toEqual([422, 'Invalid']);
  });

  it('judges updates by both objects, and deletes by the old one', async () => {
    await create({ a: '1' });
    await install({
      validations: [
        {
          expression:
            'request.operation == "DELETE" ? oldObject.data.a != "1" : object.data.a >= oldObject.data.a',
          message: 'no way back',
        },
      ],
    });
    const patch = (a: string) =>
      api.request('PATCH', `${configMaps}/one`, {
        body: { data: { a } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    expect((await api.request('DELETE', `${configMaps}/one`)).status).toBe(422);
    expect((await patch('0')).json.message).toContain('no way back');
    expect((await patch('2')).status).toBe(200);
    expect((await api.request('DELETE', `${configMaps}/one`)).status).toBe(200);
  });
});

describe('a binding', () => {
  const no = { validations: [{ expression: 'false', message: 'x' }] };

  it('is what makes a policy hold', async () => {
    await api.request('POST', `${group}/validatingadmissionpolicies`, { body: policyOf(no) });
    expect((await create()).status).toBe(201);
  });

  it('holds where it says', async () => {
    const matchResources = { namespaceSelector: { matchLabels: { tier: 'other' } } };
    await install(no, { matchResources });
    expect((await create()).status).toBe(201);
    const other = configMaps.replace('default', 'other');
    expect((await api.request('POST', other, { body: { metadata: { name: 'one' } } })).status).toBe(
      422,
    );
  });

  it('excludes what it says', async () => {
    const excludeResourceRules = [{ ...rules[0], resourceNames: ['one'] }];
    await install(no, { matchResources: { excludeResourceRules } });
    expect((await create()).status).toBe(201);
    expect((await create({}, 'two')).status).toBe(422);
  });

  it('warns instead of denying', async () => {
    await install(no, { validationActions: ['Warn', 'Audit'] });
    const { status, headers } = await create();
    expect(status).toBe(201);
    expect(headers['warning']).toBe(
      `299 - "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': x"`,
    );
    expect(
      JSON.parse(notes['validation.policy.admission.k8s.io/validation_failure'] ?? ''),
    ).toEqual([
      {
        message: 'x',
        policy: 'p',
        binding: 'b',
        expressionIndex: 0,
        validationActions: ['Warn', 'Audit'],
      },
    ]);
  });

  it('leaves notes for the audit', async () => {
    await install({
      auditAnnotations: [
        { key: 'name', valueExpression: 'object.metadata.name' },
        { key: 'none', valueExpression: 'null' },
      ],
    });
    expect((await create()).status).toBe(201);
    expect(notes).toEqual({ 'p/name': 'one' });
  });
});

describe('params', () => {
  const paramKind = { apiVersion: 'v1', kind: 'ConfigMap' };
  const other = configMaps.replace('default', 'other');
  const bound = (paramRef: Given) => ({
    paramRef: { namespace: 'other', parameterNotFoundAction: 'Deny', ...paramRef },
  });
  const spec = {
    paramKind,
    matchConstraints: {
      resourceRules: rules,
      namespaceSelector: { matchLabels: { tier: 'default' } },
    },
    validations: [
      {
        expression: 'size(object.data) <= int(params.data.max)',
        messageExpression: '"at most " + params.data.max',
      },
    ],
  };
  beforeAll(async () => {
    for (const max of ['1', '2'])
      await api.request('POST', other, {
        body: { metadata: { name: `max-${max}`, labels: { max: 'yes' } }, data: { max } },
      });
  });

  it('are an object by its name', async () => {
    await install(spec, bound({ name: 'max-2' }));
    expect((await create({ a: '', b: '' })).status).toBe(201);
    expect((await create({ a: '', b: '', c: '' })).json.message).toBe(denied('at most 2'));
  });

  it('are all objects of a selector, each of which has to agree', async () => {
    await install(spec, bound({ selector: { matchLabels: { max: 'yes' } } }));
    expect((await create({ a: '', b: '' })).json.message).toBe(denied('at most 1'));
  });

  it('that are not there deny or allow, as the binding says', async () => {
    await install(spec, bound({ name: 'none' }));
    expect((await create()).json.message).toBe(
      denied(
        'failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction',
      ),
    );
    await api.request('DELETE', `${group}/validatingadmissionpolicybindings`);
    await api.request('DELETE', `${group}/validatingadmissionpolicies`);
    await install(spec, bound({ name: 'none', parameterNotFoundAction: 'Allow' }));
    expect((await create({ a: '', b: '', c: '' })).status).toBe(201);
  });

  it('are judged one after the other, others have their turn, and all have one budget', async () => {
    const many = configMaps.replace('default', 'many');
    await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'many' } } });
    for (let n = 0; n < 30; n++)
      await api.request('POST', many, {
        body: { metadata: { name: `p${n}`, labels: { many: 'yes' } } },
      });
    const costly = `lists.range(40).all(a, lists.range(40).all(b, lists.range(12).all(c, a + b + c >= 0)))`;
    await install(
      { ...spec, validations: [{ expression: costly }] },
      bound({ namespace: 'many', selector: { matchLabels: { many: 'yes' } } }),
    );
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      if (isOver) return;
      turns++;
      setImmediate(count);
    };
    count();
    const { json } = await create();
    isOver = true;
    expect(json.message).toContain('running out of cost budget');
    expect(turns).toBeGreaterThan(10);
  });

  it('that can not be had are passed over with Ignore', async () => {
    const unknown = { apiVersion: 'x.example/v1', kind: 'X' };
    await install({ ...spec, failurePolicy: 'Ignore', paramKind: unknown }, bound({ name: 'x' }));
    expect((await create()).status).toBe(201);
  });

  it('of a kind nobody knows deny', async () => {
    await install(
      { ...spec, paramKind: { apiVersion: 'x.example/v1', kind: 'X' } },
      bound({ name: 'x' }),
    );
    expect((await create()).json.message).toBe(
      denied('failed to configure binding: paramKind kind `x.example/v1, Kind=X` not known'),
    );
  });
});

describe('a policy is refused', () => {
  const cases: readonly { name: string; spec: Given; want: string }[] = [
    {
      name: 'when an expression is none',
      spec: { validations: [{ expression: 'object.' }] },
      want: 'spec.validations[0].expression: Invalid value: "object.": compilation failed: ',
    },
    {
      name: 'when a validation is no truth',
      spec: { validations: [{ expression: '1 + 1' }] },
      want: 'spec.validations[0].expression: Invalid value: "1 + 1": must evaluate to bool',
    },
    {
      name: 'when a message asks who may what',
      spec: {
        validations: [
          { expression: 'true', messageExpression: 'string(authorizer.group("").resource("x"))' },
        ],
      },
      want: 'spec.validations[0].messageExpression: Invalid value: ',
    },
    {
      name: 'when variables use each other',
      spec: {
        variables: [
          { name: 'a', expression: 'variables.b' },
          { name: 'b', expression: 'variables.a' },
        ],
        validations: [{ expression: 'variables.b == 4' }],
      },
      want: `spec.variables[0].expression: Invalid value: "variables.b": compilation failed: ERROR: <input>:1:10: undefined field 'b'`,
    },
    {
      name: 'when it asks of the request what is not there',
      spec: { validations: [{ expression: 'request.userInfo.name == "x"' }] },
      want: `compilation failed: ERROR: <input>:1:17: undefined field 'name'`,
    },
    {
      name: 'when a variable is of another type',
      spec: {
        variables: [{ name: 'a', expression: 'request.userInfo.groups' }],
        validations: [{ expression: 'variables.a == 4' }],
      },
      want: `found no matching overload for '_==_' applied to '(list(string), int)'`,
    },
    {
      name: 'when a variable uses what is not there',
      spec: {
        variables: [{ name: 'a', expression: 'nothing.x' }],
        validations: [{ expression: 'true' }],
      },
      want: 'spec.variables[0].expression: Invalid value: "nothing.x": compilation failed: ',
    },
  ];
  it.each(cases)('$name', async ({ spec, want }) => {
    const { json } = await api.request('POST', `${group}/validatingadmissionpolicies`, {
      body: policyOf(spec),
    });
    expect(json.code).toBe(422);
    expect(json.message).toContain(want);
  });
});

describe('the types of a policy', () => {
  const typeChecking = async (spec: Given): Promise<unknown> => {
    const { json } = await api.request('POST', `${group}/validatingadmissionpolicies`, {
      body: policyOf(spec),
    });
    expect(json.status.observedGeneration).toBe(1);
    return json.status.typeChecking;
  };
  const warning = (fieldRef: string, text: string) => ({
    expressionWarnings: [{ fieldRef, warning: text }],
  });

  it('are told in its status where they do not fit', async () => {
    const spec = {
      validations: [
        { expression: 'object.data.size() > 0' },
        { expression: 'object.spec.replicas > 1' },
      ],
    };
    expect(await typeChecking(spec)).toEqual(
      warning(
        'spec.validations[1].expression',
        "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'spec'\n | object.spec.replicas > 1\n | ......^\n",
      ),
    );
  });

  it('are those of each kind, of its params and variables', async () => {
    const resourceRules = [
      {
        operations: ['*'],
        apiGroups: ['apps'],
        apiVersions: ['v1'],
        resources: ['*/scale', 'deployments', 'replicasets'],
      },
    ];
    const spec = {
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
      matchConstraints: { resourceRules },
      variables: [{ name: 'n', expression: 'object.spec.replicas' }],
      validations: [
        {
          expression:
            'variables.n < int(params.data.max) && has(object.spec.template.spec.hostNetwork)',
          messageExpression: 'params.data.max + object.metadata.name',
        },
        { expression: 'object.spec.paused', messageExpression: '"a" + variables.n' },
      ],
    };
    expect(await typeChecking(spec)).toMatchObject({
      expressionWarnings: [
        {
          fieldRef: 'spec.validations[1].expression',
          warning: expect.stringMatching(
            /^apps\/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'paused'/,
          ),
        },
        {
          fieldRef: 'spec.validations[1].messageExpression',
          warning: expect.stringMatching(
            /^apps\/v1, Kind=Deployment: .*'\(string, int\)'\n.*\n.*\n\napps\/v1, Kind=ReplicaSet: /,
          ),
        },
      ],
    });
  });

  it('say nothing where any kind is meant, or all is well', async () => {
    const resourceRules = [{ ...rules[0], apiGroups: ['*'] }];
    const validations = [{ expression: 'object.nothing == 1' }];
    expect(await typeChecking({ matchConstraints: { resourceRules }, validations })).toEqual({});
  });
});

it('nothing holds against the configuration itself', async () => {
  const all = [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*'] }];
  await install({
    matchConstraints: { resourceRules: all },
    validations: [{ expression: 'false' }],
  });
  expect((await create()).status).toBe(422);
  expect((await api.request('DELETE', `${group}/validatingadmissionpolicies/p`)).status).toBe(200);
  expect((await create()).status).toBe(201);
});
