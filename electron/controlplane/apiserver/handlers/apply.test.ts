import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const deployments = '/apis/apps/v1/namespaces/default/deployments';
const headers = { 'content-type': 'application/apply-patch+yaml' };

function deployment(spec: object = {}, metadata: object = {}): Json {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', ...metadata },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'main', image: 'web' }] },
      },
      ...spec,
    },
  };
}

function apply(body: unknown, query = 'fieldManager=one', path = `${deployments}/web`) {
  return api.request('PATCH', `${path}?${query}`, { body, headers });
}

/** `manager operation [subresource]` of each entry. */
function managers(object: Json): string[] {
  return (object.metadata.managedFields ?? []).map(({ manager, operation, subresource }: Json) =>
    [manager, operation, subresource].filter((text) => text !== undefined).join(' '),
  );
}

describe('server-side apply', () => {
  it('creates what is not there, with defaults that nobody owns', async () => {
    const { status, json } = await apply(deployment());
    expect(status).toBe(201);
    expect(json.spec.replicas).toBe(1);
    expect(json.metadata.generation).toBe(1);
    expect(managers(json)).toEqual(['one Apply']);
    expect(json.metadata.managedFields[0].fieldsV1['f:spec']['f:replicas']).toBeUndefined();
  });

  it('reads YAML and JSON alike', async () => {
    const yaml =
      'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: "1"\n  b: two\n';
    const path = '/api/v1/namespaces/default/configmaps/x';
    const { status, json } = await apply(yaml, 'fieldManager=one', path);
    expect([status, json.data]).toEqual([201, { a: '1', b: 'two' }]);
    const again = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'x' },
      data: { a: '1' },
    };
    expect((await apply(again, 'fieldManager=one', path)).json.data).toEqual({ a: '1' });
  });

  it('of the same again makes no revision and changes no time', async () => {
    const { json } = await apply(deployment());
    api.clock.advance(5000);
    const again = await apply(deployment());
    expect([again.status, again.json]).toEqual([200, json]);
    // By another one it does: who owns the fields has changed.
    const other = (await apply(deployment(), 'fieldManager=two')).json;
    expect(other.metadata.resourceVersion).not.toBe(json.metadata.resourceVersion);
    expect(managers(other)).toEqual(['one Apply', 'two Apply']);
  });

  it('of a null that a default fills in again makes no revision either', async () => {
    const { json } = await apply(deployment({ replicas: null }));
    expect(json.spec.replicas).toBe(1);
    api.clock.advance(5000);
    expect((await apply(deployment({ replicas: null }))).json).toEqual(json);
  });

  it('in a dry run says what would be, and stores nothing', async () => {
    const { status, json } = await apply(deployment(), 'fieldManager=one&dryRun=All');
    expect([status, json.spec.replicas]).toEqual([201, 1]);
    expect((await api.request('GET', `${deployments}/web`)).status).toBe(404);
  });

  it('conflicts with what an update owns, unless forced', async () => {
    await api.request('POST', `${deployments}?fieldManager=kubectl-create`, { body: deployment() });
    const next = deployment({ replicas: 4 });
    const { status, json } = await apply(next);
    expect([status, json.reason, json.details]).toEqual([
      409,
      'Conflict',
      {
        causes: [
          {
            reason: 'FieldManagerConflict',
            message: 'conflict with "kubectl-create" using apps/v1',
            field: '.spec.replicas',
          },
        ],
      },
    ]);
    expect((await apply(next, 'fieldManager=one&force=true')).json.spec.replicas).toBe(4);
  });

  it('conflicts with what was applied in another version, by its names there', async () => {
    const path = (version: string) =>
      `/apis/autoscaling/${version}/namespaces/default/horizontalpodautoscalers/web`;
    const scaler = (version: string, spec: object) => ({
      apiVersion: `autoscaling/${version}`,
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'web' },
      spec: { maxReplicas: 3, scaleTargetRef: { kind: 'Deployment', name: 'web' }, ...spec },
    });
    const cpu = (averageUtilization: number) => ({
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization } },
        },
      ],
    });
    const older = (percentage: number) =>
      scaler('v1', { targetCPUUtilizationPercentage: percentage });
    await apply(scaler('v2', cpu(70)), 'fieldManager=one', path('v2'));
    const { status, json } = await apply(older(50), 'fieldManager=two', path('v1'));
    expect([status, json.details?.causes]).toEqual([
      409,
      [
        {
          reason: 'FieldManagerConflict',
          message: 'conflict with "one"',
          field: '.spec.metrics',
        },
      ],
    ]);
    const same = await apply(older(70), 'fieldManager=two', path('v1'));
    expect([same.status, managers(same.json)]).toEqual([200, ['one Apply', 'two Apply']]);
    const forced = await apply(older(50), 'fieldManager=two&force=true', path('v1'));
    const ofOne = forced.json.metadata.managedFields.find(({ manager }: Json) => manager === 'one');
    expect(ofOne.fieldsV1['f:spec']).not.toHaveProperty('f:metrics');
  });

  it('obeys a resourceVersion and a uid', async () => {
    const { json } = await apply(deployment());
    const stale = await apply(deployment({ replicas: 2 }, { resourceVersion: '99' }));
    expect([stale.status, stale.json.reason]).toEqual([409, 'Conflict']);
    const wrong = await apply(deployment({}, { uid: 'other' }));
    expect(wrong.status).toBe(409);
    const { resourceVersion, uid } = json.metadata;
    expect((await apply(deployment({ replicas: 2 }, { resourceVersion, uid }))).status).toBe(200);
    const absent = deployment({}, { name: 'none', uid: 'u' });
    expect((await apply(absent, 'fieldManager=one', `${deployments}/none`)).json.message).toBe(
      'Operation cannot be fulfilled on deployments.apps "none": uid mismatch: the provided object specified uid u, and no existing object was found',
    );
  });

  it('to a status owns only status, and never creates', async () => {
    const path = `${deployments}/web/status`;
    const body = { ...deployment({ replicas: 9 }), status: { replicas: 3 } };
    expect((await apply(body, 'fieldManager=one', path)).status).toBe(404);
    await apply(deployment());
    const { json } = await apply(body, 'fieldManager=ctl', path);
    expect([json.status.replicas, json.spec.replicas]).toEqual([3, 1]);
    expect(json.metadata.managedFields[0]).toMatchObject({
      manager: 'ctl',
      subresource: 'status',
      fieldsV1: { 'f:status': { 'f:replicas': {} } },
    });
    // And to the object never touches it.
    const main = await apply({ ...deployment(), status: { replicas: 8 } });
    expect(main.json.status.replicas).toBe(3);
    expect(main.json.metadata.managedFields[1].fieldsV1['f:status']).toBeUndefined();
  });

  it('to a Scale owns the replicas of the object', async () => {
    await apply(deployment({ replicas: 1 }));
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: 'web' } };
    const path = `${deployments}/web/scale`;
    const body = { ...scale, spec: { replicas: 3 } };
    const refused = await apply(body, 'fieldManager=scaler', path);
    expect(refused.json.message).toBe(
      'Apply failed with 1 conflict: conflict with "one": .spec.replicas',
    );
    const { status, json } = await apply(body, 'fieldManager=scaler&force=true', path);
    expect([status, json.spec, json.metadata.managedFields]).toEqual([
      200,
      { replicas: 3 },
      undefined,
    ]);
    const { json: object } = await api.request('GET', `${deployments}/web`);
    expect(managers(object)).toEqual(['one Apply', 'scaler Apply scale']);
    expect(object.metadata.managedFields[0].fieldsV1['f:spec']['f:replicas']).toBeUndefined();
  });

  it('that creates needs the permission to create', async () => {
    await api.stop();
    api = await startTestApi({
      authorize: ({ verb }) => ({ allowed: verb !== 'create', reason: '' }),
    });
    const { status, json } = await apply(deployment());
    expect([status, json.reason]).toEqual([403, 'Forbidden']);
  });

  const refused = [
    {
      name: 'no manager',
      query: '',
      body: deployment(),
      want: [
        422,
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
      ],
    },
    {
      name: 'a manager that can not be printed',
      query: 'fieldManager=a%0Ab',
      body: deployment(),
      want: [
        422,
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\nb": invalid character U+000A (at position 1)',
      ],
    },
    {
      name: 'another version',
      body: { ...deployment(), apiVersion: 'apps/v1beta1' },
      want: [
        400,
        'Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1',
      ],
    },
    {
      name: 'another kind',
      body: { ...deployment(), kind: 'Nothing' },
      want: [
        400,
        'failed to create typed patch object (default/web; apps/v1, Kind=Nothing): no corresponding type for apps/v1, Kind=Nothing',
      ],
    },
    {
      name: 'an unknown field, however lenient',
      query: 'fieldManager=one&fieldValidation=Ignore',
      body: deployment({ foo: 1 }),
      want: [
        400,
        'failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema',
      ],
    },
    {
      name: 'a field given twice, when strict',
      query: 'fieldManager=one&fieldValidation=Strict',
      body: `${JSON.stringify(deployment()).slice(0, -1)},"kind":"Deployment"}`,
      want: [
        400,
        'error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key "kind" already set in map',
      ],
    },
    {
      name: 'another name than the URL',
      body: deployment({}, { name: 'other' }),
      want: [400, 'the name of the object (other) does not match the name on the URL (web)'],
    },
    {
      name: 'what is no object',
      body: '[]',
      want: [
        400,
        'error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}',
      ],
    },
    {
      name: 'what breaks the rules of the kind',
      body: deployment({ replicas: -1 }),
      want: [
        422,
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
      ],
    },
  ];
  it.each(refused)('refuses $name', async ({ body, query = 'fieldManager=one', want }) => {
    const { status, json } = await apply(body, query);
    expect([status, json.message]).toEqual(want);
    expect(await api.store.currentRevision()).toBe(0);
  });

  it('is what force is for, and nothing else', async () => {
    const { json } = await api.request('PATCH', `${deployments}/web?force=true`, {
      body: {},
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect(json.message).toBe(
      'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    );
  });
});

describe('managedFields', () => {
  const patch = (body: unknown, query: string, type = 'merge-patch+json') =>
    api.request('PATCH', `${deployments}/web?${query}`, {
      body,
      headers: { 'content-type': `application/${type}` },
    });

  it('are kept by create, update, every patch, status and scale, under the name given or that of the program', async () => {
    const body = deployment();
    const agent = { 'user-agent': 'kubectl/v1.35.0 (linux/amd64)' };
    const created = await api.request('POST', deployments, { body, headers: agent });
    expect(managers(created.json)).toEqual(['kubectl Update']);
    expect(created.json.metadata.managedFields[0].fieldsV1['f:spec']['f:replicas']).toEqual({});

    await patch({ spec: { replicas: 2 } }, 'fieldManager=merger');
    await patch({ spec: { paused: true } }, 'fieldManager=smp', 'strategic-merge-patch+json');
    await patch(
      [{ op: 'add', path: '/metadata/labels', value: { a: 'b' } }],
      'fieldManager=json',
      'json-patch+json',
    );
    await api.request('PUT', `${deployments}/web/scale?fieldManager=scaler`, {
      body: { metadata: { name: 'web' }, spec: { replicas: 5 } },
    });
    const { json } = await api.request('PATCH', `${deployments}/web/status?fieldManager=ctl`, {
      body: { status: { replicas: 1 } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    expect(managers(json).toSorted()).toEqual([
      'ctl Update status',
      'json Update',
      'kubectl Update',
      'scaler Update scale',
      'smp Update',
    ]);
    const put = { ...json, spec: { ...json.spec, paused: false } };
    delete put.metadata.managedFields;
    const updated = await api.request('PUT', `${deployments}/web?fieldManager=putter`, {
      body: put,
    });
    expect(managers(updated.json)).toContain('putter Update');
    expect(managers(updated.json)).not.toContain('smp Update');
  });

  it('are no reason for a new revision when the same is written again later', async () => {
    const { json } = await api.request('POST', deployments, { body: deployment() });
    api.clock.advance(5000);
    const again = await patch({ spec: { replicas: 1 } }, 'fieldManager=x');
    expect(again.json).toEqual(json);
  });

  it('can be let go of by an empty list', async () => {
    await api.request('POST', deployments, { body: deployment() });
    const { json } = await patch({ metadata: { managedFields: [{}] } }, 'fieldManager=x');
    expect(json.metadata.managedFields).toBeUndefined();
    expect(managers((await patch({ spec: { replicas: 3 } }, 'fieldManager=x')).json)).toEqual([]);
    // Until the first apply: what there is belongs to before-first-apply.
    expect(managers((await apply(deployment())).json)).toEqual([
      'one Apply',
      'before-first-apply Update',
    ]);
  });

  it('take kubectl from client side to server side: its patch renames their manager', async () => {
    const annotation = 'kubectl.kubernetes.io/last-applied-configuration';
    const body = deployment();
    body.metadata.annotations = { [annotation]: `${JSON.stringify(deployment())}\n` };
    const created = await api.request(
      'POST',
      `${deployments}?fieldManager=kubectl-client-side-apply`,
      {
        body,
      },
    );
    const [entry] = created.json.metadata.managedFields;
    const { resourceVersion } = created.json.metadata;
    const value = [{ ...entry, manager: 'kubectl', operation: 'Apply' }];
    const { json } = await patch(
      [
        { op: 'replace', path: '/metadata/managedFields', value },
        { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
      ],
      'fieldManager=kubectl',
      'json-patch+json',
    );
    expect(managers(json)).toEqual(['kubectl Apply']);
    // What is no longer said goes, which it would not without the migration.
    const { json: applied } = await apply(deployment({ paused: true }), 'fieldManager=kubectl');
    expect([applied.spec.paused, applied.metadata.annotations]).toEqual([true, undefined]);
  });

  it('can not be broken by an admission plugin', async () => {
    await api.stop();
    api = await startTestApi({
      plugins: () => [
        {
          name: 'Breaker',
          handles: () => true,
          admit({ object }: Json) {
            object.metadata.managedFields = [{ operation: 'Nonsense' }];
          },
        },
      ],
    });
    const { json, headers: answered } = await api.request('POST', deployments, {
      body: deployment(),
    });
    expect(managers(json)).toEqual(['unknown Update']);
    expect(answered['warning']).toContain('managedFields was in an invalid state after admission');
  });
});
