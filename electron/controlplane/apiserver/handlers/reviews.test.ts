import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  for (const name of ['x', 'z'])
    await api.request('POST', accounts, { body: { metadata: { name } } });
  const spec = { serviceAccountName: 'x', nodeName: 'pi', containers: [{ name: 'c', image: 'i' }] };
  await api.request('POST', pods, { body: { metadata: { name: 'web' }, spec } });
  await api.request('POST', '/api/v1/nodes', { body: { metadata: { name: 'pi' } } });
});
afterAll(() => api.stop());

const accounts = '/api/v1/namespaces/default/serviceaccounts';
const pods = '/api/v1/namespaces/default/pods';
const authorization = '/apis/authorization.k8s.io/v1';
const authentication = '/apis/authentication.k8s.io/v1';

async function post(path: string, body: object): Promise<{ status: number; json: Json }> {
  return api.request('POST', path, { body });
}

const resourceAttributes = { verb: 'get', resource: 'pods' };

describe('a review', () => {
  it('is answered and kept nowhere', async () => {
    const spec = { user: 'bob', resourceAttributes };
    const { status, json } = await post(`${authorization}/subjectaccessreviews`, { spec });
    expect(status).toBe(201);
    expect(json).toEqual({
      kind: 'SubjectAccessReview',
      apiVersion: 'authorization.k8s.io/v1',
      metadata: {},
      spec,
      status: { allowed: true },
    });
    expect((await api.request('GET', `${authorization}/subjectaccessreviews`)).status).toBe(405);
  });

  it('of oneself tells who one is', async () => {
    const { json } = await post(`${authentication}/selfsubjectreviews`, {});
    expect(json.status).toEqual({ userInfo: { username: 'admin', groups: ['system:masters'] } });
  });

  const local = '/namespaces/default/localsubjectaccessreviews';
  const refused: readonly (readonly [string, object, string])[] = [
    [
      '/subjectaccessreviews',
      { user: 'bob' },
      'SubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified',
    ],
    [
      '/subjectaccessreviews',
      { resourceAttributes },
      'SubjectAccessReview.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must be specified',
    ],
    [
      local,
      { user: 'bob', resourceAttributes: { ...resourceAttributes, namespace: 'other' } },
      'LocalSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace',
    ],
    ['/selfsubjectrulesreviews', {}, 'no namespace on request'],
  ];
  it.each(refused)('%s of %o is refused', async (path, spec, want) => {
    const { json } = await post(`${authorization}${path}`, { spec });
    expect(json.message).toBe(want);
  });

  it('of any form gets a proper answer', async () => {
    const anything = fc.object({ maxDepth: 3, withNullPrototype: false });
    const paths = [
      `${authorization}/subjectaccessreviews`,
      `${authorization}/selfsubjectaccessreviews`,
      `${authorization}/selfsubjectrulesreviews`,
      `${authorization}${local}`,
      `${authentication}/tokenreviews`,
      `${accounts}/x/token`,
    ];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), anything, async (path, spec) => {
        const { status } = await post(path, { spec });
        expect([201, 400, 422]).toContain(status);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a token', () => {
  const ask = (spec: object, name = 'x') => post(`${accounts}/${name}/token`, { spec });

  it('is given for an account and known again', async () => {
    const { status, json } = await ask({});
    expect([status, json.spec.expirationSeconds]).toEqual([201, 3600]);
    const review = await post(`${authentication}/tokenreviews`, {
      spec: { token: json.status.token },
    });
    expect(review.json.status).toMatchObject({
      authenticated: true,
      user: { username: 'system:serviceaccount:default:x' },
      audiences: ['https://issuer.test'],
    });
  });

  it('names the pod that it is bound to, and its node', async () => {
    const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'web' };
    const { json } = await ask({ boundObjectRef });
    const [, claims = ''] = json.status.token.split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())['kubernetes.io']).toMatchObject({
      namespace: 'default',
      serviceaccount: { name: 'x' },
      pod: { name: 'web' },
      node: { name: 'pi' },
    });
  });

  it('that nobody knows is told so', async () => {
    const { json } = await post(`${authentication}/tokenreviews`, { spec: { token: 'a.b.c' } });
    expect(json.status).toEqual({ user: {}, error: 'invalid bearer token' });
  });

  const of = (kind: string, name: string, uid = '') => ({
    boundObjectRef: { apiVersion: 'v1', kind, name, uid },
  });
  const refused: readonly (readonly [string, object, string, number, RegExp])[] = [
    ['of nobody', {}, 'y', 404, /serviceaccounts "y" not found/],
    ['for a moment', { expirationSeconds: 60 }, 'x', 422, /less than 10 minutes/],
    ['for ages', { expirationSeconds: 2 ** 33 }, 'x', 422, /larger than 2\^32 seconds/],
    ['of another account’s pod', of('Pod', 'web'), 'z', 400, /different serviceaccount name/],
    ['of a pod that is not there', of('Pod', 'gone'), 'x', 404, /pods "gone" not found/],
    [
      'of a pod of another uid',
      of('Pod', 'web', 'old'),
      'x',
      409,
      /does not match the UID in record/,
    ],
    ['of a thing', of('Service', 's'), 'x', 400, /cannot bind token/],
  ];
  it.each(refused)('%s is refused', async (_, spec, name, code, want) => {
    const { status, json } = await ask(spec, name);
    expect([status, json.message]).toEqual([code, expect.stringMatching(want)]);
  });
});
