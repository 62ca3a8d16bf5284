import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';
import type { AuthorizationAttributes } from '../identity/authorizer.ts';
import type { KubeletUpgrade } from './kubelet-client.ts';

let api: TestApi;
let answer: () => KubeletUpgrade;
let asked: AuthorizationAttributes[];
let mayCreate: boolean;

beforeEach(async () => {
  asked = [];
  mayCreate = true;
  answer = () => ({
    status: 101,
    headers: { upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' },
    connection: duplexPair()[0],
  });
  api = await startTestApi({
    kubeletUpgrade: () => answer(),
    authorize(attributes) {
      asked.push(attributes);
      return { allowed: mayCreate, reason: '' };
    },
  });
});
afterEach(() => api.stop());

const pods = '/api/v1/namespaces/default/pods';
const spdy = {
  connection: 'Upgrade',
  upgrade: 'SPDY/3.1',
  'x-stream-protocol-version': 'v4.channel.k8s.io',
};
const webSocket = {
  connection: 'keep-alive, Upgrade',
  upgrade: 'websocket',
  'sec-websocket-key': 'key',
  'sec-websocket-version': '13',
  'sec-websocket-protocol': 'v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0',
  authorization: 'Bearer secret',
  cookie: 'secret',
};

async function createPod(spec: object = {}): Promise<void> {
  const containers = [{ name: 'main', image: 'i' }];
  const body = { metadata: { name: 'web' }, spec: { nodeName: 'pi', containers, ...spec } };
  expect((await api.request('POST', pods, { body })).status).toBe(201);
}

describe('exec and attach', () => {
  beforeEach(() => createPod());

  const cases = [
    {
      url: 'web/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&stderr=false&tty=true',
      want: '/exec/default/web/main?input=1&output=1&tty=1&command=sh&command=-c&command=a+b',
    },
    { url: 'web/exec?command=ls', want: '/exec/default/web/main?output=1&error=1&command=ls' },
    {
      url: 'web/attach?container=main&stdin=1',
      want: '/attach/default/web/main?input=1&output=1&error=1',
    },
  ];
  it.each(cases)('$url is passed on', async ({ url, want }) => {
    const response = await api.raw('POST', `${pods}/${url}`, { headers: spdy });
    const [sent] = api.kubeletRequests;
    expect([response.status, response.connection === undefined]).toEqual([101, false]);
    expect(response.headers['x-stream-protocol-version']).toBe('v4.channel.k8s.io');
    expect(`${sent?.request.path}?${String(sent?.request.query)}`).toBe(want);
    expect(sent?.nodeName).toBe('pi');
  });

  it('hand the agent what the upgrade needs, and no secret of the client', async () => {
    await api.raw('GET', `${pods}/web/exec?command=ls`, { headers: webSocket });
    expect(api.kubeletRequests[0]?.request.headers).toEqual({
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': 'key',
      'sec-websocket-version': '13',
      'sec-websocket-protocol': 'v5.channel.k8s.io',
    });
  });

  it('by WebSocket, a GET, need the verb create', async () => {
    mayCreate = false;
    const { status, json } = await api.request('GET', `${pods}/web/exec?command=ls`, {
      headers: webSocket,
    });
    expect([status, json.message]).toEqual([
      403,
      'pods "web" is forbidden: User "admin" cannot create resource "pods/exec" in API group "" ' +
        'in the namespace "default"',
    ]);
    expect(api.kubeletRequests).toEqual([]);
    expect(asked.map(({ verb, name }) => `${verb} ${name}`)).toEqual(['create web']);
  });

  const refused = [
    { url: 'web/exec?command=ls', headers: {}, status: 400, message: 'Upgrade request required' },
    {
      url: 'web/exec?command=ls&container=no',
      headers: spdy,
      status: 400,
      message: 'container no is not valid for pod web',
    },
    {
      url: 'web/exec',
      headers: spdy,
      status: 400,
      message: 'you must specify at least one command for the container',
    },
    { url: 'no/exec?command=ls', headers: spdy, status: 404, message: 'pods "no" not found' },
  ];
  it.each(refused)('$message', async ({ url, headers, status, message }) => {
    const answered = await api.request('POST', `${pods}/${url}`, { headers });
    expect([answered.status, answered.json.message]).toEqual([status, message]);
  });

  it("tell the agent's refusal", async () => {
    async function* chunks() {
      yield Buffer.from('container not found ("main")');
    }
    answer = () => ({ status: 500, headers: {}, chunks: chunks() });
    const { status, json } = await api.request('POST', `${pods}/web/exec?command=ls`, {
      headers: spdy,
    });
    expect([status, json.message]).toEqual([
      500,
      'Internal error occurred: container not found ("main")',
    ]);
  });
});

describe('port forwarding', () => {
  it('passes the ports on for clients that name them', async () => {
    await createPod();
    await api.raw('GET', `${pods}/web/portforward?ports=80,81`, { headers: webSocket });
    const [sent] = api.kubeletRequests;
    expect(`${sent?.request.path}?${String(sent?.request.query)}`).toBe(
      '/portForward/default/web?ports=80%2C81',
    );
  });

  it('to a pod that is nowhere yet is refused', async () => {
    await createPod({ nodeName: '' });
    const { status, json } = await api.request('POST', `${pods}/web/portforward`, {
      headers: spdy,
    });
    expect([status, json.message]).toEqual([400, 'pod web does not have a host assigned']);
  });
});

describe('ephemeral containers', () => {
  const url = `${pods}/web/ephemeralcontainers`;
  const headers = { 'content-type': 'application/strategic-merge-patch+json' };
  const add = (container: object) =>
    api.request('PATCH', url, { headers, body: { spec: { ephemeralContainers: [container] } } });
  beforeEach(() => createPod());

  it('are added by their subresource, with defaults and a new generation', async () => {
    const { status, json } = await add({
      name: 'dbg',
      image: 'busybox',
      targetContainerName: 'main',
    });
    expect([status, json.metadata.generation]).toEqual([200, 2]);
    expect(json.spec.ephemeralContainers).toMatchObject([
      { name: 'dbg', imagePullPolicy: 'Always', terminationMessagePolicy: 'File' },
    ]);
  });

  it('change nothing else of the pod', async () => {
    const body = {
      metadata: { labels: { a: 'b' } },
      spec: { activeDeadlineSeconds: 5, ephemeralContainers: [{ name: 'dbg', image: 'i' }] },
    };
    const { json } = await api.request('PATCH', url, { headers, body });
    expect([json.metadata.labels, json.spec.activeDeadlineSeconds]).toEqual([undefined, undefined]);
  });

  it('stay as they are: not changed, not removed, not by the pod itself', async () => {
    await add({ name: 'dbg', image: 'busybox' });
    const changed = await add({ name: 'dbg', image: 'other' });
    expect(changed.json.message).toContain(
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers "dbg" may not be changed',
    );
    const { json: pod } = await api.request('GET', `${pods}/web`);
    const without = { ...pod, spec: { ...pod.spec, ephemeralContainers: [] } };
    const removed = await api.request('PUT', url, { body: without });
    expect(removed.json.message).toContain('"dbg" may not be removed');
    const direct = await api.request('PUT', `${pods}/web`, { body: without });
    expect(direct.json.message).toContain('changed: spec.ephemeralContainers');
    expect((await api.request('PUT', `${pods}/web`, { body: pod })).status).toBe(200);
  });

  const refused = [
    {
      container: { name: 'main', image: 'i' },
      want: 'spec.ephemeralContainers[0].name: Duplicate value: "main"',
    },
    {
      container: { name: 'dbg', image: 'i', targetContainerName: 'no' },
      want: 'spec.ephemeralContainers[0].targetContainerName: Not found: "no"',
    },
    {
      container: { name: 'dbg', image: 'i', ports: [{ containerPort: 1 }] },
      want: 'spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container',
    },
    { container: { name: 'dbg' }, want: 'spec.ephemeralContainers[0].image: Required value' },
  ];
  it.each(refused)('$want', async ({ container, want }) => {
    const { status, json } = await add(container);
    expect(status).toBe(422);
    expect(json.message).toContain(want);
  });

  it('can not come with the pod', async () => {
    const spec = {
      containers: [{ name: 'c', image: 'i' }],
      ephemeralContainers: [{ name: 'd', image: 'i' }],
    };
    const { json } = await api.request('POST', pods, { body: { metadata: { name: 'x' }, spec } });
    expect(json.message).toContain('spec.ephemeralContainers: Forbidden: cannot be set on create');
  });
});
