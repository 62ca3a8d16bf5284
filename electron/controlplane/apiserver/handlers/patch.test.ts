import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
  const labels = { app: 'web' };
  const spec = {
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        containers: [
          { name: 'main', image: 'web', env: [{ name: 'A', value: '1' }] },
          { name: 'side', image: 'log' },
        ],
      },
    },
  };
  const body = { metadata: { name: 'web', labels: { old: 'x' } }, spec };
  const { status } = await api.request('POST', deployments, { body });
  expect(status).toBe(201);
});
afterEach(() => api.stop());

const deployments = '/apis/apps/v1/namespaces/default/deployments';

function patch(type: string, body: unknown, query = '') {
  return api.request('PATCH', `${deployments}/web${query}`, {
    body,
    headers: { 'content-type': `application/${type}` },
  });
}

describe('patch', () => {
  it('strategic: merges containers by name', async () => {
    const body = {
      spec: { template: { spec: { containers: [{ name: 'main', image: 'web:2' }] } } },
    };
    const { status, json } = await patch('strategic-merge-patch+json', body);
    expect(status).toBe(200);
    const containers = json.spec.template.spec.containers;
    expect(containers.map((c: { image: string }) => c.image)).toEqual(['web:2', 'log']);
    expect(containers[0].env).toEqual([{ name: 'A', value: '1' }]);
    expect(json.metadata.generation).toBe(2);
  });
  it('merge: null removes, the rest merges', async () => {
    const body = { metadata: { labels: { old: null, fresh: 'y' } } };
    const { json } = await patch('merge-patch+json', body);
    expect(json.metadata.labels).toEqual({ fresh: 'y' });
  });
  it('JSON: applies its operations in order', async () => {
    const body = [
      { op: 'test', path: '/spec/replicas', value: 1 },
      { op: 'replace', path: '/spec/replicas', value: 4 },
    ];
    const { status, json } = await patch('json-patch+json', body);
    expect([status, json.spec.replicas]).toEqual([200, 4]);
  });
  it('JSON: that fails has the Status of Kubernetes, and a warning that says why', async () => {
    const body = [{ op: 'remove', path: '/spec/nope' }];
    const { status, json, headers } = await patch('json-patch+json', body);
    expect(status).toBe(422);
    expect(json).toMatchObject({
      reason: 'Invalid',
      message: 'the server rejected our request due to an error in our request',
      details: {},
    });
    expect(headers['warning']).toContain('Unable to remove nonexistent key: nope');
  });
  it('leaves status to the status subresource', async () => {
    const body = { status: { replicas: 5 } };
    expect((await patch('merge-patch+json', body)).json.status).toEqual({});
    const headers = { 'content-type': 'application/merge-patch+json' };
    const { json } = await api.request('PATCH', `${deployments}/web/status`, { body, headers });
    expect(json.status.replicas).toBe(5);
  });
  it('that changes nothing makes no revision', async () => {
    const { json } = await patch('merge-patch+json', { spec: { replicas: 1 } });
    expect(json.metadata.resourceVersion).toBe('1');
  });
  it('with a stale resourceVersion is a 409', async () => {
    await patch('merge-patch+json', { spec: { replicas: 2 } });
    const body = { metadata: { resourceVersion: '1' }, spec: { replicas: 3 } };
    const { status, json } = await patch('merge-patch+json', body);
    expect([status, json.reason]).toEqual([409, 'Conflict']);
  });
  it('of an absent object is a 404', async () => {
    const { status, json } = await api.request('PATCH', `${deployments}/nope`, {
      body: {},
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect([status, json.message]).toEqual([404, 'deployments.apps "nope" not found']);
  });

  const refused = [
    {
      name: 'a type that is none',
      type: 'json',
      body: {},
      want: [
        415,
        'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml',
      ],
    },
    {
      name: 'malformed JSON',
      type: 'merge-patch+json',
      body: '{',
      want: [400, 'unexpected end of JSON input'],
    },
    {
      name: 'a new name',
      type: 'merge-patch+json',
      body: { metadata: { name: 'other' } },
      want: [400, 'the name of the object (other) does not match the name on the URL (web)'],
    },
    {
      name: 'a failing test operation',
      type: 'json-patch+json',
      body: [{ op: 'test', path: '/spec/replicas', value: 9 }],
      want: [422, 'the server rejected our request due to an error in our request'],
    },
    {
      name: 'an unknown field when strict',
      type: 'merge-patch+json',
      query: '?fieldValidation=Strict',
      body: '{"spec":{"foo":1}}',
      want: [
        422,
        expect.stringMatching(
          /^ "" is invalid: patch: Invalid value: "\{.*\\"foo\\":1.*": strict decoding error: unknown field "spec\.foo"$/,
        ),
      ],
    },
    {
      name: 'a value that the rules forbid',
      type: 'merge-patch+json',
      body: { spec: { replicas: -1 } },
      want: [
        422,
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
      ],
    },
    {
      name: 'a wrong type in a strategic patch',
      type: 'strategic-merge-patch+json',
      body: { spec: { replicas: 'many' } },
      want: [
        422,
        ' "" is invalid: patch: Invalid value: "map[spec:map[replicas:many]]": unrecognized type: int32',
      ],
    },
    {
      name: 'a wrong type',
      type: 'merge-patch+json',
      body: { spec: { replicas: 'many' } },
      want: [
        422,
        expect.stringMatching(
          /^ "" is invalid: patch: Invalid value: ".*": json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32$/,
        ),
      ],
    },
  ];
  it('strict: complains of what stands beside a JSON patch as well', async () => {
    const body = '[{"op":"add","path":"/spec/foo","value":1,"why":"x","op":"add"}]';
    const { status, json } = await patch('json-patch+json', body, '?fieldValidation=Strict');
    expect([status, json.message]).toEqual([
      422,
      expect.stringMatching(
        /strict decoding error: json patch duplicate field "\[0\]\.op", json patch unknown field "\[0\]\.why", unknown field "spec\.foo"$/,
      ),
    ]);
    const warned = await patch('json-patch+json', body);
    expect(warned.headers['warning']).toBe(
      String.raw`299 - "json patch duplicate field \"[0].op\"", 299 - "json patch unknown field \"[0].why\"", 299 - "unknown field \"spec.foo\""`,
    );
  });

  it('JSON: of more than 10,000 operations, or of endless shifting, is a 413', async () => {
    const test = { op: 'test', path: '/kind', value: 'Deployment' };
    const many = await patch(
      'json-patch+json',
      Array.from({ length: 10_001 }, () => test),
    );
    expect([many.status, many.json.message]).toEqual([
      413,
      'Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001',
    ]);
    const list = Array.from({ length: 100_000 }, () => 'x');
    const shifting = await patch('json-patch+json', [
      { op: 'add', path: '/x', value: list },
      ...Array.from({ length: 5000 }, () => ({ op: 'add', path: '/x/0', value: 'x' })),
    ]);
    expect([shifting.status, shifting.json.reason]).toEqual([413, 'RequestEntityTooLarge']);
  });

  it.each(refused)('refuses $name', async ({ type, body, query = '', want }) => {
    const { status, json } = await patch(type, body, query);
    expect([status, json.message]).toEqual(want);
    expect(await api.store.currentRevision()).toBe(1);
  });
});
