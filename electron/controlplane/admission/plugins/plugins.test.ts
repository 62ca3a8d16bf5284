import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { seededRandom } from '#kube/base/random.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { podOf, refusal } from '../../../../test/setup/kinds.ts';
import { createAdmissionChain, type ObjectReader } from '../chain.ts';
import { attributesOf, readerOf, run, type Given } from '../testing/attributes.ts';
import { certificateRequester } from './certificate-requester.ts';
import { defaultTolerationSeconds } from './default-toleration-seconds.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import { serviceAccount } from './service-account.ts';
import { standardPlugins } from './standard.ts';

describe('NamespaceLifecycle', () => {
  const plugin = namespaceLifecycle(
    readerOf({
      'namespaces//default': { status: { phase: 'Active' } },
      'namespaces//going': { status: { phase: 'Terminating' } },
    }),
  );
  const cases: readonly { name: string; given: Given; want: string }[] = [
    { name: 'lets an active namespace grow', given: {}, want: '' },
    {
      name: 'refuses what has no namespace',
      given: { namespace: 'lab' },
      want: 'namespaces "lab" not found',
    },
    {
      name: 'refuses what is new in a namespace that goes',
      given: { namespace: 'going' },
      want: 'pods "web" is forbidden: unable to create new content in namespace going because it is being terminated',
    },
    {
      name: 'lets content go from a namespace that goes',
      given: { namespace: 'going', operation: 'DELETE' },
      want: '',
    },
    {
      name: 'keeps the namespaces of the system',
      given: { resource: 'namespaces', operation: 'DELETE', namespace: '', name: 'kube-system' },
      want: 'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    },
    {
      name: 'lets other namespaces go',
      given: { resource: 'namespaces', operation: 'DELETE', namespace: '', name: 'lab' },
      want: '',
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    expect(await refusal(run(plugin, given))).toBe(want);
  });

  it('names the cause, which clients that drain nodes look for', async () => {
    const error: unknown = await run(plugin, { namespace: 'going' }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StatusError);
    expect((error as StatusError).status.details?.causes).toEqual([
      {
        reason: 'NamespaceTerminating',
        message: 'namespace going is being terminated',
        field: 'metadata.namespace',
      },
    ]);
  });
});

describe('ServiceAccount', () => {
  const accounts = {
    'serviceaccounts/default/default': { imagePullSecrets: [{ name: 'registry' }] },
    'serviceaccounts/default/web': {},
  };

  it('makes a pod run as default, with its pull secrets', async () => {
    const pod = podOf() as KubeObject;
    const plugin = serviceAccount({
      reader: readerOf(accounts),
      random: seededRandom(1),
      clock: new ManualClock(),
    });
    await run(plugin, { object: pod });
    expect(pod).toMatchObject({
      spec: {
        serviceAccountName: 'default',
        serviceAccount: 'default',
        imagePullSecrets: [{ name: 'registry' }],
      },
    });
  });

  it('refuses an account that does not exist', async () => {
    const plugin = serviceAccount({
      reader: readerOf(accounts),
      random: seededRandom(1),
      clock: new ManualClock(),
    });
    const object = podOf({ serviceAccountName: 'nobody' }) as KubeObject;
    expect(await refusal(run(plugin, { object }))).toBe(
      'pods "web" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found',
    );
  });

  describe('mounts token, authority and namespace', () => {
    const path = '/var/run/secrets/kubernetes.io/serviceaccount';
    const mounted = async (spec: object, account: object = {}): Promise<Pod> => {
      const pod = podOf(spec) as unknown as Pod;
      const reader = readerOf({ 'serviceaccounts/default/default': account });
      const random = seededRandom(1);
      await run(serviceAccount({ reader, random, clock: new ManualClock() }), {
        object: pod,
      });
      return pod;
    };
    const names = ({ spec }: Pod): string[] =>
      (spec.volumes ?? []).map(({ name }) => name.replace(/-.{5}$/, '-'));
    const mounts = ({ spec }: Pod): (string | undefined)[] => {
      const { initContainers = [], containers } = spec;
      return [...initContainers, ...containers].map(
        ({ volumeMounts = [] }) => volumeMounts.find(({ mountPath }) => mountPath === path)?.name,
      );
    };

    it('into every container', async () => {
      const containers = [{ name: 'c', image: 'i' }];
      const pod = await mounted({ containers, initContainers: [{ name: 'i', image: 'i' }] });
      const [volume] = pod.spec.volumes ?? [];
      const fieldRef = { apiVersion: 'v1', fieldPath: 'metadata.namespace' };
      expect(volume?.projected).toEqual({
        defaultMode: 420,
        sources: [
          { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          { downwardAPI: { items: [{ path: 'namespace', fieldRef }] } },
        ],
      });
      expect(names(pod)).toEqual(['kube-api-access-']);
      expect(mounts(pod)).toEqual([volume?.name, volume?.name]);
    });

    it('but over nothing that a container mounts there itself', async () => {
      const volumeMounts = [{ name: 'own', mountPath: path }];
      const own = { name: 'own', emptyDir: {} };
      const pod = await mounted({
        volumes: [own],
        containers: [{ name: 'c', image: 'i', volumeMounts }],
      });
      expect([names(pod), mounts(pod)]).toEqual([['own'], ['own']]);
    });

    const words: readonly (readonly [boolean | undefined, boolean | undefined, number])[] = [
      [undefined, undefined, 1],
      [undefined, false, 0],
      [false, undefined, 0],
      [true, false, 1],
      [false, true, 0],
    ];
    it.each(words)('when the pod says %s and the account %s', async (pod, account, count) => {
      const automountServiceAccountToken = pod;
      const made = await mounted(
        pod === undefined ? {} : { automountServiceAccountToken },
        account === undefined ? {} : { automountServiceAccountToken: account },
      );
      expect(names(made)).toHaveLength(count);
    });
  });

  it('waits a second for the default account of a new namespace', async () => {
    const clock = new ManualClock();
    let reads = 0;
    const reader: ObjectReader = {
      ...readerOf({}),
      get: async () => (++reads > 3 ? ({} as KubeObject) : undefined),
    };
    const done = run(serviceAccount({ reader, random: seededRandom(1), clock }), {
      object: podOf() as KubeObject,
    });
    // Each turn lets the plugin come to its next wait, then ends that wait.
    for (let turn = 0; turn < 50; turn++) {
      await Promise.resolve();
      clock.advance(clock.nextTimerMs() ?? 0);
    }
    await done;
    expect(reads).toBe(4);
  });
});

describe('DefaultTolerationSeconds', () => {
  const added = (key: 'not-ready' | 'unreachable') => ({
    key: `node.kubernetes.io/${key}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: { 'not-ready': 300, unreachable: 5 }[key],
  });
  const cases = [
    {
      name: 'gives five minutes and five seconds',
      given: [],
      want: [added('not-ready'), added('unreachable')],
    },
    {
      name: "respects the pod's own word on one taint",
      given: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
      want: [
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
        added('unreachable'),
      ],
    },
    {
      name: 'respects a pod that tolerates everything',
      given: [{ operator: 'Exists' }],
      want: [{ operator: 'Exists' }],
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    const object = podOf({ tolerations: given }) as KubeObject;
    await run(defaultTolerationSeconds(), { object });
    expect(object).toMatchObject({ spec: { tolerations: want } });
  });
});

describe('NodeRestriction', () => {
  const user = { name: 'system:node:pi', groups: ['system:nodes', 'system:authenticated'] };
  const plugin = nodeRestriction(
    readerOf({
      'pods/default/mine': podOf({ nodeName: 'pi' }, { uid: 'u-mine' }),
      'pods/default/web': podOf({ nodeName: 'nas' }, { uid: 'u-web' }),
    }),
  );
  const node = (labels: object = {}, spec: object = {}) =>
    ({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi', labels }, spec }) as KubeObject;
  const bound = (nodeName: string, labels: object = {}) =>
    podOf({ nodeName }, { labels }) as KubeObject;
  const mirror = (spec: object = {}, metadata: object = {}) =>
    podOf(
      { nodeName: 'pi', ...spec },
      {
        annotations: { 'kubernetes.io/config.mirror': 'hash' },
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Node', name: 'pi', uid: 'u', controller: true },
        ],
        ...metadata,
      },
    ) as KubeObject;
  const nodes = { resource: 'nodes', namespace: '', name: 'pi' };
  const taints = [{ key: 'a', effect: 'NoSchedule' }];
  const token = (boundObjectRef?: object): Given => ({
    resource: 'serviceaccounts',
    subresource: 'token',
    name: 'robot',
    object: { spec: { boundObjectRef } } as unknown as KubeObject,
  });
  const podRef = (name: string, uid: string) => ({ apiVersion: 'v1', kind: 'Pod', name, uid });
  const cases: readonly { name: string; given: Given; want: string }[] = [
    {
      name: 'gives a token for a pod of the node',
      given: token(podRef('mine', 'u-mine')),
      want: '',
    },
    {
      name: 'refuses a token that is bound to no pod',
      given: token(),
      want: 'serviceaccounts "robot" is forbidden: node requested token not bound to a pod',
    },
    {
      name: 'refuses a token for a pod of no uid',
      given: token(podRef('mine', '')),
      want: 'serviceaccounts "robot" is forbidden: node requested token with a pod binding without a uid',
    },
    {
      name: 'refuses a token for a pod of another uid',
      given: token(podRef('mine', 'old')),
      want: 'serviceaccounts "robot" is forbidden: the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated',
    },
    {
      name: 'refuses a token for a pod of another node',
      given: token(podRef('web', 'u-web')),
      want: 'serviceaccounts "robot" is forbidden: node requested token bound to a pod scheduled on a different node',
    },
    {
      name: 'lets a node register',
      given: {
        ...nodes,
        object: node({ 'kubernetes.io/hostname': 'pi', 'example.com/rack': '1' }),
      },
      want: '',
    },
    {
      name: 'refuses roles a node gives itself',
      given: { ...nodes, object: node({ 'node-role.kubernetes.io/control-plane': '' }) },
      want: 'nodes "pi" is forbidden: node "pi" is not allowed to set the following labels: node-role.kubernetes.io/control-plane',
    },
    {
      name: 'refuses labels kept from nodes',
      given: {
        ...nodes,
        operation: 'UPDATE',
        oldObject: node(),
        object: node({ 'node-restriction.kubernetes.io/zone': 'safe' }),
      },
      want: 'nodes "pi" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/zone',
    },
    {
      name: 'refuses to take taints off',
      given: {
        ...nodes,
        operation: 'UPDATE',
        oldObject: node({}, { taints }),
        object: node(),
      },
      want: 'nodes "pi" is forbidden: node "pi" is not allowed to modify taints',
    },
    {
      name: 'refuses to touch another node',
      given: { ...nodes, name: 'nas', operation: 'DELETE' },
      want: 'nodes "nas" is forbidden: node "pi" is not allowed to modify node "nas"',
    },
    {
      name: 'lets a node report on its pods',
      given: {
        operation: 'UPDATE',
        subresource: 'status',
        object: bound('pi'),
        oldObject: bound('pi'),
      },
      want: '',
    },
    {
      name: "refuses to report on another node's pods",
      given: {
        operation: 'UPDATE',
        subresource: 'status',
        object: bound('nas'),
        oldObject: bound('nas'),
      },
      want: 'pods "web" is forbidden: node "pi" can only update pod status for pods with spec.nodeName set to itself',
    },
    {
      name: 'refuses to relabel a pod by its status',
      given: {
        operation: 'UPDATE',
        subresource: 'status',
        object: bound('pi', { app: 'db' }),
        oldObject: bound('pi'),
      },
      want: 'pods "web" is forbidden: node "pi" cannot update labels through pod status',
    },
    {
      name: 'refuses to change a pod',
      given: { operation: 'UPDATE', object: bound('pi'), oldObject: bound('pi') },
      want: 'pods "web" is forbidden: unexpected operation "UPDATE", node "pi" can only create and delete mirror pods',
    },
    {
      name: 'lets a node remove its pods',
      given: { operation: 'DELETE', name: 'mine' },
      want: '',
    },
    {
      name: "refuses to remove another node's pods",
      given: { operation: 'DELETE' },
      want: 'pods "web" is forbidden: node "pi" can only delete pods with spec.nodeName set to itself',
    },
    {
      name: 'refuses to evict them',
      given: { subresource: 'eviction' },
      want: 'pods "web" is forbidden: node pi can only evict pods with spec.nodeName set to itself',
    },
    {
      name: 'refuses pods nobody asked for',
      given: { object: bound('pi') },
      want: 'pods "web" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "pi" can only create mirror pods',
    },
    {
      name: 'lets a node show a static pod of its own',
      given: { object: mirror() },
      want: '',
    },
    {
      name: 'refuses a static pod that nobody owns',
      given: { object: mirror({}, { ownerReferences: [] }) },
      want: 'pods "web" is forbidden: node "pi" can only create pods with an owner reference set to itself',
    },
    ...[
      { part: { imagePullSecrets: [{ name: 'a' }] }, what: 'secrets' },
      { part: { volumes: [{ name: 'a', secret: { secretName: 'a' } }] }, what: 'secrets' },
      {
        part: {
          containers: [{ name: 'a', envFrom: [{ secretRef: { name: 'a' } }] }],
        },
        what: 'secrets',
      },
      { part: { volumes: [{ name: 'a', configMap: { name: 'a' } }] }, what: 'configmaps' },
      {
        part: { volumes: [{ name: 'a', persistentVolumeClaim: { claimName: 'a' } }] },
        what: 'persistentvolumeclaims',
      },
      { part: { serviceAccountName: 'admin' }, what: 'a service account' },
    ].map(({ part, what }) => ({
      name: `refuses a static pod that would open ${what} to the node: ${JSON.stringify(part)}`,
      given: { object: mirror(part) },
      want: `pods "web" is forbidden: node "pi" can not create pods that reference ${what}`,
    })),
    {
      name: 'refuses to bind a pod',
      given: { subresource: 'binding' },
      want: `pods "web" is forbidden: unexpected pod subresource "binding", only 'status' and 'eviction' are allowed`,
    },
    {
      name: 'lets a node renew its lease',
      given: { resource: 'leases', namespace: 'kube-node-lease', name: 'pi', operation: 'UPDATE' },
      want: '',
    },
    {
      name: "refuses to hold another node's lease",
      given: { resource: 'leases', namespace: 'kube-node-lease', name: 'nas', operation: 'UPDATE' },
      want: 'leases.coordination.k8s.io "nas" is forbidden: can only access node lease with the same name as the requesting node',
    },
    {
      name: 'refuses leases elsewhere',
      given: { resource: 'leases', namespace: 'kube-system', name: 'pi', operation: 'UPDATE' },
      want: 'leases.coordination.k8s.io "pi" is forbidden: can only access leases in the "kube-node-lease" system namespace',
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    expect(await refusal(run(plugin, { ...given, user }))).toBe(want);
  });

  it('leaves everybody else alone', async () => {
    const admin = { name: 'system:node:pi', groups: ['system:masters'] };
    const given: Given = { ...nodes, name: 'nas', operation: 'DELETE', user: admin };
    expect(await refusal(run(plugin, given))).toBe('');
  });
});

describe('a request for a certificate', () => {
  it('is of whoever sends it, whatever it says', async () => {
    const object = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name: 'it' },
      spec: { username: 'root', uid: '1', groups: ['system:masters'], extra: { a: ['b'] } },
    };
    const chain = createAdmissionChain([certificateRequester()]);
    await chain.admit({
      ...attributesOf({ object, user: { name: 'jane', groups: ['lab'], extra: { b: ['c'] } } }),
      resource: {
        group: 'certificates.k8s.io',
        version: 'v1',
        resource: 'certificatesigningrequests',
      },
    });
    expect(object.spec).toEqual({ username: 'jane', groups: ['lab'], extra: { b: ['c'] } });
  });
});

describe('the standard plugins', () => {
  it('complain of a missing namespace before they look for accounts in it', async () => {
    const clock = new ManualClock();
    const chain = createAdmissionChain(
      standardPlugins({ reader: readerOf({}), random: seededRandom(1), clock }),
    );
    const attributes = attributesOf({ namespace: 'lab', object: podOf() as KubeObject });
    expect(await refusal(chain.admit(attributes))).toBe('namespaces "lab" not found');
  });

  it('run in the order of Kubernetes', () => {
    const plugins = standardPlugins({
      reader: readerOf({}),
      random: seededRandom(1),
      clock: new ManualClock(),
    });
    expect(plugins.map(({ name }) => name)).toEqual([
      'NamespaceLifecycle',
      'LimitRanger',
      'ServiceAccount',
      'NodeRestriction',
      'TaintNodesByCondition',
      'PodSecurity',
      'CertificateRequester',
      'Priority',
      'DefaultTolerationSeconds',
      'DefaultStorageClass',
      'StorageObjectInUseProtection',
      'PersistentVolumeClaimResize',
      'RuntimeClass',
      'DefaultIngressClass',
      'BalancerAddresses',
    ]);
  });
});
