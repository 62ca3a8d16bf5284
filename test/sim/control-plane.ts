// The real API server (memory store, loopback, identities, admission) with the real controllers on
// it, in one process and on a clock the test moves. The tests play scheduler and kubelets.
import type { Node, Pod } from '#kube/api/core.ts';
import { ManualClock, rfc3339 } from '#kube/base/clock.ts';
import { jsonLogger, type Logger, silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import type { Transport } from '#kube/client/transport.ts';
import { events, namespaces, nodes, pods } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { makeKey, pairProblem } from '#platform/certificate.ts';
import { decideSigning } from '#platform/certificate-signing.ts';
import { ensureBootstrapRbac } from '../../electron/controlplane/bootstrap-rbac.ts';
import { assembleApiServer } from '../../electron/controlplane/api-server.ts';
import type { SetBackupPassphrase } from '../../electron/controlplane/apiserver/handlers/backup-passphrase.ts';
import type { EnrolMachine } from '../../electron/controlplane/apiserver/handlers/enrolment.ts';
import type { UserInfo } from '../../electron/controlplane/apiserver/http.ts';
import { serviceAccountGroups } from '../../electron/controlplane/apiserver/identity/authentication.ts';
import { runControllers } from '../../electron/controlplane/controllers/index.ts';
import { createNodeOperations } from '../../electron/controlplane/fleet/power/operations.ts';
import { LoopbackTransport } from '../../electron/controlplane/loopback-transport.ts';
import { openMemoryStore } from '../../electron/controlplane/store/memory-store.ts';
import type { Store } from '../../electron/controlplane/store/store.ts';

export interface SimulatedControlPlane {
  readonly clock: ManualClock;
  /** As an administrator. */
  readonly client: RestClient;
  /** As anybody else. */
  readonly clientAs: (name: string, groups?: readonly string[]) => RestClient;
  /** As whom an authenticator made out. */
  readonly clientOf: (user: UserInfo) => RestClient;
  /** An administrator's requests and their answers as they are. */
  readonly transport: Transport;
  /** Lets everything happen that can, then moves the clock by `ms` in steps. */
  advance(ms: number): Promise<void>;
  settle(): Promise<void>;
  addNode(name: string, more?: Partial<Node>): Promise<void>;
  /** Every living pod gets a node and becomes ready; every dying one goes. */
  runPods(nodeName?: string): Promise<void>;
  /** `reason: message`, sorted. */
  events(namespace: string): Promise<string[]>;
  stop(): Promise<void>;
}

export interface GivenParts {
  /** A store of the test's own, in memory as well. */
  readonly store?: Store;
  /** Members of the store, and whether they are heard of. */
  readonly apiServers?: () => ReadonlyMap<string, boolean>;
  /** Adds machines. */
  readonly enrol?: EnrolMachine;
  /** Machines that keep the state, and whether they answer. */
  readonly keepers?: () => ReadonlyMap<string, boolean>;
  /** Sets what backups are sealed with. */
  readonly setBackupPassphrase?: SetBackupPassphrase;
  /** Nobody else writes then. */
  readonly withoutControllers?: boolean;
}

export async function startControlPlane(given: GivenParts = {}): Promise<SimulatedControlPlane> {
  const clock = new ManualClock();
  const random = seededRandom(7);
  const { store = openMemoryStore() } = given;
  const stop = new AbortController();
  const logger: Logger =
    process.env['SIM_LOG'] === undefined
      ? silentLogger
      : jsonLogger({ clock, level: 'debug', write: (line) => void process.stderr.write(line) });
  const { handler, registry, probeApiService } = assembleApiServer({
    store,
    config: { serviceCidr: '10.96.0.0/16', nodePortRange: [30000, 32767] },
    build: { version: '0.0.0', platform: 'linux/amd64' },
    address: '127.0.0.1:0',
    kubelet: () => ({
      stream: () => Promise.reject(new Error('no kubelet here')),
      upgrade: () => Promise.reject(new Error('no kubelet here')),
    }),
    podsOnNode: () => [],
    bootstrapState: () => undefined,
    ...(given.enrol !== undefined && { enrol: given.enrol }),
    operateNode: createNodeOperations({
      client: () => asAccount('node-operation'),
      keepers: given.keepers ?? (() => new Map()),
      wake: async () => {},
      clock,
      random,
      logger,
    }),
    ...(given.setBackupPassphrase !== undefined && {
      setBackupPassphrase: given.setBackupPassphrase,
    }),
    frontProxy: () => ({ certPem: '', keyPem: '' }),
    tokenKeyPem: makeKey(),
    eventLoopUtilization: () => 0,
    clock,
    random,
    logger,
  });
  await registry.start(stop.signal);
  const transportOf = (name: string, groups: readonly string[]): Transport => {
    const user = { name, groups: [...groups, 'system:authenticated'] };
    return new LoopbackTransport({ handler, user });
  };
  const as = (name: string, groups: readonly string[]): RestClient =>
    new RestClient({ transport: transportOf(name, groups), clock, random });
  const transport = transportOf('admin', ['system:masters']);
  const client = new RestClient({ transport, clock, random });
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    await client.create(namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
      spec: {},
    });
  await ensureBootstrapRbac(client);
  const manager = as('system:kube-controller-manager', []);
  const asAccount = (account: string): RestClient => {
    const name = `system:serviceaccount:kube-system:${account}`;
    return as(name, serviceAccountGroups(name) ?? []);
  };
  const informers = new InformerFactory({ client: manager, clock, random, logger });
  const running =
    given.withoutControllers === true
      ? undefined
      : runControllers(
          {
            clientOf: (account) => (account === undefined ? manager : asAccount(account)),
            informers,
            authority: {
              caPem: 'the CA',
              secretToken: (namespace, { name }) => `a token of ${namespace}/${name}`,
              examine: (request) => {
                const decision = decideSigning(request);
                return 'refused' in decision ? decision : decision.request;
              },
              certify: () => ({ certificatePem: 'a certificate' }),
              pairProblem,
              expiryOf: () => undefined,
              apps: {
                chain: () => Promise.resolve('a chain'),
                certify: () => ({ certificatePem: 'a certificate of an app' }),
              },
            },
            probeApiService,
            apiServers: given.apiServers ?? (() => new Map([['1', true]])),
            clock,
            random,
            logger,
          },
          stop.signal,
        );
  await settle();

  async function turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++)
      await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async function settle(): Promise<void> {
    for (let round = 0; round < 15; round++) {
      await turns(12);
      clock.advance(10);
    }
  }

  async function runPod(pod: Pod, nodeName: string): Promise<void> {
    const { namespace = '', name } = pod.metadata;
    const ref = { namespace, name };
    if (pod.metadata.deletionTimestamp !== undefined)
      return void (await client.delete(pods, ref, { gracePeriodSeconds: 0 }));
    if (pod.status?.phase !== 'Pending') return;
    if ((pod.spec.nodeName ?? '') === '')
      await client.createSubresource(pods, ref, 'binding', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: ref,
        target: { kind: 'Node', name: nodeName },
      });
    const lastTransitionTime = rfc3339(clock.now());
    const podIP = `10.0.0.${(ips++ % 250) + 1}`;
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime }];
    const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions };
    await client.patch(pods, ref, { status }, { subresource: 'status' });
  }
  let ips = 0;

  return {
    clock,
    client,
    transport,
    clientAs: (name, groups = []) => as(name, groups),
    clientOf: (user) =>
      new RestClient({ transport: new LoopbackTransport({ handler, user }), clock, random }),
    settle,
    async advance(ms) {
      for (let left = ms; left > 0; left -= 5000) {
        clock.advance(Math.min(5000, left));
        await turns(10);
      }
      await settle();
    },
    async addNode(name, more = {}) {
      await client.create(nodes, {
        apiVersion: 'v1',
        kind: 'Node',
        spec: {},
        ...more,
        metadata: { ...more.metadata, name },
      });
      const lastHeartbeatTime = rfc3339(clock.now());
      const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime };
      await client.patch(
        nodes,
        { name },
        { status: { conditions: [ready] } },
        { subresource: 'status' },
      );
      await settle();
    },
    async runPods(nodeName = 'node-1') {
      for (const pod of (await client.list(pods)).items) await runPod(pod, nodeName);
      await settle();
    },
    async events(namespace) {
      const { items } = await client.list(events, { namespace });
      return items.map(({ reason, message }) => `${reason}: ${message}`).toSorted();
    },
    async stop() {
      stop.abort();
      await running;
      await store.close();
    },
  };
}
