import { gunzipSync } from 'node:zlib';
import protobuf from 'protobufjs/light.js';
import { describe, expect, it } from 'vitest';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import { StatusError } from '#kube/machinery/status.ts';
import type { ResourceDefinition } from '../../registry/resource.ts';
import apps from '../../../../resources/schema/apps.v1.json' with { type: 'json' };
import autoscaling from '../../../../resources/schema/autoscaling.v1.json' with { type: 'json' };
import core from '../../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../../resources/schema/meta.v1.json' with { type: 'json' };
import policy from '../../../../resources/schema/policy.v1.json' with { type: 'json' };
import { Discovery } from './discovery.ts';
import { Health, type HealthCheck } from './health.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { ServerMetrics } from '../metrics.ts';
import { OpenApi } from './openapi.ts';
import { createPaths } from './paths.ts';

const strategy = { validate: () => [] };
const definitions: readonly ResourceDefinition[] = [
  {
    group: '',
    version: 'v1',
    kind: 'Pod',
    plural: 'pods',
    singular: 'pod',
    shortNames: ['po'],
    categories: ['all'],
    namespaced: true,
    schema: 'core/v1.Pod',
    strategy,
    columns: [],
    subresources: {
      status: { type: 'status' },
      eviction: {
        type: 'connect',
        handler: 'pod-eviction',
        kind: 'Eviction',
        group: 'policy',
        version: 'v1',
        verbs: ['create'],
      },
      log: { type: 'connect', handler: 'pod-log', kind: 'Pod', verbs: ['get'] },
    },
  },
  {
    group: '',
    version: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    singular: 'namespace',
    namespaced: false,
    verbs: ['get', 'list', 'watch'],
    schema: 'core/v1.Namespace',
    strategy,
    columns: [],
  },
  {
    group: 'apps',
    version: 'v1',
    kind: 'Deployment',
    plural: 'deployments',
    singular: 'deployment',
    namespaced: true,
    schema: 'apps/v1.Deployment',
    strategy,
    columns: [],
    subresources: {
      scale: {
        type: 'scale',
        getSpecReplicas: () => 0,
        setSpecReplicas: () => undefined,
        getStatusReplicas: () => 0,
        getSelector: () => '',
      },
    },
  },
];

const descriptions = {
  'core/v1.Pod': { '': 'Some containers.', kind: 'What it is.' },
  'meta/v1.ObjectMeta': { creationTimestamp: 'When it was made.' },
};

let checks: HealthCheck[] = [];

function ask(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  method: ApiRequest['method'] = 'GET',
): Promise<ApiResponse> {
  const [path = '', query = ''] = url.split('?');
  const request: ApiRequest = {
    method,
    path,
    query: new URLSearchParams(query),
    headers,
    readBody: async () => new Uint8Array(),
    signal: new AbortController().signal,
  };
  return createPaths({
    discovery: new Discovery(definitions, '10.0.0.1:6443'),
    openApi: new OpenApi(definitions, new SchemaRegistry([core, apps, autoscaling, meta, policy]), {
      describe: () => Promise.resolve(descriptions),
    }),
    health: new Health(checks),
    metrics: new ServerMetrics([{ name: 'watchers', help: 'Open.', value: () => 3 }]),
    build: { version: '0.1.0', platform: 'linux/arm64' },
  })(request);
}

function textOf({ body }: ApiResponse): string {
  if (typeof body === 'string') return body;
  return body instanceof Uint8Array ? Buffer.from(body).toString() : '';
}

interface Json {
  readonly [key: string]: Json;
}

async function json(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Json> {
  return JSON.parse(textOf(await ask(url, headers))) as Json;
}

const all = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

describe('legacy discovery', () => {
  it('lists versions and groups', async () => {
    expect(await json('/api')).toEqual({
      kind: 'APIVersions',
      versions: ['v1'],
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: '10.0.0.1:6443' }],
    });
    const appsGroup = {
      name: 'apps',
      versions: [{ groupVersion: 'apps/v1', version: 'v1' }],
      preferredVersion: { groupVersion: 'apps/v1', version: 'v1' },
    };
    expect(await json('/apis')).toEqual({
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [appsGroup],
    });
    expect(await json('/apis/apps')).toEqual({ kind: 'APIGroup', apiVersion: 'v1', ...appsGroup });
  });

  it('lists resources with their subresources, which name a foreign kind in full', async () => {
    const pod = { namespaced: true, kind: 'Pod' };
    expect(await json('/api/v1')).toEqual({
      kind: 'APIResourceList',
      groupVersion: 'v1',
      resources: [
        {
          name: 'pods',
          singularName: 'pod',
          ...pod,
          verbs: all,
          shortNames: ['po'],
          categories: ['all'],
        },
        {
          name: 'pods/eviction',
          singularName: '',
          namespaced: true,
          group: 'policy',
          version: 'v1',
          kind: 'Eviction',
          verbs: ['create'],
        },
        { name: 'pods/log', singularName: '', ...pod, verbs: ['get'] },
        { name: 'pods/status', singularName: '', ...pod, verbs: ['get', 'patch', 'update'] },
        {
          name: 'namespaces',
          singularName: 'namespace',
          namespaced: false,
          kind: 'Namespace',
          verbs: ['get', 'list', 'watch'],
        },
      ],
    });
  });

  it('is 404 for a group or version there is not', async () => {
    await expect(ask('/apis/batch')).rejects.toMatchObject({
      code: 404,
      message: 'the server could not find the requested resource',
    });
  });
});

describe('aggregated discovery', () => {
  const type = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

  it('answers what kubectl asks, under the type it asked for', async () => {
    const accept = `${type},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`;
    const answer = await ask('/apis', { accept });
    expect([answer.headers['content-type'], answer.headers['vary']]).toEqual([type, 'Accept']);
    expect(JSON.parse(textOf(answer))).toEqual({
      kind: 'APIGroupDiscoveryList',
      apiVersion: 'apidiscovery.k8s.io/v2',
      metadata: {},
      items: [
        {
          metadata: { name: 'apps', creationTimestamp: null },
          versions: [
            {
              version: 'v1',
              freshness: 'Current',
              resources: [
                {
                  resource: 'deployments',
                  responseKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
                  scope: 'Namespaced',
                  singularResource: 'deployment',
                  verbs: all,
                  subresources: [
                    {
                      subresource: 'scale',
                      responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
                      verbs: ['get', 'patch', 'update'],
                    },
                  ],
                },
              ],
            },
          ],
        },
      ],
    });
  });

  const others: readonly (readonly [string, string])[] = [
    ['application/json', 'application/json'],
    [`application/json,${type}`, 'application/json'],
    [
      'application/json;v=v2beta1;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList',
      'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
    ],
  ];
  for (const [accept, want] of others)
    it(`answers ${accept} with ${want}`, async () => {
      expect((await ask('/api', { accept })).headers['content-type']).toBe(want);
    });

  it('is 304 for who has it', async () => {
    const { etag = '' } = (await ask('/apis', { accept: type })).headers;
    const again = await ask('/apis', { accept: type, 'if-none-match': etag });
    expect([again.status, again.body]).toEqual([304, undefined]);
  });
});

describe('OpenAPI 3', () => {
  it('names each document with the hash of its content', async () => {
    const { paths } = await json('/openapi/v3');
    expect(Object.keys(paths ?? {})).toEqual(['api/v1', 'apis/apps/v1']);
    const url = paths?.['apis/apps/v1']?.['serverRelativeURL'] as unknown as string;
    expect(url).toMatch(/^\/openapi\/v3\/apis\/apps\/v1\?hash=[0-9A-F]{64}$/);
    const pinned = await ask(url);
    expect(pinned.headers['cache-control']).toBe('public, immutable');
    expect((await ask(url.replace(/=.*/, '=OLD'))).headers['cache-control']).toBe(
      'no-cache, private',
    );
  });

  it('has what kubectl looks for before it relies on server-side validation', async () => {
    const document = await json('/openapi/v3/apis/apps/v1');
    const path = '/apis/apps/v1/namespaces/{namespace}/deployments/{name}';
    const patch = document['paths']?.[path]?.['patch'];
    expect(patch?.['x-kubernetes-group-version-kind']).toEqual({
      group: 'apps',
      version: 'v1',
      kind: 'Deployment',
    });
    const parameters = patch?.['parameters'] as unknown as { name: string; in: string }[];
    expect(parameters.filter(({ name }) => name === 'fieldValidation')).toMatchObject([
      { in: 'query' },
    ]);
  });

  it('carries merge keys, kinds, lists, and only references that lead somewhere', async () => {
    const document = await json('/openapi/v3/apis/apps/v1');
    const schemas = document['components']?.['schemas'] ?? {};
    const containers = schemas['io.k8s.api.core.v1.PodSpec']?.['properties']?.['containers'] ?? {};
    expect(containers['x-kubernetes-patch-merge-key']).toBe('name');
    expect(schemas['io.k8s.api.apps.v1.Deployment']?.['x-kubernetes-group-version-kind']).toEqual([
      { group: 'apps', version: 'v1', kind: 'Deployment' },
    ]);
    expect(schemas['io.k8s.api.apps.v1.DeploymentList']).toBeDefined();
    const references = JSON.stringify(document).matchAll(
      /"\$ref":"#\/components\/schemas\/([^"]+)"/g,
    );
    const missing = [...references]
      .map(([, name = '']) => name)
      .filter((name) => !(name in schemas));
    expect([...new Set(missing)]).toEqual([]);
  });

  it('is compressed for those who can take it', async () => {
    const answer = await ask('/openapi/v3/api/v1', { 'accept-encoding': 'gzip' });
    expect(answer.headers['content-encoding']).toBe('gzip');
    const plain = gunzipSync(answer.body as Uint8Array).toString();
    expect(plain).toBe(textOf(await ask('/openapi/v3/api/v1')));
  });
});

describe('OpenAPI 2', () => {
  it('is one document with all definitions', async () => {
    const document = await json('/openapi/v2');
    expect(document['swagger']).toBe('2.0');
    const definitionsOf2 = document['definitions'] ?? {};
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g);
    const missing = [...references].filter(([, name = '']) => !(name in definitionsOf2));
    expect(missing).toEqual([]);
  });

  it('is there in protobuf for older clients, with the fields where gnostic has them', async () => {
    const accept = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
    const answer = await ask('/openapi/v2', { accept });
    expect(answer.headers['content-type']).toBe(accept.replace('@', '.'));
    const named = [
      { id: 1, type: 'string' },
      { id: 2, type: 'Schema' },
    ] as const;
    const root = protobuf.Root.fromJSON({
      nested: {
        Document: {
          fields: {
            swagger: { id: 1, type: 'string' },
            definitions: { id: 9, type: 'Definitions' },
          },
        },
        Definitions: { fields: { items: { rule: 'repeated', id: 1, type: 'NamedSchema' } } },
        NamedSchema: { fields: { name: named[0], value: named[1] } },
        Schema: {
          fields: {
            ref: { id: 1, type: 'string' },
            required: { rule: 'repeated', id: 19, type: 'string' },
            properties: { id: 25, type: 'Definitions' },
          },
        },
      },
    });
    const document = root
      .lookupType('Document')
      .decode(answer.body as Uint8Array)
      .toJSON();
    const deployment = (document['definitions'] as { items: { name: string }[] }).items.find(
      ({ name }) => name === 'io.k8s.api.apps.v1.Deployment',
    );
    expect(document['swagger']).toBe('2.0');
    expect(deployment).toMatchObject({
      value: {
        properties: {
          items: expect.arrayContaining([
            { name: 'spec', value: { ref: '#/definitions/io.k8s.api.apps.v1.DeploymentSpec' } },
          ]) as unknown,
        },
      },
    });
  });

  it('is 406 for forms there are not', async () => {
    await expect(ask('/openapi/v2', { accept: 'application/cbor' })).rejects.toBeInstanceOf(
      StatusError,
    );
  });
});

describe('descriptions', () => {
  it.each([
    { form: 'v3', url: '/openapi/v3/api/v1', at: '#/components/schemas/' },
    { form: 'v2', url: '/openapi/v2', at: '#/definitions/' },
  ])('of types and fields are in version $form', async ({ form, url, at }) => {
    const document = JSON.parse(textOf(await ask(url)));
    const types = form === 'v3' ? document.components.schemas : document.definitions;
    expect(types['io.k8s.api.core.v1.Pod'].description).toBe('Some containers.');
    expect(types['io.k8s.api.core.v1.Pod'].properties.kind).toEqual({
      description: 'What it is.',
      type: 'string',
    });
    const reference = { $ref: `${at}io.k8s.apimachinery.pkg.apis.meta.v1.Time` };
    const { creationTimestamp } =
      types['io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'].properties;
    expect(creationTimestamp).toEqual(
      form === 'v3'
        ? { allOf: [reference], description: 'When it was made.' }
        : { ...reference, description: 'When it was made.' },
    );
  });
});

describe('health', () => {
  const ok: HealthCheck = { name: 'etcd', check: () => undefined };
  const bad: HealthCheck = { name: 'caches', readyOnly: true, check: () => 'still filling' };

  const cases: readonly (readonly [string, number, string])[] = [
    ['/livez', 200, 'ok'],
    ['/healthz', 200, 'ok'],
    ['/livez?verbose', 200, '[+]ping ok\n[+]etcd ok\nlivez check passed\n'],
    [
      '/readyz',
      500,
      '[+]ping ok\n[+]etcd ok\n[-]caches failed: reason withheld\nreadyz check failed\n',
    ],
    ['/readyz?exclude=caches', 200, 'ok'],
    [
      '/readyz?verbose&exclude=caches&exclude=x',
      200,
      '[+]ping ok\n[+]etcd ok\n[+]caches excluded: ok\nwarn: some health checks cannot be excluded: no matches for "x"\nreadyz check passed\n',
    ],
    ['/readyz/etcd', 200, 'ok'],
    ['/readyz/caches', 500, 'internal server error: still filling\n'],
  ];
  for (const [url, status, text] of cases)
    it(`${url} is ${status}`, async () => {
      checks = [ok, bad];
      const answer = await ask(url);
      expect([answer.status, textOf(answer)]).toEqual([status, text]);
    });

  it('takes a check that throws as not well', async () => {
    checks = [{ name: 'etcd', check: () => Promise.reject(new Error('the disk is gone')) }];
    expect((await ask('/livez')).status).toBe(500);
  });

  it('has no page for a check there is not, nor for readiness under liveness', async () => {
    checks = [ok, bad];
    await expect(ask('/livez/caches')).rejects.toMatchObject({ code: 404 });
    await expect(ask('/readyz/nothing')).rejects.toMatchObject({ code: 404 });
  });
});

describe('the rest', () => {
  it('tells its version as Kubernetes and as Flotilla', async () => {
    expect(await json('/version')).toMatchObject({
      major: '1',
      minor: '35',
      gitVersion: 'v1.35.0+flotilla-0.1.0',
      platform: 'linux/arm64',
    });
  });

  it('serves metrics as text', async () => {
    const answer = await ask('/metrics');
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(textOf(answer)).toContain('# TYPE watchers gauge\nwatchers 3\n');
  });

  const missing = [
    '/favicon.ico',
    '/version/2',
    '/metrics/2',
    '/apix',
    '/openapi',
    '/openapi/v3/apis/batch/v1',
  ];
  for (const path of missing)
    it(`${path} is 404`, async () => {
      await expect(ask(path)).rejects.toMatchObject({ code: 404, reason: 'NotFound' });
    });

  const getOnly = ['/version', '/version/', '/api', '/api/v1', '/apis', '/apis/apps/v1'];
  it.each(getOnly)('%s is read, never posted to', async (path) => {
    expect((await ask(path, {}, 'HEAD')).status).toBe(200);
    await expect(ask(path, {}, 'POST')).rejects.toMatchObject({
      code: 405,
      reason: 'MethodNotAllowed',
      message: 'the server does not allow this method on the requested resource',
    });
  });

  const anyMethod = ['/', '/livez', '/readyz/ping', '/healthz', '/metrics', '/openapi/v3'];
  it.each(anyMethod)('%s answers whatever the method', async (path) => {
    checks = [];
    expect((await ask(path, {}, 'POST')).status).toBe(200);
    expect((await ask(path, {}, 'DELETE')).status).toBe(200);
  });

  it('a path that is not there is 404 whatever the method', async () => {
    for (const path of ['/version/2', '/apis/batch', '/healthz/2'])
      await expect(ask(path, {}, 'POST')).rejects.toMatchObject({ code: 404 });
  });
});
