import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

// A node may send 3 MiB of status: comparing all with all would stop the server for minutes.
describe('a status with a list as long as a body may hold', () => {
  const addresses = Array.from({ length: 20_000 }, (_, index) => ({
    type: 'InternalIP',
    address: `a${index}`,
  }));

  function patch(list: readonly object[]) {
    const headers = { 'content-type': 'application/merge-patch+json' };
    const body = { status: { addresses: list } };
    return api.request('PATCH', '/api/v1/nodes/n1/status', { body, headers });
  }

  beforeEach(async () => {
    await api.request('POST', '/api/v1/nodes', { body: { metadata: { name: 'n1' } } });
  });

  it('is taken', async () => {
    expect((await patch(addresses)).status).toBe(200);
  });

  it('is refused for what is in it twice, by the place of the second', async () => {
    const { status, json } = await patch([...addresses, { address: 'a7', type: 'InternalIP' }]);
    expect([status, json.details.causes[0].field]).toEqual([422, 'status.addresses[20000]']);
  });
});

it('an Event about nothing is no failure of the server', async () => {
  const body = { metadata: { name: 'e' } };
  const { status } = await api.request('POST', '/api/v1/namespaces/default/events', { body });
  expect(status).toBe(201);
});
