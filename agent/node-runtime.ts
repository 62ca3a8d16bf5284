// The engine of this machine, wherever its socket is by now.
import type { Clock } from '#kube/base/clock.ts';
import { findSocket, type EngineEnvironment } from './engine/engine-socket.ts';
import { kernelFolders } from './metrics/collector.ts';
import { runCommand } from './run-command.ts';
import { DockerClient } from './runtime/docker-client.ts';
import { DockerRuntime } from './runtime/docker-runtime.ts';
import { FakeRuntime } from './runtime/fake-runtime.ts';
import { PodCgroups } from './runtime/pod-cgroup.ts';
import type { GivenNetwork } from './runtime/pod-network.ts';
import type { Runtime } from './runtime/runtime.ts';

export interface NodeRuntimeDeps {
  readonly runtimeName: 'docker' | 'fake';
  readonly clusterId: string;
  readonly nodeName: string;
  readonly clock: Clock;
}

export function nodeRuntime(
  { runtimeName, clusterId, nodeName, clock }: NodeRuntimeDeps,
  environment: EngineEnvironment,
  givenNetwork: GivenNetwork,
): Runtime {
  if (runtimeName === 'fake') return new FakeRuntime(clock);
  let socketPath = '';
  let client: DockerClient | undefined;
  const connect = (): DockerClient => {
    // Docker may be installed while we run, and its socket appear elsewhere than first thought.
    const found = findSocket(environment);
    if (client === undefined || found !== socketPath) client = new DockerClient(found);
    socketPath = found;
    return client;
  };
  // Without root there can be none: then each container's own limits have to do.
  const podCgroups = environment.isRoot
    ? { podCgroups: new PodCgroups({ root: kernelFolders.cgroup, run: runCommand }, clock) }
    : {};
  const identity = { clusterId, nodeName };
  return new DockerRuntime({ client: connect, identity, clock, givenNetwork, ...podCgroups });
}
