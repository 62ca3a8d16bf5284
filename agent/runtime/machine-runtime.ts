// The container engine of this machine, whichever socket it has at the moment; or containers in memory only.
import type { Clock } from '#kube/base/clock.ts';
import { findSocket, type EngineEnvironment } from '../engine/engine-socket.ts';
import { kernelFolders } from '../metrics/collector.ts';
import { runCommand } from '../run-command.ts';
import { DockerClient } from './docker-client.ts';
import { DockerRuntime } from './docker-runtime.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { PodCgroups } from './pod-cgroup.ts';
import type { PodNetwork } from './pod-network.ts';
import type { Runtime } from './runtime.ts';

export interface MachineRuntimeOptions {
  readonly runtimeName: 'docker' | 'fake';
  readonly clusterId: string;
  readonly nodeName: string;
  readonly environment: EngineEnvironment;
  readonly clock: Clock;
}

export interface MachineRuntime {
  readonly runtime: Runtime;
  /** Made when it is missing. Undefined where there is none. */
  readonly podNetwork: (() => Promise<PodNetwork>) | undefined;
}

export function machineRuntime(options: MachineRuntimeOptions): MachineRuntime {
  const { clock, clusterId, nodeName, runtimeName, environment } = options;
  if (runtimeName === 'fake') return { runtime: new FakeRuntime(clock), podNetwork: undefined };
  let socketPath = '';
  let client: DockerClient | undefined;
  const connect = () => {
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
  const runtime = new DockerRuntime({ client: connect, identity, clock, ...podCgroups });
  return { runtime, podNetwork: () => runtime.network() };
}
