// Who may write policies with params: the API server in process, asked by somebody who may read some of them.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { noWebhooks, schemas, startTestApi, type TestApi } from '../../../../test/setup/api.ts';
import { dynamicDeps } from '../../api-server.ts';
import type { AdmissionAttributes, AdmissionPlugin } from '../chain.ts';
import { dynamicPlugins } from '../plugins/standard.ts';

let api: TestApi;
/** What the user may read: `group/resource namespace/name`. */
let readable: string[];
let groups: string[];

/** The tests' requests are all made by one who may do everything. */
function byAlice(plugin: AdmissionPlugin): AdmissionPlugin {
  const as = (attributes: AdmissionAttributes) =>
    Object.assign(Object.create(attributes) as AdmissionAttributes, {
      user: { name: 'alice', groups },
    });
  return {
    name: plugin.name,
    handles: (attributes) => plugin.handles(as(attributes)),
    validate: (attributes) => plugin.validate?.(as(attributes)),
  };
}

beforeAll(async () => {
  api = await startTestApi({
    plugins: (registry) =>
      dynamicPlugins(
        dynamicDeps({
          registry,
          schemas,
          webhooks: noWebhooks,
          authorize: ({ verb, group, resource, namespace, name }) => ({
            allowed:
              verb === 'get' && readable.includes(`${group}/${resource} ${namespace}/${name}`),
            reason: '',
          }),
          random: seededRandom(1),
          logger: silentLogger,
        }),
      ).map(byAlice),
  });
});
afterAll(() => api.stop());

const sorts = [
  {
    url: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic',
    policy: { validations: [{ expression: 'true' }] },
    binding: { validationActions: ['Deny'] },
  },
  {
    url: '/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolic',
    policy: {
      reinvocationPolicy: 'Never',
      mutations: [
        { patchType: 'ApplyConfiguration', applyConfiguration: { expression: 'Object{}' } },
      ],
    },
    binding: {},
  },
];
const rule = {
  operations: ['CREATE'],
  apiGroups: [''],
  apiVersions: ['v1'],
  resources: ['pods'],
};

describe.each(sorts)('a $url…y', ({ url, policy, binding }) => {
  const spec = { matchConstraints: { resourceRules: [rule] }, ...policy };
  const secrets = { paramKind: { apiVersion: 'v1', kind: 'Secret' } };
  const paramRef = { name: 's', namespace: 'kube-system', parameterNotFoundAction: 'Allow' };
  const bound = { spec: { policyName: 'p', paramRef, ...binding } };
  const post = async (plural: string, body: object) => {
    const { status, json } = await api.request('POST', `${url}${plural}`, {
      body: { metadata: { name: 'p' }, ...body },
    });
    return status === 201 ? 'made' : `${status} ${json.details.causes[0].field}: ${json.message}`;
  };

  beforeEach(async () => {
    groups = [];
    readable = [];
    for (const plural of ['ies', 'ybindings']) await api.request('DELETE', `${url}${plural}`);
  });

  it('needs all of its paramKind to be readable', async () => {
    const given = { spec: { ...spec, ...secrets } };
    readable = ['/secrets kube-system/s'];
    const refusal = await post('ies', given);
    expect(refusal).toMatch(/^422 spec.paramKind: /);
    expect(refusal).toContain(
      'spec.paramKind: Forbidden: user "alice" must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)',
    );
    readable = ['/secrets */*'];
    expect(await post('ies', given)).toBe('made');
  });

  it('that is unknown asks for all of its group', async () => {
    const given = { spec: { ...spec, paramKind: { apiVersion: 'x.example/v1', kind: 'X' } } };
    expect(await post('ies', given)).toMatch(/^422 spec.paramKind: /);
    readable = ['x.example/* */*'];
    expect(await post('ies', given)).toBe('made');
  });

  it('is not asked again for what it had', async () => {
    groups = ['system:masters'];
    expect(await post('ies', { spec: { ...spec, ...secrets } })).toBe('made');
    expect(await post('ybindings', bound)).toBe('made');
    groups = [];
    for (const plural of ['ies', 'ybindings']) {
      const { status } = await api.request('PATCH', `${url}${plural}/p`, {
        body: { metadata: { labels: { a: 'b' } } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
      expect(status).toBe(200);
    }
  });

  it('is bound by who may read what the binding refers to', async () => {
    expect(await post('ybindings', bound)).toMatch(/^422 spec.paramRef: /);
    groups = ['system:masters'];
    await post('ies', { spec: { ...spec, ...secrets } });
    groups = [];
    expect(await post('ybindings', bound)).toContain(
      'spec.paramRef: Forbidden: user "alice" does not have "get" permission on the object referenced by paramRef',
    );
    readable = ['/secrets kube-system/s'];
    expect(await post('ybindings', bound)).toBe('made');
  });

  it('without params is anybody’s', async () => {
    expect(await post('ies', { spec })).toBe('made');
    expect(await post('ybindings', { spec: { policyName: 'p', ...binding } })).toBe('made');
  });
});
