// Custom resources with an unmodified kubectl 1.35, Helm 4 and an informer of @kubernetes/client-node.
// No node: nothing has to run.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import path from 'node:path';
import {
  CustomObjectsApi,
  KubeConfig,
  makeInformer,
  type KubernetesListObject,
  type KubernetesObject,
} from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#kube/base/clock.ts';
import { systemRandom } from '#kube/base/random.ts';
import { ClusterPki } from '#platform/pki.ts';
import { Cluster, eventually, tool } from '../setup/cluster.ts';

const cluster = new Cluster(['--no-agent']);
beforeAll(async () => {
  await cluster.start();
});
afterAll(() => cluster.destroy());

function definition(kind: string, plural: string): string {
  return `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${plural}.sea.example.com
spec:
  group: sea.example.com
  scope: Namespaced
  names: { plural: ${plural}, kind: ${kind}, shortNames: [${plural.slice(0, 2)}x], categories: [all] }
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {}
        scale: { specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas }
      additionalPrinterColumns:
        - { name: Size, type: integer, jsonPath: .spec.size, description: How big it is. }
        - { name: Age, type: date, jsonPath: .metadata.creationTimestamp }
      selectableFields: [{ jsonPath: .spec.color }]
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              description: What is wanted.
              required: [size]
              x-kubernetes-validations:
                - { rule: "self.size >= self.replicas || self.size > 2", message: too small for its replicas }
                - { rule: "self.color == oldSelf.color || self.size > 1", message: small ones keep their color }
              properties:
                size: { type: integer, maximum: 9, description: How big the ship is. }
                color: { type: string, default: red, enum: [red, blue] }
                replicas: { type: integer, default: 1 }
                ports:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [port]
                  items:
                    type: object
                    required: [port]
                    properties: { port: { type: integer }, name: { type: string } }
            status: { type: object, x-kubernetes-preserve-unknown-fields: true }
`;
}

function object(kind: string, name: string, spec: string): string {
  return `
apiVersion: sea.example.com/v1
kind: ${kind}
metadata: { name: ${name} }
spec: ${spec}
`;
}

it('kubectl defines a kind and uses it like any other', async () => {
  await cluster.apply(definition('Ship', 'ships'));
  await cluster.kubectlOk(
    'wait',
    '--for=condition=Established',
    'crd/ships.sea.example.com',
    '--timeout=60s',
  );
  expect(await cluster.kubectlOk('get', 'crd')).toMatch(
    /^NAME +CREATED AT\nships\.sea\.example\.com +20/,
  );
  expect(await cluster.kubectlOk('api-resources', '--api-group=sea.example.com')).toMatch(
    /ships +shx +sea\.example\.com\/v1 +true +Ship/,
  );
  await cluster.apply(object('Ship', 'argo', '{ size: 3 }'));
  expect(await cluster.kubectlOk('get', 'shx')).toMatch(/^NAME +SIZE +AGE\nargo +3 +\d+s/);
  expect(await cluster.kubectlOk('get', 'all')).toContain('ship.sea.example.com/argo');
  expect(await cluster.kubectlOk('explain', 'ships.spec.size')).toContain('How big the ship is.');
  const described = await cluster.kubectlOk('describe', 'ship', 'argo');
  expect(described).toMatch(/Color: +red/);
  await cluster.kubectlOk('scale', 'ship/argo', '--replicas=4');
  expect(await cluster.kubectlOk('get', 'ship', 'argo', '-o', 'jsonpath={.spec.replicas}')).toBe(
    '4',
  );
  await cluster.kubectlOk(
    'patch',
    'ship',
    'argo',
    '--type=merge',
    '-p',
    '{"spec":{"color":"blue"}}',
  );
  expect(
    await cluster.kubectlOk('get', 'ships', '--field-selector=spec.color=blue', '-o', 'name'),
  ).toBe('ship.sea.example.com/argo\n');
  await cluster.kubectlOk('annotate', 'ship', 'argo', 'a=b');
  await cluster.kubectlOk(
    'patch',
    'ship',
    'argo',
    '--subresource=status',
    '--type=merge',
    '-p',
    '{"status":{"ready":true}}',
  );
});

it('kubectl is told what is wrong, in the words it knows', async () => {
  await cluster.apply(definition('Boat', 'boats'));
  const wrong = await cluster.pipe(object('Boat', 'x', '{ size: big }'), 'apply', '-f', '-');
  expect(wrong.stderr).toContain(
    'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
  );
  const ruled = await cluster.pipe(
    object('Boat', 'x', '{ size: 1, replicas: 2 }'),
    'create',
    '-f',
    '-',
  );
  expect(ruled.stderr).toContain(
    'The Boat "x" is invalid: spec: Invalid value: "object": too small for its replicas',
  );
  await cluster.apply(object('Boat', 'small', '{ size: 1 }'));
  const patch = ['patch', 'boat', 'small', '--type=merge', '-p', '{"spec":{"color":"blue"}}'];
  expect((await cluster.kubectl(...patch)).stderr).toContain('small ones keep their color');
  const missing = await cluster.pipe(object('Boat', 'x', '{}'), 'create', '-f', '-');
  expect(missing.stderr).toContain('* spec.size: Required value');
  const unknown = await cluster.pipe(
    object('Boat', 'x', '{ size: 1, sails: 2 }'),
    'create',
    '-f',
    '-',
  );
  expect(unknown.stderr).toContain('strict decoding error: unknown field "spec.sails"');
  const strategic = await cluster.kubectl('patch', 'boat', 'x', '--type=strategic', '-p', '{}');
  expect(strategic.code).not.toBe(0);
});

it('a definition that is deleted takes its objects and its kind with it', async () => {
  await cluster.apply(definition('Raft', 'rafts'));
  await cluster.apply(object('Raft', 'one', '{ size: 1 }'));
  await cluster.kubectlOk('delete', 'crd', 'rafts.sea.example.com', '--timeout=60s');
  const gone = await cluster.kubectl('get', 'rafts');
  expect(gone.stderr).toContain('the server could not find the requested resource');
  await cluster.apply(definition('Raft', 'rafts'));
  expect(await cluster.kubectlOk('get', 'rafts', '-o', 'name')).toBe('');
});

it('Helm installs a chart that brings its definitions and objects of them, and takes the objects away', async () => {
  const chart = mkdtempSync(path.join(tmpdir(), 'flotilla-chart-'));
  try {
    mkdirSync(path.join(chart, 'crds'));
    mkdirSync(path.join(chart, 'templates'));
    writeFileSync(path.join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: fleet\nversion: 1.0.0\n');
    writeFileSync(path.join(chart, 'crds/canoes.yaml'), definition('Canoe', 'canoes'));
    writeFileSync(
      path.join(chart, 'templates/canoe.yaml'),
      object('Canoe', '{{ .Release.Name }}', '{ size: {{ .Values.size }} }'),
    );
    writeFileSync(path.join(chart, 'values.yaml'), 'size: 2\n');
    const helm = async (...args: string[]): Promise<string> => {
      const result = await tool('helm', [...args, '--kubeconfig', cluster.kubeconfig]);
      expect(result.stderr + result.stdout).not.toContain('Error');
      return result.stdout;
    };
    await helm('install', 'one', chart);
    expect(await cluster.kubectlOk('get', 'canoe', 'one', '-o', 'jsonpath={.spec.size}')).toBe('2');
    await helm('upgrade', 'one', chart, '--set', 'size=5');
    expect(await cluster.kubectlOk('get', 'canoe', 'one', '-o', 'jsonpath={.spec.size}')).toBe('5');
    await helm('uninstall', 'one');
    expect(await cluster.kubectlOk('get', 'canoes', '-o', 'name')).toBe('');
    await cluster.kubectlOk('get', 'crd', 'canoes.sea.example.com');
  } finally {
    rmSync(chart, { recursive: true, force: true });
  }
});

it('an informer of another client follows custom resources', async () => {
  await cluster.apply(definition('Ferry', 'ferries'));
  const config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  const custom = config.makeApiClient(CustomObjectsApi);
  const group = { group: 'sea.example.com', version: 'v1', plural: 'ferries' };
  const list = (): Promise<KubernetesListObject<KubernetesObject>> =>
    custom.listClusterCustomObject(group) as Promise<KubernetesListObject<KubernetesObject>>;
  const seen: string[] = [];
  const informer = makeInformer(config, '/apis/sea.example.com/v1/ferries', list);
  for (const event of ['add', 'update', 'delete'] as const)
    informer.on(event, ({ metadata }) => void seen.push(`${event} ${metadata?.name}`));
  await informer.start();
  try {
    await cluster.apply(object('Ferry', 'one', '{ size: 1 }'));
    await cluster.apply(object('Ferry', 'one', '{ size: 2 }'));
    await cluster.kubectlOk('delete', 'ferry', 'one');
    await eventually(() => seen.includes('delete one'), 'the deletion is seen');
    expect(seen).toEqual(['add one', 'update one', 'delete one']);
  } finally {
    await informer.stop();
  }
});

it('another server answers for a group, as if it were one API', async () => {
  const { address = '' } =
    Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === 'IPv4' && !one.internal) ?? {};
  expect(address).not.toBe('');
  const pki = await ClusterPki.open({
    directory: path.join(cluster.dataDirectory, 'harbour'),
    clock: systemClock,
    random: systemRandom,
  });
  const serving = await pki.ensure({
    path: path.join(cluster.dataDirectory, 'harbour/serving'),
    commonName: 'harbour',
    usages: ['server'],
    dnsNames: ['harbour.default.svc'],
  });
  // Whom to believe, as every such server reads it.
  const trust = JSON.parse(
    await cluster.kubectlOk(
      'get',
      'configmap',
      'extension-apiserver-authentication',
      '--namespace=kube-system',
      '-o=jsonpath={.data}',
    ),
  ) as Record<string, string>;
  expect(trust['requestheader-allowed-names']).toBe('["front-proxy-client"]');
  const askedBy: unknown[] = [];
  const backend = createServer(
    {
      cert: serving.certPem,
      key: serving.keyPem,
      ca: trust['requestheader-client-ca-file'],
      requestCert: true,
      rejectUnauthorized: true,
    },
    (request, response) => {
      askedBy.push(request.headers['x-remote-user']);
      const answer = harbour(request.url ?? '');
      response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer ?? {}));
    },
  );
  backend.listen(0, address);
  await once(backend, 'listening');
  try {
    const { port } = backend.address() as AddressInfo;
    await cluster.apply(harbourObjects(address, port, Buffer.from(pki.caPem).toString('base64')));
    const name = 'apiservice/v1.harbour.example.com';
    await cluster.kubectlOk('wait', '--for=condition=Available', name, '--timeout=60s');
    expect(await cluster.kubectlOk('get', 'apiservice', 'v1.harbour.example.com')).toMatch(
      /v1\.harbour\.example\.com\s+default\/harbour\s+True\s/,
    );
    expect(await cluster.kubectlOk('get', 'quays', '-o', 'name')).toBe(
      'quay.harbour.example.com/north\n',
    );
    expect(await cluster.kubectlOk('api-resources', '--api-group=harbour.example.com')).toContain(
      'quays',
    );
    expect(askedBy).toContain('kubernetes-admin');
    await cluster.kubectlOk('delete', 'service', 'harbour');
    await cluster.kubectlOk('wait', '--for=condition=Available=False', name, '--timeout=60s');
    const refused = await cluster.kubectl('get', '--raw', '/apis/harbour.example.com/v1/quays');
    expect(refused.stderr).toContain('the server is currently unable to handle the request');
  } finally {
    backend.closeAllConnections();
    backend.close();
    await cluster.kubectlOk('delete', 'apiservice', 'v1.harbour.example.com');
  }
});

/** The documents of a server with one kind and one object. */
function harbour(url: string): object | undefined {
  const groupVersion = 'harbour.example.com/v1';
  const [file] = url.split('?');
  if (file === `/apis/${groupVersion}`)
    return {
      kind: 'APIResourceList',
      apiVersion: 'v1',
      groupVersion,
      resources: [
        {
          name: 'quays',
          singularName: 'quay',
          namespaced: true,
          kind: 'Quay',
          verbs: ['get', 'list'],
        },
      ],
    };
  const metadata = { name: 'north', namespace: 'default' };
  const quay = { apiVersion: groupVersion, kind: 'Quay', metadata };
  if (file === `/apis/${groupVersion}/namespaces/default/quays`)
    return { apiVersion: groupVersion, kind: 'QuayList', metadata: {}, items: [quay] };
  return undefined;
}

function harbourObjects(address: string, port: number, caBundle: string): string {
  return `
apiVersion: v1
kind: Service
metadata: { name: harbour, namespace: default }
spec: { ports: [{ name: https, port: 443, targetPort: ${port} }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: harbour-1
  namespace: default
  labels: { kubernetes.io/service-name: harbour }
addressType: IPv4
endpoints: [{ addresses: [${address}] }]
ports: [{ name: https, port: ${port}, protocol: TCP }]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: { name: v1.harbour.example.com }
spec:
  group: harbour.example.com
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 15
  service: { namespace: default, name: harbour }
  caBundle: ${caBundle}
`;
}
