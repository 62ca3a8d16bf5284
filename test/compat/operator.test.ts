// A program as operators are: with @kubernetes/client-node it defines a kind in two versions that it
// converts itself, changes and judges what is written of it, and follows it by an informer. Users come
// with an unmodified kubectl. No node: nothing has to run.
import {
  AdmissionregistrationV1Api,
  ApiextensionsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  makeInformer,
  type KubernetesListObject,
  type KubernetesObject,
} from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Json } from '../setup/api.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { allow, deny, startWebhook, type WebhookServer } from '../setup/webhook-server.ts';

const group = 'fleet.example.com';
const cluster = new Cluster(['--no-agent']);
let operator: Operator;

beforeAll(async () => {
  await cluster.start();
  operator = await Operator.start(cluster.kubeconfig);
});
afterAll(async () => {
  await operator?.stop();
  await cluster.destroy();
});

/** Keeps a ConfigMap for each boat. */
class Operator {
  readonly #config = new KubeConfig();
  readonly #server: WebhookServer;
  #stop: (() => Promise<void>) | undefined;

  private constructor(kubeconfig: string, server: WebhookServer) {
    this.#config.loadFromFile(kubeconfig);
    this.#server = server;
  }

  static async start(kubeconfig: string): Promise<Operator> {
    const started = new Operator(kubeconfig, await startWebhook(answer));
    await started.#define();
    await started.#register();
    await started.#follow();
    return started;
  }

  async stop(): Promise<void> {
    await this.#stop?.();
    await this.#server.stop();
  }

  clientConfig(path: string) {
    return { url: `${this.#server.url}${path}`, caBundle: this.#server.caBundle };
  }

  async #define(): Promise<void> {
    const version = (name: string, crew: object) => ({
      name,
      served: true,
      storage: name === 'v1',
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: { type: 'object', properties: { crew, captain: { type: 'string' } } },
          },
        },
      },
    });
    await this.#config.makeApiClient(ApiextensionsV1Api).createCustomResourceDefinition({
      body: {
        metadata: { name: `boats.${group}` },
        spec: {
          group,
          scope: 'Namespaced',
          names: { plural: 'boats', kind: 'Boat' },
          versions: [
            version('v1', { type: 'object', properties: { size: { type: 'integer' } } }),
            version('v1alpha1', { type: 'string' }),
          ],
          conversion: {
            strategy: 'Webhook',
            webhook: {
              clientConfig: this.clientConfig('/convert'),
              conversionReviewVersions: ['v1'],
            },
          },
        },
      },
    });
  }

  async #register(): Promise<void> {
    const api = this.#config.makeApiClient(AdmissionregistrationV1Api);
    const hook = (path: string) => ({
      name: `${path.slice(1)}.${group}`,
      admissionReviewVersions: ['v1'],
      sideEffects: 'None',
      clientConfig: this.clientConfig(path),
      rules: [
        {
          apiGroups: [group],
          apiVersions: ['v1'],
          operations: ['CREATE', 'UPDATE'],
          resources: ['boats'],
        },
      ],
    });
    await api.createMutatingWebhookConfiguration({
      body: { metadata: { name: 'boats' }, webhooks: [hook('/mutate')] },
    });
    await api.createValidatingWebhookConfiguration({
      body: { metadata: { name: 'boats' }, webhooks: [hook('/validate')] },
    });
  }

  async #follow(): Promise<void> {
    const custom = this.#config.makeApiClient(CustomObjectsApi);
    const core = this.#config.makeApiClient(CoreV1Api);
    const kind = { group, version: 'v1', plural: 'boats' };
    const informer = makeInformer(
      this.#config,
      `/apis/${group}/v1/boats`,
      () => custom.listClusterCustomObject(kind) as Promise<KubernetesListObject<KubernetesObject>>,
    );
    informer.on('add', (boat) => {
      const { name = '', namespace = '', uid = '' } = boat.metadata ?? {};
      const owner = { apiVersion: `${group}/v1`, kind: 'Boat', name, uid };
      void core.createNamespacedConfigMap({
        namespace,
        body: {
          metadata: { name: `boat-${name}`, ownerReferences: [owner] },
          data: { crew: String((boat as Json).spec.crew.size) },
        },
      });
    });
    await informer.start();
    this.#stop = () => informer.stop();
  }
}

function answer(path: string, review: Json): unknown {
  const { request } = review;
  switch (path) {
    case '/convert':
      return {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'ConversionReview',
        response: {
          uid: request.uid,
          result: { status: 'Success' },
          convertedObjects: request.objects.map((boat: Json) =>
            converted(boat, request.desiredAPIVersion),
          ),
        },
      };
    case '/mutate':
      return allow(
        review,
        [{ op: 'add', path: '/spec/captain', value: request.object.spec.captain ?? 'Ahab' }],
        { warnings: ['every boat has a captain'] },
      );
    default:
      return request.object.spec.crew.size > 10
        ? deny(review, { message: 'the crew does not fit' })
        : allow(review);
  }
}

function converted(boat: Json, apiVersion: string): Json {
  const { crew } = boat.spec;
  const isNew = apiVersion === `${group}/v1`;
  return {
    ...boat,
    apiVersion,
    spec: { ...boat.spec, crew: isNew ? { size: Number(crew) } : String(crew.size) },
  };
}

const boat = (name: string, crew: string) => `
apiVersion: ${group}/v1alpha1
kind: Boat
metadata: { name: ${name} }
spec: { crew: "${crew}" }
`;

it('an old version of a kind is written, changed, stored as the new one and acted upon', async () => {
  const result = await cluster.pipe(boat('pequod', '3'), 'apply', '-f', '-');
  expect(result.stdout).toBe(`boat.${group}/pequod created\n`);
  expect(result.stderr).toBe('Warning: every boat has a captain\n');
  const spec = (version: string) =>
    cluster.kubectlOk('get', `boats.${version}.${group}`, 'pequod', '-o', 'jsonpath={.spec}');
  expect(JSON.parse(await spec('v1'))).toEqual({ crew: { size: 3 }, captain: 'Ahab' });
  expect(JSON.parse(await spec('v1alpha1'))).toEqual({ crew: '3', captain: 'Ahab' });
  await eventually(
    async () => (await cluster.kubectl('get', 'configmap', 'boat-pequod')).code === 0,
    'the operator has seen the boat',
  );
});

it('what the operator refuses, kubectl tells in its words', async () => {
  const { code, stderr } = await cluster.pipe(boat('ark', '11'), 'create', '-f', '-');
  expect([code, stderr]).toEqual([
    1,
    'Warning: every boat has a captain\n' +
      `Error from server: error when creating "STDIN": admission webhook "validate.${group}" denied the request: the crew does not fit\n`,
  ]);
});

it('a policy in CEL is told of by its name', async () => {
  await cluster.apply(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: small }
spec:
  matchConstraints:
    resourceRules:
      - { apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps] }
  validations:
    - { expression: "size(object.data) < 2", messageExpression: "'too much: ' + string(size(object.data))" }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: everywhere }
spec: { policyName: small, validationActions: [Deny] }
`);
  const { stderr } = await cluster.kubectl(
    'create',
    'configmap',
    'two',
    '--from-literal=a=1',
    '--from-literal=b=2',
  );
  expect(stderr).toBe(
    `error: failed to create configmap: configmaps "two" is forbidden: ValidatingAdmissionPolicy 'small' with binding 'everywhere' denied request: too much: 2\n`,
  );
});

it('a webhook that is gone keeps nobody from starting the cluster again and removing it', async () => {
  await cluster.apply(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: dead }
webhooks:
  - name: dead.${group}
    admissionReviewVersions: [v1]
    sideEffects: None
    clientConfig: { url: "https://127.0.0.1:1/" }
    rules: [{ apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*/*"] }]
`);
  await cluster.stop();
  await cluster.start();
  const refused = await cluster.kubectl('create', 'configmap', 'one', '--from-literal=a=1');
  expect(refused.stderr).toMatch(
    /Internal error occurred: failed calling webhook "dead\.fleet\.example\.com": failed to call webhook: Post "https:\/\/127\.0\.0\.1:1\/\?timeout=10s": dial tcp 127\.0\.0\.1:1: connect: connection refused\n$/,
  );
  await cluster.kubectlOk('delete', 'validatingwebhookconfiguration', 'dead');
  await cluster.kubectlOk('create', 'configmap', 'one', '--from-literal=a=1');
});
