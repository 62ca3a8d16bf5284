// What webhooks and policies see of connections (exec, port-forward, proxies) and of questions (reviews).
import { duplexPair } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { schemas, startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import { dynamicDeps } from '../../api-server.ts';
import { dynamicPlugins } from '../plugins/standard.ts';

let api: TestApi;
/** What webhooks were asked, and what they answer. */
const asked: Json[] = [];
let answer: Json = {};
/** How the node's agent was asked. */
let reached = '';

beforeAll(async () => {
  api = await startTestApi({
    plugins: (registry) =>
      dynamicPlugins(
        dynamicDeps({
          registry,
          schemas,
          webhooks: {
            async call({ review }: Json) {
              asked.push(review.request);
              const response = { uid: review.request.uid, allowed: true, ...answer };
              return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
            },
          },
          authorize: () => ({ allowed: true, reason: '' }),
          random: seededRandom(1),
          logger: silentLogger,
        }),
      ),
    kubeletUpgrade({ path, query }) {
      reached = `${path}?${query.toString()}`;
      return { status: 101, headers: {}, connection: duplexPair()[0] };
    },
  });
  const pod = {
    metadata: { name: 'web' },
    spec: { nodeName: 'pi', containers: [{ name: 'main', image: 'i' }] },
  };
  await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'default' } } });
  await api.request('POST', '/api/v1/namespaces/default/pods', { body: pod });
});
afterAll(() => api.stop());

const group = '/apis/admissionregistration.k8s.io/v1';
afterEach(async () => {
  asked.length = 0;
  answer = {};
  reached = '';
  for (const kind of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'])
    await api.request('DELETE', `${group}/${kind}`);
  for (const kind of ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'])
    await api.request('DELETE', `${group}/${kind}`);
});

const everything = [
  { operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] },
];

async function installWebhook(kind: 'Mutating' | 'Validating', more: Json = {}): Promise<void> {
  const webhook = {
    name: 'a.test.example',
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    clientConfig: { url: 'https://127.0.0.1:1/' },
    rules: everything,
    ...more,
  };
  const plural = `${kind.toLowerCase()}webhookconfigurations`;
  const body = { metadata: { name: 'hooks' }, webhooks: [webhook] };
  const made = await api.request('POST', `${group}/${plural}`, { body });
  expect(made.json.message ?? '').toBe('');
}

async function installPolicy(expression: string): Promise<void> {
  const policy = {
    metadata: { name: 'p' },
    spec: { matchConstraints: { resourceRules: everything }, validations: [{ expression }] },
  };
  const made = await api.request('POST', `${group}/validatingadmissionpolicies`, { body: policy });
  expect(made.json.message ?? '').toBe('');
  await api.request('POST', `${group}/validatingadmissionpolicybindings`, {
    body: { metadata: { name: 'b' }, spec: { policyName: 'p', validationActions: ['Deny'] } },
  });
}

const headers = { connection: 'Upgrade', upgrade: 'SPDY/3.1' };
const pod = '/api/v1/namespaces/default/pods/web';
const connect = (path: string) => api.request('POST', `${pod}/${path}`, { headers });

describe('a connection', () => {
  const cases = [
    {
      path: 'exec?command=sh&command=-c&stdin=true&stdout=true&stderr=false&tty=true&container=main',
      want: {
        kind: 'PodExecOptions',
        apiVersion: 'v1',
        stdin: true,
        stdout: true,
        tty: true,
        container: 'main',
        command: ['sh', '-c'],
      },
    },
    {
      path: 'attach?stdin=true',
      want: {
        kind: 'PodAttachOptions',
        apiVersion: 'v1',
        stdin: true,
        stdout: true,
        stderr: true,
      },
    },
    {
      path: 'portforward?ports=80&ports=443',
      want: { kind: 'PodPortForwardOptions', apiVersion: 'v1', ports: [80, 443] },
    },
    {
      path: 'proxy/a/b?c=d',
      want: { kind: 'PodProxyOptions', apiVersion: 'v1', path: '/a/b' },
    },
  ];
  it.each(cases)('shows webhooks its options: $path', async ({ path, want }) => {
    await installWebhook('Validating');
    await connect(path);
    const [request] = asked;
    expect(request).toMatchObject({
      operation: 'CONNECT',
      kind: { group: '', version: 'v1', kind: want.kind },
      resource: { group: '', version: 'v1', resource: 'pods' },
      subResource: path.replace(/[/?].*/, ''),
      name: 'web',
      namespace: 'default',
      oldObject: null,
    });
    expect(request.object).toEqual(want);
  });

  it('is made as mutating webhooks want it', async () => {
    await installWebhook('Mutating');
    const patch = [
      { op: 'replace', path: '/command', value: ['ls'] },
      { op: 'remove', path: '/tty' },
    ];
    answer = {
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
    };
    const { status } = await connect('exec?command=sh&stdin=true&tty=true');
    expect([status, reached]).toEqual([
      101,
      '/exec/default/web/main?input=1&output=1&error=1&command=ls',
    ]);
  });

  it('is refused by policies, which see what is asked for', async () => {
    await installPolicy(
      'request.operation != "CONNECT" || request.subResource != "exec" || !object.command.exists(c, c == "rm")',
    );
    expect((await connect('exec?command=ls')).status).toBe(101);
    const refused = await connect('exec?command=rm');
    expect(refused.json.message).toContain(
      `pods "web" is forbidden: ValidatingAdmissionPolicy 'p'`,
    );
    expect(reached).toContain('command=ls');
  });

  it('has no labels that a webhook could choose it by', async () => {
    const matchExpressions = [{ key: 'a', operator: 'DoesNotExist' }];
    await installWebhook('Validating', { objectSelector: { matchExpressions } });
    await connect('exec?command=ls');
    expect(asked).toEqual([]);
  });
});

describe('a question', () => {
  const authorization = '/apis/authorization.k8s.io/v1';
  const spec = { resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } };

  it('is shown to webhooks, who may refuse it', async () => {
    await installWebhook('Validating');
    const url = `${authorization}/selfsubjectaccessreviews`;
    expect((await api.request('POST', url, { body: { spec } })).status).toBe(201);
    expect(asked).toMatchObject([
      {
        operation: 'CREATE',
        kind: { group: 'authorization.k8s.io', version: 'v1', kind: 'SelfSubjectAccessReview' },
        object: { kind: 'SelfSubjectAccessReview', spec },
      },
    ]);
    answer = { allowed: false, status: { message: 'not you' } };
    const refused = await api.request('POST', url, { body: { spec } });
    expect(refused.json.message).toContain(
      'admission webhook "a.test.example" denied the request: not you',
    );
    const token = await api.request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body: { spec: { token: 'x' } },
    });
    expect(token.json.message).toContain('not you');
  });

  it('is answered as mutating webhooks put it', async () => {
    await installWebhook('Mutating');
    const patch = [{ op: 'replace', path: '/spec/resourceAttributes/verb', value: 'list' }];
    answer = {
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
    };
    const { json } = await api.request('POST', `${authorization}/selfsubjectaccessreviews`, {
      body: { spec },
    });
    expect(json.spec.resourceAttributes.verb).toBe('list');
  });

  it('is no affair of policies', async () => {
    await installPolicy('false');
    const made = await api.request('POST', `${authorization}/selfsubjectaccessreviews`, {
      body: { spec },
    });
    expect(made.status).toBe(201);
  });
});
