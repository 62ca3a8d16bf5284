// Programs in pods that are clients of the API: by name and token of their service account, as every operator and
// dashboard does it. First where the API listens for this machine only, then where it listens for others.
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

/** Asks by the name and by the address that the environment tells; says status and what it was told. */
const script = `
const { readFileSync } = require('node:fs');
const { get } = require('node:https');
const read = (name) => readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/' + name, 'utf8');
const ask = (host) => new Promise((resolve) => {
  const path = '/api/v1/namespaces/' + read('namespace') + '/configmaps/' + process.argv[1];
  const headers = { authorization: 'Bearer ' + read('token') };
  const { KUBERNETES_SERVICE_PORT: port } = process.env;
  get({ host, port, path, headers, ca: read('ca.crt') }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    response.on('end', () => {
      const { data, message } = JSON.parse(text);
      resolve([response.statusCode, data?.hello ?? message]);
    });
  }).on('error', (error) => resolve([0, error.message]));
});
(async () => {
  const hosts = ['kubernetes.default.svc', process.env.KUBERNETES_SERVICE_HOST];
  console.log(JSON.stringify(await Promise.all(hosts.map(ask))));
})();
`;

const node = path.dirname(process.execPath);
const host = ['/lib', '/lib64', node];
const objects = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'greeting' }, data: { hello: 'pod' } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'reader' } },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'reader' },
    rules: [
      { apiGroups: [''], resources: ['configmaps'], resourceNames: ['greeting'], verbs: ['get'] },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
    subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: 'default' }],
  },
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'client' },
    spec: {
      serviceAccountName: 'reader',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: webImage,
          imagePullPolicy: 'Never',
          volumeMounts: host.map((folder, i) => ({
            name: `host-${i}`,
            mountPath: folder,
            readOnly: true,
          })),
        },
      ],
      volumes: host.map((folder, i) => ({ name: `host-${i}`, hostPath: { path: folder } })),
    },
  },
];

let cluster: Cluster;

beforeAll(async () => {
  ensureTestImages();
  cluster = await new Cluster().start();
  await eventually(
    async () => (await cluster.kubectl('get', 'serviceaccount', 'default')).code === 0,
    'pods can be made',
  );
  await cluster.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  await cluster.kubectlOk('wait', '--for=condition=Ready', 'pod/client', '--timeout=60s');
});
afterAll(() => cluster.destroy());

async function answers(name: string): Promise<unknown> {
  const program = path.join(node, 'node');
  const command = ['exec', 'client', '--', program, '-e', script, name];
  return JSON.parse(await cluster.kubectlOk(...command));
}

async function endpoints(): Promise<string> {
  const list = ['get', 'endpointslices', '-l', 'kubernetes.io/service-name=kubernetes'];
  return cluster.kubectlOk(...list, '-o', 'jsonpath={.items[*].endpoints[*].addresses[*]}');
}

const allowed = [200, 'pod'];
const forbidden = [
  403,
  'configmaps "secret" is forbidden: User "system:serviceaccount:default:reader" cannot get resource "configmaps" in API group "" in the namespace "default"',
];

it('reach it where it listens on loopback alone, and may what their account may', async () => {
  expect(await endpoints()).toBe('');
  expect(await answers('greeting')).toEqual([allowed, allowed]);
  expect(await answers('secret')).toEqual([forbidden, forbidden]);
});

it('reach it where it listens for others, at the endpoints that all machines know', async () => {
  await cluster.stop();
  const { dataDirectory } = cluster;
  cluster = await new Cluster(['--bind-address', '0.0.0.0'], dataDirectory).start();
  await eventually(async () => /^\d+\./.test(await endpoints()), 'there is an endpoint');
  await eventually(async () => {
    expect(await answers('greeting')).toEqual([allowed, allowed]);
    return true;
  }, 'the pod reaches it');
});
