// Integers that JavaScript's numbers can't hold stay what they are, whichever way they come and go.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/setup/api.ts';
import { definition, definitions, ship, ships, version } from '../../../test/setup/ships.ts';

const big = '9007199254740993';
const biggest = '9223372036854775807';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  const one = structuredClone(version('v1'));
  Object.assign(one.schema.openAPIV3Schema.properties.spec.properties, {
    serial: { type: 'integer', format: 'int64', maximum: 2 ** 63 },
    small: { type: 'integer', format: 'int32' },
    odd: { type: 'number', multipleOf: 9007199254740993n },
    any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  });
  const ruled = one.schema.openAPIV3Schema.properties.spec;
  ruled['x-kubernetes-validations'] = [
    { rule: '!has(self.serial) || self.serial != 9007199254740992', message: 'not that one' },
  ];
  const made = await api.request('POST', definitions, { body: definition({ versions: [one] }) });
  expect(made.json.message ?? '').toBe('');
});
afterAll(() => api.stop());

/** The text of a ship whose spec has more, as it is written. */
function shipText(name: string, more: string): string {
  return JSON.stringify(ship(name)).replace('"spec":{', `"spec":{${more},`);
}

function send(
  method: 'POST' | 'PUT' | 'PATCH',
  url: string,
  text: string,
  type = 'application/json',
) {
  return api.request(method, url, {
    body: new TextEncoder().encode(text),
    headers: { 'content-type': type },
  });
}

describe('an integer beyond 2^53', () => {
  it('of a custom resource comes back from every read and survives writes of other fields', async () => {
    const text = shipText('a', `"serial":${big},"any":{"m":${biggest},"f":1e300}`);
    const made = await send('POST', ships, text);
    expect([made.status, made.text]).toEqual([201, expect.stringContaining(`"serial":${big}`)]);
    const patch = '{"metadata":{"labels":{"x":"y"}}}';
    await send('PATCH', `${ships}/a`, patch, 'application/merge-patch+json');
    const yaml = await api.request('GET', `${ships}/a`, {
      headers: { accept: 'application/yaml' },
    });
    const pretty = await api.request('GET', `${ships}/a?pretty=true`);
    expect(yaml.text).toContain(`serial: ${big}\n`);
    expect(pretty.text).toContain(`"serial": ${big}`);
    for (const url of [`${ships}/a`, ships]) {
      const read = await api.request('GET', url);
      expect(read.text).toContain(`"serial":${big}`);
      expect(read.text).toContain(`"m":${biggest}`);
    }
  });

  it.each([
    ['merge patch', 'application/merge-patch+json', `{"spec":{"serial":${biggest}}}`],
    [
      'JSON patch',
      'application/json-patch+json',
      `[{"op":"replace","path":"/spec/serial","value":${biggest}}]`,
    ],
    [
      'apply',
      'application/apply-patch+yaml',
      `apiVersion: sea.example.com/v1\nkind: Ship\nmetadata: {name: b}\nspec: {name: x, serial: ${biggest}}\n`,
    ],
  ])('comes by %s', async (name, type, text) => {
    const at = name.replace(' ', '-').toLowerCase();
    await send('POST', ships, shipText(at, '"serial":1'));
    const query = name === 'apply' ? '?fieldManager=test&force=true' : '';
    const body = text.replace('name: b', `name: ${at}`);
    const patched = await send('PATCH', `${ships}/${at}${query}`, body, type);
    expect([patched.status, patched.text]).toEqual([
      200,
      expect.stringContaining(`"serial":${biggest}`),
    ]);
  });

  it('comes by YAML', async () => {
    const text = `apiVersion: sea.example.com/v1\nkind: Ship\nmetadata: {name: yawl}\nspec: {name: x, serial: ${big}}\n`;
    const made = await send('POST', ships, text, 'application/yaml');
    expect(made.text).toContain(`"serial":${big}`);
  });

  it('is seen by rules as it is', async () => {
    const refused = await send('POST', ships, shipText('r', '"serial":9007199254740992'));
    expect([refused.status, refused.json.message]).toEqual([
      422,
      expect.stringContaining('not that one'),
    ]);
  });

  it('is a number where a number is wanted', async () => {
    // The bound is one as well.
    expect((await send('POST', ships, shipText('n', '"odd":9007199254740992'))).status).toBe(201);
  });

  it('is refused where it does not fit, as it was written', async () => {
    const refused = await send('POST', ships, shipText('s', `"small":${big}`));
    expect(refused.status).toBe(422);
    expect(refused.text).toContain(big);
  });

  it('of a built-in kind is kept, and written again changes nothing', async () => {
    const path = '/apis/batch/v1/namespaces/default/cronjobs';
    const containers = [{ name: 'c', image: 'i' }];
    const template = { spec: { restartPolicy: 'Never', containers } };
    const jobTemplate = { spec: { template } };
    const body = { metadata: { name: 'c' }, spec: { schedule: '* * * * *', jobTemplate } };
    const text = JSON.stringify(body).replace(
      '"schedule"',
      `"startingDeadlineSeconds":${big},"schedule"`,
    );
    const made = await send('POST', path, text);
    expect(made.text).toContain(`"startingDeadlineSeconds":${big}`);
    const again = await send('PUT', `${path}/c`, made.text);
    expect([again.status, again.text]).toEqual([200, made.text]);
  });

  it('as a grace period ends no request in an error of ours', async () => {
    const path = '/api/v1/namespaces/default/pods';
    const body = {
      metadata: { name: 'p' },
      spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] },
    };
    const text = JSON.stringify(body).replace(
      '"containers"',
      `"terminationGracePeriodSeconds":${biggest},"containers"`,
    );
    expect((await send('POST', path, text)).status).toBe(201);
    const deleted = await api.request('DELETE', `${path}/p`);
    expect([deleted.status, deleted.text]).toEqual([
      200,
      expect.stringContaining('"deletionGracePeriodSeconds":9007199254740991'),
    ]);
    const sooner = `{"gracePeriodSeconds":${big}}`;
    const again = await api.request('DELETE', `${path}/p`, {
      body: new TextEncoder().encode(sooner),
      headers: { 'content-type': 'application/json' },
    });
    expect(again.status).toBe(200);
  });
});
