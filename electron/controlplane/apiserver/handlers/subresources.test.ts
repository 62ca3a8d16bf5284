import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TransportError, type TransportStream } from '#kube/client/transport.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';

let api: TestApi;
let answer: () => TransportStream;
beforeEach(async () => {
  answer = () => stream(200, 'line 1\nline 2\n');
  api = await startTestApi({ kubelet: () => answer() });
});
afterEach(() => api.stop());

const pods = '/api/v1/namespaces/default/pods';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const merge = { 'content-type': 'application/merge-patch+json' };

function stream(status: number, text: string): TransportStream {
  async function* chunks() {
    yield new TextEncoder().encode(text);
  }
  return { status, headers: { 'content-type': 'text/plain' }, chunks: chunks() };
}

async function createPod(name: string, spec: object = {}) {
  const containers = [{ name: 'main', image: 'i' }];
  const body = { metadata: { name }, spec: { containers, ...spec } };
  const { status, json } = await api.request('POST', pods, { body });
  expect(status).toBe(201);
  return json;
}

describe('what is more than a subresource', () => {
  it.each([
    `${deployments}/web/status/x`,
    `${deployments}/web/scale/anything/at/all`,
    `${pods}/web/log/x`,
    `${pods}//web`,
    '/api//v1/pods',
    '/api/v1//pods',
  ])('is not found: %s', async (path) => {
    await createPod('web');
    expect((await api.request('GET', path)).status).toBe(404);
    const patch = { body: { spec: { replicas: 1 } }, headers: merge };
    expect((await api.request('PATCH', path, patch)).status).toBe(404);
  });
});

describe('scale', () => {
  beforeEach(async () => {
    const labels = { app: 'web' };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const spec = { replicas: 2, selector: { matchLabels: labels }, template };
    await api.request('POST', deployments, { body: { metadata: { name: 'web' }, spec } });
  });
  it('shows replicas and selector as autoscaling/v1 Scale', async () => {
    const { json } = await api.request('GET', `${deployments}/web/scale`);
    expect(json).toMatchObject({
      kind: 'Scale',
      apiVersion: 'autoscaling/v1',
      metadata: { name: 'web', namespace: 'default', resourceVersion: '1' },
      spec: { replicas: 2 },
      status: { replicas: 0, selector: 'app=web' },
    });
  });
  it('writes spec.replicas by PUT and by PATCH, raising the generation', async () => {
    const body = { metadata: { name: 'web' }, spec: { replicas: 5 } };
    expect(
      (await api.request('PUT', `${deployments}/web/scale`, { body })).json.spec.replicas,
    ).toBe(5);
    const patch = { body: { spec: { replicas: 6 } }, headers: merge };
    expect((await api.request('PATCH', `${deployments}/web/scale`, patch)).status).toBe(200);
    const { json } = await api.request('GET', `${deployments}/web`);
    expect([json.spec.replicas, json.metadata.generation]).toEqual([6, 3]);
  });
  it('refuses a negative number and a stale resourceVersion', async () => {
    const negative = { metadata: { name: 'web' }, spec: { replicas: -1 } };
    const refused = await api.request('PUT', `${deployments}/web/scale`, { body: negative });
    expect([refused.status, refused.json.message]).toEqual([
      422,
      'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    ]);
    const stale = { metadata: { name: 'web', resourceVersion: '7' }, spec: { replicas: 1 } };
    expect((await api.request('PUT', `${deployments}/web/scale`, { body: stale })).status).toBe(
      409,
    );
  });
});

describe('pods/binding', () => {
  const bind = (name: string, target: object, metadata = {}) =>
    api.request('POST', `${pods}/${name}/binding`, { body: { metadata, target } });
  it('sets the node and the PodScheduled condition', async () => {
    await createPod('p');
    const { status, json } = await bind('p', { kind: 'Node', name: 'n1' });
    expect([status, json.status]).toEqual([201, 'Success']);
    const pod = (await api.request('GET', `${pods}/p`)).json;
    expect(pod.spec.nodeName).toBe('n1');
    expect(pod.status.conditions).toEqual([
      { type: 'PodScheduled', status: 'True', lastTransitionTime: '2023-11-14T22:13:20Z' },
    ]);
  });
  it('does so by the old path, where the body names the pod', async () => {
    await createPod('p');
    const bindings = pods.replace(/pods$/, 'bindings');
    const target = { kind: 'Node', name: 'n1' };
    const bound = await api.request('POST', bindings, {
      body: { metadata: { name: 'p' }, target },
    });
    const nameless = await api.request('POST', bindings, { body: { metadata: {}, target } });
    const pod = (await api.request('GET', `${pods}/p`)).json;
    expect([bound.status, nameless.status, pod.spec.nodeName]).toEqual([201, 400, 'n1']);
  });
  it('refuses a second node', async () => {
    await createPod('p', { nodeName: 'n1' });
    const { status, json } = await bind('p', { name: 'n2' });
    expect([status, json.message]).toEqual([
      409,
      'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"',
    ]);
  });
  const refused = [
    { target: { name: '' }, message: 'Binding "p" is invalid: target.name: Required value' },
    {
      target: { kind: 'Pod', name: 'n' },
      message:
        'Binding "p" is invalid: target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
    },
  ];
  it.each(refused)('refuses the target $target', async ({ target, message }) => {
    await createPod('p');
    const { status, json } = await bind('p', target);
    expect([status, json.message]).toEqual([422, message]);
  });
  it('refuses another name than the URL', async () => {
    await createPod('p');
    const { json } = await bind('p', { name: 'n' }, { name: 'q' });
    expect(json.message).toBe('name in URL does not match name in Binding object');
  });
});

describe('pods/eviction', () => {
  it('deletes the pod with its grace', async () => {
    await createPod('p', { nodeName: 'n1' });
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'p' } };
    const { status, json } = await api.request('POST', `${pods}/p/eviction`, { body });
    expect([status, json.status]).toEqual([201, 'Success']);
    const pod = (await api.request('GET', `${pods}/p`)).json;
    expect(pod.metadata.deletionGracePeriodSeconds).toBe(30);
  });
});

describe('pods/log', () => {
  const two = {
    nodeName: 'n1',
    containers: [
      { name: 'a', image: 'i' },
      { name: 'b', image: 'i' },
    ],
  };
  it('streams from the node’s agent, parameters and all', async () => {
    await createPod('p', { nodeName: 'n1' });
    const { status, headers, text } = await api.request(
      'GET',
      `${pods}/p/log?follow=true&tailLines=5&pretty=true`,
    );
    expect([status, headers['content-type'], text]).toEqual([
      200,
      'text/plain',
      'line 1\nline 2\n',
    ]);
    const [asked] = api.kubeletRequests;
    expect(asked?.nodeName).toBe('n1');
    expect(asked?.request.path).toBe('/containerLogs/default/p/main');
    expect(asked?.request.query.toString()).toBe('follow=true&tailLines=5');
  });
  it('of a pod without a node is empty', async () => {
    await createPod('p');
    expect((await api.request('GET', `${pods}/p/log`)).status).toBe(204);
  });
  const refused = [
    {
      query: '',
      want: [400, 'a container name must be specified for pod p, choose one of: [a b]'],
    },
    { query: '?container=c', want: [400, 'container c is not valid for pod p'] },
    {
      query: '?container=a&tailLines=-1',
      want: [
        422,
        'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
      ],
    },
    {
      query: '?container=a&limitBytes=0',
      want: [
        422,
        'PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
      ],
    },
  ];
  it.each(refused)('refuses "$query"', async ({ query, want }) => {
    await createPod('p', two);
    const { status, json } = await api.request('GET', `${pods}/p/log${query}`);
    expect([status, json.message]).toEqual(want);
    expect(api.kubeletRequests).toEqual([]);
  });
  it('passes on what the agent says is wrong', async () => {
    await createPod('p', { nodeName: 'n1' });
    const why = 'container "main" in pod "p" is waiting to start: ContainerCreating';
    answer = () => stream(400, why);
    const { status, json } = await api.request('GET', `${pods}/p/log`);
    expect([status, json.reason, json.message]).toEqual([400, 'BadRequest', why]);
  });
  it('of a node that cannot be reached is a 503', async () => {
    await createPod('p', { nodeName: 'n1' });
    answer = () => {
      throw new TransportError('connect ECONNREFUSED');
    };
    const { status, json } = await api.request('GET', `${pods}/p/log`);
    expect([status, json.message]).toEqual([503, 'error dialing node n1: connect ECONNREFUSED']);
  });
});

describe('nodes/proxy', () => {
  it('passes path, query and status through', async () => {
    await api.request('POST', '/api/v1/nodes', { body: { metadata: { name: 'n1' } } });
    answer = () => stream(404, 'nothing here');
    const { status, text } = await api.request('GET', '/api/v1/nodes/n1/proxy/stats/summary?a=b');
    expect([status, text]).toEqual([404, 'nothing here']);
    const [asked] = api.kubeletRequests;
    expect([asked?.request.path, asked?.request.query.toString()]).toEqual([
      '/stats/summary',
      'a=b',
    ]);
  });
});

describe('subresources', () => {
  it('that a kind does not have are a 404; verbs that one does not have, a 405', async () => {
    await createPod('p');
    expect((await api.request('GET', `${pods}/p/scale`)).status).toBe(404);
    expect((await api.request('GET', `${pods}/p/binding`)).status).toBe(405);
    expect((await api.request('DELETE', `${deployments}/web/status`)).status).toBe(405);
  });
});
