import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type Json, type TestApi } from '../../../../test/setup/api.ts';
import type { KubeletRequest } from '../handlers/kubelet-client.ts';
import { goDuration } from './objects.ts';
import { parseUsage } from './samples.ts';

const base = '/apis/metrics.k8s.io/v1beta1';
const table = { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' };

let api: TestApi;
/** By node: what its agent says; a node that is not here never answers. */
let samples: Record<string, Json>;

beforeEach(async () => {
  samples = {};
  api = await startTestApi({ kubelet: answer });
  await makeNode('one', { disk: 'fast' });
  await makePod('web', 'one');
});
afterEach(() => api.stop());

function answer(_request: KubeletRequest) {
  const { nodeName = '' } = api.kubeletRequests.at(-1) ?? {};
  const sample = samples[nodeName];
  return {
    status: sample === undefined ? 500 : 200,
    headers: {},
    chunks: sample === 'silence' ? silence() : body(JSON.stringify(sample ?? 'no engine')),
  };
}

async function* body(text: string) {
  yield new TextEncoder().encode(text);
}

// oxlint-disable-next-line require-yield
async function* silence(): AsyncGenerator<Uint8Array> {
  await new Promise<never>(() => {});
}

async function makeNode(name: string, labels: object = {}): Promise<void> {
  await api.request('POST', '/api/v1/nodes', { body: { metadata: { name, labels } } });
  samples[name] = sampleOf();
}

async function makePod(name: string, nodeName: string, phase = 'Running'): Promise<void> {
  const pods = '/api/v1/namespaces/default/pods';
  const spec = { nodeName, containers: [{ name: 'main', image: 'x' }] };
  const made = await api.request('POST', pods, {
    body: { metadata: { name, labels: { app: name } }, spec },
  });
  await api.request('PUT', `${pods}/${name}/status`, { body: { ...made.json, status: { phase } } });
}

function sampleOf(): Json {
  const usage = { cpuNanoCores: 2_500_000, memoryWorkingSetBytes: 3 * 1024 * 1024 };
  const pod = (name: string, containers: Json) => ({ namespace: 'default', name, containers });
  return {
    time: '2023-11-14T22:13:19.500000Z',
    windowMs: 512,
    node: { cpuNanoCores: 1_500_000_000, memoryWorkingSetBytes: 1_000_001 },
    pods: [
      pod('web', [
        { name: 'main', ...usage },
        { name: 'side', ...usage },
      ]),
      pod('fresh', [{ name: 'main', memoryWorkingSetBytes: 1 }]),
      pod('done', [{ name: 'main', ...usage }]),
    ],
  };
}

function names(list: Json): string[] {
  return list.items.map(({ metadata }: Json) => metadata.name);
}

describe('metrics of nodes', () => {
  it('are what their agents measured', async () => {
    const { json } = await api.request('GET', `${base}/nodes`);
    expect(json).toEqual({
      kind: 'NodeMetricsList',
      apiVersion: 'metrics.k8s.io/v1beta1',
      metadata: {},
      items: [
        {
          metadata: {
            name: 'one',
            creationTimestamp: '2023-11-14T22:13:20Z',
            labels: { disk: 'fast' },
          },
          timestamp: '2023-11-14T22:13:19Z',
          window: '512ms',
          usage: { cpu: '1500m', memory: '1000001' },
        },
      ],
    });
    expect(api.kubeletRequests.map(({ request }) => request.path)).toEqual(['/stats/sample']);
  });
  it('leave out a node that does not answer, and one that answers nonsense', async () => {
    await makeNode('broken');
    await makeNode('odd');
    await makeNode('silent');
    samples['broken'] = undefined;
    samples['odd'] = { time: 'never', node: {}, pods: [] };
    samples['silent'] = 'silence';
    const answered = api.request('GET', `${base}/nodes`);
    await new Promise((resolve) => setImmediate(resolve));
    api.clock.advance(3000);
    expect(names((await answered).json)).toEqual(['one']);
  });
  it('are asked for once by many, and again after a few seconds', async () => {
    await Promise.all([api.request('GET', `${base}/nodes`), api.request('GET', `${base}/pods`)]);
    expect(api.kubeletRequests).toHaveLength(1);
    api.clock.advance(5001);
    await api.request('GET', `${base}/nodes`);
    expect(api.kubeletRequests).toHaveLength(2);
  });
  it('are selected by labels and by name, and asked of no other node', async () => {
    await makeNode('two');
    const byLabel = await api.request('GET', `${base}/nodes?labelSelector=disk%3Dfast`);
    expect(names(byLabel.json)).toEqual(['one']);
    const byName = await api.request('GET', `${base}/nodes?fieldSelector=metadata.name%3Done`);
    expect(names(byName.json)).toEqual(['one']);
    expect(api.kubeletRequests.map(({ nodeName }) => nodeName)).toEqual(['one']);
  });
  it('have the columns of metrics-server', async () => {
    const { json } = await api.request('GET', `${base}/nodes/one`, { headers: table });
    expect(json.columnDefinitions.map(({ name }: Json) => name)).toEqual([
      'Name',
      'cpu',
      'memory',
      'Window',
    ]);
    expect(json.rows[0].cells).toEqual(['one', '1500m', '1000001', '512ms']);
  });
  it('can’t be watched or written', async () => {
    expect((await api.request('GET', `${base}/nodes?watch=true`)).status).toBe(405);
    expect((await api.request('POST', `${base}/nodes`, { body: {} })).status).toBe(405);
  });
});

describe('metrics of pods', () => {
  it('are of those that run and are known whole', async () => {
    await makePod('fresh', 'one');
    await makePod('done', 'one', 'Succeeded');
    await makePod('lost', 'nowhere');
    const { json } = await api.request('GET', `${base}/namespaces/default/pods`);
    const usage = { cpu: '2500u', memory: '3Mi' };
    expect(json.items).toEqual([
      {
        metadata: {
          name: 'web',
          namespace: 'default',
          creationTimestamp: '2023-11-14T22:13:20Z',
          labels: { app: 'web' },
        },
        timestamp: '2023-11-14T22:13:19Z',
        window: '512ms',
        containers: [
          { name: 'main', usage },
          { name: 'side', usage },
        ],
      },
    ]);
  });
  it('are summed up in the table', async () => {
    const { json } = await api.request('GET', `${base}/pods`, { headers: table });
    expect(json.rows.map(({ cells }: Json) => cells)).toEqual([['web', '5m', '6Mi', '512ms']]);
  });
  it('that are not known are 404, each in its own words', async () => {
    await makePod('fresh', 'one');
    const fresh = await api.request('GET', `${base}/namespaces/default/pods/fresh`);
    expect([fresh.status, fresh.json.message]).toEqual([
      404,
      'podmetrics.metrics.k8s.io "default/fresh" not found',
    ]);
    const absent = await api.request('GET', `${base}/namespaces/default/pods/absent`);
    expect([absent.status, absent.json.message]).toEqual([404, 'pods "absent" not found']);
  });
  it('are selected by the fields of every object only', async () => {
    const { status } = await api.request('GET', `${base}/pods?fieldSelector=spec.nodeName%3Done`);
    expect(status).toBe(400);
  });
});

it('prints durations as Go does', () => {
  const printed = [0, 512, 1000, 15_012, 60_000, 90_500].map(goDuration);
  expect(printed).toEqual(['0s', '512ms', '1s', '15.012s', '1m0s', '1m30.5s']);
});

it('takes nothing for a sample that is none', () => {
  for (const given of [null, [], {}, { node: {}, pods: [] }, { time: 1, windowMs: 1, node: {} }])
    expect(() => parseUsage(given)).toThrow();
});
