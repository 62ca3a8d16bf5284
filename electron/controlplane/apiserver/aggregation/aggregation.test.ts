// The whole API server without sockets, and behind it a real server that demands the front proxy's
// certificate. The test plays kubelet, endpoint and availability controller.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom, systemRandom } from '#kube/base/random.ts';
import { makeKey, type KeyPairPem } from '#platform/certificate.ts';
import { ClusterPki } from '#platform/pki.ts';
import type { Json } from '../../../../test/setup/api.ts';
import { assembleApiServer, type AssembledApiServer } from '../../api-server.ts';
import { openMemoryStore } from '../../store/memory-store.ts';
import type { Store } from '../../store/store.ts';
import type { ApiResponse, UserInfo } from '../http.ts';
import { bytesOfChunk, isStream } from '../response-body.ts';

const groupVersion = 'sea.example.com/v1';
const base = `/apis/${groupVersion}`;
const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const admin: UserInfo = { name: 'admin', groups: ['system:masters', 'system:authenticated'] };

let directory: string;
let pki: ClusterPki;
let frontProxy: ClusterPki;
let client: KeyPairPem;
let server: Server;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let store: Store;
let clock: ManualClock;
let api: AssembledApiServer;
let stop: AbortController;
const sockets: Socket[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flotilla-aggregation-'));
  const open = (name: string) =>
    ClusterPki.open({ directory: join(directory, name), clock: systemClock, random: systemRandom });
  pki = await open('pki');
  frontProxy = await open('front-proxy');
  client = await frontProxy.frontProxyClient();
  const serving = await pki.ensure({
    path: join(directory, 'serving'),
    commonName: 'harbour',
    usages: ['server'],
    dnsNames: ['harbour.default.svc'],
  });
  server = createServer(
    {
      cert: serving.certPem,
      key: serving.keyPem,
      ca: frontProxy.caPem,
      requestCert: true,
      rejectUnauthorized: true,
    },
    (request, response) => answer(request, response),
  );
  server.on('upgrade', (_request: IncomingMessage, socket: Socket) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n',
    );
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(directory, { recursive: true, force: true });
});

beforeEach(async () => {
  answer = serve;
  store = openMemoryStore();
  clock = new ManualClock();
  stop = new AbortController();
  api = assembleApiServer({
    store,
    config: { serviceCidr: '10.96.0.0/16', nodePortRange: [30000, 32767] },
    build: { version: '0.0.0', platform: 'linux/amd64' },
    address: '127.0.0.1:0',
    kubelet: () => ({
      stream: () => Promise.reject(new Error('no logs here')),
      upgrade: async () => {
        const connection = connect((server.address() as AddressInfo).port, '127.0.0.1');
        sockets.push(connection);
        await once(connection, 'connect');
        return { status: 101, headers: {}, connection };
      },
    }),
    podsOnNode: () => [],
    bootstrapState: () => undefined,
    frontProxy: () => client,
    tokenKeyPem: makeKey(),
    eventLoopUtilization: () => 0,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  await api.registry.start(stop.signal);
  await post('/api/v1/namespaces', { metadata: { name: 'default' } });
  await post('/api/v1/namespaces/default/services', {
    metadata: { name: 'harbour' },
    spec: { ports: [{ name: 'https', port: 443, targetPort: 8443 }], selector: { app: 'harbour' } },
  });
  await post('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
    metadata: { name: 'harbour-1', labels: { 'kubernetes.io/service-name': 'harbour' } },
    addressType: 'IPv4',
    endpoints: [
      { addresses: ['10.244.0.2'], nodeName: 'pi', targetRef: { kind: 'Pod', name: 'harbour-1' } },
    ],
    ports: [{ name: 'https', port: 8443, protocol: 'TCP' }],
  });
});
afterEach(async () => {
  stop.abort();
  for (const socket of sockets.splice(0)) socket.destroy();
  await store.close();
});

/** The server behind: tells who asks what; its documents. */
function serve(request: IncomingMessage, response: ServerResponse): void {
  const { url = '', method, headers } = request;
  const json = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
  if (url === '/apis') return json(406, {});
  if (url === base || url === '/apis/metrics.k8s.io/v1beta1') return json(200, resourceList);
  if (url === '/openapi/v3')
    return json(200, {
      paths: { [base.slice(1)]: { serverRelativeURL: `/openapi/v3${base}?hash=1` } },
    });
  if (url === '/openapi/v2')
    return json(200, {
      paths: { [`${base}/ships`]: { get: {} }, '/apis/': { get: {} } },
      definitions: { 'com.example.sea.v1.Ship': { type: 'object' } },
    });
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    const remote = Object.entries(headers).filter(([name]) => name.startsWith('x-remote-'));
    json(200, { method, url, body, authorization: headers.authorization ?? null, remote });
  });
}

const resourceList = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion,
  resources: [
    { name: 'ships', singularName: 'ship', namespaced: true, kind: 'Ship', verbs: ['get', 'list'] },
    { name: 'ships/dock', singularName: '', namespaced: true, kind: 'Dock', verbs: ['create'] },
  ],
};

interface Asked {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly user?: UserInfo;
  readonly remoteAddress?: string;
}

function call(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  url: string,
  asked: Asked = {},
): Promise<ApiResponse> {
  const { pathname: path, searchParams: query } = new URL(url, 'https://test');
  const bytes = new TextEncoder().encode(
    asked.body === undefined ? '' : JSON.stringify(asked.body),
  );
  return api.handler({
    method,
    path,
    query,
    headers: asked.headers ?? {},
    readBody: () => Promise.resolve(bytes),
    signal: stop.signal,
    user: asked.user ?? admin,
    ...(asked.remoteAddress === undefined ? {} : { remoteAddress: asked.remoteAddress }),
  });
}

async function ask(method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, asked: Asked = {}) {
  const { status, body, headers } = await call(method, url, asked);
  let text = '';
  if (typeof body === 'string') text = body;
  else if (body instanceof Uint8Array) text = Buffer.from(body).toString();
  else if (isStream(body))
    for await (const chunk of body) text += Buffer.from(bytesOfChunk(chunk)).toString();
  const isJson = headers['content-type']?.startsWith('application/json') === true;
  const json: Json = isJson ? JSON.parse(text) : undefined;
  return { status, text, json };
}

async function post(path: string, body: object): Promise<Json> {
  const made = await ask('POST', path, { body });
  expect(made.text).toContain('"uid"');
  return made.json;
}

/** Registers the server for a group, as one that can be asked. */
async function register(spec: object = {}, status = 'True'): Promise<void> {
  const whole = {
    group: 'sea.example.com',
    version: 'v1',
    groupPriorityMinimum: 2000,
    versionPriority: 15,
    service: { namespace: 'default', name: 'harbour' },
    caBundle: Buffer.from(pki.caPem).toString('base64'),
    ...spec,
  };
  const path = '/apis/apiregistration.k8s.io/v1/apiservices';
  const made = await post(path, {
    metadata: { name: `${whole.version}.${whole.group}` },
    spec: whole,
  });
  const conditions = [{ type: 'Available', status, reason: 'Tested', message: '' }];
  const url = `${path}/${made.metadata.name}/status`;
  const told = await ask('PUT', url, { body: { ...made, status: { conditions } } });
  expect(told.status).toBe(200);
}

describe('a group that another server answers for', () => {
  it('is passed on with who asks, and nothing that the client says of that itself', async () => {
    await register();
    const user = {
      name: 'jané',
      uid: 'u1',
      groups: ['crew', 'offizière'],
      extra: { 'a/b': ['1'] },
    };
    const masters = { ...user, groups: [...user.groups, 'system:masters'] };
    const headers = { authorization: 'Bearer x', 'x-remote-user': 'root', 'x-remote-extra-a': 'b' };
    const asked = { user: masters, headers, body: { a: 1 } };
    const { status, json } = await ask(
      'POST',
      `${base}/namespaces/default/ships?dryRun=All`,
      asked,
    );
    expect(status).toBe(200);
    expect(json).toEqual({
      method: 'POST',
      url: `${base}/namespaces/default/ships?dryRun=All`,
      body: '{"a":1}',
      authorization: null,
      remote: [
        ['x-remote-user', Buffer.from('jané').toString('latin1')],
        ['x-remote-uid', 'u1'],
        [
          'x-remote-group',
          `crew, ${Buffer.from('offizière').toString('latin1')}, system:masters, system:authenticated`,
        ],
        ['x-remote-extra-a%2fb', '1'],
      ],
    });
    expect(sockets.every((socket) => socket.destroyed)).toBe(true);
  });

  it('gets the options of a DELETE, which are in its body', async () => {
    await register();
    const asked = { body: { dryRun: ['All'] } };
    const { json } = await ask('DELETE', `${base}/namespaces/default/ships/a`, asked);
    expect(json).toMatchObject({ method: 'DELETE', body: '{"dryRun":["All"]}' });
  });

  it('learns by which machines a request came', async () => {
    await register();
    let came: unknown;
    answer = (request, response) => {
      came = request.headers['x-forwarded-for'];
      response.end('{}');
    };
    const asked = { headers: { 'x-forwarded-for': '10.0.0.1' }, remoteAddress: '10.0.0.2' };
    await ask('GET', `${base}/ships`, asked);
    expect(came).toBe('10.0.0.1, 10.0.0.2');
  });

  it('is asked only by those who may', async () => {
    await register();
    const user = { name: 'jane', groups: ['system:authenticated'] };
    expect((await ask('GET', `${base}/ships`, { user })).status).toBe(403);
    expect(sockets).toEqual([]);
  });

  it('streams what is watched, as it comes', async () => {
    await register();
    let send: (line: string) => void = () => {};
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      send = (line) => void response.write(line);
    };
    const { status, body } = await call('GET', `${base}/ships?watch=true`);
    expect(status).toBe(200);
    const chunks = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    for (const line of ['{"type":"ADDED"}\n', '{"type":"DELETED"}\n']) {
      send(line);
      const { value } = await chunks.next();
      expect(Buffer.from(value ?? []).toString()).toBe(line);
    }
    await chunks.return?.();
    expect(sockets.every((socket) => socket.destroyed)).toBe(true);
  });

  it('may upgrade', async () => {
    await register();
    const headers = { connection: 'Upgrade', upgrade: 'echo' };
    const url = `${base}/namespaces/default/ships/a/dock`;
    const { status, connection } = await call('GET', url, { headers });
    expect(status).toBe(101);
    connection?.write('ping');
    const [bytes] = (await once(connection ?? new Readable(), 'data')) as [Buffer];
    expect(bytes.toString()).toBe('ping');
    connection?.destroy();
  });

  const refused = [
    { name: 'is not available', spec: {}, status: 'False', want: 'service unavailable\n' },
    {
      name: 'shows a certificate of somebody else',
      spec: { caBundle: 'REPLACED' },
      status: 'True',
      want: /^error trying to reach service: .*certificate/,
    },
    {
      name: 'has no such service',
      spec: { service: { namespace: 'default', name: 'nobody' } },
      status: 'True',
      want: 'service unavailable\n',
    },
  ];
  it.each(refused)('is 503 when the server $name', async ({ spec, status, want }) => {
    const other = Buffer.from(frontProxy.caPem).toString('base64');
    await register('caBundle' in spec ? { caBundle: other } : spec, status);
    const answered = await ask('GET', `${base}/ships`);
    expect(answered.status).toBe(503);
    expect(answered.text).toMatch(want);
  });

  it('is trusted unseen where the APIService says so', async () => {
    await register({ caBundle: undefined, insecureSkipTLSVerify: true });
    expect((await ask('GET', `${base}/ships`)).status).toBe(200);
  });

  it('is gone with its APIService', async () => {
    await register();
    const url = '/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.example.com';
    await api.handler({
      method: 'DELETE',
      path: url,
      query: new URLSearchParams(),
      headers: {},
      readBody: () => Promise.resolve(new Uint8Array()),
      signal: stop.signal,
      user: admin,
    });
    expect((await ask('GET', `${base}/ships`)).status).toBe(404);
  });
});

describe('discovery', () => {
  it('has the group in the place of its priority, in both forms', async () => {
    await register();
    const names = (await ask('GET', '/apis')).json.groups.map(({ name }: Json) => name);
    expect(names[0]).toBe('apiregistration.k8s.io');
    expect(names.slice(-2)).toEqual(['sea.example.com', 'metrics.k8s.io']);
    const { json } = await ask('GET', '/apis', { headers: { accept: aggregated } });
    const found = json.items.find(({ metadata }: Json) => metadata.name === 'sea.example.com');
    expect(found.versions).toEqual([
      {
        version: 'v1',
        freshness: 'Current',
        resources: [
          {
            resource: 'ships',
            singularResource: 'ship',
            scope: 'Namespaced',
            responseKind: { group: 'sea.example.com', version: 'v1', kind: 'Ship' },
            verbs: ['get', 'list'],
            subresources: [
              {
                subresource: 'dock',
                responseKind: { group: 'sea.example.com', version: 'v1', kind: 'Dock' },
                verbs: ['create'],
              },
            ],
          },
        ],
      },
    ]);
    expect((await ask('GET', '/apis/sea.example.com')).json.preferredVersion.version).toBe('v1');
    expect((await ask('GET', base)).json).toEqual(resourceList);
  });

  it('says that a server which does not answer may have changed', async () => {
    await register();
    const get = async () => {
      const { json } = await ask('GET', '/apis', { headers: { accept: aggregated } });
      return json.items.find(({ metadata }: Json) => metadata.name === 'sea.example.com')
        .versions[0];
    };
    expect(await get()).toMatchObject({ freshness: 'Current', resources: [{ resource: 'ships' }] });
    answer = (request) => request.socket.destroy();
    expect(await get()).toMatchObject({ freshness: 'Current' });
    clock.advance(60_001);
    expect(await get()).toMatchObject({ freshness: 'Stale' });
    answer = serve;
    clock.advance(10_001);
    expect(await get()).toMatchObject({ freshness: 'Current' });
  });

  it('tells of a server that is known to be away what it last said', async () => {
    await register();
    const get = async () => {
      const { json } = await ask('GET', '/apis', { headers: { accept: aggregated } });
      return json.items.find(({ metadata }: Json) => metadata.name === 'sea.example.com')
        .versions[0];
    };
    expect(await get()).toMatchObject({ freshness: 'Current' });
    const url = '/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.example.com';
    const present = (await ask('GET', url)).json;
    const conditions = [{ type: 'Available', status: 'False', reason: 'Tested', message: '' }];
    await ask('PUT', `${url}/status`, { body: { ...present, status: { conditions } } });
    expect(await get()).toMatchObject({ freshness: 'Stale', resources: [{ resource: 'ships' }] });
  });

  it('shows a server for metrics in the place of our own', async () => {
    const path = '/apis/metrics.k8s.io/v1beta1';
    expect((await ask('GET', path)).json.resources[0].kind).toBe('NodeMetrics');
    await register({ group: 'metrics.k8s.io', version: 'v1beta1' });
    expect((await ask('GET', path)).json).toEqual(resourceList);
    expect((await ask('GET', `${path}/nodes`)).json.url).toBe(`${path}/nodes`);
  });
});

describe('OpenAPI', () => {
  it('has what the server says of its own paths', async () => {
    await register();
    const { paths } = (await ask('GET', '/openapi/v3')).json;
    expect(paths['apis/sea.example.com/v1']).toEqual({
      serverRelativeURL: `/openapi/v3${base}?hash=1`,
    });
    expect(paths['apis/apps/v1'].serverRelativeURL).toMatch(/hash=/);
    expect((await ask('GET', `/openapi/v3${base}?hash=1`)).json.url).toBe(
      `/openapi/v3${base}?hash=1`,
    );
    const version2 = (await ask('GET', '/openapi/v2')).json;
    expect(version2.paths[`${base}/ships`]).toEqual({ get: {} });
    expect(version2.paths['/apis/']).toBeUndefined();
    expect(version2.definitions['com.example.sea.v1.Ship']).toEqual({ type: 'object' });
  });
});

describe('the probe', () => {
  const apiService = (name = 'harbour') => ({
    apiVersion: 'apiregistration.k8s.io/v1' as const,
    kind: 'APIService' as const,
    metadata: { name: 'v1.sea.example.com' },
    spec: {
      group: 'sea.example.com',
      version: 'v1',
      groupPriorityMinimum: 1,
      versionPriority: 1,
      service: { namespace: 'default', name, port: 443 },
    },
  });
  it('finds nothing wrong with a server that has the group', async () => {
    expect(await api.probeApiService(apiService())).toBeUndefined();
  });
  it('tells what the server answered, and that nobody is there', async () => {
    answer = (_request, response) => void response.writeHead(403).end();
    const url = `https://10.244.0.2:8443${base}`;
    expect(await api.probeApiService(apiService())).toBe(
      `failing or missing response from ${url}: bad status from ${url}: 403`,
    );
    expect(await api.probeApiService(apiService('nobody'))).toBe('no endpoints available');
  });
  it('is content with one of several that answers', async () => {
    const url = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/harbour-1';
    const slice = (await ask('GET', url)).json;
    const endpoints = [{ addresses: ['127.0.0.2'] }, ...slice.endpoints];
    await ask('PUT', url, { body: { ...slice, ports: [{ name: 'https', port: 1 }], endpoints } });
    expect(await api.probeApiService(apiService())).toBeUndefined();
  });
  it('gives up a server that says too much', async () => {
    await register();
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const chunk = Buffer.alloc(1024 * 1024, ' ');
      for (let sent = 0; sent < 33; sent++) response.write(chunk);
      response.end('{}');
    };
    expect(await api.probeApiService(apiService())).toContain('the answer is longer than');
  });
  it('gives up a server that says nothing', async () => {
    const asked = new Promise<void>((resolve) => (answer = () => resolve()));
    const probed = api.probeApiService(apiService());
    await asked;
    clock.advance(5000);
    expect(await probed).toContain('no answer within 5 s');
  });
});
