import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/setup/api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startTestApi();
});
afterEach(() => api.stop());

const configMaps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';

function configMap(name: string, data: Record<string, string> = { a: 'b' }) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
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
});
