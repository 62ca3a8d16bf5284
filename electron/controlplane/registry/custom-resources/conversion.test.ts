// Custom resources whose versions a webhook converts: v1 (stored) has `spec.name`, v2 `spec.title`.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebhookError } from '#kube/machinery/webhook.ts';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import { definition, definitions, ship, ships, version } from '../../../../test/setup/ships.ts';

const ships2 = ships.replace('/v1/', '/v2/');
const mergePatch = { 'content-type': 'application/merge-patch+json' };

let api: TestApi;
/** What the webhook was asked. */
let asked: Json[];
/** The webhook, which the test may replace. */
let convert: (request: Json) => unknown;

beforeEach(async () => {
  asked = [];
  convert = ({ uid, objects, desiredAPIVersion }) =>
    review({
      uid,
      convertedObjects: objects.map((one: Json) => converted(one, desiredAPIVersion)),
    });
  api = await startTestApi({
    webhooks: {
      async call({ review: { request } }: Json) {
        asked.push(request);
        return convert(structuredClone(request));
      },
    },
  });
});
afterEach(() => api.stop());

function review(response: Json): Json {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'ConversionReview',
    response: { result: { status: 'Success' }, ...response },
  };
}

function converted(object: Json, apiVersion: string): Json {
  const { name, title, ...spec } = object.spec;
  const text = name ?? title;
  const own = apiVersion.endsWith('/v1') ? { name: text } : { title: text };
  return { ...object, apiVersion, spec: { ...spec, ...own } };
}

function versions({ stored = 'v1' } = {}): Json[] {
  const v2 = version('v2', { selectableFields: [{ jsonPath: '.spec.title' }] });
  v2.schema = structuredClone(v2.schema);
  const { spec } = v2.schema.openAPIV3Schema.properties;
  spec.required = ['title'];
  spec.properties.title = spec.properties.name;
  delete spec.properties.name;
  return [version('v1'), v2].map((one) => ({ ...one, storage: one.name === stored }));
}

const conversion = {
  strategy: 'Webhook',
  webhook: {
    clientConfig: { url: 'https://127.0.0.1:1/' },
    conversionReviewVersions: ['v1'],
  },
};

async function define(more: Json = {}): Promise<Json> {
  const body = definition({ versions: versions(), conversion, ...more });
  const answer = await api.request('POST', definitions, { body });
  expect(answer.json.message ?? '').toBe('');
  return answer.json;
}

async function make(name: string, spec: Json = {}): Promise<void> {
  const { status } = await api.request('POST', ships, { body: ship(name, spec) });
  expect(status).toBe(201);
}

describe('objects in the version that is stored', () => {
  it('are read, listed, watched and written without the webhook', async () => {
    await define();
    await make('x');
    await api.request('GET', `${ships}/x`);
    await api.request('GET', ships);
    const watch = await api.watch(`${ships}?watch=true`);
    await watch.next();
    await api.request('PATCH', `${ships}/x`, { body: { spec: { size: 4 } }, headers: mergePatch });
    await watch.next();
    await watch.close();
    expect(asked).toEqual([]);
  });
});

describe('objects in another version', () => {
  it('are read as the webhook makes them', async () => {
    await define();
    await make('x');
    const { json } = await api.request('GET', `${ships2}/x`);
    expect(json).toMatchObject({
      apiVersion: 'sea.example.com/v2',
      metadata: { name: 'x', namespace: 'default' },
      spec: { title: 'argo', size: 3 },
    });
    expect(json.spec.name).toBeUndefined();
    const [request] = asked;
    expect(request.desiredAPIVersion).toBe('sea.example.com/v2');
    expect(request.objects).toMatchObject([
      { apiVersion: 'sea.example.com/v1', metadata: { name: 'x' } },
    ]);
  });

  it('are stored in the stored version', async () => {
    await define();
    const body = {
      apiVersion: 'sea.example.com/v2',
      kind: 'Ship',
      metadata: { name: 'x' },
      spec: { title: 'argo' },
    };
    const made = await api.request('POST', ships2, { body });
    expect(made.json).toMatchObject({ apiVersion: 'sea.example.com/v2', spec: { title: 'argo' } });
    const put = await api.request('PUT', `${ships2}/x`, {
      body: { ...made.json, spec: { title: 'nina' } },
    });
    expect(put.json.spec.title).toBe('nina');
    const row = await api.store.get('/registry/sea.example.com/ships/default/x');
    expect(JSON.parse(new TextDecoder().decode(row.kv?.value))).toMatchObject({
      apiVersion: 'sea.example.com/v1',
      spec: { name: 'nina' },
    });
    expect((await api.request('GET', `${ships}/x`)).json.spec.name).toBe('nina');
  });

  it('are converted together for a list, and once', async () => {
    await define();
    for (const name of ['a', 'b', 'c']) await make(name);
    const { json } = await api.request('GET', ships2);
    expect(json.items.map((one: Json) => one.spec.title)).toEqual(['argo', 'argo', 'argo']);
    await api.request('GET', ships2);
    expect(asked.map(({ objects }) => objects.length)).toEqual([3]);
    const page = await api.request('GET', `${ships2}?limit=2`);
    const next = await api.request(
      'GET',
      `${ships2}?limit=2&continue=${page.json.metadata.continue}`,
    );
    expect(next.json.items.map((one: Json) => one.spec.title)).toEqual(['argo']);
  });

  it('are selected by what they are in that version', async () => {
    await define();
    await make('a', { name: 'nina' });
    await make('b');
    const list = await api.request('GET', `${ships2}?fieldSelector=spec.title=nina`);
    expect(list.json.items.map((one: Json) => one.metadata.name)).toEqual(['a']);
  });

  it('are watched, before and after', async () => {
    await define();
    await make('x');
    const watch = await api.watch(`${ships2}?watch=true`);
    expect((await watch.next()).object.spec.title).toBe('argo');
    await api.request('PATCH', `${ships}/x`, {
      body: { spec: { name: 'nina' } },
      headers: mergePatch,
    });
    expect(await watch.next()).toMatchObject({
      type: 'MODIFIED',
      object: { spec: { title: 'nina' } },
    });
    await api.request('DELETE', `${ships}/x`);
    expect(await watch.next()).toMatchObject({
      type: 'DELETED',
      object: { apiVersion: 'sea.example.com/v2', spec: { title: 'nina' } },
    });
    await watch.close();
  });

  it('are judged by that version before they are converted', async () => {
    await define();
    const body = {
      apiVersion: 'sea.example.com/v2',
      kind: 'Ship',
      metadata: { name: 'x' },
      spec: {},
    };
    const { json } = await api.request('POST', ships2, { body });
    expect(json.message).toContain('spec.title: Required value');
    expect(asked).toEqual([]);
  });
});

it('what all watches wait for is converted once', async () => {
  await define();
  const watches = await Promise.all(
    Array.from({ length: 5 }, () => api.watch(`${ships2}?watch=true`)),
  );
  const events = watches.map((watch) => watch.next());
  await make('x');
  for (const { object } of await Promise.all(events)) expect(object.spec.title).toBe('argo');
  expect(asked).toHaveLength(1);
  await Promise.all(watches.map((watch) => watch.close()));
});

it('a watch that waits for a conversion ends when the definition changes', async () => {
  const made = await define();
  const watch = await api.watch(`${ships2}?watch=true`);
  const wasAsked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const convertNow = convert;
  convert = async (request) => {
    wasAsked.resolve();
    await answer.promise;
    return convertNow(request);
  };
  const event = watch.next();
  await make('x');
  await wasAsked.promise;
  const body = structuredClone(made);
  body.spec.names.shortNames = ['boat'];
  const changed = await api.request('PUT', `${definitions}/ships.sea.example.com`, { body });
  expect(changed.status).toBe(200);
  answer.resolve();
  expect(await event).toBeUndefined();
});

it('rows of an older storage version are converted, and brought up to date by the next write', async () => {
  const made = await define();
  await make('x');
  const body = { ...made, spec: { ...made.spec, versions: versions({ stored: 'v2' }) } };
  const changed = await api.request('PUT', `${definitions}/ships.sea.example.com`, { body });
  expect(changed.status).toBe(200);
  const found = await api.request('GET', `${ships2}/x`);
  expect(found.json.spec.title).toBe('argo');
  const put = await api.request('PUT', `${ships2}/x`, { body: found.json });
  expect(put.json.metadata.resourceVersion).not.toBe(found.json.metadata.resourceVersion);
  asked.length = 0;
  expect((await api.request('GET', `${ships2}/x`)).json.spec.title).toBe('argo');
  expect(asked).toEqual([]);
});

describe('a converter', () => {
  it('may change labels and annotations, nothing else of metadata', async () => {
    convert = ({ uid, objects, desiredAPIVersion }) =>
      review({
        uid,
        convertedObjects: objects.map((one: Json) => ({
          ...converted(one, desiredAPIVersion),
          metadata: {
            ...one.metadata,
            labels: { a: 'b' },
            generation: 7,
            finalizers: ['x/y'],
          },
        })),
      });
    await define();
    await make('x');
    const { metadata } = (await api.request('GET', `${ships2}/x`)).json;
    expect([metadata.labels, metadata.generation, metadata.finalizers]).toEqual([
      { a: 'b' },
      1,
      undefined,
    ]);
  });

  const what = 'conversion webhook for sea.example.com/v1, Kind=Ship';
  const cases: readonly { name: string; answer: (request: Json) => unknown; want: string }[] = [
    {
      name: 'that can not be reached',
      answer: () => {
        throw new WebhookError('Post "https://127.0.0.1:1/": refused');
      },
      want: `${what} failed: Post "https://127.0.0.1:1/": refused`,
    },
    {
      name: 'that fails',
      answer: ({ uid }) => review({ uid, result: { status: 'Failure', message: 'no idea' } }),
      want: `${what} failed: no idea`,
    },
    {
      name: 'that does not say how it went',
      answer: ({ uid }) => review({ uid, result: {} }),
      want: `${what} failed: response.result.status was '', expected 'Success'`,
    },
    {
      name: 'that answers another',
      answer: () => review({ uid: 'x' }),
      want: `${what} failed: expected response.uid=`,
    },
    {
      name: 'that loses an object',
      answer: ({ uid }) => review({ uid, convertedObjects: [] }),
      want: `${what} returned 0 objects, expected 1`,
    },
    {
      name: 'that converts to something else',
      answer: ({ uid, objects }) => review({ uid, convertedObjects: objects }),
      want: `${what} returned invalid converted object at index 0: invalid groupVersion (expected sea.example.com/v2, received sea.example.com/v1)`,
    },
    {
      name: 'that gives it another name',
      answer: ({ uid, objects: [one], desiredAPIVersion }) =>
        review({
          uid,
          convertedObjects: [
            { ...one, apiVersion: desiredAPIVersion, metadata: { ...one.metadata, name: 'y' } },
          ],
        }),
      want: `${what} returned invalid converted object at index 0: must have the same name: x != y`,
    },
    {
      name: 'that makes illegal labels',
      answer: ({ uid, objects: [one], desiredAPIVersion }) =>
        review({
          uid,
          convertedObjects: [
            {
              ...one,
              apiVersion: desiredAPIVersion,
              metadata: { ...one.metadata, labels: { 'a b': '' } },
            },
          ],
        }),
      want: `${what} returned invalid metadata in object at index 0: metadata.labels: Invalid value: "a b"`,
    },
  ];
  it.each(cases)('$name is named in the answer', async ({ answer, want }) => {
    await define();
    await make('x');
    convert = answer;
    for (const url of [`${ships2}/x`, ships2]) {
      const { json } = await api.request('GET', url);
      expect(json.code).toBe(500);
      expect(json.message.slice(0, want.length)).toBe(want);
    }
    expect((await api.request('GET', `${ships}/x`)).status).toBe(200);
    expect((await api.request('DELETE', `${ships}/x`)).status).toBe(200);
  });

  it('that is away does not stop who writes the stored version', async () => {
    await define();
    await make('x', { size: 4 });
    const body = { spec: { title: 'nina' }, metadata: { finalizers: ['x.example/y'] } };
    await api.request('PATCH', `${ships2}/x`, { body, headers: mergePatch });
    convert = () => {
      throw new WebhookError('gone');
    };
    const applied = await api.request('PATCH', `${ships}/x?fieldManager=a&force=true`, {
      body: ship('x', { name: 'otto' }),
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
    expect([applied.status, applied.json.message]).toEqual([500, `${what} failed: gone`]);
    const { status, json } = await api.request('PATCH', `${ships}/x`, {
      body: { metadata: { finalizers: null } },
      headers: mergePatch,
    });
    expect([status, json.metadata.finalizers]).toEqual([200, undefined]);
    expect(json.metadata.managedFields.map(({ apiVersion }: Json) => apiVersion)).toEqual([
      'sea.example.com/v1',
    ]);
  });

  it('gets no objects of other groups, whatever their owners claim to have written', async () => {
    await define();
    const sky = { group: 'sky.example.com', versions: [version('v1')] };
    const other = { ...definition(sky), metadata: { name: 'ships.sky.example.com' } };
    await api.request('POST', definitions, { body: other });
    const skyShips = ships.replace('sea', 'sky');
    const body = { ...ship('x'), apiVersion: 'sky.example.com/v1' };
    const { json: made } = await api.request('POST', skyShips, { body });
    const [entry] = made.metadata.managedFields;
    made.metadata.managedFields.push({ ...entry, manager: 'b', apiVersion: 'sea.example.com/v2' });
    const put = await api.request('PUT', `${skyShips}/x`, {
      body: { ...made, spec: { ...made.spec, size: 5 } },
    });
    expect(put.status).toBe(200);
    expect(asked).toEqual([]);
  });

  it('that fails later ends a watch with its words', async () => {
    await define();
    const watch = await api.watch(`${ships2}?watch=true`);
    convert = () => {
      throw new WebhookError('gone');
    };
    await make('x');
    expect(await watch.next()).toMatchObject({
      type: 'ERROR',
      object: { code: 500, message: `${what} failed: gone` },
    });
    expect(await watch.next()).toBeUndefined();
  });
});

describe('a definition', () => {
  const webhookOf = (more: Json) => ({
    ...conversion,
    webhook: { ...conversion.webhook, ...more },
  });
  const cases = [
    {
      name: 'needs a webhook for the strategy',
      given: { strategy: 'Webhook' },
      want: 'spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook',
    },
    {
      name: 'needs a review version',
      given: webhookOf({ conversionReviewVersions: [] }),
      want: 'spec.conversion.conversionReviewVersions: Required value',
    },
    {
      name: 'needs a legal address',
      given: webhookOf({ clientConfig: { url: 'http://127.0.0.1/' } }),
      want: `spec.conversion.webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme`,
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    const body = definition({ versions: versions(), conversion: given });
    const { json } = await api.request('POST', definitions, { body });
    expect(json.message).toContain(want);
  });
});
