import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const pods = '/api/v1/namespaces/default/pods';
const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
const merge = { 'content-type': 'application/merge-patch+json' };
const violated = "Cannot evict pod as it would violate the pod's disruption budget.";

async function makePod(name: string, { ready = true, phase = 'Running' } = {}) {
  const containers = [{ name: 'c', image: 'i' }];
  const metadata = { name, labels: { app: 'web' } };
  const body = { metadata, spec: { containers, nodeName: 'n' } };
  expect((await api.request('POST', pods, { body })).status).toBe(201);
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
  const status = { phase, conditions };
  await api.request('PATCH', `${pods}/${name}/status`, { headers: merge, body: { status } });
}

async function makeBudget(status: object, spec: object = {}, name = 'web') {
  const selector = { matchLabels: { app: 'web' } };
  const body = { metadata: { name }, spec: { minAvailable: 2, selector, ...spec } };
  expect((await api.request('POST', budgets, { body })).status).toBe(201);
  const known = { observedGeneration: 1, desiredHealthy: 2, expectedPods: 3, ...status };
  const patch = { headers: merge, body: { status: known } };
  expect((await api.request('PATCH', `${budgets}/${name}/status`, patch)).status).toBe(200);
}

function evict(name: string, query = '', more: object = {}) {
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name }, ...more };
  return api.request('POST', `${pods}/${name}/eviction${query}`, { body });
}

const budget = async () => (await api.request('GET', `${budgets}/web`)).json.status;
const pod = async (name: string) => (await api.request('GET', `${pods}/${name}`)).json;
const isLeaving = async (name: string) =>
  (await pod(name)).metadata.deletionTimestamp !== undefined;

describe('an eviction', () => {
  it('without a budget deletes, and says in the pod why', async () => {
    await makePod('web-1');
    expect((await evict('web-1')).status).toBe(201);
    const { status, metadata } = await pod('web-1');
    expect(metadata.deletionTimestamp).toBeDefined();
    expect(status.conditions).toContainEqual(
      expect.objectContaining({
        type: 'DisruptionTarget',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
      }),
    );
  });

  it('may be of v1beta1, as kubectl sent it before 1.22', async () => {
    await makePod('web-old');
    const answer = await evict('web-old', '', { apiVersion: 'policy/v1beta1' });
    expect([answer.status, await isLeaving('web-old')]).toEqual([201, true]);
    expect((await evict('web-old', '', { apiVersion: 'policy/v2' })).status).toBe(400);
  });

  it('takes from its budget until nothing is left', async () => {
    await makePod('web-1');
    await makePod('web-2');
    await makeBudget({ currentHealthy: 3, disruptionsAllowed: 1 });
    expect((await evict('web-1')).status).toBe(201);
    const left = await budget();
    expect([left.disruptionsAllowed, Object.keys(left.disruptedPods)]).toEqual([0, ['web-1']]);
    expect(left.conditions).toMatchObject([
      { type: 'DisruptionAllowed', status: 'False', reason: 'InsufficientPods' },
    ]);
    const { status, json, headers } = await evict('web-2');
    expect([status, json.reason, json.message, headers['retry-after']]).toEqual([
      429,
      'TooManyRequests',
      violated,
      undefined,
    ]);
    expect(json.details).toEqual({
      causes: [
        {
          reason: 'DisruptionBudget',
          message: 'The disruption budget web does not allow evicting pods currently',
        },
      ],
    });
    expect(await isLeaving('web-2')).toBe(false);
  });

  const refusals = [
    {
      name: 'too few are healthy',
      status: { currentHealthy: 2 },
      why: 'needs 2 healthy pods and has 2 currently',
    },
    {
      name: 'nobody could count them',
      status: {
        currentHealthy: 3,
        conditions: [
          {
            type: 'DisruptionAllowed',
            status: 'False',
            reason: 'SyncFailed',
            message: 'no scale',
            lastTransitionTime: '2026-11-28T12:00:00Z',
          },
        ],
      },
      why: 'does not allow evicting pods currently because it failed sync: no scale',
    },
  ];
  it.each(refusals)('is refused, and told why: $name', async ({ status, why }) => {
    await makePod('web-1');
    await makeBudget({ disruptionsAllowed: 0, ...status });
    const { json } = await evict('web-1');
    expect(json.details.causes[0].message).toBe(`The disruption budget web ${why}`);
    expect((await pod('web-1')).status.conditions).toHaveLength(1);
  });

  it('goes by the options that a webhook made of it', async () => {
    await api.stop();
    api = await startTestApi({
      plugins: () => [
        {
          name: 'Grace',
          handles: ({ subresource }) => subresource === 'eviction',
          admit: ({ object }) => {
            Object.assign(object ?? {}, { deleteOptions: { gracePeriodSeconds: 7 } });
          },
        },
      ],
    });
    await makePod('web-1');
    expect((await evict('web-1')).status).toBe(201);
    expect((await pod('web-1')).metadata.deletionGracePeriodSeconds).toBe(7);
  });

  it('waits for a budget that was changed and not counted yet', async () => {
    await makePod('web-1');
    await makeBudget({ observedGeneration: 0, disruptionsAllowed: 1 });
    const { status, json, headers } = await evict('web-1');
    expect([status, headers['retry-after'], json.details.causes[0].message]).toEqual([
      429,
      '10',
      'The disruption budget web is still being processed by the server.',
    ]);
  });

  it('of a pod of two budgets is refused', async () => {
    await makePod('web-1');
    await makeBudget({ disruptionsAllowed: 1 });
    await makeBudget({ disruptionsAllowed: 1 }, {}, 'too');
    const { status, json } = await evict('web-1');
    expect([status, json.message]).toEqual([
      500,
      'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    ]);
  });

  it('that is only tried takes and deletes nothing', async () => {
    await makePod('web-1');
    await makeBudget({ currentHealthy: 3, disruptionsAllowed: 1 });
    expect((await evict('web-1', '?dryRun=All')).status).toBe(201);
    expect((await evict('web-1', '', { deleteOptions: { dryRun: ['All'] } })).status).toBe(201);
    expect([(await budget()).disruptionsAllowed, await isLeaving('web-1')]).toEqual([1, false]);
  });

  it('of many at once takes no more than is allowed', async () => {
    const names = Array.from({ length: 6 }, (_, index) => `web-${index}`);
    for (const name of names) await makePod(name);
    await makeBudget({ currentHealthy: 6, disruptionsAllowed: 2 });
    const answers = await Promise.all(names.map((name) => evict(name)));
    const count = (code: number) => answers.filter(({ status }) => status === code).length;
    expect([count(201), count(429)]).toEqual([2, 4]);
  });

  it('keeps to preconditions', async () => {
    await makePod('web-1');
    const preconditions = { uid: 'another' };
    const { status } = await evict('web-1', '', { deleteOptions: { preconditions } });
    expect([status, await isLeaving('web-1')]).toEqual([409, false]);
    expect((await evict('gone')).status).toBe(404);
  });
});

describe('a pod that does not count', () => {
  const none = { currentHealthy: 2, disruptionsAllowed: 0 };
  const cases = [
    ['pending', { phase: 'Pending', ready: false }, none, {}, 201],
    ['finished', { phase: 'Succeeded', ready: false }, none, {}, 201],
    ['not ready, enough others', { ready: false }, none, {}, 201],
    ['not ready, too few others', { ready: false }, { ...none, currentHealthy: 1 }, {}, 429],
    [
      'not ready, and always allowed',
      { ready: false },
      { ...none, currentHealthy: 1 },
      { unhealthyPodEvictionPolicy: 'AlwaysAllow' },
      201,
    ],
    ['ready', {}, none, {}, 429],
  ] as const;
  it.each(cases)('%s', async (_, state, status, spec, want) => {
    await makePod('web-1', state);
    await makeBudget(status, spec);
    expect((await evict('web-1')).status).toBe(want);
    expect((await budget()).disruptedPods).toBeUndefined();
  });
});
