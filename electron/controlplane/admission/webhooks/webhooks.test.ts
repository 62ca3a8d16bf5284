// Webhooks as requests meet them: the API server in process, a real HTTPS server as the webhook.
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { schemas, startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import {
  allow,
  deny,
  startWebhook,
  type WebhookServer,
} from '../../../../test/setup/webhook-server.ts';
import { dynamicDeps } from '../../api-server.ts';
import { HttpsWebhookCaller } from '../../apiserver/webhook-client.ts';
import type { AdmissionPlugin } from '../chain.ts';
import { dynamicPlugins } from '../plugins/standard.ts';

const clock = new ManualClock();
let api: TestApi;
let server: WebhookServer;
let webhooks: HttpsWebhookCaller;
/** Connections to services that were asked for. */
const dialled: object[] = [];
/** What the webhook answers, by path; the test says. */
const answers = new Map<string, (review: Json) => unknown>();

/** Runs before the webhooks in each round, as built-in plugins do. */
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
  server = await startWebhook((path, review) => (answers.get(path) ?? allow)(review));
  api = await startTestApi({
    clock,
    plugins(registry) {
      webhooks = new HttpsWebhookCaller({
        clock,
        connect(service) {
          dialled.push(service);
          if (service.name !== 'hook') return Promise.reject(new Error('no such service'));
          return Promise.resolve(connect(Number(new URL(server.url).port), '127.0.0.1'));
        },
      });
      const deps = dynamicDeps({
        registry,
        schemas,
        webhooks,
        authorize: ({ verb }) => ({ allowed: verb === 'create', reason: '' }),
        random: seededRandom(1),
        logger: silentLogger,
      });
      return [stamp, ...dynamicPlugins(deps)];
    },
  });
  for (const name of ['default', 'other'])
    await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
});
afterAll(async () => {
  webhooks.close();
  await server.stop();
  await api.stop();
});

const autoscalers = '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers';
const group = '/apis/admissionregistration.k8s.io/v1';
afterEach(async () => {
  answers.clear();
  server.asked.length = 0;
  for (const kind of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'])
    await api.request('DELETE', `${group}/${kind}`);
  await api.request('DELETE', '/api/v1/namespaces/default/configmaps');
  await api.request('DELETE', autoscalers);
});

interface Given {
  readonly name?: string;
  readonly path?: string;
  readonly [field: string]: unknown;
}

async function install(kind: 'Mutating' | 'Validating', ...hooks: readonly Given[]): Promise<void> {
  const body = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: `${kind}WebhookConfiguration`,
    metadata: { generateName: 'hooks-' },
    webhooks: hooks.map(({ path = '/', name = 'a.test.example', ...more }) => ({
      name,
      admissionReviewVersions: ['v1'],
      sideEffects: 'None',
      clientConfig: { url: `${server.url}${path}`, caBundle: server.caBundle },
      rules: [
        { operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] },
      ],
      ...more,
    })),
  };
  const plural = `${kind.toLowerCase()}webhookconfigurations`;
  const answer = await api.request('POST', `${group}/${plural}`, { body });
  if (answer.status !== 201) throw new Error(answer.text);
}

function create(data: object = {}, query = '', name = 'one') {
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
  return api.request('POST', `/api/v1/namespaces/default/configmaps${query}`, { body });
}

describe('what a webhook is told', () => {
  it('is the request, its user and the object', async () => {
    await install('Validating', {});
    await create({ a: 'b' }, '?fieldManager=me');
    const review: Json = server.asked[0]?.review;
    expect(review).toMatchObject({
      kind: 'AdmissionReview',
      apiVersion: 'admission.k8s.io/v1',
    });
    const { uid, object, ...request } = review.request;
    expect(uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(object).toMatchObject({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'one', namespace: 'default' },
      data: { a: 'b' },
    });
    const kind = { group: '', version: 'v1', kind: 'ConfigMap' };
    const resource = { group: '', version: 'v1', resource: 'configmaps' };
    expect(request).toEqual({
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      name: 'one',
      namespace: 'default',
      operation: 'CREATE',
      userInfo: { username: 'admin', groups: ['system:masters'] },
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1', fieldManager: 'me' },
    });
  });

  it('has the old object on updates, and only that on deletes', async () => {
    await create({ a: '1' });
    await install('Validating', {});
    const url = '/api/v1/namespaces/default/configmaps/one';
    await api.request('PATCH', url, {
      body: { data: { a: '2' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    await api.request('DELETE', url);
    const shown = server.asked.map(({ review: { request } }) => [
      request.operation,
      request.object?.data.a,
      request.oldObject?.data.a,
      request.options.kind,
    ]);
    expect(shown).toEqual([
      ['UPDATE', '2', '1', 'UpdateOptions'],
      ['DELETE', undefined, '2', 'DeleteOptions'],
    ]);
  });
});

describe('a refusal', () => {
  const cases = [
    {
      name: 'has the words of the webhook',
      status: { message: 'not today', code: 418, reason: 'Teapot' },
      want: [418, 'Teapot', 'admission webhook "a.test.example" denied the request: not today'],
    },
    {
      name: 'is never a success',
      status: { code: 200, status: 'Success' },
      want: [
        400,
        undefined,
        'admission webhook "a.test.example" denied the request without explanation',
      ],
    },
    {
      name: 'has its reason for want of words',
      status: { reason: 'Because' },
      want: [400, 'Because', 'admission webhook "a.test.example" denied the request: Because'],
    },
  ];
  it.each(cases)('$name', async ({ status, want }) => {
    for (const kind of ['Mutating', 'Validating'] as const) {
      answers.set('/', (review) => deny(review, status));
      await install(kind, {});
      const { json } = await create();
      expect([json.code, json.reason, json.message]).toEqual(want);
      expect(json.status).toBe('Failure');
      await api.request('DELETE', `${group}/${kind.toLowerCase()}webhookconfigurations`);
    }
  });

  it('is the first in order, and all are asked', async () => {
    answers.set('/slow', (review) => deny(review, { message: 'slow' }));
    answers.set('/quick', (review) => deny(review, { message: 'quick' }));
    await install(
      'Validating',
      { name: 'slow.test.example', path: '/slow' },
      { name: 'quick.test.example', path: '/quick' },
      { name: 'fine.test.example', path: '/fine' },
    );
    expect((await create()).json.message).toBe(
      'admission webhook "slow.test.example" denied the request: slow',
    );
    expect(server.asked.map(({ path }) => path).toSorted()).toEqual(['/fine', '/quick', '/slow']);
  });
});

describe('a webhook that fails', () => {
  const wrongUid = (review: Json) => allow({ request: { ...review.request, uid: 'x' } });
  const cases: readonly { name: string; answer: (review: Json) => unknown; want: RegExp }[] = [
    {
      name: 'with an error of its server',
      answer: () => 500,
      want: /^Internal error occurred: failed calling webhook "a\.test\.example": failed to call webhook: an error on the server \("500"\) has prevented the request from succeeding$/,
    },
    {
      name: 'with a page nobody knows',
      answer: () => 404,
      want: /: failed to call webhook: the server could not find the requested resource$/,
    },
    { name: 'with no JSON', answer: () => '<html>', want: /json parse error/ },
    {
      name: 'without a response',
      answer: () => ({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }),
      want: /: received invalid webhook response: webhook response was absent$/,
    },
    {
      name: 'with an answer to another',
      answer: wrongUid,
      want: /: expected response\.uid="[^"]+", got "x"$/,
    },
    {
      name: 'with another kind',
      answer: (review) => ({ ...allow(review), kind: 'Review' }),
      want: /: expected webhook response of admission\.k8s\.io\/v1, Kind=AdmissionReview, got admission\.k8s\.io\/v1, Kind=Review$/,
    },
    {
      name: 'with too long an answer',
      answer: (review) => allow(review, undefined, { warnings: ['x'.repeat(4_000_000)] }),
      want: /: the answer is larger than 3145728 bytes$/,
    },
    {
      name: 'with a patch that is none',
      answer: (review) =>
        allow(review, undefined, {
          patchType: 'JSONPatch',
          patch: Buffer.from('{}').toString('base64'),
        }),
      want: /: response\.patch is no list of operations$/,
    },
    {
      name: 'with a patch of no type',
      answer: (review) => allow(review, undefined, { patch: 'W10=' }),
      want: /: webhook returned response\.patch but not response\.patchType$/,
    },
  ];
  it.each(cases)(
    '$name stops the write with Fail and not with Ignore',
    async ({ answer, want }) => {
      answers.set('/', answer);
      await install('Mutating', {});
      const { json } = await create();
      expect([json.code, json.reason]).toEqual([500, 'InternalError']);
      expect(json.message).toMatch(want);
      await api.request('DELETE', `${group}/mutatingwebhookconfigurations`);
      await install('Mutating', { failurePolicy: 'Ignore' });
      expect((await create()).status).toBe(201);
    },
  );

  it('is not believed without a certificate of its authority', async () => {
    await install('Validating', { clientConfig: { url: `${server.url}/` } });
    expect((await create()).json.message).toBe(
      'Internal error occurred: failed calling webhook "a.test.example": failed to call webhook: ' +
        `Post "${server.url}/?timeout=10s": ` +
        'tls: failed to verify certificate: x509: certificate signed by unknown authority',
    );
    expect(server.asked).toEqual([]);
  });

  it('has the time it asked for, and no more', async () => {
    for (const [failurePolicy, want] of [
      ['Fail', /\?timeout=3s": context deadline exceeded$/],
      ['Ignore', /^$/],
    ] as const) {
      const isAsked = new Promise<void>((resolve) => {
        answers.set('/', () => {
          resolve();
          return new Promise(() => {});
        });
      });
      await install('Validating', { failurePolicy, timeoutSeconds: 3 });
      const answer = create();
      await isAsked;
      clock.advance(3000);
      expect((await answer).json.message ?? '').toMatch(want);
      await api.request('DELETE', `${group}/validatingwebhookconfigurations`);
    }
  });

  it('can be removed, whatever it would say of that', async () => {
    const rules = [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }];
    await install('Validating', { rules, clientConfig: { url: 'https://127.0.0.1:1/' } });
    const refused = await create();
    expect(refused.json.message).toMatch(/dial tcp 127\.0\.0\.1:1: connect: connection refused$/);
    const gone = await api.request('DELETE', `${group}/validatingwebhookconfigurations`);
    expect(gone.status).toBe(200);
    expect((await create()).status).toBe(201);
  });

  it('is not called at all in a dry run unless it has no side effects', async () => {
    // Validation refuses other values today; older objects may have them.
    await install('Mutating', { sideEffects: 'NoneOnDryRun' });
    expect((await create({}, '?dryRun=All')).status).toBe(201);
    expect(server.asked[0]?.review.request).toMatchObject({
      dryRun: true,
      options: { dryRun: ['All'] },
    });
  });
});

describe('a webhook that is a service', () => {
  const client = (service: object) => ({
    clientConfig: { service: { namespace: 'default', ...service }, caBundle: server.caBundle },
  });

  it('is reached through the cluster, and known by its name there', async () => {
    await install('Mutating', client({ name: 'hook', path: '/admit', port: 8443 }));
    expect((await create()).json.message ?? '').toBe('');
    expect(server.asked.map(({ path }) => path)).toEqual(['/admit']);
    expect(dialled.splice(0)).toEqual([{ namespace: 'default', name: 'hook', port: 8443 }]);
  });

  it('that is not there is told of by its name', async () => {
    await install('Validating', client({ name: 'gone' }));
    expect((await create()).json.message).toBe(
      'Internal error occurred: failed calling webhook "a.test.example": failed to call webhook: ' +
        'Post "https://gone.default.svc/?timeout=10s": no such service',
    );
  });
});

describe('a mutating webhook', () => {
  it('changes what is stored, and its warnings reach the client', async () => {
    answers.set('/', (review) =>
      allow(review, [{ op: 'add', path: '/data/b', value: '2' }], { warnings: ['mind the gap'] }),
    );
    await install('Mutating', {});
    const { json, headers } = await create({ a: '1' });
    expect(json.data).toEqual({ a: '1', b: '2' });
    expect(headers['warning']).toBe('299 - "mind the gap"');
  });

  it('sees what those before it changed', async () => {
    answers.set('/1', (review) => allow(review, [{ op: 'add', path: '/data/x', value: '1' }]));
    answers.set('/2', (review) =>
      allow(review, [
        { op: 'replace', path: '/data/x', value: `${review.request.object.data.x}2` },
      ]),
    );
    await install(
      'Mutating',
      { name: 'first.test.example', path: '/1' },
      { name: 'second.test.example', path: '/2' },
    );
    expect((await create()).json.data).toEqual({ x: '12' });
  });

  it('has the built-in plugins run again after a change', async () => {
    answers.set('/', (review) =>
      allow(review, [{ op: 'add', path: '/data/sidecar', value: 'in' }]),
    );
    await install('Mutating', {});
    expect((await create()).json.data).toEqual({ sidecar: 'in', seen: 'yes' });
    expect(server.asked.length).toBe(1);
  });

  it('is asked again with IfNeeded only, after somebody behind it changed the object', async () => {
    const add = (name: string) => (review: Json) =>
      review.request.object.data[name] === undefined
        ? allow(review, [{ op: 'add', path: `/data/${name}`, value: 'x' }])
        : allow(review);
    answers.set('/never', allow);
    answers.set('/again', allow);
    answers.set('/change', add('changed'));
    await install(
      'Mutating',
      { name: 'never.test.example', path: '/never' },
      { name: 'again.test.example', path: '/again', reinvocationPolicy: 'IfNeeded' },
      { name: 'change.test.example', path: '/change' },
    );
    await create();
    expect(server.asked.map(({ path }) => path)).toEqual(['/never', '/again', '/change', '/again']);
  });

  it('can not move the object to another namespace, nor break it', async () => {
    answers.set('/', (review) =>
      allow(review, [{ op: 'replace', path: '/metadata/namespace', value: 'other' }]),
    );
    await install('Mutating', {});
    expect((await create()).json.message).toBe(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
    answers.set('/', (review) => allow(review, [{ op: 'add', path: '/data/a b', value: '' }]));
    expect((await create()).status).toBe(422);
    answers.set('/', (review) => allow(review, [{ op: 'remove', path: '/nothing' }]));
    expect((await create()).json).toMatchObject({ code: 500, reason: 'InternalError' });
  });

  it('can not change what is deleted', async () => {
    await create();
    answers.set('/', (review) => allow(review, [{ op: 'add', path: '/data', value: {} }]));
    await install('Mutating', {});
    const { json } = await api.request('DELETE', '/api/v1/namespaces/default/configmaps/one');
    expect(json.message).toMatch(
      /admission webhook "a\.test\.example" attempted to modify the object, which is not supported for this operation$/,
    );
  });
});

describe('a webhook is asked', () => {
  const rule = (more: object) => [
    { operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], ...more },
  ];
  const cases: readonly { name: string; given: Given; want: number }[] = [
    { name: 'for its operation', given: { rules: rule({ operations: ['CREATE'] }) }, want: 1 },
    { name: 'not for another', given: { rules: rule({ operations: ['UPDATE'] }) }, want: 0 },
    { name: 'not for another group', given: { rules: rule({ apiGroups: ['apps'] }) }, want: 0 },
    { name: 'for all resources', given: { rules: rule({ resources: ['*'] }) }, want: 1 },
    { name: 'not for subresources', given: { rules: rule({ resources: ['*/status'] }) }, want: 0 },
    { name: 'not for cluster-wide kinds', given: { rules: rule({ scope: 'Cluster' }) }, want: 0 },
    { name: 'for namespaced kinds', given: { rules: rule({ scope: 'Namespaced' }) }, want: 1 },
    {
      name: 'where the namespace has the label',
      given: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'default' } } },
      want: 1,
    },
    { name: 'nowhere else', given: { namespaceSelector: { matchLabels: { a: 'b' } } }, want: 0 },
    {
      name: 'not for other objects',
      given: { objectSelector: { matchLabels: { a: 'b' } } },
      want: 0,
    },
    {
      name: 'when its conditions hold',
      given: {
        matchConditions: [
          { name: 'a', expression: 'object.data.a == "b" && request.operation == "CREATE"' },
          { name: 'b', expression: 'authorizer.requestResource.check("create").allowed()' },
        ],
      },
      want: 1,
    },
    {
      name: 'not when one is false, even if another fails',
      given: {
        matchConditions: [
          { name: 'a', expression: 'object.data.none == "b"' },
          { name: 'b', expression: 'authorizer.requestResource.check("get").allowed()' },
        ],
      },
      want: 0,
    },
    {
      name: 'not when one fails and failures are ignored',
      given: {
        failurePolicy: 'Ignore',
        matchConditions: [{ name: 'a', expression: 'object.data.none == "b"' }],
      },
      want: 0,
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    await install('Validating', given);
    expect((await create({ a: 'b' })).status).toBe(201);
    expect(server.asked.length).toBe(want);
  });

  it('and a condition that fails refuses the request', async () => {
    const matchConditions = [{ name: 'a', expression: 'object.data.none == "b"' }];
    await install('Validating', { matchConditions });
    const { json } = await create({ a: 'b' });
    expect([json.code, json.message]).toEqual([
      403,
      `configmaps "one" is forbidden: expression 'object.data.none == "b"' resulted in error: no such key: none`,
    ]);
  });

  const autoscaler = {
    metadata: { name: 'web' },
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { kind: 'Deployment', name: 'web', apiVersion: 'apps/v1' },
    },
  };
  const hpaRules = [
    {
      operations: ['*'],
      apiGroups: ['autoscaling'],
      apiVersions: ['v2'],
      resources: ['horizontalpodautoscalers'],
    },
  ];

  it('in the version it knows, and its patch is converted back', async () => {
    answers.set('/', (review) =>
      allow(review, [{ op: 'replace', path: '/spec/maxReplicas', value: 7 }]),
    );
    await install('Mutating', { rules: hpaRules });
    const { json } = await api.request('POST', autoscalers, { body: autoscaler });
    expect(json).toMatchObject({ apiVersion: 'autoscaling/v1', spec: { maxReplicas: 7 } });
    const { request }: Json = server.asked.map(({ review }) => review)[0];
    expect([request.object.apiVersion, request.kind.version, request.requestKind.version]).toEqual([
      'autoscaling/v2',
      'v2',
      'v1',
    ]);
  });

  it('about a Scale, where one is written', async () => {
    answers.set('/', (review) =>
      allow(review, [{ op: 'replace', path: '/spec/replicas', value: 4 }]),
    );
    const rules = rule({ apiGroups: ['apps'], resources: ['deployments/scale'] });
    await install('Mutating', { rules });
    await install('Validating', { rules, name: 'b.test.example', path: '/seen' });
    const url = '/apis/apps/v1/namespaces/default/deployments';
    const template = {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: 'nginx:1.29' }] },
    };
    const spec = { selector: { matchLabels: { app: 'web' } }, template };
    await api.request('POST', url, { body: { metadata: { name: 'web' }, spec } });
    const { json } = await api.request('PATCH', `${url}/web/scale`, {
      body: { spec: { replicas: 2 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect(json.spec.replicas).toBe(4);
    const seen = server.asked.map(({ review: { request } }) => [
      request.kind.kind,
      request.subResource,
      request.object.spec.replicas,
      request.oldObject.spec.replicas,
    ]);
    expect(seen).toEqual([
      ['Scale', 'scale', 2, 1],
      ['Scale', 'scale', 4, 1],
    ]);
  });

  it('in that version only, when it says Exact', async () => {
    await install('Mutating', { rules: hpaRules, matchPolicy: 'Exact' });
    expect((await api.request('POST', autoscalers, { body: autoscaler })).status).toBe(201);
    expect(server.asked).toEqual([]);
  });
});
