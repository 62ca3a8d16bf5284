import { describe, expect, it } from 'vitest';
import type { Node, Pod, PodCondition } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { ScriptedTransport, settle } from '#kube/client/testing/scripted-transport.ts';
import { TransportError, type TransportRequest } from '#kube/client/transport.ts';
import { conflict } from '#kube/machinery/status.ts';
import { Scheduler } from './scheduler.ts';
import { makeNode, makePod, type PodShape } from './testing/objects.ts';

type Verdict = Error | { readonly status: number; readonly body: unknown } | undefined;

/** An API server of nodes and pods only: answers lists and bindings, sends watch events by hand. */
class FakeApi {
  readonly transport = new ScriptedTransport();
  readonly clock = new ManualClock();
  readonly nodes = new Map<string, Node>();
  readonly pods = new Map<string, Pod>();
  /** `web → a`, in order. */
  readonly bindings: string[] = [];
  /** `Scheduled: text`. */
  readonly events: string[] = [];
  readonly conditions: { readonly pod: string; readonly condition: PodCondition }[] = [];
  /** Refuses a binding. */
  refuseBinding: (pod: string) => Verdict = () => undefined;
  /** Whether a binding is told to watches at once. */
  tellsBindings = true;
  #version = 1;
  #abort = new AbortController();

  constructor() {
    this.transport.answer = (request) => this.#answer(request);
  }

  async start(): Promise<void> {
    const { clock, transport } = this;
    const random = seededRandom(1);
    const client = new RestClient({ transport, clock, random });
    new Scheduler({ client, clock, random, logger: silentLogger }).start(this.#abort.signal);
    await settle();
    // The watch begins with what there is.
    const collections: readonly (readonly [string, string, ReadonlyMap<string, unknown>])[] = [
      ['/api/v1/nodes', 'Node', this.nodes],
      ['/api/v1/pods', 'Pod', this.pods],
      ['/api/v1/persistentvolumes', 'PersistentVolume', new Map()],
      ['/api/v1/persistentvolumeclaims', 'PersistentVolumeClaim', new Map()],
      ['/apis/storage.k8s.io/v1/storageclasses', 'StorageClass', new Map()],
    ];
    for (const [path, kind, objects] of collections) {
      for (const object of objects.values()) this.#stream(path)?.send('ADDED', object);
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      const metadata = { resourceVersion: '1', annotations };
      this.#stream(path)?.send('BOOKMARK', { apiVersion: 'v1', kind, metadata });
    }
    await settle();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await settle();
  }

  async setNode(node: Node): Promise<void> {
    const type = this.nodes.has(node.metadata.name) ? 'MODIFIED' : 'ADDED';
    this.nodes.set(node.metadata.name, node);
    this.#stream('/api/v1/nodes')?.send(type, this.#stamp(node));
    await settle();
  }

  async setPod(pod: Pod): Promise<void> {
    const type = this.pods.has(pod.metadata.name) ? 'MODIFIED' : 'ADDED';
    this.pods.set(pod.metadata.name, pod);
    this.#stream('/api/v1/pods')?.send(type, this.#stamp(pod));
    await settle();
  }

  async deletePod(name: string): Promise<void> {
    const pod = this.pods.get(name);
    this.pods.delete(name);
    if (pod !== undefined) this.#stream('/api/v1/pods')?.send('DELETED', this.#stamp(pod));
    await settle();
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }

  #stamp<T extends Node | Pod>(object: T): T {
    const resourceVersion = String(++this.#version);
    return { ...object, metadata: { ...object.metadata, resourceVersion } };
  }

  #stream(path: string) {
    return this.transport.streams.findLast((stream) => stream.request.path === path);
  }

  #answer({ method, path, body }: TransportRequest): { status?: number; body: unknown } | Error {
    const name = /\/pods\/([^/]+)\//.exec(path)?.[1] ?? '';
    const sent = typeof body === 'string' ? (JSON.parse(body) as Record<string, never>) : {};
    if (path.endsWith('/binding')) return this.#bind(name, sent);
    if (path.endsWith('/status')) {
      const { status } = sent as unknown as { status: { conditions: PodCondition[] } };
      for (const condition of status.conditions) this.conditions.push({ pod: name, condition });
      return { body: this.pods.get(name) ?? {} };
    }
    if (method === 'POST' && path.endsWith('/events')) {
      this.events.push(`${String(sent['reason'])}: ${String(sent['message'])}`);
      return { status: 201, body: sent };
    }
    return { body: {} };
  }

  #bind(name: string, sent: Record<string, never>): { status?: number; body: unknown } | Error {
    const { target } = sent as unknown as { target: { name: string } };
    const refusal = this.refuseBinding(name);
    if (refusal !== undefined) return refusal;
    this.bindings.push(`${name} → ${target.name}`);
    const pod = this.pods.get(name) ?? makePod(name);
    const spec = pod.spec ?? { containers: [] };
    const bound = this.#stamp({ ...pod, spec: { ...spec, nodeName: target.name } });
    if (!this.tellsBindings) return { status: 201, body: {} };
    this.pods.set(name, bound);
    this.#stream('/api/v1/pods')?.send('MODIFIED', bound);
    return { status: 201, body: { kind: 'Status', apiVersion: 'v1', status: 'Success' } };
  }
}

async function running(nodes: readonly Node[], pods: readonly Pod[] = []): Promise<FakeApi> {
  const api = new FakeApi();
  for (const node of nodes) api.nodes.set(node.metadata.name, node);
  for (const pod of pods) api.pods.set(pod.metadata.name, pod);
  await api.start();
  return api;
}

const small = makeNode('small', { allocatable: { cpu: '1' } });

describe('Scheduler', () => {
  it('binds a pod and says so', async () => {
    const api = await running([makeNode('a')]);
    await api.setPod(makePod('web'));
    expect(api.bindings).toEqual(['web → a']);
    expect(api.events).toEqual(['Scheduled: Successfully assigned default/web to a']);
    await api.stop();
  });

  it('binds pods that were waiting before it started, once', async () => {
    const placed = makePod('old', { nodeName: 'a' });
    const api = await running([makeNode('a')], [makePod('web'), placed]);
    expect(api.bindings).toEqual(['web → a']);
    await api.stop();
  });

  const notOurs: { readonly name: string; readonly pod: Pod }[] = [
    { name: 'pods of another scheduler', pod: makePod('web', { schedulerName: 'other' }) },
    { name: 'gated pods', pod: makePod('web', { schedulingGates: [{ name: 'wait' }] }) },
    { name: 'pods that ended', pod: { ...makePod('web'), status: { phase: 'Failed' } } },
    {
      name: 'pods being deleted',
      pod: {
        ...makePod('web'),
        metadata: { ...makePod('web').metadata, deletionTimestamp: '2026-11-23T13:41:54Z' },
      },
    },
  ];
  for (const { name, pod } of notOurs)
    it(`leaves ${name} alone`, async () => {
      const api = await running([makeNode('a')]);
      await api.setPod(pod);
      expect(api.bindings).toEqual([]);
      expect(api.events).toEqual([]);
      await api.stop();
    });

  it('schedules a gated pod when its gates are gone', async () => {
    const api = await running([makeNode('a')]);
    await api.setPod(makePod('web', { schedulingGates: [{ name: 'wait' }] }));
    await api.setPod(makePod('web'));
    expect(api.bindings).toEqual(['web → a']);
    await api.stop();
  });

  it('never gives the same room to two pods, not even before it sees the first one there', async () => {
    const half: PodShape = { requests: { cpu: '600m' } };
    const api = await running([small], [makePod('one', half), makePod('two', half)]);
    expect(api.bindings).toEqual(['one → small']);
    expect(api.events.toSorted()).toEqual([
      'FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu. preemption: ' +
        '0/1 nodes are available: 1 No preemption victims found for incoming pod.',
      'Scheduled: Successfully assigned default/one to small',
    ]);
    await api.stop();
  });

  it('tells on the pod why it fits nowhere, once', async () => {
    const api = await running([small]);
    await api.setPod(makePod('web', { requests: { cpu: '2' } }));
    const message =
      '0/1 nodes are available: 1 Insufficient cpu. preemption: ' +
      '0/1 nodes are available: 1 Preemption is not helpful for scheduling.';
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime: '2023-11-14T22:13:20Z',
    };
    expect(api.conditions).toEqual([{ pod: 'web', condition }]);
    // Its own condition coming back changes nothing; neither does a retry with the same outcome.
    const pod = api.pods.get('web') ?? makePod('web');
    await api.setPod({ ...pod, status: { phase: 'Pending', conditions: [condition] } });
    await api.advance(400_000);
    expect(api.conditions).toHaveLength(1);
    await api.stop();
  });

  it('says that there are no nodes, and schedules when one comes', async () => {
    const api = await running([]);
    await api.setPod(makePod('web'));
    expect(api.events).toEqual(['FailedScheduling: no nodes available to schedule pods']);
    await api.setNode(makeNode('a'));
    expect(api.bindings).toEqual([]);
    await api.advance(1000);
    expect(api.bindings).toEqual(['web → a']);
    await api.stop();
  });

  const rescues: { readonly name: string; readonly happens: (api: FakeApi) => Promise<void> }[] = [
    { name: 'a pod leaves', happens: (api) => api.deletePod('old') },
    {
      name: 'a pod ends',
      happens: (api) =>
        api.setPod({
          ...(api.pods.get('old') ?? (small as never)),
          status: { phase: 'Succeeded' },
        }),
    },
    {
      name: 'what a pod was resized to can never be',
      happens: async (api) => {
        const old = api.pods.get('old') ?? (small as never);
        const container = {
          name: old.spec.containers[0]?.name ?? '',
          image: '',
          imageID: '',
          ready: true,
          restartCount: 0,
        };
        const requests = { cpu: '0' };
        const containerStatuses = [{ ...container, resources: { requests } }];
        const pending = { type: 'PodResizePending', status: 'True', reason: 'Infeasible' };
        await api.setPod({
          ...old,
          status: { ...old.status, containerStatuses, conditions: [pending] },
        });
      },
    },
    { name: 'a node comes', happens: (api) => api.setNode(makeNode('new')) },
    { name: 'a node grows', happens: (api) => api.setNode(makeNode('small')) },
  ];
  for (const { name, happens } of rescues)
    it(`tries again when ${name}`, async () => {
      const old = makePod('old', { nodeName: 'small', requests: { cpu: '1' } });
      const api = await running([small], [old]);
      await api.setPod(makePod('web', { requests: { cpu: '1' } }));
      await api.advance(60_000);
      expect(api.bindings).toEqual([]);
      await happens(api);
      expect(api.bindings).toEqual([name === 'a node comes' ? 'web → new' : 'web → small']);
      await api.stop();
    });

  it('does not try again at heartbeats', async () => {
    const constraint = { maxSkew: 1, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule' };
    const api = await running([small]);
    await api.setPod(makePod('web', { topologySpreadConstraints: [constraint] }));
    await api.advance(60_000);
    const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: 'now' }];
    await api.setNode({ ...small, status: { ...small.status, conditions } });
    expect(api.events).toHaveLength(1);
    await api.setNode(makeNode('small', { labels: { rack: '1' } }));
    expect(api.bindings).toEqual(['web → small']);
    await api.stop();
  });

  it('binds a pod once, though an older version of it arrives after the binding', async () => {
    const api = await running([makeNode('a')]);
    api.tellsBindings = false;
    await api.setPod(makePod('web'));
    await api.setPod(makePod('web', { labels: { changed: 'before' } }));
    expect(api.bindings).toEqual(['web → a']);
    await api.stop();
  });

  it('frees the room of a binding that failed, and tries again after a backoff', async () => {
    const api = await running([small]);
    api.refuseBinding = (name) =>
      name === 'web' ? new TransportError('connection refused') : undefined;
    await api.setPod(makePod('web', { requests: { cpu: '1' } }));
    await api.setPod(makePod('other', { requests: { cpu: '1' } }));
    expect(api.bindings).toEqual(['other → small']);
    expect(api.events[0]).toBe(
      'FailedScheduling: binding rejected: running Bind plugin "DefaultBinder": connection refused',
    );
    expect(api.conditions[0]?.condition).toMatchObject({ reason: 'SchedulerError' });
    await api.deletePod('other');
    api.refuseBinding = () => undefined;
    await api.advance(1000);
    expect(api.bindings).toEqual(['other → small', 'web → small']);
    await api.stop();
  });

  it('takes the word of the server for a pod that somebody else bound', async () => {
    const api = await running([makeNode('a'), makeNode('b')]);
    const { status } = conflict(
      { group: '', resource: 'pods' },
      'web',
      'pod web is already assigned',
    );
    api.refuseBinding = () => ({ status: 409, body: status });
    await api.setPod(makePod('web'));
    await api.setPod(makePod('web', { nodeName: 'b' }));
    api.refuseBinding = () => undefined;
    await api.advance(60_000);
    expect(api.bindings).toEqual([]);
    await api.stop();
  });

  it('stops with its signal', async () => {
    const api = await running([]);
    await api.setPod(makePod('web'));
    await api.stop();
    expect(api.clock.nextTimerMs()).toBeUndefined();
  });
});
