import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

function putSecret(name: string) {
  const body = { metadata: { name }, stringData: { key: name } };
  return api.request('POST', '/api/v1/namespaces/default/secrets', { body });
}

describe('the old form of watching, with a name in the path', () => {
  // Who may watch one Secret is authorized by that name: nothing else may come out.
  it('shows the named object only', async () => {
    await putSecret('another');
    await putSecret('own');
    const stream = await api.watch('/api/v1/watch/namespaces/default/secrets/own');
    await putSecret('third');
    await api.request('DELETE', '/api/v1/namespaces/default/secrets/own');
    const seen = [await stream.next(), await stream.next()];
    await stream.close();
    expect(seen.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual([
      'ADDED own',
      'DELETED own',
    ]);
  });

  it('narrows further by a field selector', async () => {
    await putSecret('own');
    const url = '/api/v1/watch/namespaces/default/secrets/own?fieldSelector=type%3DOpaque';
    const stream = await api.watch(url);
    const first = await stream.next();
    await stream.close();
    expect(first.object.metadata.name).toBe('own');
  });

  it('refuses a field selector that names another object', async () => {
    const url =
      '/api/v1/watch/namespaces/default/secrets/own?fieldSelector=metadata.name%3Danother';
    const answer = await api.request('GET', url);
    expect([answer.status, answer.json.message]).toEqual([
      400,
      `fieldSelector metadata.name doesn't match requested name`,
    ]);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'] as const)('is no way for %s', async (method) => {
    const answer = await api.request(method, '/api/v1/watch/namespaces/default/secrets/own');
    expect(answer.status).toBe(405);
  });
});
