import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openMemoryStore } from '../../store/memory-store.ts';
import { NoSpaceError, OutcomeUnknownError, UnavailableError } from '../../store/store.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const configMaps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';

function configMap(name: string, data: Record<string, string> = { a: 'b' }, metadata = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...metadata }, data };
}

function deployment(name: string, replicas = 1) {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'web' }] } },
    },
  };
}

async function created(body: object, url = configMaps) {
  const answer = await api.request('POST', url, { body });
  expect(answer.text).toContain('"uid"');
  return answer.json;
}

describe('create', () => {
  it('answers 201 with uid, creationTimestamp and resourceVersion in a stable field order', async () => {
    const { status, json, text } = await api.request('POST', configMaps, { body: configMap('cm') });
    expect(status).toBe(201);
    expect(json.metadata).toMatchObject({
      name: 'cm',
      namespace: 'default',
      uid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      creationTimestamp: '2023-11-14T22:13:20Z',
      resourceVersion: '1',
    });
    expect(Object.keys(json)).toEqual(['apiVersion', 'kind', 'metadata', 'data']);
    expect((await api.request('GET', `${configMaps}/cm`)).text).toBe(text);
  });
  it('gives generation 1 and no status to a kind with a status', async () => {
    const body = { ...deployment('web'), status: { replicas: 7 } };
    const { json } = await api.request('POST', deployments, { body });
    expect(json.metadata.generation).toBe(1);
    expect(json.status).toEqual({});
  });
  it('cuts a generateName to 58 characters and adds five', async () => {
    const body = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { generateName: 'x'.repeat(70) },
    };
    const { json } = await api.request('POST', configMaps, { body });
    expect(json.metadata.name).toMatch(/^x{58}[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });
  it('runs a dry run through everything but the store', async () => {
    const { status, json } = await api.request('POST', `${configMaps}?dryRun=All`, {
      body: configMap('cm'),
    });
    expect(status).toBe(201);
    expect(json.metadata).not.toHaveProperty('resourceVersion');
    expect((await api.request('GET', `${configMaps}/cm`)).status).toBe(404);
    await created(configMap('cm'));
    const again = await api.request('POST', `${configMaps}?dryRun=All`, { body: configMap('cm') });
    expect(again.json.reason).toBe('AlreadyExists');
  });
  it('says so when the object in the way is being deleted', async () => {
    await created(configMap('cm', {}, { finalizers: ['example.com/hold'] }));
    await api.request('DELETE', `${configMaps}/cm`);
    const { status, json } = await api.request('POST', configMaps, { body: configMap('cm') });
    expect([status, json.message]).toEqual([
      409,
      'object is being deleted: configmaps "cm" already exists',
    ]);
  });
  it('takes a body without apiVersion and kind for what the URL says', async () => {
    const { status, json } = await api.request('POST', configMaps, {
      body: { metadata: { name: 'cm' } },
    });
    expect([status, json.kind, json.apiVersion]).toEqual([201, 'ConfigMap', 'v1']);
  });
  it('accepts YAML', async () => {
    const { status, json } = await api.request('POST', configMaps, {
      body: 'metadata:\n  name: cm\ndata:\n  a: "1"\n',
      headers: { 'content-type': 'application/yaml' },
    });
    expect([status, json.data]).toEqual([201, { a: '1' }]);
  });
});

describe('what create refuses', () => {
  const json = { 'content-type': 'application/json' };
  const cases = [
    {
      name: 'a taken name',
      body: configMap('taken'),
      want: [409, 'AlreadyExists', 'configmaps "taken" already exists'],
    },
    {
      name: 'no name at all',
      body: { kind: 'ConfigMap', apiVersion: 'v1' },
      want: [
        422,
        'Invalid',
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
      ],
    },
    {
      name: 'a resourceVersion',
      body: configMap('cm', {}, { resourceVersion: '5' }),
      want: [400, 'BadRequest', 'resourceVersion should not be set on objects to be created'],
    },
    {
      name: 'another namespace than the URL',
      body: configMap('cm', {}, { namespace: 'other' }),
      want: [
        400,
        'BadRequest',
        'the namespace of the provided object does not match the namespace sent on the request',
      ],
    },
    {
      name: 'another kind than the URL',
      body: { ...configMap('cm'), kind: 'Secret' },
      want: [
        400,
        'BadRequest',
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion',
      ],
    },
    {
      name: 'an unknown kind',
      body: { ...configMap('cm'), kind: 'Gadget' },
      want: [
        400,
        'BadRequest',
        'Gadget in version "v1" cannot be handled as a ConfigMap: no kind "Gadget" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"',
      ],
    },
    {
      name: 'malformed JSON',
      body: '{"kind": x}',
      want: [
        400,
        'BadRequest',
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of value ({\"kind\": x})",
      ],
    },
    {
      name: 'a list',
      body: '[]',
      want: [
        400,
        'BadRequest',
        'the object provided is unrecognized (must be of type ConfigMap): couldn\'t get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (5b5d)',
      ],
    },
    {
      name: 'a version that does not exist',
      body: { ...configMap('cm'), apiVersion: 'v2' },
      want: [
        400,
        'BadRequest',
        'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"',
      ],
    },
    {
      name: 'an empty body',
      body: '',
      want: [
        400,
        'BadRequest',
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
      ],
    },
    {
      name: 'a wrong type',
      body: { ...configMap('cm'), data: { a: 1 } },
      want: [
        400,
        'BadRequest',
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string',
      ],
    },
    {
      name: 'a CBOR body',
      body: 'k8s',
      headers: { 'content-type': 'application/cbor' },
      want: [
        415,
        'UnsupportedMediaType',
        'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf',
      ],
    },
    {
      name: 'an unknown dryRun',
      url: `${configMaps}?dryRun=Some`,
      body: configMap('cm'),
      want: [
        422,
        'Invalid',
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
      ],
    },
    {
      name: 'an unknown field when strict',
      url: `${configMaps}?fieldValidation=Strict`,
      body: { ...configMap('cm'), dat: {}, metadata: { name: 'cm', lables: {} } },
      want: [
        400,
        'BadRequest',
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "metadata.lables", unknown field "dat"',
      ],
    },
    {
      name: 'a duplicate field when strict',
      url: `${configMaps}?fieldValidation=Strict`,
      body: '{"metadata":{"name":"cm"},"data":{"a":"1"},"data":{"a":"2"}}',
      want: [
        400,
        'BadRequest',
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data"',
      ],
    },
    {
      name: 'an answer type it cannot give',
      body: configMap('cm'),
      headers: { ...json, accept: 'application/vnd.kubernetes.protobuf' },
      want: [
        406,
        'NotAcceptable',
        'only the following media types are accepted: application/json, application/yaml',
      ],
    },
    {
      name: 'a POST on all namespaces',
      url: '/api/v1/configmaps',
      body: configMap('cm'),
      want: [
        405,
        'MethodNotAllowed',
        'the server does not allow this method on the requested resource',
      ],
    },
    {
      name: 'a resource that does not exist',
      url: '/api/v1/namespaces/default/gadgets',
      body: {},
      want: [404, 'NotFound', 'the server could not find the requested resource'],
    },
  ];
  it.each(cases)('$name', async ({ url = configMaps, body, headers = json, want }) => {
    await created(configMap('taken'));
    const answer = await api.request('POST', url, { body, headers });
    expect([answer.status, answer.json.reason ?? '', answer.json.message]).toEqual(want);
    expect(answer.json).toMatchObject({ kind: 'Status', apiVersion: 'v1', status: 'Failure' });
    expect((await api.request('GET', `${configMaps}/cm`)).status).toBe(404);
  });
});

describe('field validation', () => {
  it('drops unknown fields and warns by default', async () => {
    const { status, headers, json } = await api.request('POST', configMaps, {
      body: { ...configMap('cm'), dat: { x: 'y' } },
    });
    expect(status).toBe(201);
    expect(headers['warning']).toBe(String.raw`299 - "unknown field \"dat\""`);
    expect(json).not.toHaveProperty('dat');
  });
  it('drops them in silence when told to ignore', async () => {
    const { status, headers } = await api.request('POST', `${configMaps}?fieldValidation=Ignore`, {
      body: { ...configMap('cm'), dat: {} },
    });
    expect([status, headers['warning']]).toEqual([201, undefined]);
  });
});

describe('update', () => {
  it('with the stored resourceVersion succeeds, with a stale one is a 409', async () => {
    const first = await created(configMap('cm'));
    const good = await api.request('PUT', `${configMaps}/cm`, { body: { ...first, data: {} } });
    expect([good.status, good.json.metadata.resourceVersion]).toEqual([200, '2']);
    const stale = await api.request('PUT', `${configMaps}/cm`, { body: first });
    expect([stale.status, stale.json.reason, stale.json.message]).toEqual([
      409,
      'Conflict',
      'Operation cannot be fulfilled on configmaps "cm": the object has been modified; please apply your changes to the latest version and try again',
    ]);
  });
  it('with a resourceVersion that is no number is a 400', async () => {
    await api.request('POST', configMaps, { body: configMap('cm', { a: '1' }) });
    const body = configMap('cm', { a: '2' }, { resourceVersion: 'abc' });
    const { status, json } = await api.request('PUT', `${configMaps}/cm`, { body });
    expect([status, json.message]).toEqual([
      400,
      'strconv.ParseUint: parsing "abc": invalid syntax',
    ]);
  });
  it('without resourceVersion is unconditional', async () => {
    await created(configMap('cm'));
    const { status, json } = await api.request('PUT', `${configMaps}/cm`, {
      body: configMap('cm', { c: 'd' }),
    });
    expect([status, json.data]).toEqual([200, { c: 'd' }]);
  });
  it('that changes nothing makes no revision', async () => {
    const first = await created(configMap('cm'));
    const { data, metadata } = first;
    const reordered = { data, metadata, kind: 'ConfigMap', apiVersion: 'v1' };
    const { json } = await api.request('PUT', `${configMaps}/cm`, { body: reordered });
    expect(json.metadata.resourceVersion).toBe('1');
    expect(await api.store.currentRevision()).toBe(1);
  });
  it('raises generation when the spec changes, not when labels do', async () => {
    const first = await created(deployment('web'), deployments);
    const labelled = { ...first, metadata: { ...first.metadata, labels: { a: 'b' } } };
    const second = await api.request('PUT', `${deployments}/web`, { body: labelled });
    expect(second.json.metadata.generation).toBe(1);
    const scaled = { ...second.json, spec: { ...second.json.spec, replicas: 3 } };
    const third = await api.request('PUT', `${deployments}/web`, { body: scaled });
    expect(third.json.metadata.generation).toBe(2);
  });
  it('keeps the stored status; status updates keep the stored spec', async () => {
    const first = await created(deployment('web'), deployments);
    const status = { replicas: 1, observedGeneration: 1 };
    const both = { ...first, spec: { ...first.spec, replicas: 9 }, status };
    const viaStatus = await api.request('PUT', `${deployments}/web/status`, { body: both });
    expect([viaStatus.json.spec.replicas, viaStatus.json.status.replicas]).toEqual([1, 1]);
    expect(viaStatus.json.metadata.generation).toBe(1);
    const cleared = { ...viaStatus.json, status: {} };
    const viaObject = await api.request('PUT', `${deployments}/web`, { body: cleared });
    expect(viaObject.json.status.replicas).toBe(1);
  });
  it('of an absent Lease creates it; of an absent ConfigMap is a 404', async () => {
    const lease = { metadata: { name: 'x' }, spec: { holderIdentity: 'me' } };
    const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
    expect((await api.request('PUT', `${leases}/x`, { body: lease })).status).toBe(201);
    const absent = await api.request('PUT', `${configMaps}/cm`, { body: configMap('cm') });
    expect([absent.status, absent.json.message]).toEqual([404, 'configmaps "cm" not found']);
  });
  const mismatches = [
    {
      name: 'another name',
      body: configMap('other'),
      want: [400, 'the name of the object (other) does not match the name on the URL (cm)'],
    },
    {
      name: 'no name',
      body: { data: {} },
      want: [
        400,
        'the name of the object (cm based on URL) was undeterminable: name must be provided',
      ],
    },
    {
      name: 'another namespace',
      body: configMap('cm', {}, { namespace: 'x' }),
      want: [
        400,
        'the namespace of the object (x) does not match the namespace on the URL (default)',
      ],
    },
    {
      name: 'another uid',
      body: configMap('cm', {}, { uid: 'u' }),
      want: [
        409,
        expect.stringMatching(
          /^Operation cannot be fulfilled on configmaps "cm": StorageError: invalid object, Code: 4, Key: \S+, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: [0-9a-f-]{36}$/,
        ),
      ],
    },
  ];
  it.each(mismatches)('with $name is refused', async ({ body, want }) => {
    await created(configMap('cm'));
    const { status, json } = await api.request('PUT', `${configMaps}/cm`, { body });
    expect([status, json.message]).toEqual(want);
  });
  it('adds no finalizer to an object under deletion; removing the last one removes it', async () => {
    await created(configMap('cm', {}, { finalizers: ['example.com/a'] }));
    const held = (await api.request('DELETE', `${configMaps}/cm`)).json;
    const more = {
      ...held,
      metadata: { ...held.metadata, finalizers: ['example.com/a', 'example.com/b'] },
    };
    const refused = await api.request('PUT', `${configMaps}/cm`, { body: more });
    expect([refused.status, refused.json.message]).toEqual([
      422,
      'ConfigMap "cm" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/b"}',
    ]);
    const { finalizers: _, ...metadata } = held.metadata;
    const last = await api.request('PUT', `${configMaps}/cm`, { body: { ...held, metadata } });
    expect(last.status).toBe(200);
    expect((await api.request('GET', `${configMaps}/cm`)).status).toBe(404);
  });
});

describe('services', () => {
  const services = '/api/v1/namespaces/default/services';
  const service = (name: string, spec: object = {}) => ({
    metadata: { name },
    spec: { ports: [{ port: 80 }], ...spec },
  });
  it('that ask at once for one ClusterIP: one gets it', async () => {
    const spec = { clusterIP: '10.96.7.7' };
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, n) =>
        api.request('POST', services, { body: service(`s${n}`, spec) }),
      ),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      201, 422, 422, 422, 422,
    ]);
    expect(answers.find(({ status }) => status === 422)?.json.message).toMatch(
      /spec\.clusterIPs: Invalid value: .*: failed to allocate IP 10\.96\.7\.7: provided IP is already allocated$/,
    );
  });
});

describe('two API servers on one store', () => {
  const services = '/api/v1/namespaces/default/services';
  async function both<T>(use: (apis: readonly TestApi[]) => Promise<T>): Promise<T> {
    const store = openMemoryStore();
    // The same seed: both would choose the same free address.
    const apis = [await startTestApi({ store }), await startTestApi({ store })];
    try {
      return await use(apis);
    } finally {
      for (const one of apis) await one.stop();
    }
  }
  function service(name: string, spec: object = {}): object {
    const ports = [{ port: 80 }];
    return { kind: 'Service', apiVersion: 'v1', metadata: { name }, spec: { ports, ...spec } };
  }

  it('never choose the same address or port for two Services', async () => {
    const made = await both((apis) =>
      Promise.all(
        [0, 1, 2, 3, 4].flatMap((i) =>
          apis.map((one, n) =>
            one.request('POST', services, { body: service(`s${i}-${n}`, { type: 'NodePort' }) }),
          ),
        ),
      ),
    );
    expect(made.map((answer) => answer.status)).toEqual(Array(10).fill(201));
    expect(new Set(made.map((answer) => answer.json.spec.clusterIP)).size).toBe(10);
    expect(new Set(made.map((answer) => answer.json.spec.ports[0].nodePort)).size).toBe(10);
  });

  it('give a chosen address once, and a name once', async () => {
    const { addresses, names } = await both(async (apis) => ({
      addresses: await Promise.all(
        apis.map((one, i) =>
          one.request('POST', services, { body: service(`a${i}`, { clusterIP: '10.96.7.7' }) }),
        ),
      ),
      names: await Promise.all(
        apis.map((one) => one.request('POST', services, { body: service('same') })),
      ),
    }));
    expect(new Set(addresses.map(({ status }) => status))).toEqual(new Set([201, 422]));
    expect(new Set(names.map(({ status }) => status))).toEqual(new Set([201, 409]));
  });
});

describe('a store that fails', () => {
  const cases = [
    { error: new NoSpaceError('the disk is full'), want: [507, 'InsufficientStorage'] },
    { error: new UnavailableError('closed'), want: [503, 'ServiceUnavailable'] },
    { error: new OutcomeUnknownError('cut off'), want: [504, 'Timeout'] },
  ];
  it.each(cases)('with $error answers $want', async ({ error, want }) => {
    const store = openMemoryStore();
    store.put = () => Promise.reject(error);
    const failing = await startTestApi({ store });
    const { status, json } = await failing.request('POST', configMaps, { body: configMap('cm') });
    expect([status, json.reason]).toEqual(want);
    await failing.stop();
  });
  it('for lists answers 503 when it cannot say where it stands', async () => {
    const store = openMemoryStore();
    const failing = await startTestApi({ store });
    store.currentRevision = () => Promise.reject(new UnavailableError('no leader'));
    expect((await failing.request('GET', configMaps)).status).toBe(503);
    await failing.stop();
  });
});

describe('concurrent updates', () => {
  it('of an absent Lease: one creates, the others are updates that lack a resourceVersion', async () => {
    const lease = { metadata: { name: 'x' }, spec: { holderIdentity: 'me' } };
    const url = '/apis/coordination.k8s.io/v1/namespaces/default/leases/x';
    const answers = await Promise.all(
      Array.from({ length: 3 }, () => api.request('PUT', url, { body: lease })),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 422, 422]);
    expect(answers.find(({ status }) => status === 422)?.json.message).toBe(
      'Lease.coordination.k8s.io "x" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
    );
  });
  it('without resourceVersion all succeed, one after the other', async () => {
    await created(configMap('cm', {}));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        api.request('PATCH', `${configMaps}/cm`, {
          body: { data: { [`k${n}`]: 'v' } },
          headers: { 'content-type': 'application/merge-patch+json' },
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    const { json } = await api.request('GET', `${configMaps}/cm`);
    expect(Object.keys(json.data)).toHaveLength(10);
  });
});
