// The engine of this machine, wherever its socket is by now.
import type { Clock } from '#kube/base/clock.ts';
import { findSocket, type EngineEnvironment } from './engine/engine-socket.ts';
import { kernelFolders } from './metrics/collector.ts';
import { runCommand } from './run-command.ts';
import { DockerClient } from './runtime/docker-client.ts';
import { DockerRuntime } from './runtime/docker-runtime.ts';
import { FakeRuntime } from './runtime/fake-runtime.ts';
import { PodCgroups } from './runtime/pod-cgroup.ts';
import type { GivenNetwork, PodNetwork } from './runtime/pod-network.ts';
import type { Runtime } from './runtime/runtime.ts';

export interface NodeRuntimeDeps {
  readonly runtimeName: 'docker' | 'fake';
  readonly clusterId: string;
  readonly nodeName: string;
  readonly clock: Clock;
}

export interface NodeRuntime {
  readonly runtime: Runtime;
  /** Made when it is missing. Undefined where containers are in memory only. */
  readonly podNetwork: (() => Promise<PodNetwork>) | undefined;
}

export function nodeRuntime(
  { runtimeName, clusterId, nodeName, clock }: NodeRuntimeDeps,
  environment: EngineEnvironment,
  givenNetwork: GivenNetwork,
): NodeRuntime {
  if (runtimeName === 'fake') return { runtime: new FakeRuntime(clock), podNetwork: undefined };
  let socketPath = '';
  let client: DockerClient | undefined;
  const connect = (): DockerClient => {
    // Docker may be installed while we run, and its socket appear elsewhere than first thought.
    const found = findSocket(environment);
    if (client === undefined || found !== socketPath) client = new DockerClient(found);
    socketPath = found;
    return client;
  };
  const identity = { clusterId, nodeName };
  const podCgroups = podCgroupsHere(environment.isRoot, clock);
  const deps = { client: connect, identity, clock, givenNetwork, ...podCgroups };
  const runtime = new DockerRuntime(deps);
  return { runtime, podNetwork: () => runtime.network() };
}

/** Without root there can be none: then each container's own limits have to do. */
export function podCgroupsHere(isRoot: boolean, clock: Clock): { podCgroups?: PodCgroups } {
  if (!isRoot) return {};
  return { podCgroups: new PodCgroups({ root: kernelFolders.cgroup, run: runCommand }, clock) };
}
