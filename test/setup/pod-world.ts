// One pod's worker, real but for what it stands on: an engine in memory that can be found in any
// state, refuses calls, loses answers or sees the agent die over one; programs that end as they were
// told to; an API server of one object. For properties of whole pod lives on a manual clock.
import type { Pod, PodStatus } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { PullBoard } from '../../agent/kubelet/images/turns/pull-board.ts';
import { ContainerStarter } from '../../agent/kubelet/container/container-starter.ts';
import { containerHash } from '../../agent/kubelet/container/container-config.ts';
import { podRef } from '../../agent/kubelet/container/sandbox-config.ts';
import { Hooks } from '../../agent/kubelet/container/hooks.ts';
import { Images } from '../../agent/kubelet/images/images.ts';
import type { ProbeRunner } from '../../agent/kubelet/container/probe.ts';
import { Prober } from '../../agent/kubelet/container/prober.ts';
import { PodKiller } from '../../agent/kubelet/pod/pod-killer.ts';
import { PodSync } from '../../agent/kubelet/pod/pod-sync.ts';
import { PodWorker } from '../../agent/kubelet/pod/pod-worker.ts';
import { StatusWriter } from '../../agent/kubelet/pod/status-writer.ts';
import type { ObjectSource } from '../../agent/kubelet/volumes/object-source.ts';
import type { TerminationMessages } from '../../agent/kubelet/volumes/termination-messages.ts';
import type { Volumes } from '../../agent/kubelet/volumes/volumes.ts';
import { FakeRuntime } from '../../agent/runtime/fake-runtime.ts';
import { RuntimeError, type ObservedPod, type Runtime } from '../../agent/runtime/runtime.ts';
import { containerConfig, sandboxConfig } from '../conformance/runtime.ts';

/** What a container's program does: fails so often, then goes on running or ends with a code. */
export interface Program {
  readonly failures: number;
  readonly ending: 'runs' | 0 | 1;
}

/** What becomes of a call that changes something. `dies`: the agent is killed, before or after it. */
export type CallFate = 'ok' | 'refused' | 'lost' | 'dies before' | 'dies after';

/** What somebody did to the engine before the agent came. */
export type Deed =
  | { readonly kind: 'sandbox'; readonly hostNetwork: boolean }
  | { readonly kind: 'end sandbox'; readonly which: number }
  | {
      readonly kind: 'container';
      readonly name: string;
      readonly attempt: number;
      readonly isStale: boolean;
      readonly state: 'created' | 'running' | 0 | 1;
    };

export interface WorldPlan {
  readonly pod: Pod;
  readonly programs: ReadonlyMap<string, Program>;
  readonly deeds: readonly Deed[];
  readonly fates: readonly CallFate[];
  /** Containers that were there fail their liveness and startup probes. */
  readonly isSick: boolean;
  /** Rounds until the images can be had. */
  readonly roundsWithoutImage: number;
}

/** No back-off is longer. */
const roundMs = 310_000;
const changing: ReadonlySet<string | symbol> = new Set([
  'runSandbox',
  'stopSandbox',
  'removeSandbox',
  'createContainer',
  'startContainer',
  'stopContainer',
  'removeContainer',
]);

export class PodWorld {
  readonly clock = new ManualClock();
  readonly runtime = new FakeRuntime(this.clock);
  /** Every status that was written. */
  readonly statuses: PodStatus[] = [];
  /** Of the agent. */
  deaths = 0;
  /** As the API server has it; undefined: gone. */
  pod: Pod | undefined;
  readonly #plan: WorldPlan;
  readonly #fates: CallFate[];
  readonly #starts = new Map<string, number>();
  readonly #sick = new Set<string>();
  /** What ran before and will have done its work soon. */
  readonly #ending = new Set<string>();
  #version = 1;
  #isDead = false;
  #round = 0;
  #running = new AbortController();
  #worker: PodWorker;

  constructor(plan: WorldPlan) {
    this.#plan = plan;
    this.#fates = [...plan.fates];
    this.pod = plan.pod;
    this.#worker = this.#startAgent();
  }

  /** The engine as the agent finds it. */
  async prepare(): Promise<void> {
    const { runtime } = this;
    const ref = podRef(this.#plan.pod);
    runtime.addImage('there:1');
    for (const deed of this.#plan.deeds) {
      const { sandboxes } = await this.observed();
      if (deed.kind === 'sandbox') {
        const { hostNetwork } = deed;
        const attempt = sandboxes.length;
        await runtime.runSandbox({ ...sandboxConfig(ref), hostNetwork, attempt });
      } else if (deed.kind === 'end sandbox') {
        const sandbox = sandboxes[deed.which % Math.max(1, sandboxes.length)];
        if (sandbox !== undefined) await runtime.stopSandbox(sandbox.id);
      } else await this.#leave(deed, sandboxes[0]?.id ?? 'gone');
    }
    runtime.calls.length = 0;
  }

  async #leave(deed: Deed & { readonly kind: 'container' }, sandboxId: string): Promise<void> {
    const { runtime } = this;
    const { name, attempt, isStale, state } = deed;
    const { spec } = this.#plan.pod;
    const all = [...(spec.initContainers ?? []), ...spec.containers];
    const container = all.find((entry) => entry.name === name);
    const specHash = isStale || container === undefined ? 'stale' : containerHash(container);
    const more = { name, attempt, specHash, image: 'there:1' };
    const config = containerConfig(podRef(this.#plan.pod), sandboxId, more);
    const id = await runtime.createContainer(config);
    if (this.#plan.isSick) this.#sick.add(id);
    if (state === 'created') return;
    await runtime.startContainer(id);
    if (state !== 'running') runtime.exitContainer(id, state);
    else if (this.#plan.programs.get(name)?.ending === 0) this.#ending.add(id);
  }

  observed(): Promise<ObservedPod> {
    return this.runtime.getPod(podRef(this.#plan.pod));
  }

  /** Everything that can happen without anybody's doing, and time enough for any back-off. */
  async round(): Promise<void> {
    if (this.#round++ === this.#plan.roundsWithoutImage) this.runtime.addImage('web:1');
    this.#worker.wake();
    await quiet();
    for (const id of this.#ending) this.runtime.exitContainer(id, 0);
    if (this.#isDead) this.restartAgent();
    this.clock.advance(roundMs);
    await quiet();
  }

  /** As after `kill -9`: nothing it had begun goes on. */
  restartAgent(): void {
    this.deaths++;
    this.#running.abort();
    this.#worker.stop();
    this.#worker = this.#startAgent();
  }

  delete(): void {
    if (this.pod === undefined) return;
    const deletionTimestamp = new Date(this.clock.now()).toISOString();
    const metadata = { ...this.pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: 30 };
    this.#show({ ...this.pod, metadata });
  }

  evict(): void {
    this.#worker.evict('the node was low on memory', true);
  }

  get isOver(): boolean {
    return this.#worker.isTerminated;
  }

  get hasEnded(): boolean {
    return ['Failed', 'Succeeded'].includes(this.pod?.status?.phase ?? '');
  }

  #show(pod: Pod): Pod {
    const metadata = { ...pod.metadata, resourceVersion: String(++this.#version) };
    this.pod = { ...pod, metadata };
    this.#worker.update(this.pod);
    return this.pod;
  }

  #startAgent(): PodWorker {
    this.#isDead = false;
    this.#running = new AbortController();
    const { signal } = this.#running;
    const { clock } = this;
    const runtime = this.#faulty();
    const events = { event: () => {} };
    const runner = this.#runner();
    const onChange = (): void => this.#worker.wake();
    const prober = new Prober({ runner, events, clock, random: seededRandom(1), onChange });
    const hooks = new Hooks({ runner, events, clock });
    const images = new Images({
      runtime,
      events,
      clock,
      logger: silentLogger,
      peers: undefined,
      board: new PullBoard(),
      origins: { note: async () => {} },
    });
    const killer = new PodKiller({ runtime, events, hooks });
    const nothing = () => undefined;
    const objects = {
      load: async () => ({ configMap: nothing, secret: nothing, token: nothing }),
      release: () => {},
    } as unknown as ObjectSource;
    const volumes = {
      setUp: async () => {},
      mounts: async () => [],
      terminationMessageFile: async () => '/nowhere',
      tearDown: async () => {},
    } as unknown as Volumes;
    const node = {
      ips: () => ['192.168.1.5'],
      allocatable: () => ({}),
      memoryBytes: () => 1e9,
      pidsMax: () => 32_768,
      dns: async () => ({ servers: [], searches: [], options: [] }),
      clusterDns: async () => undefined,
      joinNetwork: () => Promise.resolve(),
      seccompProfile: async () => '{}',
      devices: () => [],
      maxPods: 110,
      hasAppArmor: () => false,
      self: () => undefined,
      runtimeHandler: async (name: string) => name,
      services: () => [],
      pods: () => [],
      admittedPods: () => [],
    };
    const starter = new ContainerStarter({ runtime, events, clock, images, hooks, volumes, node });
    const logger = silentLogger;
    const parts = { runtime, events, logger, volumes, objects, prober, starter, killer, node };
    const client = this.#client(signal);
    const deps = {
      ...parts,
      runtimeName: 'fake',
      clock,
      sync: new PodSync(parts),
      messages: { read: async () => {}, of: () => '' } as unknown as TerminationMessages,
      statuses: new StatusWriter({
        client,
        clock,
        logger,
        signal,
        onOverruled: onChange,
        shownAs: (_uid, base) => base,
      }),
      qosClass: () => 'BestEffort',
      deletePod: async () => {
        if (!signal.aborted) this.pod = undefined;
      },
      onTerminated: () => {},
    };
    return new PodWorker(deps, this.pod ?? this.#plan.pod);
  }

  #client(signal: AbortSignal): Pick<RestClient, 'get' | 'updateStatus'> {
    const updateStatus = async (_resource: unknown, { status = {} }: Pod) => {
      if (signal.aborted || this.pod === undefined) return new Promise(() => {});
      this.statuses.push(status);
      return this.#show({ ...this.pod, status });
    };
    const client = { get: async () => this.pod, updateStatus };
    return client as unknown as Pick<RestClient, 'get' | 'updateStatus'>;
  }

  #runner(): ProbeRunner {
    const run = async (_probe: unknown, { containerId }: { readonly containerId: string }) => ({
      isSuccess: !this.#sick.has(containerId),
      output: '',
    });
    return { run } as unknown as ProbeRunner;
  }

  /** The engine as this agent sees it, until it dies. */
  #faulty(): Runtime {
    const state = { isDead: false };
    const never = new Promise<never>(() => {});
    const die = () => {
      state.isDead = true;
      this.#isDead = true;
      return never;
    };
    const call = async (name: string, args: readonly unknown[]): Promise<unknown> => {
      if (state.isDead) return never;
      const fate = changing.has(name) ? (this.#fates.shift() ?? 'ok') : 'ok';
      if (fate === 'dies before') return die();
      if (fate === 'refused') throw new RuntimeError('other', 'refused');
      const method = Reflect.get(this.runtime, name) as (...given: unknown[]) => Promise<unknown>;
      const result = await method.apply(this.runtime, [...args]);
      if (name === 'startContainer') this.#runProgram(String(args[0]));
      if (fate === 'dies after') return die();
      if (fate === 'lost') throw new RuntimeError('other', 'the answer was lost');
      return result;
    };
    const get =
      (_target: object, name: string) =>
      (...args: unknown[]) =>
        call(name, args);
    return new Proxy({}, { get }) as Runtime;
  }

  #runProgram(id: string): void {
    const { name } = this.runtime.configOf(id);
    const count = (this.#starts.get(name) ?? 0) + 1;
    this.#starts.set(name, count);
    const { failures, ending } = this.#plan.programs.get(name) ?? { failures: 0, ending: 'runs' };
    if (count <= failures) this.runtime.exitContainer(id, 1);
    else if (ending !== 'runs') this.runtime.exitContainer(id, ending);
  }
}

/** Nothing here waits for anything but promises and the clock. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
