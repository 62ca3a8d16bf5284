// A MemoryApi with controllers running against it on a manual clock, and hands to play the parts
// that are missing: the scheduler and the kubelets.
import type { Pod, Node } from '#kube/api/core.ts';
import { ManualClock, rfc3339 } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import * as resources from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import type { ClusterAuthority, ControllerDeps, ControllerFactory } from '../deps.ts';
import { MemoryApi } from './memory-api.ts';

const served = [
  resources.pods,
  resources.services,
  resources.configMaps,
  resources.secrets,
  resources.serviceAccounts,
  resources.events,
  resources.replicationControllers,
  resources.namespaces,
  resources.nodes,
  resources.deployments,
  resources.replicaSets,
  resources.daemonSets,
  resources.controllerRevisions,
  resources.leases,
  resources.endpointSlices,
  resources.endpoints,
];

export class TestCluster {
  readonly clock = new ManualClock();
  readonly api = new MemoryApi(this.clock, served);
  readonly client: RestClient;
  readonly deps: ControllerDeps;
  readonly #stop = new AbortController();

  constructor() {
    const random = seededRandom(1);
    this.client = new RestClient({ transport: this.api, clock: this.clock, random });
    const base = { client: this.client, clock: this.clock, random, logger: silentLogger };
    const authority: ClusterAuthority = {
      caPem: 'the CA',
      secretToken: (namespace, { name }) => `a token of ${namespace}/${name}`,
      examine: () => ({ commonName: 'system:node:node-1', dnsNames: [], ipAddresses: [] }),
      pairProblem: () => undefined,
      expiryOf: () => undefined,
      apps: {
        chain: () => Promise.resolve('a chain'),
        certify: () => ({ certificatePem: 'a certificate of an app' }),
      },
      certify: () => ({ certificatePem: 'a certificate' }),
    };
    const probeApiService = () => Promise.resolve(undefined);
    this.deps = {
      ...base,
      authority,
      probeApiService,
      apiServers: () => new Map(),
      informers: new InformerFactory(base),
    };
  }

  async run(...factories: readonly ControllerFactory[]): Promise<void> {
    for (const factory of factories) void factory(this.deps).run(this.#stop.signal);
    this.deps.informers.start(this.#stop.signal);
    await this.settle();
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Until nobody has anything left to do now; retries that wait a few milliseconds included. */
  async settle(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      for (let turn = 0; turn < 150; turn++) await Promise.resolve();
      this.clock.advance(10);
    }
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.settle();
  }

  /** Reasons and messages of all events recorded, sorted. */
  events(): string[] {
    return this.api
      .list(resources.events)
      .map(({ reason, message }) => `${reason}: ${message}`)
      .toSorted();
  }

  /** What scheduler and kubelet do: every living pod runs and is ready, every dying one goes. */
  async runPods(
    options: { readonly nodeName?: string; readonly ready?: boolean } = {},
  ): Promise<void> {
    for (const pod of this.api.list(resources.pods)) {
      const { namespace, name } = pod.metadata;
      if (pod.metadata.deletionTimestamp !== undefined)
        await this.client.delete(resources.pods, { namespace, name }, { gracePeriodSeconds: 0 });
      else if (pod.status?.phase === undefined || pod.status.phase === 'Pending')
        await this.setRunning(pod, options);
    }
    await this.settle();
  }

  async setRunning(
    pod: Pod,
    options: { readonly nodeName?: string; readonly ready?: boolean } = {},
  ): Promise<void> {
    const { nodeName = 'node-1', ready = true } = options;
    const { namespace, name } = pod.metadata;
    await this.client.patch(resources.pods, { namespace, name }, { spec: { nodeName } });
    const lastTransitionTime = rfc3339(this.clock.now());
    const condition = { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime };
    const status = { phase: 'Running', podIP: `10.0.0.${name.length}`, conditions: [condition] };
    const options2 = { subresource: 'status' };
    await this.client.patch(resources.pods, { namespace, name }, { status }, options2);
  }

  async addNode(name: string, more: Partial<Node> = {}): Promise<void> {
    await this.client.create(resources.nodes, {
      apiVersion: 'v1',
      kind: 'Node',
      spec: {},
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
      ...more,
      metadata: { labels: { 'kubernetes.io/hostname': name }, ...more.metadata, name },
    });
  }
}
